//! Choosing the processor that the configuration asks for.

use super::{
    Backend, BackendError, CpuOptions, Encoders,
    hailo::{self, Host},
};
use crate::{
    config::{self, BackendChoice},
    model::{Bundle, Platform},
};

/// A backend that is ready to run.
pub struct Opened {
    /// The encoders.
    pub backend: Box<dyn Backend>,
    /// Set if this is not the hardware that was asked for.
    pub degraded: Option<Degraded>,
}

/// Why a model runs on the CPU that should run on the NPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Degraded {
    /// What is missing and what to do, for people.
    pub reason: String,
    /// Whether it may come right by itself: a device may be plugged in, or be given free.
    pub may_pass: bool,
}

/// Whether the files are in order that the encoders for these platforms need: asked once it is
/// settled where they are to run, before any of them is opened.
pub(super) type Examine<'a> = &'a dyn Fn(Platform, Platform) -> Result<(), BackendError>;

/// Opens `bundle` on the hardware that `clip.backend` asks for, and falls back to the CPU where it may.
///
/// `threads` is for the CPU; `None`: the cores and the cgroup's CPU quota decide.
///
/// # Errors
/// No permitted backend can run the model: why, and what to do.
pub fn open(
    bundle: &Bundle,
    clip: &config::Clip,
    threads: Option<usize>,
    host: &Host,
    examine: Examine<'_>,
) -> Result<Opened, BackendError> {
    let cpu = CpuOptions { threads, prepack_weights: clip.prepack_weights };
    let on_cpu = |degraded| {
        examine(Platform::Cpu, Platform::Cpu)?;
        Ok(Opened { backend: Box::new(Encoders::on_cpu(bundle, cpu)?), degraded })
    };
    if clip.backend == BackendChoice::Cpu {
        return on_cpu(None);
    }
    let error = match hailo::open(bundle, clip, cpu, host, examine) {
        Ok(encoders) => return Ok(Opened { backend: Box::new(encoders), degraded: None }),
        Err(error) => error,
    };
    let has_cpu_encoders = bundle.image_tower.cpu.is_some() && bundle.text_tower.cpu.is_some();
    if clip.backend == BackendChoice::Hailo || !has_cpu_encoders {
        return Err(error);
    }
    let may_pass = matches!(error, BackendError::NoDevice(_) | BackendError::Lost(_));
    let reason = format!("{error}; running on the CPU (set clip.backend: cpu to make this the normal state)");
    on_cpu(Some(Degraded { reason, may_pass }))
}
