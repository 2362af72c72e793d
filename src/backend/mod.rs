//! Backends: where the encoders run.
//!
//! A backend turns pixels and tokens into embeddings, a batch at a time, and knows nothing of
//! requests, queues, caches or facades. It lives on the engine's device thread.

mod cpu;
mod select;

pub use cpu::{CpuBackend, CpuOptions};
pub use select::{Opened, SYSFS_CLASS, open};

use std::fmt;

use thiserror::Error;

use crate::clip::{Embedding, EmbeddingError, Pixels, Tokens};

/// The two encoders of a model, ready to run.
pub trait Backend: Send {
    /// Where this runs.
    fn description(&self) -> &Description;

    /// One embedding for each picture, in order.
    ///
    /// # Errors
    /// The whole batch fails, and none of it may be used.
    fn embed_images(&mut self, batch: &[&Pixels]) -> Result<Vec<Embedding>, BackendError>;

    /// One embedding for each text, in order.
    ///
    /// # Errors
    /// The whole batch fails, and none of it may be used.
    fn embed_texts(&mut self, batch: &[&Tokens]) -> Result<Vec<Embedding>, BackendError>;
}

/// Where a backend runs, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The kind of hardware.
    pub kind: BackendKind,
    /// The device, such as `Hailo-8L` or `CPU, 4 threads`.
    pub device: String,
}

/// The kind of hardware that a backend uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendKind {
    /// ONNX on the CPU.
    Cpu,
    /// HEF on a Hailo NPU.
    Hailo,
}

impl BackendKind {
    /// The name used in every interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Hailo => "hailo",
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a backend cannot be opened, or a batch not run. The text is for people and names no path.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum BackendError {
    /// The backend cannot be used at all: what is missing, and what to do.
    #[error("{0}")]
    Unavailable(String),
    /// The network could not be run.
    #[error("inference failed: {0}")]
    Inference(String),
    /// The encoder gave something that is no embedding.
    #[error("inference failed: {0}")]
    Output(#[from] EmbeddingError),
}
