//! The engine: everything between a request and the encoders.
//!
//! A request is admitted or refused at once. Its picture is decoded on a worker thread, its prompts
//! are looked up in the text cache, and what is left goes to the one device thread, which runs
//! whatever waits as one batch. Deadlines and departed callers are honoured at every step.
//! Deliberately not here: wire formats, and how an encoder runs.

mod request;
mod status;

pub use request::{
    Classified, ClassifyOptions, ClassifyRequest, EmbeddedImage, EmbeddedTexts, EngineError, ScoredPrompt,
    Timings,
};
pub use status::{ModelInfo, State, Status};

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::watch;

/// Handle to the engine; clones share it.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<()>,
}

impl Engine {
    /// Classifies a picture against prompts.
    ///
    /// Dropping the future withdraws the request.
    ///
    /// # Errors
    /// [`EngineError`]; nothing of a failed request is left behind.
    pub async fn classify(&self, _request: ClassifyRequest) -> Result<Classified, EngineError> {
        todo!()
    }

    /// Embeds a picture; `timeout` can only shorten the configured deadline.
    ///
    /// # Errors
    /// As [`classify`](Self::classify).
    pub async fn embed_image(
        &self,
        _image: Bytes,
        _timeout: Option<Duration>,
    ) -> Result<EmbeddedImage, EngineError> {
        todo!()
    }

    /// Embeds texts, in order.
    ///
    /// # Errors
    /// As [`classify`](Self::classify).
    pub async fn embed_texts(
        &self,
        _texts: Vec<String>,
        _timeout: Option<Duration>,
    ) -> Result<EmbeddedTexts, EngineError> {
        todo!()
    }

    /// The current state; the receiver learns of every change.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        todo!()
    }

    /// Requests accepted and not yet answered.
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        todo!()
    }

    /// Most requests that are accepted at a time.
    #[must_use]
    pub fn max_queue_size(&self) -> usize {
        todo!()
    }
}
