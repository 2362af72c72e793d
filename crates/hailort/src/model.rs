//! A compiled network on a device, and its inferences.

use std::{
    ffi::CString,
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use hailort_sys as sys;
use thiserror::Error;
use tracing::warn;

use crate::{
    buffer::{self, Frame, FramePool},
    calls::{self, Frames},
    library::{Library, text},
    status::{Error, Status},
    vdevice::{Held, VDevice},
};

/// HailoRT's status where there is no room for a submission.
const QUEUE_IS_FULL: i32 = 82;

/// How a model is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelOptions {
    /// Frames that the device takes as one batch.
    pub batch_size: u16,
    /// What the host writes into the inputs.
    pub input: Format,
    /// What the host reads from the outputs.
    pub output: Format,
}

/// The type of the numbers on the host's side. HailoRT converts where the device has another one, by
/// the stream's own quantisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As on the device.
    Auto,
    /// `u8`
    UInt8,
    /// `u16`
    UInt16,
    /// `f32`
    Float32,
}

/// One input or output.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// Its name in the HEF.
    pub name: String,
    /// Height, width, channels.
    pub shape: [usize; 3],
    /// HailoRT's number for the type on the host's side.
    pub format: i32,
    /// `value = scale × (number − zero_point)` on the device; of the first channel, where each has its own.
    pub scale: f32,
    /// See `scale`.
    pub zero_point: f32,
    /// Whether each channel has a scale and a zero point of its own.
    pub quantized_by_channel: bool,
    /// Bytes of a frame on the host's side.
    pub frame_size: usize,
}

/// A configured model. Clones share it.
#[derive(Clone, Debug)]
pub struct Model {
    loaded: Arc<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    vdevice: Arc<Held>,
    handle: sys::Handle,
    inputs: Vec<Stream>,
    outputs: Vec<Stream>,
    queue_size: usize,
    pool: Arc<FramePool>,
}

/// An inference under way. Dropping it gives it up: the buffers stay with the device until it is done.
#[derive(Debug)]
pub struct Job {
    frames: Frames,
    model: Arc<Loaded>,
}

/// Why an inference gave nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum JobError {
    /// The device did not finish in time, and may never.
    #[error("the device did not answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// HailoRT says that it failed.
    #[error(transparent)]
    Failed(Error),
}

impl Model {
    /// Loads a HEF onto the device.
    ///
    /// # Errors
    /// HailoRT's.
    pub fn open(vdevice: &VDevice, hef: &Path, options: &ModelOptions) -> Result<Self, Error> {
        let library = &vdevice.held.library;
        let path = CString::new(hef.as_os_str().as_bytes()).unwrap_or_default();
        let mut handle = 0;
        // SAFETY: the path ends with a NUL, and `handle` is writable.
        let status =
            unsafe { (library.api().model_open)(vdevice.held.handle, path.as_ptr(), &raw mut handle) };
        library.check("load the model's HEF", status)?;
        let mut loaded = Loaded {
            vdevice: Arc::clone(&vdevice.held),
            handle,
            inputs: Vec::new(),
            outputs: Vec::new(),
            queue_size: 0,
            pool: FramePool::new(Vec::new(), Vec::new()),
        };
        loaded.configure(options)?;
        Ok(Self { loaded: Arc::new(loaded) })
    }

    /// Whether this and `other` are the same loaded model.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.loaded, &other.loaded)
    }

    /// The inputs.
    #[must_use]
    pub fn inputs(&self) -> &[Stream] {
        &self.loaded.inputs
    }

    /// The outputs.
    #[must_use]
    pub fn outputs(&self) -> &[Stream] {
        &self.loaded.outputs
    }

    /// Frames that may be under way at a time.
    #[must_use]
    pub fn queue_size(&self) -> usize {
        self.loaded.queue_size
    }

    /// A frame to fill. It holds whatever was in it last.
    #[must_use]
    pub fn frame(&self) -> Frame {
        self.loaded.pool.take()
    }

    /// Starts the inference of these frames as one batch, once the device has room for them; waits for
    /// that, at most for `limit`. They are at most [`queue_size`](Self::queue_size).
    ///
    /// After any failure of an inference the model is of no use any more: close it, and open it again.
    ///
    /// # Errors
    /// The device has no room, or HailoRT's.
    ///
    /// # Panics
    /// A frame is another model's.
    pub fn submit(&self, mut frames: Vec<Frame>, limit: Duration) -> Result<Job, JobError> {
        assert!(frames.iter().all(|frame| frame.is_of(&self.loaded.pool)), "the frames are this model's");
        if frames.is_empty() || frames.len() > self.queue_size() {
            return Err(JobError::Failed(
                self.loaded.library().error("run the model", Status::INVALID_ARGUMENT),
            ));
        }
        let started = Instant::now();
        loop {
            self.wait_for_room(frames.len(), limit.saturating_sub(started.elapsed()), limit)?;
            match self.try_submit(frames, limit)? {
                Ok(job) => return Ok(job),
                // Somebody else was faster.
                Err(returned) if started.elapsed() < limit => frames = returned,
                Err(_) => return Err(JobError::TimedOut(limit)),
            }
        }
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn pool(&self) -> &Arc<FramePool> {
        &self.loaded.pool
    }

    fn wait_for_room(&self, frames: usize, remaining: Duration, limit: Duration) -> Result<(), JobError> {
        let count = u32::try_from(frames).unwrap_or(u32::MAX);
        let remaining = u32::try_from(remaining.as_millis()).unwrap_or(u32::MAX);
        // SAFETY: it takes any numbers.
        let status =
            unsafe { (self.loaded.library().api().model_wait_ready)(self.loaded.handle, count, remaining) };
        self.check(status, limit)
    }

    /// The job, or the frames if there was no room for them.
    fn try_submit(
        &self,
        mut frames: Vec<Frame>,
        limit: Duration,
    ) -> Result<Result<Job, Vec<Frame>>, JobError> {
        let Loaded { vdevice, handle, .. } = &*self.loaded;
        let library = &vdevice.library;
        let count = u32::try_from(frames.len()).unwrap_or(u32::MAX);
        let buffers: Vec<sys::Buffer> = frames.iter_mut().flat_map(Frame::raw).collect();
        let buffer_count = u32::try_from(buffers.len()).unwrap_or(u32::MAX);
        let (frames, context) = calls::begin(frames);
        // SAFETY: the buffers are those of this model's frames, which the hand-over keeps where they are
        // until the callback has come, for ever if need be; the array outlives the call; the callback
        // takes any context and does not unwind.
        let status = unsafe {
            (library.api().model_submit)(
                *handle,
                buffers.as_ptr(),
                buffer_count,
                count,
                calls::finished,
                context,
            )
        };
        if status != 0 {
            calls::withdraw(context);
        }
        if status == QUEUE_IS_FULL {
            return Ok(Err(frames.take().unwrap_or_default()));
        }
        self.check(status, limit)?;
        Ok(Ok(Job { frames, model: Arc::clone(&self.loaded) }))
    }

    /// Ends all inferences of the model, whose jobs fail; it cannot infer any more.
    ///
    /// # Errors
    /// HailoRT's.
    pub fn shutdown(&self) -> Result<(), Error> {
        let library = self.loaded.library();
        // SAFETY: it takes any number.
        let status = unsafe { (library.api().model_shutdown)(self.loaded.handle) };
        library.check("stop the model", status)
    }

    /// Unloads the model, if nobody else uses it: says whether, and HailoRT's error.
    ///
    /// # Errors
    /// HailoRT's; the handle is gone all the same.
    pub fn close(self) -> Result<bool, Error> {
        match Arc::into_inner(self.loaded) {
            None => Ok(false),
            Some(mut loaded) => {
                let closed = loaded.close();
                loaded.handle = 0;
                closed.map(|()| true)
            }
        }
    }

    fn check(&self, status: i32, limit: Duration) -> Result<(), JobError> {
        match Status::failure(status) {
            None => Ok(()),
            Some(status) if status.is_timeout() => Err(JobError::TimedOut(limit)),
            Some(status) => Err(JobError::Failed(self.loaded.library().error("run the model", status))),
        }
    }
}

impl Job {
    /// Waits for the end, at most for `limit`, and gives the frames back, outputs filled.
    ///
    /// # Errors
    /// It failed, or did not end; then the buffers stay with the device.
    pub fn wait(self, limit: Duration) -> Result<Vec<Frame>, JobError> {
        let (frames, status) = self.frames.wait(limit).ok_or(JobError::TimedOut(limit))?;
        match Status::failure(status) {
            None => Ok(frames),
            Some(status) => Err(JobError::Failed(self.model.library().error("run the model", status))),
        }
    }
}

impl Loaded {
    fn library(&self) -> &Library {
        &self.vdevice.library
    }

    fn configure(&mut self, options: &ModelOptions) -> Result<(), Error> {
        let library = self.library().clone();
        let (api, handle) = (library.api(), self.handle);
        // SAFETY: it takes any numbers.
        let status = unsafe { (api.model_set_batch_size)(handle, options.batch_size.max(1)) };
        library.check("set the model's batch size", status)?;
        for (direction, format) in [(sys::INPUT, options.input), (sys::OUTPUT, options.output)] {
            for index in 0..self.count(direction)? {
                // SAFETY: it takes any numbers.
                let status = unsafe { (api.model_set_format)(handle, direction, index, format.number()) };
                library.check("set the model's formats", status)?;
            }
        }
        // SAFETY: it takes any number.
        library.check("configure the model", unsafe { (api.model_configure)(handle) })?;
        let mut queue_size = 0;
        // SAFETY: `queue_size` is writable.
        let status = unsafe { (api.model_queue_size)(handle, &raw mut queue_size) };
        library.check("ask for the model's queue", status)?;
        self.queue_size = queue_size as usize;
        self.inputs = self.streams(sys::INPUT)?;
        self.outputs = self.streams(sys::OUTPUT)?;
        if self.inputs.iter().chain(&self.outputs).any(|stream| stream.frame_size > buffer::LARGEST) {
            return Err(library.error("configure the model", Status::OUT_OF_MEMORY));
        }
        let sizes = |streams: &[Stream]| streams.iter().map(|stream| stream.frame_size).collect();
        self.pool = FramePool::new(sizes(&self.inputs), sizes(&self.outputs));
        Ok(())
    }

    fn count(&self, direction: i32) -> Result<u32, Error> {
        let mut count = 0;
        // SAFETY: `count` is writable.
        let status =
            unsafe { (self.library().api().model_stream_count)(self.handle, direction, &raw mut count) };
        self.library().check("ask for the model's streams", status)?;
        Ok(count)
    }

    fn streams(&self, direction: i32) -> Result<Vec<Stream>, Error> {
        let stream = |index| {
            let mut raw = sys::Stream::zeroed();
            // SAFETY: `raw` is writable.
            let status =
                unsafe { (self.library().api().model_stream)(self.handle, direction, index, &raw mut raw) };
            self.library().check("ask for the model's streams", status)?;
            Ok(Stream {
                name: text(&raw.name),
                shape: [raw.height, raw.width, raw.channels].map(|length| length as usize),
                format: raw.format_type,
                scale: raw.scale,
                zero_point: raw.zero_point,
                quantized_by_channel: raw.quantization_count > 1,
                frame_size: usize::try_from(raw.frame_size).unwrap_or(usize::MAX),
            })
        };
        (0..self.count(direction)?).map(stream).collect()
    }

    fn close(&self) -> Result<(), Error> {
        // SAFETY: it takes any number.
        let status = unsafe { (self.library().api().model_close)(self.handle) };
        self.library().check("unload the model", status)
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // Closed already?
        if self.handle != 0
            && let Err(error) = self.close()
        {
            warn!("{error}");
        }
    }
}

impl Format {
    fn number(self) -> i32 {
        match self {
            Self::Auto => sys::FORMAT_AUTO,
            Self::UInt8 => sys::FORMAT_UINT8,
            Self::UInt16 => sys::FORMAT_UINT16,
            Self::Float32 => sys::FORMAT_FLOAT32,
        }
    }
}
