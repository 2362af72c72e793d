//! The image encoder on an NPU.

use std::{sync::Arc, time::Duration};

use hailort::Format;

use super::{
    host::Device,
    network::{Network, Shape},
};
use crate::{
    backend::{BackendError, encoders::Encode},
    clip::{Embedding, Pixels},
    model::{Bundle, HefEncoder},
};

/// A HEF from `[S, S, 3]` bytes of RGB to `[D]`; it normalises the pixels itself.
pub(super) struct ImageEncoder {
    network: Network,
    bytes: usize,
}

impl ImageEncoder {
    pub(super) fn open(
        device: Arc<Device>,
        encoder: &HefEncoder,
        bundle: &Bundle,
        batch_size: usize,
        timeout: Duration,
    ) -> Result<Self, BackendError> {
        let bytes = 3 * bundle.image.size as usize * bundle.image.size as usize;
        let shape = Shape {
            model: bundle.name.clone(),
            input: Format::UInt8,
            input_size: bytes,
            output_length: bundle.embedding_dimension,
        };
        let network = Network::open(device, &encoder.hef, shape, batch_size, timeout)?;
        Ok(Self { network, bytes })
    }
}

impl Encode<Pixels> for ImageEncoder {
    fn embed(&self, pictures: &[&Pixels]) -> Result<Vec<Embedding>, BackendError> {
        if pictures.iter().any(|picture| picture.as_bytes().len() != self.bytes) {
            return Err(BackendError::Inference("a picture does not fit the image encoder".into()));
        }
        let fill = |index: usize, input: &mut [u8]| input.copy_from_slice(pictures[index].as_bytes());
        let read = |_, output: &[f32]| Ok(Embedding::normalize(output)?);
        self.network.run(pictures.len(), fill, read)
    }
}
