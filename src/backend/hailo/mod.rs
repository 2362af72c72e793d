//! Encoders on a Hailo NPU, through HailoRT.
//!
//! Either tower of a model runs here if the bundle has a HEF for the device, and on the CPU if it has
//! none. Deliberately not here: what becomes of a model whose device is missing or lost (the selection
//! and the engine's recovery know).

mod host;
mod image;
mod network;
mod text;

use std::{cell::OnceCell, sync::Arc};

pub use self::host::{Host, SHIM_DIR};
use self::{host::Device, image::ImageEncoder, text::TextEncoder};
use super::{
    BackendError, BackendKind, Concurrency, CpuOptions, Description, Encoders, Pipeline, cpu::Cpu,
    encoders::Encode, select::Examine,
};
use crate::{
    clip::{Pixels, Tokens},
    config,
    model::{Bundle, HefEncoder, Platform, Tower},
};

/// Batches that each device is given at a time: the next one is in line while one runs.
const DEPTH: usize = 2;

/// Opens both encoders, at least one of them on the NPU.
pub(super) fn open(
    bundle: &Bundle,
    clip: &config::Clip,
    cpu: CpuOptions,
    host: &Host,
    examine: Examine<'_>,
) -> Result<Encoders, BackendError> {
    let device = host.device(&clip.devices)?;
    let (image, text) = (hef(&bundle.image_tower, device.platform), hef(&bundle.text_tower, device.platform));
    if image.is_none() && text.is_none() {
        return Err(BackendError::Unavailable(format!(
            "model {} has no encoders for {}; choose another with clip.model",
            bundle.name, device.platform
        )));
    }
    let platform = |hef: Option<_>| hef.map_or(Platform::Cpu, |_| device.platform);
    examine(platform(image), platform(text))?;

    // Its threads are started only if it has something to do.
    let on_cpu = OnceCell::new();
    let cpu = || on_cpu.get_or_init(|| Cpu::new(cpu));
    let (batch_size, timeout) = (clip.batch_size, clip.device_timeout);
    let image_encoder: Box<dyn Encode<Pixels>> = match image {
        Some(hef) => Box::new(ImageEncoder::open(Arc::clone(&device), hef, bundle, batch_size, timeout)?),
        None => Box::new(cpu().image_encoder(bundle)?),
    };
    let text_encoder: Box<dyn Encode<Tokens>> = match text {
        Some(hef) => Box::new(TextEncoder::open(Arc::clone(&device), hef, bundle, batch_size, timeout)?),
        None => Box::new(cpu().text_encoder(bundle)?),
    };
    let on_npu = |hef: Option<&HefEncoder>| if hef.is_some() { pipeline(&device) } else { Pipeline::SERIAL };
    let concurrency =
        Concurrency { images: on_npu(image), texts: on_npu(text), shared: on_cpu.get().is_none() };
    let npu = describe(&device);
    let description = match on_cpu.get() {
        None => npu,
        Some(cpu) if image.is_some() => format!("{npu} for pictures, {} for texts", cpu.description()),
        Some(cpu) => format!("{npu} for texts, {} for pictures", cpu.description()),
    };
    Ok(Encoders {
        image: image_encoder,
        text: text_encoder,
        description: Description {
            kind: BackendKind::Hailo,
            device: description,
            npu: Some(device.npu.clone()),
        },
        concurrency,
        sensors: Some(Box::new(move || device.health())),
    })
}

fn hef(tower: &Tower, platform: Platform) -> Option<&HefEncoder> {
    match platform {
        Platform::Cpu => None,
        Platform::Hailo8 => tower.hailo8.as_ref(),
        Platform::Hailo8L => tower.hailo8l.as_ref(),
        Platform::Hailo10H => tower.hailo10h.as_ref(),
    }
}

fn pipeline(device: &Device) -> Pipeline {
    Pipeline { devices: device.vdevices.len(), depth: DEPTH }
}

fn describe(device: &Device) -> String {
    match device.vdevices.len() {
        1 => device.platform.to_string(),
        count => format!("{count} × {}", device.platform),
    }
}
