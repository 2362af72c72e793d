//! Requests and answers, free of any wire format.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use thiserror::Error;

use super::State;
use crate::{
    backend::BackendKind,
    clip::{Embedding, PromptTemplate},
};

/// A picture and the prompts to rank for it.
#[derive(Clone, Debug)]
pub struct ClassifyRequest {
    /// The picture file's bytes.
    pub image: Bytes,
    /// At least one.
    pub prompts: Vec<String>,
    /// Everything that has a default.
    pub options: ClassifyOptions,
}

/// What a caller may choose. `None` stands for the configured or the model's own value.
#[derive(Clone, Debug, Default)]
pub struct ClassifyOptions {
    /// At most so many results; `None`: all.
    pub top_k: Option<usize>,
    /// Results below are left out; `None`: nothing is, not even a negative cosine.
    pub threshold: Option<f32>,
    /// Each prompt becomes the mean over these; empty: the prompt as it is.
    pub templates: Vec<PromptTemplate>,
    /// Probabilities instead of cosines.
    pub apply_softmax: Option<bool>,
    /// Factor on the cosine, positive and finite.
    pub logit_scale: Option<f32>,
    /// Shortens the configured deadline, never extends it.
    pub timeout: Option<Duration>,
}

/// What a caller of an embedding may choose.
#[derive(Clone, Debug, Default)]
pub struct EmbedOptions {
    /// Shortens the configured deadline, never extends it.
    pub timeout: Option<Duration>,
    /// The only model that may answer, by its name or an alias; `None`: whichever is in service.
    pub model: Option<String>,
    /// Wait for a place in a full queue instead of being refused, up to the deadline.
    pub wait_for_place: bool,
    /// Count the texts' tokens.
    pub count_tokens: bool,
}

/// Answer to a [`ClassifyRequest`].
#[derive(Clone, Debug)]
pub struct Classified {
    /// Best first.
    pub classifications: Vec<ScoredPrompt>,
    /// Name of the model that answered.
    pub model: Arc<str>,
    /// Where it ran.
    pub backend: BackendKind,
    /// Where the time went.
    pub timings: Timings,
}

/// One prompt's result; its rank is the position + 1.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredPrompt {
    /// The prompt as the caller wrote it.
    pub text: String,
    /// Probability, or the cosine if there is one prompt alone or softmax is off.
    pub score: f32,
    /// Cosine between picture and prompt.
    pub cosine: f32,
}

/// An embedded picture.
#[derive(Clone, Debug)]
pub struct EmbeddedImage {
    /// The embedding.
    pub embedding: Embedding,
    /// Width of the decoded picture in pixels.
    pub width: u32,
    /// Height of the decoded picture in pixels.
    pub height: u32,
    /// Name of the model that answered.
    pub model: Arc<str>,
    /// Where it ran.
    pub backend: BackendKind,
    /// Where the time went.
    pub timings: Timings,
}

/// Embedded texts.
#[derive(Clone, Debug)]
pub struct EmbeddedTexts {
    /// One for each text, in order.
    pub embeddings: Vec<Embedding>,
    /// What the encoder reads of all texts together, if that was asked for.
    pub tokens: Option<usize>,
    /// Name of the model that answered.
    pub model: Arc<str>,
    /// Where it ran.
    pub backend: BackendKind,
    /// Where the time went.
    pub timings: Timings,
}

/// Where a request's time went. Image and text stages overlap, so `total` is less than their sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Picture file to pixels.
    pub decode: Duration,
    /// Pixels to the encoder's square.
    pub preprocess: Duration,
    /// Waiting for a worker and for the device.
    pub queue: Duration,
    /// Image encoder, the whole batch.
    pub image: Duration,
    /// Text encoder, zero if all texts were cached.
    pub text: Duration,
    /// Cosines, softmax, ranking.
    pub score: Duration,
    /// From acceptance to answer.
    pub total: Duration,
}

/// Why a request was not answered. The text is for people and names nothing internal.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum EngineError {
    /// An argument is out of its range.
    #[error("{0}")]
    InvalidArgument(String),
    /// Not a picture.
    #[error("Failed to decode image")]
    InvalidImage,
    /// The picture has too many pixels.
    #[error("{0}")]
    TooLarge(String),
    /// As many requests as allowed are waiting.
    #[error("the queue is full ({max_queue_size} requests); try again shortly")]
    QueueFull {
        /// The limit, `performance.max_queue_size`.
        max_queue_size: usize,
    },
    /// The deadline passed; the request's work was abandoned.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The model is not loaded (yet, or any more); the text says why.
    #[error("{message}")]
    NotReady {
        /// The state that refused.
        state: State,
        /// What is going on.
        message: String,
    },
    /// No model of that name is installed; the text says which are.
    #[error("{0}")]
    NoSuchModel(String),
    /// The encoder failed.
    #[error("{0}")]
    BackendFailed(String),
}
