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

use std::{path::Path, sync::Arc};

use self::{image::ImageEncoder, text::TextEncoder, threads::Pool};
use super::BackendError;
use crate::{
    kernel,
    model::{Bundle, OnnxEncoder, Precision, Tower, onnx},
};

/// How the CPU is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuOptions {
    /// Threads of one inference; `None`: the cores and the cgroup's CPU quota decide.
    pub threads: Option<usize>,
    /// Keep a second copy of the weights in a faster layout. To lay them out anew for each run takes a quarter of
    /// fp32's time for a lone picture, and nearly half of int8's. `None`: of both encoders, but an int8 model's
    /// of the image encoder alone, and only where there is memory enough.
    pub prepack_weights: Option<bool>,
}

pub(super) use inspect::inspect;

/// So many times a copy's size must be free for it to be made without being asked for.
const COPIES: u64 = 4;

/// The CPU, on which encoders are opened that share its threads.
pub(super) struct Cpu {
    pool: Arc<Pool>,
    threads: usize,
    prepack_weights: Option<bool>,
}

impl Cpu {
    pub(super) fn new(options: CpuOptions) -> Self {
        let threads = options.threads.unwrap_or_else(threads::usable_cores).max(1);
        let pool = Pool::new(threads);
        Self { pool, threads, prepack_weights: options.prepack_weights }
    }

    /// Loads the image encoder and tries it once.
    pub(super) fn image_encoder(&self, bundle: &Bundle) -> Result<ImageEncoder, BackendError> {
        let image = encoder(&bundle.image_tower, &bundle.name)?;
        let prepack = self.prepack_weights.unwrap_or_else(|| is_affordable(image));
        ImageEncoder::open(&image.onnx.path, bundle, prepack, Arc::clone(&self.pool))
    }

    /// Loads the text encoder and tries it once.
    pub(super) fn text_encoder(&self, bundle: &Bundle) -> Result<TextEncoder, BackendError> {
        let text = encoder(&bundle.text_tower, &bundle.name)?;
        let prepack = self.prepack_weights.unwrap_or_else(|| !is_quantised(text) && is_affordable(text));
        TextEncoder::open(&text.onnx.path, bundle, prepack, Arc::clone(&self.pool))
    }

    /// For people.
    pub(super) fn description(&self) -> String {
        let threads = self.threads;
        format!("CPU, {threads} thread{}", if threads == 1 { "" } else { "s" })
    }
}

/// Whether a second copy of the weights takes no more than its share of the memory that is free.
fn is_affordable(encoder: &OnnxEncoder) -> bool {
    let bytes: u64 = std::iter::once(&encoder.onnx).chain(&encoder.data).map(|artefact| artefact.size).sum();
    kernel::memory::available(Path::new("/")).is_none_or(|available| available / COPIES >= bytes)
}

/// Who has an int8 model is short of memory, and its texts are cached.
fn is_quantised(encoder: &OnnxEncoder) -> bool {
    onnx::check(&encoder.onnx.path).is_ok_and(|precision| precision == Precision::Int8)
}

fn encoder<'a>(tower: &'a Tower, model: &str) -> Result<&'a OnnxEncoder, BackendError> {
    tower.cpu.as_ref().ok_or_else(|| {
        BackendError::Unavailable(format!(
            "model {model} has no ONNX encoders, so it cannot run on the CPU; choose another with clip.model"
        ))
    })
}
