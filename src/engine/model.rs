//! A loaded model: what requests need of it on their way to the device thread.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{EngineError, ModelInfo, text_cache::TextCache};
use crate::{
    backend::{Backend, BackendError, Degraded, Description},
    clip::{ImageSpec, Pixels, Tokenizer},
    config::Settings,
};

/// What a [`Loader`] gives: a model, ready to run.
pub struct LoadedModel {
    /// What the model says about itself.
    pub info: ModelInfo,
    /// Geometry of the image encoder's input.
    pub image: ImageSpec,
    /// The text encoder's tokenizer.
    pub tokenizer: Tokenizer,
    /// Bias of a sigmoid model (SigLIP).
    pub logit_bias: Option<f32>,
    /// Digest of all that decides a text's embedding; `None`: embeddings end with this instance of the model.
    pub text_digest: Option<[u8; 32]>,
    /// The encoders.
    pub backend: Box<dyn Backend>,
    /// Set if this is not the hardware that was asked for.
    pub degraded: Option<Degraded>,
}

impl LoadedModel {
    /// Runs both encoders so often, so that the first request does not pay for it.
    pub(super) fn warm_up(&mut self, iterations: u32) -> Result<(), BackendError> {
        let pixels = Pixels::black(self.image.size);
        let tokens =
            self.tokenizer.encode("warm-up").map_err(|error| BackendError::Inference(error.to_string()))?;
        for _ in 0..iterations {
            self.backend.embed_images(&[&pixels])?;
            self.backend.embed_texts(&[&tokens])?;
        }
        Ok(())
    }
}

/// Loads the model that the settings name. Runs on a blocking thread, possibly several times.
pub type Loader = Arc<dyn Fn(&Settings) -> Result<LoadedModel, BackendError> + Send + Sync>;

/// The part of a loaded model that requests share; the encoders themselves live on the device thread.
///
/// The text cache belongs to the model, so embeddings of two models can never meet.
pub(super) struct Model {
    pub(super) info: ModelInfo,
    pub(super) name: Arc<str>,
    pub(super) image: ImageSpec,
    pub(super) tokenizer: Tokenizer,
    pub(super) logit_bias: Option<f32>,
    pub(super) description: Description,
    pub(super) degraded: Option<Degraded>,
    pub(super) texts: Arc<TextCache>,
    /// A permit for each picture that the device works on or that is ready for it: its batches and one more.
    pub(super) room: Semaphore,
}

impl Model {
    /// Separates what requests share from the encoders, which take so many pictures at a time.
    pub(super) fn split(
        loaded: LoadedModel,
        texts: Arc<TextCache>,
        batch_size: usize,
    ) -> (Arc<Self>, Box<dyn Backend>) {
        let LoadedModel { info, image, tokenizer, logit_bias, backend, degraded, .. } = loaded;
        let model = Self {
            name: info.name.as_str().into(),
            info,
            image,
            tokenizer,
            logit_bias,
            description: backend.description().clone(),
            degraded,
            texts,
            room: Semaphore::new(batch_size * (backend.concurrency().images.most() + 1)),
        };
        (Arc::new(model), backend)
    }

    /// Makes sure that this is the model that a caller wants vectors of, if it wants those of one alone.
    pub(super) fn require(&self, name: Option<&str>) -> Result<(), EngineError> {
        let names = || std::iter::once(&self.info.name).chain(&self.info.aliases);
        match name {
            Some(name) if !names().any(|known| known == name) => {
                let known: Vec<_> = names().map(String::as_str).collect();
                Err(EngineError::NoSuchModel(format!(
                    "the model {name:?} is not in service here, only {}",
                    known.join(", ")
                )))
            }
            _ => Ok(()),
        }
    }
}
