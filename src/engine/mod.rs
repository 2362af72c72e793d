//! The engine: everything between a request and the encoders.
//!
//! A request is admitted or refused at once. Its picture is decoded on a worker thread, its prompts
//! are looked up in the text cache, and what is left goes to the device threads, which run whatever
//! waits as batches. Deadlines and departed callers are honoured at every step: a request
//! is a future, and dropping it withdraws the work that has not begun.
//! Deliberately not here: wire formats, and how an encoder runs.

mod admission;
mod control;
mod device;
mod flow;
mod health;
mod life;
mod model;
mod queue;
mod recovery;
mod request;
mod status;
mod text_cache;
mod validate;

pub use control::{FitsBeside, Switch};
pub use model::{LoadedModel, Loader};
pub use request::{
    Classified, ClassifyOptions, ClassifyRequest, EmbeddedImage, EmbeddedTexts, EngineError, ScoredPrompt,
    Timings,
};
pub use status::{ModelInfo, State, Status};
pub use validate::{MAX_PROMPTS, MAX_TEXT_BYTES, MAX_TEXTS};

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use tokio::sync::{Semaphore, watch};

use self::{
    admission::{Admission, Permit},
    model::Model,
    queue::DeviceQueue,
    recovery::Recovery,
};
use crate::{backend::Health, clip, config::Settings};

/// Handle to the engine; clones share it. Must be used within a Tokio runtime.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    /// What a reload may change; replaced as a whole.
    tuning: ArcSwap<Tuning>,
    model: ArcSwapOption<Model>,
    admission: Admission,
    device: Arc<DeviceQueue>,
    /// How many there are.
    device_threads: std::sync::Mutex<usize>,
    status: watch::Sender<Status>,
    /// The last reading of the device's sensors.
    health: watch::Sender<Option<Health>>,
    recovery: watch::Sender<Recovery>,
    loader: Loader,
    fits_beside: std::sync::OnceLock<FitsBeside>,
    /// One model is loaded at a time.
    loading: tokio::sync::Mutex<()>,
}

struct Tuning {
    settings: Arc<Settings>,
    /// A permit for each picture that is being decoded.
    workers: Arc<Semaphore>,
}

impl Engine {
    /// Classifies a picture against prompts.
    ///
    /// # Errors
    /// [`EngineError`]; nothing of a failed request is left behind.
    pub async fn classify(&self, request: ClassifyRequest) -> Result<Classified, EngineError> {
        let accepted = self.admit()?;
        let ClassifyRequest { image, prompts, options } = &request;
        validate::classify(prompts, options)?;
        let since = accepted.since;
        self.within_deadline(&accepted, options.timeout, move |model, settings| async move {
            let texts = self.encode_ensemble(&model, prompts, &options.templates);
            let (image, texts) = tokio::try_join!(self.encode_image(&model, &settings, image), texts)?;
            let scoring_starts = Instant::now();
            let scoring = clip::Scoring {
                logit_scale: options.logit_scale.unwrap_or(model.info.logit_scale),
                logit_bias: model.logit_bias,
                apply_softmax: options.apply_softmax.unwrap_or(settings.clip.apply_softmax),
            };
            let selection = clip::Selection {
                top_k: options.top_k.unwrap_or(prompts.len()),
                threshold: options.threshold.unwrap_or(f32::NEG_INFINITY),
            };
            let ranked = clip::classify(&image.embedding, &texts.embeddings, &scoring, &selection)
                .map_err(|error| EngineError::BackendFailed(error.to_string()))?;
            let classifications = ranked
                .into_iter()
                .map(|c| ScoredPrompt { text: prompts[c.prompt].clone(), score: c.score, cosine: c.cosine })
                .collect();
            let timings = Timings {
                text: texts.text,
                score: scoring_starts.elapsed(),
                total: since.elapsed(),
                ..image.timings
            };
            Ok(Classified {
                classifications,
                model: Arc::clone(&model.name),
                backend: model.description.kind,
                timings,
            })
        })
        .await
    }

    /// Embeds a picture; `timeout` can only shorten the configured deadline.
    ///
    /// # Errors
    /// As [`classify`](Self::classify).
    pub async fn embed_image(
        &self,
        image: Bytes,
        timeout: Option<Duration>,
    ) -> Result<EmbeddedImage, EngineError> {
        let accepted = self.admit()?;
        let (since, image) = (accepted.since, &image);
        self.within_deadline(&accepted, timeout, move |model, settings| async move {
            let encoded = self.encode_image(&model, &settings, image).await?;
            Ok(EmbeddedImage {
                embedding: encoded.embedding,
                width: encoded.width,
                height: encoded.height,
                model: Arc::clone(&model.name),
                backend: model.description.kind,
                timings: Timings { total: since.elapsed(), ..encoded.timings },
            })
        })
        .await
    }

    /// Embeds texts, in order.
    ///
    /// # Errors
    /// As [`classify`](Self::classify).
    pub async fn embed_texts(
        &self,
        texts: Vec<String>,
        timeout: Option<Duration>,
    ) -> Result<EmbeddedTexts, EngineError> {
        let accepted = self.admit()?;
        validate::texts(&texts)?;
        let (since, texts) = (accepted.since, &texts);
        self.within_deadline(&accepted, timeout, move |model, _| async move {
            let encoded = self.encode_texts(&model, texts).await?;
            Ok(EmbeddedTexts {
                embeddings: encoded.embeddings,
                model: Arc::clone(&model.name),
                backend: model.description.kind,
                timings: Timings {
                    queue: encoded.queue,
                    text: encoded.text,
                    total: since.elapsed(),
                    ..Timings::default()
                },
            })
        })
        .await
    }

    /// The current state; the receiver learns of every change.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.shared.status.subscribe()
    }

    /// Requests accepted and not yet answered.
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        self.shared.admission.in_flight()
    }

    /// Pictures and texts that wait for the device.
    #[must_use]
    pub fn jobs_waiting(&self) -> usize {
        self.shared.device.len()
    }

    /// Whether the backend is held at the moment: idle unloading releases it until the next request.
    #[must_use]
    pub fn backend_is_held(&self) -> bool {
        self.shared.device.installed().is_some_and(|installed| installed.is_resident())
    }

    /// For how long the oldest batch has been with its encoder; `None` if none runs.
    #[must_use]
    pub fn longest_batch(&self) -> Option<Duration> {
        self.shared.device.longest_batch()
    }

    /// The last reading of the device's sensors, a few seconds old; `None` where there are none.
    #[must_use]
    pub fn health(&self) -> Option<Health> {
        *self.shared.health.borrow()
    }

    /// Most requests that are accepted at a time.
    #[must_use]
    pub fn max_queue_size(&self) -> usize {
        self.settings().performance.max_queue_size
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.shared.tuning.load().settings)
    }

    fn admit(&self) -> Result<Accepted, EngineError> {
        let state = self.shared.status.borrow().state;
        if !state.serves() && !state.is_starting() {
            return Err(self.refusal());
        }
        let max_queue_size = self.max_queue_size();
        let permit =
            self.shared.admission.admit(max_queue_size).ok_or(EngineError::QueueFull { max_queue_size })?;
        Ok(Accepted { since: Instant::now(), _permit: permit })
    }

    fn refusal(&self) -> EngineError {
        self.shared.status.borrow().refusal()
    }
}

/// A request that was let in.
struct Accepted {
    since: Instant,
    _permit: Permit,
}
