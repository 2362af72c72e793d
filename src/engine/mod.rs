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
mod explanation;
mod flow;
mod health;
mod kept_texts;
mod life;
mod model;
mod operations;
mod queue;
mod recovery;
mod request;
mod statistics;
mod status;
mod text_cache;
mod text_file;
mod validate;

pub use control::{ChoiceError, FitsBeside, Switch};
pub use explanation::{Explain, Explanation, Margin, NearDuplicate, TemplateEffect, Warning, WarningCode};
pub use model::{LoadedModel, Loader};
pub use request::{
    Classified, ClassifyOptions, ClassifyRequest, EmbedOptions, EmbeddedImage, EmbeddedTexts, EngineError,
    ScoredPrompt, Timings,
};
pub use statistics::{Snapshot, Statistics};
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
    kept_texts::KeptTexts,
    model::Model,
    queue::DeviceQueue,
    recovery::Recovery,
    statistics::Operation,
};
use crate::{backend::Health, config::Settings};

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
    /// Something was installed on the device.
    installed: Arc<tokio::sync::Notify>,
    recovery: watch::Sender<Recovery>,
    statistics: Arc<Statistics>,
    texts: KeptTexts,
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
        self.counted(Operation::Classify, |answer| &answer.timings, self.classify_now(&request)).await
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
        self.embed_image_with(image, &EmbedOptions { timeout, ..EmbedOptions::default() }).await
    }

    /// Embeds a picture.
    ///
    /// # Errors
    /// As [`classify`](Self::classify).
    pub async fn embed_image_with(
        &self,
        image: Bytes,
        options: &EmbedOptions,
    ) -> Result<EmbeddedImage, EngineError> {
        let work = self.embed_image_now(&image, options);
        self.counted(Operation::EmbedImage, |answer| &answer.timings, work).await
    }

    /// Embeds texts, in order; `timeout` can only shorten the configured deadline.
    ///
    /// # Errors
    /// As [`classify`](Self::classify).
    pub async fn embed_texts(
        &self,
        texts: Vec<String>,
        timeout: Option<Duration>,
    ) -> Result<EmbeddedTexts, EngineError> {
        self.embed_texts_with(texts, &EmbedOptions { timeout, ..EmbedOptions::default() }).await
    }

    /// Embeds texts, in order.
    ///
    /// # Errors
    /// As [`classify`](Self::classify).
    pub async fn embed_texts_with(
        &self,
        texts: Vec<String>,
        options: &EmbedOptions,
    ) -> Result<EmbeddedTexts, EngineError> {
        let work = self.embed_texts_now(&texts, options);
        self.counted(Operation::EmbedTexts, |answer| &answer.timings, work).await
    }

    /// What has been counted since the start.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        &self.shared.statistics
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

    /// Text embeddings that are kept.
    #[must_use]
    pub fn texts_kept(&self) -> usize {
        self.shared.model.load().as_ref().map_or(0, |model| model.texts.len())
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

    /// Does a request and counts what becomes of it.
    async fn counted<T>(
        &self,
        operation: Operation,
        timings: fn(&T) -> &Timings,
        work: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let statistics = &self.shared.statistics;
        statistics.begun();
        let answer = work.await;
        statistics.ended(operation, answer.as_ref().map(timings));
        answer
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

    /// As [`admit`](Self::admit), but a full queue is waited for, if the options say so.
    async fn admit_with(&self, options: &EmbedOptions) -> Result<Accepted, EngineError> {
        let since = Instant::now();
        let limit = self.settings().performance.request_timeout;
        let limit = options.timeout.map_or(limit, |timeout| timeout.min(limit));
        loop {
            match self.admit() {
                Err(EngineError::QueueFull { max_queue_size }) if options.wait_for_place => {
                    let place = self.shared.admission.place(max_queue_size);
                    if tokio::time::timeout_at((since + limit).into(), place).await.is_err() {
                        return Err(EngineError::QueueFull { max_queue_size });
                    }
                }
                // The wait counts as part of the request.
                admitted => return admitted.map(|accepted| Accepted { since, ..accepted }),
            }
        }
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
