//! The text encoder on an NPU.
//!
//! The HEF takes token embeddings and gives the hidden state at each position. What stands before
//! and behind it runs here: the rows of the token table, and the projection of the state at
//! end-of-text.

use std::{fs::File, path::Path, sync::Arc, time::Duration};

use hailort::Format;
use ndarray::{Array2, ArrayView1, ArrayView2};
use ndarray_npy::{ReadNpyExt, ViewNpyExt};

use super::{
    host::Device,
    network::{Network, Shape},
};
use crate::{
    backend::{BackendError, encoders::Encode},
    clip::{Embedding, Tokens},
    model::{Artefact, Bundle, HefEncoder},
};

/// A HEF from `[L, W]` token embeddings to `[L, W]` hidden states, between a table and a projection.
pub(super) struct TextEncoder {
    network: Network,
    table: TokenTable,
    /// `[W, D]`, multiplied from the right.
    projection: Array2<f32>,
    context_length: usize,
    pad: u32,
}

impl TextEncoder {
    pub(super) fn open(
        device: Arc<Device>,
        encoder: &HefEncoder,
        bundle: &Bundle,
        batch_size: usize,
        timeout: Duration,
    ) -> Result<Self, BackendError> {
        let model = &bundle.name;
        let unsuitable = |what: &str| {
            BackendError::Unavailable(format!(
                "model {model}: the text encoder for {} {what}; reinstall the model, or choose another",
                device.platform
            ))
        };
        let (Some(table), Some(projection)) = (&encoder.token_embedding, &encoder.text_projection) else {
            return Err(unsuitable("lacks its token_embedding or its text_projection"));
        };
        let table =
            TokenTable::open(&table.path).ok_or_else(|| unsuitable("has a damaged token_embedding"))?;
        if bundle.pad_token as usize >= table.rows {
            return Err(unsuitable("has a token_embedding without the padding token"));
        }
        let projection =
            read_matrix(projection).ok_or_else(|| unsuitable("has a damaged text_projection"))?;
        let (width, dimension) = projection.dim();
        if dimension != bundle.embedding_dimension || table.width != width {
            return Err(unsuitable("does not fit its token_embedding and text_projection"));
        }
        let values = bundle.context_length * width;
        let shape = Shape {
            model: model.clone(),
            input: Format::Float32,
            input_size: values * size_of::<f32>(),
            output_length: values,
        };
        let network = Network::open(device, &encoder.hef, shape, batch_size, timeout)?;
        Ok(Self { network, table, projection, context_length: bundle.context_length, pad: bundle.pad_token })
    }
}

impl Encode<Tokens> for TextEncoder {
    fn embed(&self, texts: &[&Tokens]) -> Result<Vec<Embedding>, BackendError> {
        for text in texts {
            self.check(text)?;
        }
        let table = self.table.view()?;
        let width = self.projection.nrows();
        let fill = |index: usize, input: &mut [f32]| {
            let ids = texts[index].ids().iter().copied().chain(std::iter::repeat(self.pad));
            for (id, row) in ids.zip(input.chunks_exact_mut(width)) {
                // Within the table: `check` has seen to the text, `open` to the padding.
                row.copy_from_slice(table.row(id as usize).to_slice().unwrap_or(&[]));
            }
        };
        let read = |index: usize, output: &[f32]| {
            // End-of-text is the last token of a text.
            let end = texts[index].ids().len().saturating_sub(1);
            let state = ArrayView1::from(&output[end * width..(end + 1) * width]);
            let embedding = state.dot(&self.projection);
            Ok(Embedding::normalize(&embedding.to_vec())?)
        };
        self.network.run(texts.len(), fill, read)
    }
}

impl TextEncoder {
    fn check(&self, text: &Tokens) -> Result<(), BackendError> {
        let ids = text.ids();
        if ids.len() > self.context_length || ids.iter().any(|&id| id as usize >= self.table.rows) {
            return Err(BackendError::Inference("a text does not fit the text encoder".into()));
        }
        Ok(())
    }
}

/// `[V, W]`: a row for each token of the vocabulary, mapped since it is as large as a model.
struct TokenTable {
    file: mapped::Mmap,
    rows: usize,
    width: usize,
}

impl TokenTable {
    fn open(path: &Path) -> Option<Self> {
        let file = mapped::file(path).ok()?;
        let (rows, width) = ArrayView2::<f32>::view_npy(&file).ok()?.dim();
        Some(Self { file, rows, width })
    }

    fn view(&self) -> Result<ArrayView2<'_, f32>, BackendError> {
        ArrayView2::view_npy(&self.file).map_err(|_| {
            BackendError::Inference("the token embeddings have changed; restart the service".into())
        })
    }
}

fn read_matrix(artefact: &Artefact) -> Option<Array2<f32>> {
    Array2::read_npy(File::open(&artefact.path).ok()?).ok()
}
