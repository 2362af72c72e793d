//! One ONNX network: loading it, calling it, and surviving it when it is malformed.

use std::{
    any::Any,
    fmt,
    io::ErrorKind,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use rten::{
    DataType, Dimension, LoadError, LoadErrorKind, Model, NodeId, RunOptions, Value, ValueOrView, ValueType,
};
use rten_tensor::Layout;

use super::threads::Pool;
use crate::{
    backend::BackendError,
    clip::{Embedding, EmbeddingError},
    model::onnx,
};

/// Larger fixed batches are not what anybody exports for serving, and would waste the memory.
const MAX_FIXED_BATCH: usize = 64;

/// Which encoder a network is, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Image,
    Text,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Image => "image encoder",
            Self::Text => "text encoder",
        })
    }
}

/// The length of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    Dynamic,
    Fixed(usize),
}

impl Axis {
    /// Rows of a run when `waiting` wait.
    pub(super) fn rows(self, waiting: usize) -> usize {
        match self {
            Self::Dynamic => waiting,
            Self::Fixed(batch) => batch,
        }
    }
}

/// An input of a network.
pub(super) struct Input {
    pub(super) id: NodeId,
    pub(super) name: String,
    /// `None` where the file does not say.
    pub(super) dtype: Option<DataType>,
    /// Empty where the file does not say.
    pub(super) shape: Vec<Axis>,
}

/// A loaded network.
pub(super) struct Network {
    model: Model,
    pool: Arc<Pool>,
    role: Role,
    inputs: Vec<Input>,
}

impl Network {
    /// Loads the network at `path`.
    pub(super) fn load(
        path: &Path,
        role: Role,
        prepack: bool,
        pool: Arc<Pool>,
    ) -> Result<Self, BackendError> {
        onnx::check(path).map_err(|error| {
            BackendError::Unavailable(match error.kind() {
                ErrorKind::InvalidData | ErrorKind::UnexpectedEof => damaged(role),
                _ => unreadable(role),
            })
        })?;
        let model = catch_unwind(|| mapped::onnx(path, prepack))
            .map_err(|panic| {
                tracing::debug!(%role, panic = panic_message(&*panic), "the ONNX reader panicked");
                BackendError::Unavailable(damaged(role))
            })?
            .map_err(|error| {
                tracing::debug!(%role, %error, "the ONNX file was not loaded");
                BackendError::Unavailable(load_failure(role, &error))
            })?;
        let inputs = model.input_ids().iter().filter_map(|&id| describe_input(&model, id)).collect();
        Ok(Self { model, pool, role, inputs })
    }

    /// What must be given to [`run`](Self::run).
    pub(super) fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// All outputs, the likeliest embedding first.
    pub(super) fn outputs(&self) -> Vec<NodeId> {
        const NAMES: [&str; 8] = [
            "image_embeds",
            "text_embeds",
            "embeddings",
            "embedding",
            "sentence_embedding",
            "image_embedding",
            "text_embedding",
            "output",
        ];
        let rank = |id: &NodeId| {
            let name = self.model.node_info(*id).and_then(|node| node.name()).unwrap_or_default();
            NAMES.iter().position(|known| *known == name).unwrap_or(NAMES.len())
        };
        let mut outputs = self.model.output_ids().to_vec();
        outputs.sort_by_key(rank);
        outputs
    }

    /// Components of the likeliest embedding, where the file declares them.
    pub(super) fn declared_dimension(&self) -> Option<usize> {
        self.outputs().into_iter().find_map(|id| {
            let shape = self.model.node_info(id)?.shape()?;
            match shape.as_slice() {
                [_, Dimension::Fixed(length)] => Some(*length),
                _ => None,
            }
        })
    }

    /// Runs the network on the pool, and waits.
    pub(super) fn run(
        &self,
        inputs: Vec<(NodeId, ValueOrView<'_>)>,
        outputs: &[NodeId],
    ) -> Result<Vec<Value>, BackendError> {
        let options = RunOptions::default().with_thread_pool(Some(self.pool.threads()));
        // What a panic leaves half done are the run's own buffers, which go with it: the model itself
        // is not modified by a run.
        catch_unwind(AssertUnwindSafe(|| self.model.run(inputs, outputs, Some(options))))
            .map_err(|panic| {
                tracing::debug!(role = %self.role, panic = panic_message(&*panic), "inference panicked");
                BackendError::Inference(format!("the {} has an operator that fails", self.role))
            })?
            .map_err(|error| {
                tracing::debug!(role = %self.role, %error, "inference failed");
                BackendError::Inference(format!("the {} does not accept its input: {error}", self.role))
            })
    }
}

/// How many rows a network takes at a time.
pub(super) fn batch_axis(role: Role, input: &Input) -> Result<Axis, BackendError> {
    match input.shape.first() {
        None | Some(Axis::Dynamic) => Ok(Axis::Dynamic),
        Some(&Axis::Fixed(batch @ 1..=MAX_FIXED_BATCH)) => Ok(Axis::Fixed(batch)),
        Some(Axis::Fixed(batch)) => Err(BackendError::Unavailable(format!(
            "the {role} takes batches of exactly {batch}; export it with a dynamic batch axis"
        ))),
    }
}

/// Tries `network` with an input of `batch` rows, and finds its embedding output.
///
/// An output is what the network really gives, not what its file declares; and a network that cannot
/// run is better found now than by the first request.
pub(super) fn probe(
    network: &Network,
    inputs: Vec<(NodeId, ValueOrView<'_>)>,
    batch: usize,
    dimension: usize,
) -> Result<(NodeId, Vec<Embedding>), BackendError> {
    let role = network.role;
    let outputs = network.outputs();
    let values = network.run(inputs, &outputs).map_err(|error| {
        BackendError::Unavailable(format!("the {role} fails on a trial input: {error}; export it again"))
    })?;
    let mut shapes = Vec::new();
    for (id, value) in outputs.into_iter().zip(values) {
        let shape = value.shape().to_vec();
        if value.dtype() == ValueType::Tensor(DataType::Float) && shape == [batch, dimension] {
            return Ok((id, embeddings(value, batch, dimension)?));
        }
        shapes.push(format!("{shape:?}"));
    }
    Err(BackendError::Unavailable(format!(
        "the {role} gives no embedding of {dimension} components for each of {batch} inputs, but {}; \
         export it with its projection, or correct embedding_dimension in model.yaml",
        if shapes.is_empty() { "nothing".to_owned() } else { shapes.join(" and ") }
    )))
}

/// The first `rows` embeddings of an output.
pub(super) fn embeddings(
    output: Value,
    rows: usize,
    dimension: usize,
) -> Result<Vec<Embedding>, BackendError> {
    let shape = output.shape().to_vec();
    match output.into_shape_vec::<f32, 2>() {
        Ok(([n, width], data)) if n >= rows && width == dimension => data
            .chunks_exact(dimension)
            .take(rows)
            .map(|row| Embedding::normalize(row).map_err(|error: EmbeddingError| error.into()))
            .collect(),
        _ => Err(BackendError::Inference(format!(
            "the encoder gave {shape:?} numbers where {rows} embeddings of {dimension} were due"
        ))),
    }
}

fn describe_input(model: &Model, id: NodeId) -> Option<Input> {
    let node = model.node_info(id)?;
    let dtype = match node.dtype() {
        Some(ValueType::Tensor(dtype)) => Some(dtype),
        _ => None,
    };
    let shape = node
        .shape()
        .unwrap_or_default()
        .into_iter()
        .map(|dimension| match dimension {
            Dimension::Fixed(length) => Axis::Fixed(length),
            Dimension::Symbolic(_) => Axis::Dynamic,
        })
        .collect();
    Some(Input { id, name: node.name().unwrap_or_default().to_owned(), dtype, shape })
}

/// Says what is wrong with the file; the reader's own words name paths, so they are only logged.
fn load_failure(role: Role, error: &LoadError) -> String {
    match error.kind() {
        LoadErrorKind::IoError => unreadable(role),
        LoadErrorKind::ExternalDataError => {
            format!("the {role}'s weights are missing or incomplete; install the model again")
        }
        LoadErrorKind::UnknownFileType | LoadErrorKind::FormatNotEnabled => {
            format!("the {role}'s file is not named *.onnx; correct it in model.yaml")
        }
        LoadErrorKind::OperatorInvalid => {
            format!(
                "the {role} uses an operator that the CPU backend does not have ({error}); export it again"
            )
        }
        _ => damaged(role),
    }
}

fn unreadable(role: Role) -> String {
    format!("the {role}'s ONNX file cannot be read; install the model again")
}

fn damaged(role: Role) -> String {
    format!("the {role} is damaged: its ONNX file makes no sense; install the model again")
}

/// Cannot happen while buffers are sized from the same numbers as shapes.
pub(super) fn bad_shape(error: impl std::error::Error) -> BackendError {
    BackendError::Inference(error.to_string())
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
