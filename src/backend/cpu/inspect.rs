//! What ONNX towers say of their shapes, before there is a bundle that says it.

use std::{path::Path, sync::Arc};

use super::{
    image::recognise_input,
    network::{Axis, Network, Role},
    threads::Pool,
};
use crate::{backend::BackendError, model::Shapes};

/// Opens `image.onnx` and `text.onnx` of the folder `dir`; pictures have this size if the network takes any.
pub(in crate::backend) fn inspect(dir: &Path, size: Option<u32>) -> Result<Shapes, BackendError> {
    let pool = Pool::new(1);
    let image = Network::load(&dir.join("image.onnx"), Role::Image, false, Arc::clone(&pool))?;
    let fixed = |axis: Option<&Axis>| match axis {
        Some(Axis::Fixed(length)) => Some(*length),
        _ => None,
    };
    let sizes = image.inputs().first().and_then(|input| fixed(input.shape.get(3)));
    let size = sizes.and_then(|size| u32::try_from(size).ok()).or(size);
    if let Some(size) = size {
        recognise_input(&image, size as usize)?;
    }
    let text = Network::load(&dir.join("text.onnx"), Role::Text, false, pool)?;
    let ids = text.inputs().iter().find(|input| input.shape.len() == 2 && input.name != "attention_mask");
    let context_length = ids.and_then(|ids| fixed(ids.shape.get(1)));
    let dimension = image.declared_dimension().or_else(|| text.declared_dimension());
    Ok(Shapes { image_size: size, context_length, dimension })
}
