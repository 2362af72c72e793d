//! Encoders on the CPU: ONNX in process, weights mapped, one thread pool.
//!
//! Here is what serving adds to an ONNX runtime: recognising the inputs and outputs of the towers that
//! exporters write, batches of any size over networks of any shape, texts without padding where that
//! is exact, and errors instead of panics. Deliberately not here: requests, and files other than ONNX.

mod framing;
mod image;
mod network;
mod text;
mod threads;

use std::sync::Arc;

use rten::ThreadPool;

use self::{image::ImageEncoder, text::TextEncoder};
use super::{Backend, BackendError, BackendKind, Description};
use crate::{
    clip::{Embedding, Pixels, Tokens},
    model::{Artefact, Bundle, Tower},
};

/// How the CPU is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuOptions {
    /// Threads of one inference; `None`: the cores and the cgroup's CPU quota decide.
    pub threads: Option<usize>,
    /// Keep a second copy of the weights in a faster layout.
    pub prepack_weights: bool,
}

/// Both encoders of a model on the CPU.
pub struct CpuBackend {
    description: Description,
    image: ImageEncoder,
    text: TextEncoder,
}

impl CpuBackend {
    /// Loads both encoders and tries each once.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`]: the bundle has no ONNX for both encoders, or they are damaged or
    /// do not do what the bundle says.
    pub fn open(bundle: &Bundle, options: CpuOptions) -> Result<Self, BackendError> {
        let threads = options.threads.unwrap_or_else(threads::usable_cores).max(1);
        let pool = Arc::new(ThreadPool::with_num_threads(threads));
        let image = onnx(&bundle.image_tower, &bundle.name)?;
        let image = ImageEncoder::open(&image.path, bundle, options.prepack_weights, Arc::clone(&pool))?;
        let text = onnx(&bundle.text_tower, &bundle.name)?;
        let text = TextEncoder::open(&text.path, bundle, options.prepack_weights, pool)?;
        let device = format!("CPU, {threads} thread{}", if threads == 1 { "" } else { "s" });
        Ok(Self { description: Description { kind: BackendKind::Cpu, device }, image, text })
    }
}

impl Backend for CpuBackend {
    fn description(&self) -> &Description {
        &self.description
    }

    fn embed_images(&mut self, batch: &[&Pixels]) -> Result<Vec<Embedding>, BackendError> {
        self.image.embed(batch)
    }

    fn embed_texts(&mut self, batch: &[&Tokens]) -> Result<Vec<Embedding>, BackendError> {
        self.text.embed(batch)
    }
}

fn onnx<'a>(tower: &'a Tower, model: &str) -> Result<&'a Artefact, BackendError> {
    tower.cpu.as_ref().map(|encoder| &encoder.onnx).ok_or_else(|| {
        BackendError::Unavailable(format!(
            "model {model} has no ONNX encoders, so it cannot run on the CPU; choose another with clip.model"
        ))
    })
}
