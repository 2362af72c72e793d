//! Encoders on the CPU: ONNX in process, weights mapped, one thread pool.
//!
//! Here is what serving adds to an ONNX runtime: recognising the inputs and outputs of the towers that
//! exporters write, batches of any size over networks of any shape, texts without padding where that
//! is exact, and errors instead of panics. Deliberately not here: requests, and files other than ONNX.

mod image;
mod inspect;
mod network;
mod text;
mod threads;

use std::sync::Arc;

use rten::ThreadPool;

use self::{image::ImageEncoder, text::TextEncoder};
use super::BackendError;
use crate::model::{Artefact, Bundle, Tower};

/// How the CPU is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuOptions {
    /// Threads of one inference; `None`: the cores and the cgroup's CPU quota decide.
    pub threads: Option<usize>,
    /// Keep a second copy of the weights in a faster layout.
    pub prepack_weights: bool,
}

pub(super) use inspect::inspect;

/// The CPU, on which encoders are opened that share its threads.
pub(super) struct Cpu {
    pool: Arc<ThreadPool>,
    threads: usize,
    prepack_weights: bool,
}

impl Cpu {
    pub(super) fn new(options: CpuOptions) -> Self {
        let threads = options.threads.unwrap_or_else(threads::usable_cores).max(1);
        let pool = Arc::new(ThreadPool::with_num_threads(threads));
        Self { pool, threads, prepack_weights: options.prepack_weights }
    }

    /// Loads the image encoder and tries it once.
    pub(super) fn image_encoder(&self, bundle: &Bundle) -> Result<ImageEncoder, BackendError> {
        let onnx = onnx(&bundle.image_tower, &bundle.name)?;
        ImageEncoder::open(&onnx.path, bundle, self.prepack_weights, Arc::clone(&self.pool))
    }

    /// Loads the text encoder and tries it once.
    pub(super) fn text_encoder(&self, bundle: &Bundle) -> Result<TextEncoder, BackendError> {
        let onnx = onnx(&bundle.text_tower, &bundle.name)?;
        TextEncoder::open(&onnx.path, bundle, self.prepack_weights, Arc::clone(&self.pool))
    }

    /// For people.
    pub(super) fn description(&self) -> String {
        let threads = self.threads;
        format!("CPU, {threads} thread{}", if threads == 1 { "" } else { "s" })
    }
}

fn onnx<'a>(tower: &'a Tower, model: &str) -> Result<&'a Artefact, BackendError> {
    tower.cpu.as_ref().map(|encoder| &encoder.onnx).ok_or_else(|| {
        BackendError::Unavailable(format!(
            "model {model} has no ONNX encoders, so it cannot run on the CPU; choose another with clip.model"
        ))
    })
}
