//! The image encoder on the CPU.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use rten::{DataType, NodeId, ValueView};

use super::{
    network::{self, Axis, Network, Role},
    threads::Pool,
};
use crate::{
    backend::{BackendError, encoders::Encode},
    clip::{Embedding, Pixels},
    model::Bundle,
};

/// An ONNX network from `[N, 3, S, S]` f32 to `[N, D]`.
pub(in crate::backend) struct ImageEncoder {
    network: Network,
    input: NodeId,
    output: NodeId,
    batch: Axis,
    size: usize,
    mean: [f32; 3],
    std: [f32; 3],
    dimension: usize,
    /// Kept from batch to batch: fresh pages for every batch cost more than filling them.
    pixels: Mutex<Vec<f32>>,
}

impl ImageEncoder {
    pub(super) fn open(
        path: &Path,
        bundle: &Bundle,
        prepack: bool,
        pool: Arc<Pool>,
    ) -> Result<Self, BackendError> {
        let network = Network::load(path, Role::Image, prepack, pool)?;
        let size = bundle.image.size as usize;
        let (input, batch) = recognise_input(&network, size)?;

        // Two rows where two are possible: a batch axis may be dynamic in name only.
        let rows = batch.rows(2);
        let trial: Vec<f32> = vec![0.5; rows * 3 * size * size];
        let shape = [rows, 3, size, size];
        let view = ValueView::from_shape(shape, &trial).map_err(network::bad_shape)?;
        let (output, _) =
            network::probe(&network, vec![(input, view.into())], rows, bundle.embedding_dimension)?;
        Ok(Self {
            network,
            input,
            output,
            batch,
            size,
            mean: bundle.mean,
            std: bundle.std,
            dimension: bundle.embedding_dimension,
            pixels: Mutex::new(trial),
        })
    }

    fn run(&self, pictures: &[&Pixels]) -> Result<Vec<Embedding>, BackendError> {
        let rows = self.batch.rows(pictures.len());
        let values = 3 * self.size * self.size;
        let mut pixels = self.pixels.lock().unwrap_or_else(PoisonError::into_inner);
        pixels.resize(rows * values, 0.0);
        for (picture, row) in pictures.iter().zip(pixels.chunks_exact_mut(values)) {
            if picture.size() as usize != self.size {
                return Err(BackendError::Inference(format!(
                    "a picture of {} pixels was given to an image encoder of {}",
                    picture.size(),
                    self.size
                )));
            }
            picture.normalize_into(&self.mean, &self.std, row);
        }
        let shape = [rows, 3, self.size, self.size];
        let view = ValueView::from_shape(shape, &pixels).map_err(network::bad_shape)?;
        let mut output = self.network.run(vec![(self.input, view.into())], &[self.output])?;
        network::embeddings(output.swap_remove(0), pictures.len(), self.dimension)
    }
}

impl Encode<Pixels> for ImageEncoder {
    fn embed(&self, pictures: &[&Pixels]) -> Result<Vec<Embedding>, BackendError> {
        let mut embeddings = Vec::with_capacity(pictures.len());
        for chunk in pictures.chunks(self.batch.rows(pictures.len().max(1))) {
            embeddings.extend(self.run(chunk)?);
        }
        Ok(embeddings)
    }
}

pub(super) fn recognise_input(network: &Network, size: usize) -> Result<(NodeId, Axis), BackendError> {
    let unsuitable = |what: String| Err(BackendError::Unavailable(what));
    let [input] = network.inputs() else {
        let names: Vec<&str> = network.inputs().iter().map(|input| input.name.as_str()).collect();
        return unsuitable(format!(
            "the image encoder must have pictures as its only input, but has {}; export the image tower alone",
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        ));
    };
    if input.dtype.is_some_and(|dtype| dtype != DataType::Float) {
        return unsuitable("the image encoder does not take float32 pictures; export it again".to_owned());
    }
    if let [_, wanted @ ..] = input.shape.as_slice() {
        let given = [3, size, size];
        let fits = wanted.len() == 3
            && wanted
                .iter()
                .zip(given)
                .all(|(axis, length)| matches!(axis, Axis::Dynamic) || *axis == Axis::Fixed(length));
        if !fits {
            return unsuitable(format!(
                "the image encoder does not take pictures of 3 × {size} × {size} values; correct image.size in \
                 model.yaml, or export it with the channels first"
            ));
        }
    }
    Ok((input.id, network::batch_axis(Role::Image, input)?))
}
