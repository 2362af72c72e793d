//! One network on the devices: fills frames, runs them as a batch, reads what comes.
//!
//! After a failure HailoRT's model is of no use any more, so it is closed and loaded anew for the next
//! batch. A batch that waited behind the failing one is interrupted by that, and says so.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use hailort::{Format, Frame, JobError, Model, ModelOptions, Number, Stream, VDevice};
use tracing::warn;

use super::host::Device;
use crate::{
    backend::BackendError,
    clip::Embedding,
    model::{Artefact, Platform},
};

/// A HEF with one input and one output. Outputs come as f32, by the output's own quantisation.
pub(super) struct Network {
    lanes: Vec<Lane>,
    device: Arc<Device>,
    hef: PathBuf,
    options: ModelOptions,
    shape: Shape,
    timeout: Duration,
}

/// What a network is to be like.
pub(super) struct Shape {
    /// The model's name, for errors.
    pub(super) model: String,
    /// What the input is filled with.
    pub(super) input: Format,
    /// Bytes of an input.
    pub(super) input_size: usize,
    /// Numbers in an output.
    pub(super) output_length: usize,
}

/// The network on one of the devices.
struct Lane {
    vdevice: VDevice,
    /// `None` after a failure.
    model: Mutex<Option<Model>>,
    running: AtomicUsize,
}

impl Network {
    pub(super) fn open(
        device: Arc<Device>,
        hef: &Artefact,
        shape: Shape,
        batch_size: usize,
        timeout: Duration,
    ) -> Result<Self, BackendError> {
        let options = ModelOptions {
            batch_size: u16::try_from(batch_size).unwrap_or(u16::MAX),
            input: shape.input,
            output: Format::Float32,
        };
        let lane = |vdevice: &VDevice| Lane {
            vdevice: vdevice.clone(),
            model: Mutex::default(),
            running: AtomicUsize::new(0),
        };
        let lanes = device.vdevices.iter().map(lane).collect();
        let network = Self { lanes, device, hef: hef.path.clone(), options, shape, timeout };
        network.lanes.iter().try_for_each(|lane| network.model(lane).map(drop))?;
        Ok(network)
    }

    /// One embedding for each of `count` inputs: `fill` writes an input, `read` makes an embedding of
    /// an output.
    pub(super) fn run<T: Number>(
        &self,
        count: usize,
        fill: impl Fn(usize, &mut [T]),
        read: impl Fn(usize, &[f32]) -> Result<Embedding, BackendError>,
    ) -> Result<Vec<Embedding>, BackendError> {
        let Some(lane) = self.lanes.iter().min_by_key(|lane| lane.running.load(Ordering::Relaxed)) else {
            return Err(BackendError::Inference("there is no device".into()));
        };
        let _running = Running::on(lane);
        let model = self.model(lane)?;
        let at_once = model.queue_size().max(1);
        let mut embeddings = Vec::with_capacity(count);
        while embeddings.len() < count {
            let first = embeddings.len();
            let inputs = first..count.min(first + at_once);
            let frames = inputs.map(|index| {
                let mut frame = model.frame();
                fill(index, frame.input(0));
                frame
            });
            let done =
                self.infer(&model, frames.collect()).map_err(|error| self.failed(lane, &model, error))?;
            for frame in done {
                embeddings.push(read(embeddings.len(), frame.output(0))?);
            }
        }
        Ok(embeddings)
    }

    fn infer(&self, model: &Model, frames: Vec<Frame>) -> Result<Vec<Frame>, JobError> {
        // Another batch may be on the device, and has the same time.
        let limit = 2 * self.timeout;
        model.submit(frames, limit)?.wait(limit)
    }

    /// The lane's model, loaded if it is not.
    fn model(&self, lane: &Lane) -> Result<Model, BackendError> {
        let mut model = lane.model.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = &*model {
            return Ok(model.clone());
        }
        let loaded =
            Model::open(&lane.vdevice, &self.hef, &self.options).map_err(|error| self.unusable(&error))?;
        self.check_shape(&loaded)?;
        Ok(model.insert(loaded).clone())
    }

    fn failed(&self, lane: &Lane, model: &Model, error: JobError) -> BackendError {
        let mut current = lane.model.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|current| current.is(model)) {
            *current = None;
            end(model.clone());
        }
        drop(current);
        match error {
            JobError::TimedOut(_) => BackendError::TimedOut(self.timeout),
            JobError::Failed(error) if error.status().is_timeout() => BackendError::TimedOut(self.timeout),
            JobError::Failed(error) if error.status().is_aborted() => BackendError::Interrupted,
            JobError::Failed(error) if error.status().is_lost() => {
                self.device.mark_lost();
                BackendError::Lost(error.to_string())
            }
            JobError::Failed(error) => BackendError::Inference(error.to_string()),
        }
    }

    fn unusable(&self, error: &hailort::Error) -> BackendError {
        let status = error.status();
        if status.is_lost() {
            self.device.mark_lost();
            return BackendError::Lost(error.to_string());
        }
        let message = format!("model {} on {}: {error}", self.shape.model, self.device.platform);
        // Memory may be free later.
        if status.is_out_of_memory() {
            BackendError::NoDevice(message)
        } else {
            BackendError::Unavailable(message)
        }
    }

    fn check_shape(&self, model: &Model) -> Result<(), BackendError> {
        let fits = |streams: &[Stream], size| matches!(streams, [stream] if stream.frame_size == size);
        if fits(model.inputs(), self.shape.input_size)
            && fits(model.outputs(), self.shape.output_length * size_of::<f32>())
        {
            return Ok(());
        }
        let platform: Platform = self.device.platform;
        Err(BackendError::Unavailable(format!(
            "model {}: the HEF for {platform} takes or gives something else than model.yaml says; reinstall the \
             model",
            self.shape.model
        )))
    }
}

/// Ends a model that failed, and with it the batches that wait in it. Beside the caller: with a device
/// that hangs, HailoRT takes seconds for it.
fn end(model: Model) {
    let ending = move || {
        if let Err(error) = model.shutdown() {
            warn!("{error}");
        }
    };
    if let Err(error) = thread::Builder::new().name("reset".into()).spawn(ending) {
        warn!("a model that failed could not be ended: {error}");
    }
}

/// Counts a batch on a lane while it lives.
struct Running<'a>(&'a Lane);

impl<'a> Running<'a> {
    fn on(lane: &'a Lane) -> Self {
        lane.running.fetch_add(1, Ordering::Relaxed);
        Self(lane)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}
