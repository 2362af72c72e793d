//! The device thread: takes whatever waits as one batch and runs it.
//!
//! Pictures and texts wait in two queues that take turns, so a request with a thousand prompts
//! delays another caller's picture by one batch, not by a thousand texts. A job whose caller has
//! gone is dropped before it costs device time.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use thiserror::Error;
use tokio::sync::oneshot;
use tracing::{error, info};

use super::{model::Model, text_cache::Claim};
use crate::{
    backend::{Backend, BackendError},
    clip::{Embedding, Pixels, Tokens},
};

/// One embedding, and when the device worked on it.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) embedding: Embedding,
    pub(super) started: Instant,
    pub(super) finished: Instant,
}

/// What a caller gets back from the device thread.
pub(super) type Encoded = Result<Done, DeviceError>;

/// Why a job was not done.
#[derive(Clone, Debug, Error)]
pub(super) enum DeviceError {
    /// The job was prepared for a model that is not loaded any more; prepare it again.
    #[error("the model was replaced")]
    Stale,
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// A picture to encode.
pub(super) struct ImageJob {
    pub(super) model: Arc<Model>,
    pub(super) pixels: Pixels,
    pub(super) result: oneshot::Sender<Encoded>,
}

/// A text to encode.
pub(super) struct TextJob {
    pub(super) model: Arc<Model>,
    pub(super) tokens: Tokens,
    pub(super) claim: Claim,
}

/// Opens the backend of the installed model again, after it was released or lost.
pub(super) type Reopen = Box<dyn Fn() -> Result<Box<dyn Backend>, BackendError> + Send>;

/// A model to run from now on, instead of the one before.
pub(super) struct Install {
    pub(super) model: Arc<Model>,
    pub(super) backend: Box<dyn Backend>,
    pub(super) reopen: Reopen,
    pub(super) limits: Limits,
    pub(super) installed: oneshot::Sender<()>,
}

/// How the device thread works.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Most jobs of one batch.
    pub(super) batch_size: usize,
    /// Release the backend after so much idleness.
    pub(super) idle_unload: Option<Duration>,
}

/// What waits for the device thread.
#[derive(Default)]
pub(super) struct DeviceQueue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    /// Whether a backend is held, for those who look from outside.
    resident: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    install: Option<Install>,
    images: VecDeque<ImageJob>,
    texts: VecDeque<TextJob>,
    texts_are_next: bool,
    closed: bool,
}

enum Work {
    Install(Install),
    Images(Vec<ImageJob>),
    Texts(Vec<TextJob>),
    Release,
    Stop,
}

impl DeviceQueue {
    pub(super) fn push_image(&self, job: ImageJob) {
        self.lock().images.push_back(job);
        self.wake.notify_one();
    }

    /// All texts of a request at once, so that they can share a batch.
    pub(super) fn push_texts(&self, jobs: Vec<TextJob>) {
        self.lock().texts.extend(jobs);
        self.wake.notify_one();
    }

    pub(super) fn install(&self, install: Install) {
        self.lock().install = Some(install);
        self.wake.notify_one();
    }

    /// Ends the device thread; jobs that wait are given up.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    /// Pictures and texts that wait.
    pub(super) fn len(&self) -> usize {
        let waiting = self.lock();
        waiting.images.len() + waiting.texts.len()
    }

    /// Whether a backend is held.
    pub(super) fn is_resident(&self) -> bool {
        self.resident.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to do.
    fn next(&self, limits: Limits, resident: bool) -> Work {
        let mut waiting = self.lock();
        loop {
            if let Some(work) = waiting.take(limits.batch_size) {
                return work;
            }
            waiting = match limits.idle_unload.filter(|_| resident) {
                None => self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(idle) => {
                    let (guard, wait) =
                        self.wake.wait_timeout(waiting, idle).unwrap_or_else(PoisonError::into_inner);
                    if wait.timed_out() && guard.is_empty() {
                        return Work::Release;
                    }
                    guard
                }
            };
        }
    }
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.install.is_none() && self.images.is_empty() && self.texts.is_empty() && !self.closed
    }

    fn take(&mut self, batch_size: usize) -> Option<Work> {
        if self.closed {
            return Some(Work::Stop);
        }
        if let Some(install) = self.install.take() {
            return Some(Work::Install(install));
        }
        skip_departed(&mut self.images);
        skip_departed(&mut self.texts);
        let texts = match (self.images.is_empty(), self.texts.is_empty()) {
            (true, true) => return None,
            (false, false) => self.texts_are_next,
            (no_images, _) => no_images,
        };
        self.texts_are_next = !texts;
        Some(if texts {
            Work::Texts(take_batch(&mut self.texts, batch_size))
        } else {
            Work::Images(take_batch(&mut self.images, batch_size))
        })
    }
}

/// Work that its caller may withdraw.
trait Job {
    fn is_withdrawn(&self) -> bool;
}

impl Job for ImageJob {
    fn is_withdrawn(&self) -> bool {
        self.result.is_closed()
    }
}

impl Job for TextJob {
    fn is_withdrawn(&self) -> bool {
        self.claim.is_abandoned()
    }
}

fn skip_departed<J: Job>(queue: &mut VecDeque<J>) {
    while queue.front().is_some_and(Job::is_withdrawn) {
        queue.pop_front();
    }
}

fn take_batch<J: Job>(queue: &mut VecDeque<J>, batch_size: usize) -> Vec<J> {
    let mut batch = Vec::with_capacity(batch_size.min(queue.len()));
    while batch.len() < batch_size {
        match queue.pop_front() {
            Some(job) if job.is_withdrawn() => {}
            Some(job) => batch.push(job),
            None => break,
        }
    }
    batch
}

/// The body of the device thread; returns when the queue is closed.
pub(super) fn run(queue: &DeviceQueue) {
    let mut limits = Limits { batch_size: 1, idle_unload: None };
    let mut device: Option<Device> = None;
    loop {
        let resident = device.as_ref().is_some_and(|device| device.backend.is_some());
        queue.resident.store(resident, Ordering::Relaxed);
        match queue.next(limits, resident) {
            Work::Install(Install { model, backend, reopen, limits: new, installed }) => {
                device = Some(Device { model, backend: Some(backend), reopen });
                limits = new;
                queue.resident.store(true, Ordering::Relaxed);
                // The one who asked may have given up; the model is installed all the same.
                let _ = installed.send(());
            }
            Work::Images(jobs) => {
                let (inputs, results) =
                    jobs.into_iter().map(|job| ((job.model, job.pixels), job.result)).unzip();
                run_batch(device.as_mut(), inputs, results, Backend::embed_images, |result, encoded| {
                    // The caller may have gone while the batch ran.
                    let _ = result.send(encoded);
                });
            }
            Work::Texts(jobs) => {
                let (inputs, claims) =
                    jobs.into_iter().map(|job| ((job.model, job.tokens), job.claim)).unzip();
                run_batch(device.as_mut(), inputs, claims, Backend::embed_texts, Claim::fulfil);
            }
            Work::Release => {
                if let Some(device) = &mut device {
                    device.backend = None;
                    info!(model = &*device.model.name, "released the idle backend");
                }
            }
            Work::Stop => return,
        }
    }
}

/// The installed model, and its backend while it is held.
struct Device {
    model: Arc<Model>,
    backend: Option<Box<dyn Backend>>,
    reopen: Reopen,
}

type Embed<I> = fn(&mut (dyn Backend + 'static), &[&I]) -> Result<Vec<Embedding>, BackendError>;

/// Runs one batch and answers each job. Jobs prepared for another model are sent back.
fn run_batch<I, R>(
    device: Option<&mut Device>,
    inputs: Vec<(Arc<Model>, I)>,
    replies: Vec<R>,
    embed: Embed<I>,
    reply: fn(R, Encoded),
) {
    let Some(device) = device else {
        replies.into_iter().for_each(|r| reply(r, Err(DeviceError::Stale)));
        return;
    };
    let (mut fresh, mut waiting) = (Vec::new(), Vec::new());
    for ((model, input), r) in inputs.iter().zip(replies) {
        if Arc::ptr_eq(model, &device.model) {
            fresh.push(input);
            waiting.push(r);
        } else {
            reply(r, Err(DeviceError::Stale));
        }
    }
    if fresh.is_empty() {
        return;
    }
    let started = Instant::now();
    let results = device.embed(&fresh, embed);
    let finished = Instant::now();
    for (r, result) in waiting.into_iter().zip(results) {
        reply(r, result.map(|embedding| Done { embedding, started, finished }).map_err(Into::into));
    }
}

impl Device {
    /// One result for each input. If a batch fails, each input is tried alone, so that one that the
    /// encoder cannot take does not fail its neighbours.
    fn embed<I>(&mut self, inputs: &[&I], embed: Embed<I>) -> Vec<Result<Embedding, BackendError>> {
        match self.try_embed(inputs, embed) {
            Ok(embeddings) => embeddings.into_iter().map(Ok).collect(),
            Err(error) if inputs.len() == 1 => vec![Err(error)],
            Err(_) => inputs
                .iter()
                .map(|&input| {
                    self.try_embed(&[input], embed).and_then(|mut one| {
                        one.pop().ok_or_else(|| BackendError::Inference("no output".into()))
                    })
                })
                .collect(),
        }
    }

    fn try_embed<I>(&mut self, inputs: &[&I], embed: Embed<I>) -> Result<Vec<Embedding>, BackendError> {
        let backend = match &mut self.backend {
            Some(backend) => backend,
            none => none.insert((self.reopen)()?),
        };
        let result = catch_unwind(AssertUnwindSafe(|| embed(&mut **backend, inputs))).unwrap_or_else(|_| {
            // Its state is unknown now: the next batch opens it afresh.
            self.backend = None;
            Err(BackendError::Inference("the backend stopped unexpectedly".into()))
        });
        let result = result.and_then(|embeddings| {
            if embeddings.len() == inputs.len() {
                Ok(embeddings)
            } else {
                Err(BackendError::Inference("the encoder's output does not fit the batch".into()))
            }
        });
        if let Err(error) = &result {
            error!(model = &*self.model.name, batch = inputs.len(), "{error}");
        }
        result
    }
}
