//! The text encoder on the CPU.

use std::{path::Path, sync::Arc};

use rten::{DataType, NodeId, ValueOrView, ValueView};

use super::{
    network::{self, Axis, Input, Network, Role},
    threads::Pool,
};
use crate::{
    backend::{BackendError, encoders::Encode},
    clip::{Embedding, Tokens},
    model::Bundle,
};

/// An ONNX network from `[N, L]` token ids to `[N, D]`.
pub(in crate::backend) struct TextEncoder {
    network: Network,
    inputs: Inputs,
    output: NodeId,
    length: Length,
    dimension: usize,
}

/// What the network is given.
struct Inputs {
    ids: NodeId,
    /// 1 for a token, 0 for padding. CLIP's own text encoder is causal and needs none.
    mask: Option<NodeId>,
    batch: Axis,
    pad: u32,
    context_length: usize,
}

/// The length of the token sequences that are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    /// Always the context length.
    Full,
    /// As long as the longest text of the batch.
    Trimmed,
}

impl TextEncoder {
    pub(super) fn open(
        path: &Path,
        bundle: &Bundle,
        prepack: bool,
        pool: Arc<Pool>,
    ) -> Result<Self, BackendError> {
        let network = Network::load(path, Role::Text, prepack, pool)?;
        let dimension = bundle.embedding_dimension;
        let (inputs, dynamic_length) = Inputs::recognise(&network, bundle)?;

        // Rising ids, with the last one in end-of-text's place: the position of the highest id is
        // where CLIP takes the embedding from.
        let text = [1, 2, inputs.pad.max(3)];
        // Two rows where two are possible: a batch axis may be dynamic in name only.
        let rows = inputs.batch.rows(2);
        let trial = vec![text.as_slice(); rows];
        let (output, full) = inputs.with(&trial, inputs.context_length, |inputs| {
            network::probe(&network, inputs, rows, dimension)
        })?;
        let length = if dynamic_length
            && inputs
                .with(&trial, text.len(), |inputs| network::probe(&network, inputs, rows, dimension))
                .is_ok_and(|(_, trimmed)| same_direction(&trimmed, &full))
        {
            Length::Trimmed
        } else {
            Length::Full
        };
        Ok(Self { network, inputs, output, length, dimension })
    }

    fn run(&self, texts: &[&Tokens]) -> Result<Vec<Embedding>, BackendError> {
        let texts: Vec<&[u32]> = texts.iter().map(|tokens| tokens.ids()).collect();
        let longest = texts.iter().map(|ids| ids.len()).max().unwrap_or_default();
        let context_length = self.inputs.context_length;
        if longest > context_length {
            return Err(BackendError::Inference(format!(
                "a text of {longest} tokens was given to a text encoder of {context_length}"
            )));
        }
        let length = match self.length {
            Length::Full => context_length,
            Length::Trimmed => longest,
        };
        let mut output =
            self.inputs.with(&texts, length, |inputs| self.network.run(inputs, &[self.output]))?;
        network::embeddings(output.swap_remove(0), texts.len(), self.dimension)
    }
}

impl Encode<Tokens> for TextEncoder {
    fn embed(&self, texts: &[&Tokens]) -> Result<Vec<Embedding>, BackendError> {
        let mut embeddings = Vec::with_capacity(texts.len());
        for chunk in texts.chunks(self.inputs.batch.rows(texts.len().max(1))) {
            embeddings.extend(self.run(chunk)?);
        }
        Ok(embeddings)
    }
}

impl Inputs {
    /// Finds the inputs, and whether the sequence length is free.
    fn recognise(network: &Network, bundle: &Bundle) -> Result<(Self, bool), BackendError> {
        let unsuitable = |what: String| Err(BackendError::Unavailable(what));
        let integer = |input: &Input| input.dtype.is_none_or(|dtype| dtype == DataType::Int32);
        let (mut ids, mut mask) = (None, None);
        for input in network.inputs() {
            match input.name.as_str() {
                "attention_mask" if integer(input) => mask = Some(input.id),
                "pixel_values" => {
                    return unsuitable(
                        "the text encoder also wants a picture: it is a whole CLIP; export the text tower alone"
                            .to_owned(),
                    );
                }
                _ if ids.is_none() && integer(input) => ids = Some(input),
                name => {
                    return unsuitable(format!(
                        "the text encoder wants an input \"{name}\" beside token ids; export it without"
                    ));
                }
            }
        }
        let Some(ids) = ids else {
            return unsuitable("the text encoder takes no token ids; export it again".to_owned());
        };
        let context_length = bundle.context_length;
        let dynamic_length = match ids.shape.as_slice() {
            [] | [_, Axis::Dynamic] => true,
            [_, Axis::Fixed(length)] if *length == context_length => false,
            [_, Axis::Fixed(length)] => {
                return unsuitable(format!(
                    "the text encoder takes {length} tokens, but model.yaml says {context_length}; correct \
                     context_length there"
                ));
            }
            _ => {
                return unsuitable("the text encoder takes no list of token ids; export it again".to_owned());
            }
        };
        let batch = network::batch_axis(Role::Text, ids)?;
        Ok((Self { ids: ids.id, mask, batch, pad: bundle.pad_token, context_length }, dynamic_length))
    }

    /// Calls `run` with `texts`, each filled up with padding to `length` tokens.
    fn with<R>(
        &self,
        texts: &[&[u32]],
        length: usize,
        run: impl FnOnce(Vec<(NodeId, ValueOrView<'_>)>) -> Result<R, BackendError>,
    ) -> Result<R, BackendError> {
        let rows = self.batch.rows(texts.len());
        let mut ids = vec![self.pad.cast_signed(); rows * length];
        let mut mask = vec![0_i32; rows * length];
        // A fixed batch is filled up with texts that are there: padding alone would be masked whole.
        let texts = texts.iter().cycle();
        for ((text, ids), mask) in texts.zip(ids.chunks_exact_mut(length)).zip(mask.chunks_exact_mut(length))
        {
            for ((id, slot), masked) in text.iter().zip(ids).zip(mask) {
                *slot = id.cast_signed();
                *masked = 1;
            }
        }
        let shape = [rows, length];
        let view = |data| ValueView::from_shape(shape, data).map_err(network::bad_shape);
        let mut inputs = vec![(self.ids, view(&ids)?.into())];
        if let Some(id) = self.mask {
            inputs.push((id, view(&mask)?.into()));
        }
        run(inputs)
    }
}

/// Whether padding makes no difference, so that texts need none.
///
/// In a causal encoder (CLIP) nothing after end-of-text is looked at; in others (SigLIP) it is. The
/// tolerance is for quantised encoders, where padding takes part in choosing the scale.
fn same_direction(a: &[Embedding], b: &[Embedding]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.cosine(b).is_ok_and(|cosine| cosine > 0.999))
}
