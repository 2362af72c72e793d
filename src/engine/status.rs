//! What the engine says about itself.

use super::EngineError;
use crate::backend::Description;

/// Life cycle of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The process has started, the model is not yet asked for.
    Starting,
    /// The model is being loaded.
    Loading,
    /// Requests are served as configured.
    Ready,
    /// Requests are served, but not on the hardware that was asked for.
    Degraded,
    /// Requests cannot be served; [`Status::error`] says why.
    Failed,
    /// The service is about to stop and takes no new requests.
    Draining,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Starting, Self::Loading, Self::Ready, Self::Degraded, Self::Failed, Self::Draining];

    /// The name used in every interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Loading => "loading",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Draining => "draining",
        }
    }

    /// Whether a request is answered at once.
    #[must_use]
    pub fn serves(self) -> bool {
        matches!(self, Self::Ready | Self::Degraded)
    }

    /// Whether the first model is still to come; requests wait for it.
    #[must_use]
    pub fn is_starting(self) -> bool {
        matches!(self, Self::Starting | Self::Loading)
    }
}

/// A snapshot of the engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Life cycle.
    pub state: State,
    /// The configured model's name, loaded or not.
    pub model: String,
    /// The loaded model's properties.
    pub loaded: Option<ModelInfo>,
    /// Where the loaded model runs.
    pub backend: Option<Description>,
    /// Whether the backend was released, for idleness or by hand: the next request opens it again.
    pub idle: bool,
    /// Why the state is degraded or failed, for people.
    pub error: Option<String>,
}

impl Status {
    /// What a caller is told whom this state does not serve.
    pub(super) fn refusal(&self) -> EngineError {
        let message = match self.state {
            State::Starting | State::Loading | State::Ready | State::Degraded => {
                "the model is being loaded; try again shortly".into()
            }
            State::Failed => self.error.clone().unwrap_or_else(|| "the model cannot be loaded".into()),
            State::Draining => "the service is stopping; try again shortly".into(),
        };
        EngineError::NotReady { state: self.state, message }
    }
}

/// Properties of a loaded model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    /// Name of the bundle.
    pub name: String,
    /// Names of the same vectors elsewhere, such as `ViT-B-32__openai`.
    pub aliases: Vec<String>,
    /// Components of an embedding.
    pub embedding_dimension: usize,
    /// Side of the encoder's square, in pixels.
    pub image_size: u32,
    /// Factor on the cosine, already exponentiated.
    pub logit_scale: f32,
    /// Numeric precision of the weights where they run: `fp32`, `fp16` or `int8`.
    pub precision: String,
    /// Stands for all that decides the embeddings: those under the same one can be compared. Empty if not known.
    pub digest: String,
}
