//! The two encoders of a model, each on the processor that it was opened on.

use std::path::Path;

use super::{
    Backend, BackendError, BackendKind, Concurrency, Description, Health,
    cpu::{self, Cpu, CpuOptions},
};
use crate::{
    clip::{Embedding, Pixels, Tokens},
    model::{Bundle, Shapes, TowerKind},
};

/// One encoder: pictures or texts to embeddings.
pub(super) trait Encode<I>: Send + Sync {
    /// One embedding for each input, in order.
    fn embed(&self, batch: &[&I]) -> Result<Vec<Embedding>, BackendError>;
}

/// A source of sensor readings; may block on the device.
pub(super) type Sensors = Box<dyn Fn() -> Health + Send + Sync>;

/// Both encoders of a model.
pub struct Encoders {
    pub(super) image: Box<dyn Encode<Pixels>>,
    pub(super) text: Box<dyn Encode<Tokens>>,
    pub(super) description: Description,
    pub(super) concurrency: Concurrency,
    pub(super) sensors: Option<Sensors>,
}

impl Encoders {
    /// Loads both encoders on the CPU and tries each once.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`]: the bundle has no ONNX for both encoders, or they are damaged or
    /// do not do what the bundle says.
    pub fn on_cpu(bundle: &Bundle, options: CpuOptions) -> Result<Self, BackendError> {
        let cpu = Cpu::new(options);
        Ok(Self {
            image: Box::new(cpu.image_encoder(bundle)?),
            text: Box::new(cpu.text_encoder(bundle)?),
            description: Description { kind: BackendKind::Cpu, device: cpu.description(), npu: None },
            concurrency: Concurrency::SERIAL,
            sensors: None,
        })
    }
}

/// What the ONNX towers `image.onnx` and `text.onnx` of a folder say of their shapes.
///
/// # Errors
/// They are damaged, or no towers of a CLIP.
pub fn inspect_on_cpu(dir: &Path, size: Option<u32>) -> Result<Shapes, BackendError> {
    cpu::inspect(dir, size)
}

/// Loads these encoders on the CPU, tries each once, and drops them.
///
/// # Errors
/// As [`Encoders::on_cpu`].
pub fn try_on_cpu(bundle: &Bundle, towers: &[TowerKind], options: CpuOptions) -> Result<(), BackendError> {
    let cpu = Cpu::new(options);
    towers.iter().try_for_each(|tower| match tower {
        TowerKind::Image => cpu.image_encoder(bundle).map(drop),
        TowerKind::Text => cpu.text_encoder(bundle).map(drop),
    })
}

impl Backend for Encoders {
    fn description(&self) -> &Description {
        &self.description
    }

    fn concurrency(&self) -> Concurrency {
        self.concurrency
    }

    fn health(&self) -> Option<Health> {
        self.sensors.as_ref().map(|read| read())
    }

    fn embed_images(&self, batch: &[&Pixels]) -> Result<Vec<Embedding>, BackendError> {
        self.image.embed(batch)
    }

    fn embed_texts(&self, batch: &[&Tokens]) -> Result<Vec<Embedding>, BackendError> {
        self.text.embed(batch)
    }
}
