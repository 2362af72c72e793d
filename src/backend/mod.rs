//! Backends: where the encoders run.
//!
//! A backend turns pixels and tokens into embeddings, a batch at a time, and knows nothing of
//! requests, queues, caches or facades. It lives on the engine's device thread.

mod cpu;
mod encoders;
mod hailo;
mod select;

pub use cpu::CpuOptions;
pub use encoders::{Encoders, inspect_on_cpu, try_on_cpu};
pub use hailo::{Host, SHIM_DIR};
pub use select::{Degraded, Opened, open};

use std::{fmt, time::Duration};

use thiserror::Error;

use crate::clip::{Embedding, EmbeddingError, Pixels, Tokens};

/// The two encoders of a model, ready to run. Batches may come from several threads.
pub trait Backend: Send + Sync {
    /// Where this runs.
    fn description(&self) -> &Description;

    /// How many batches it takes at the same time.
    fn concurrency(&self) -> Concurrency {
        Concurrency::SERIAL
    }

    /// What the device's sensors say; `None` where there are none. May block on the device.
    fn health(&self) -> Option<Health> {
        None
    }

    /// One embedding for each picture, in order.
    ///
    /// # Errors
    /// The whole batch fails, and none of it may be used.
    fn embed_images(&self, batch: &[&Pixels]) -> Result<Vec<Embedding>, BackendError>;

    /// One embedding for each text, in order.
    ///
    /// # Errors
    /// The whole batch fails, and none of it may be used.
    fn embed_texts(&self, batch: &[&Tokens]) -> Result<Vec<Embedding>, BackendError>;
}

/// How many batches run at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// Of pictures.
    pub images: Pipeline,
    /// Of texts.
    pub texts: Pipeline,
    /// Whether both encoders use the same processor, so that their batches count together.
    pub shared: bool,
}

/// How one encoder's processors are kept busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pipeline {
    /// Processors that work side by side.
    pub devices: usize,
    /// Batches that each takes at a time: one that runs, and those that wait their turn.
    pub depth: usize,
}

impl Concurrency {
    /// One batch after the other.
    pub const SERIAL: Self = Self { images: Pipeline::SERIAL, texts: Pipeline::SERIAL, shared: true };

    /// Most batches at a time.
    #[must_use]
    pub fn most(&self) -> usize {
        let (images, texts) = (self.images.most(), self.texts.most());
        if self.shared { images.max(texts) } else { images + texts }
    }
}

impl Pipeline {
    /// One batch after the other.
    pub const SERIAL: Self = Self { devices: 1, depth: 1 };

    /// Most batches at a time.
    #[must_use]
    pub fn most(&self) -> usize {
        self.devices * self.depth
    }
}

/// Where a backend runs, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The kind of hardware.
    pub kind: BackendKind,
    /// The device, such as `Hailo-8L` or `CPU, 4 threads`.
    pub device: String,
    /// What is known of the NPU; `None` on the CPU.
    pub npu: Option<Npu>,
}

/// An NPU and the software that drives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Npu {
    /// Such as `Hailo-8L`.
    pub architecture: String,
    /// Version of the firmware.
    pub firmware: String,
    /// Version of HailoRT, the library.
    pub library: String,
    /// Version of the kernel's driver, if it says one.
    pub driver: Option<String>,
}

/// What a device's sensors say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Health {
    /// In °C, of the hottest sensor of the hottest device.
    pub temperature: Option<f32>,
    /// Whether a device runs slower now to protect itself.
    pub throttled: Option<bool>,
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
    /// There is no model of that name.
    #[error("{0}")]
    NoSuchModel(String),
    /// The model cannot be used at all: what is wrong with it, and what to do.
    #[error("{0}")]
    Unavailable(String),
    /// The NPU cannot be used now: what is missing, and what to do. Trying again may help.
    #[error("{0}")]
    NoDevice(String),
    /// The device went away while it worked.
    #[error("{0}")]
    Lost(String),
    /// The device did not answer in time, and the batch was given up.
    #[error("the device did not answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The batch was withdrawn for a fault that was not its own; run it again.
    #[error("the batch was interrupted")]
    Interrupted,
    /// The network could not be run.
    #[error("inference failed: {0}")]
    Inference(String),
    /// The encoder gave something that is no embedding.
    #[error("inference failed: {0}")]
    Output(#[from] EmbeddingError),
}
