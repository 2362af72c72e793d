//! The device threads: each runs one batch after the other, and answers its jobs.
//!
//! There are as many as the backend takes batches at a time. Deliberately not here: which batch is
//! next (the queue decides), and what becomes of a device that was lost (the recovery does).

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use thiserror::Error;
use tracing::{error, info};

use super::{
    Statistics,
    model::Model,
    queue::{DeviceQueue, ImageJob, TextJob, Work},
    text_cache::Claim,
};
use crate::{
    backend::{Backend, BackendError, Concurrency, Health},
    clip::Embedding,
};

/// One embedding, and when the device worked on it.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) embedding: Embedding,
    pub(super) started: Instant,
    pub(super) finished: Instant,
}

/// What a caller gets back from a device thread.
pub(super) type Encoded = Result<Done, DeviceError>;

/// Why a job was not done.
#[derive(Clone, Debug, Error)]
pub(super) enum DeviceError {
    /// The model that the job was prepared for is not in service any more; prepare it again.
    #[error("the model was replaced")]
    Stale,
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Opens the backend of an installed model again, after it was released or has failed.
pub(super) type Reopen = Box<dyn Fn() -> Result<Box<dyn Backend>, BackendError> + Send + Sync>;

/// Told when the backend is lost and does not open again, before the jobs that it failed are answered.
pub(super) type OnLost = Box<dyn Fn(&BackendError) + Send + Sync>;

/// Told when the backend of a model is opened again, and when it is released until the next request.
pub(super) type OnHeld = Box<dyn Fn(&Arc<Model>, bool) + Send + Sync>;

/// How a model is run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Most pictures of one batch.
    pub(super) images: usize,
    /// Most texts of one batch.
    pub(super) texts: usize,
    /// Release the backend after so much idleness.
    pub(super) idle_unload: Option<Duration>,
}

/// The model in service, and its backend while that is held.
pub(super) struct Installed {
    pub(super) model: Arc<Model>,
    pub(super) concurrency: Concurrency,
    pub(super) limits: Limits,
    backend: Mutex<Option<Arc<dyn Backend>>>,
    /// Held while the sensors are asked: an idle backend is not released meanwhile.
    sensing: Mutex<()>,
    reopen: Reopen,
    on_lost: OnLost,
    on_held: OnHeld,
}

impl Installed {
    pub(super) fn new(
        model: Arc<Model>,
        backend: Box<dyn Backend>,
        limits: Limits,
        reopen: Reopen,
        on_lost: OnLost,
        on_held: OnHeld,
    ) -> Self {
        let concurrency = backend.concurrency();
        let backend = Mutex::new(Some(backend.into()));
        Self { model, concurrency, limits, backend, sensing: Mutex::new(()), reopen, on_lost, on_held }
    }

    /// Whether the backend is held; while it is being opened it counts as such.
    pub(super) fn is_resident(&self) -> bool {
        self.backend.try_lock().map_or(true, |backend| backend.is_some())
    }

    /// Gives the backend up; batches that run end on it.
    pub(super) fn release(&self) {
        if self.lock().take().is_some() {
            info!(model = &*self.model.name, "released the backend");
        }
    }

    /// Gives the backend up until the next request, while no batch runs. It is gone when this returns: two
    /// of them would be too much for the memory or the device.
    fn unload(&self) {
        let _not_sensing = self.sensing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = self.lock();
        if held.take().is_some() {
            info!(model = &*self.model.name, "released the backend until the next request");
            (self.on_held)(&self.model, false);
        }
    }

    /// What the sensors say, if the backend is held. May block on the device.
    pub(super) fn health(&self) -> Option<Health> {
        let _sensing = self.sensing.lock().unwrap_or_else(PoisonError::into_inner);
        let backend = self.lock().clone();
        backend.and_then(|backend| backend.health())
    }

    fn acquire(&self) -> Result<Arc<dyn Backend>, BackendError> {
        let mut held = self.lock();
        if let Some(backend) = &*held {
            return Ok(Arc::clone(backend));
        }
        let backend: Arc<dyn Backend> = (self.reopen)()?.into();
        *held = Some(Arc::clone(&backend));
        (self.on_held)(&self.model, true);
        Ok(backend)
    }

    /// Gives up a backend whose state is unknown now, unless it was replaced already.
    fn discard(&self, failed: &Arc<dyn Backend>) {
        let mut held = self.lock();
        if held.as_ref().is_some_and(|backend| Arc::ptr_eq(backend, failed)) {
            *held = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<dyn Backend>>> {
        self.backend.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of a device thread; returns when the queue is closed.
pub(super) fn run(queue: &DeviceQueue, statistics: &Statistics) {
    loop {
        match queue.next() {
            Work::Stale(images, texts) => {
                images.into_iter().for_each(|job| answer_image(job.result, Err(DeviceError::Stale)));
                texts.into_iter().for_each(|job| job.claim.fulfil(Err(DeviceError::Stale)));
            }
            Work::Images(batch, installed, jobs) => {
                statistics.image_batch(jobs.len());
                let (inputs, results): (Vec<_>, Vec<_>) =
                    jobs.into_iter().map(|ImageJob { pixels, result, .. }| (pixels, result)).unzip();
                run_batch(queue, &installed, &inputs, results, |b, i| b.embed_images(i), answer_image);
                queue.finished(batch);
            }
            Work::Texts(batch, installed, jobs) => {
                statistics.text_batch(jobs.len());
                let (inputs, claims): (Vec<_>, Vec<_>) =
                    jobs.into_iter().map(|TextJob { tokens, claim, .. }| (tokens, claim)).unzip();
                run_batch(queue, &installed, &inputs, claims, |b, i| b.embed_texts(i), Claim::fulfil);
                queue.finished(batch);
            }
            Work::Unload(installed) => {
                installed.unload();
                queue.unloaded();
            }
            Work::Stop => return,
        }
    }
}

fn answer_image(result: tokio::sync::oneshot::Sender<Encoded>, encoded: Encoded) {
    // The caller may have gone while the batch ran.
    let _ = result.send(encoded);
}

type Embed<I> = fn(&dyn Backend, &[&I]) -> Result<Vec<Embedding>, BackendError>;

/// Runs one batch and answers each job.
fn run_batch<I, R>(
    queue: &DeviceQueue,
    installed: &Arc<Installed>,
    inputs: &[I],
    replies: Vec<R>,
    embed: Embed<I>,
    reply: fn(R, Encoded),
) {
    let inputs: Vec<&I> = inputs.iter().collect();
    let started = Instant::now();
    let results = embed_each(installed, &inputs, embed);
    let finished = Instant::now();
    let loss = results.iter().find_map(|result| result.as_ref().err().filter(|error| is_loss(error)));
    if let Some(error) = loss {
        // Out of service first, so that nobody who tries again meets it again.
        queue.uninstall(installed);
        // A lost device can only be opened again when nobody holds it any more.
        installed.release();
        (installed.on_lost)(error);
        replies.into_iter().for_each(|r| reply(r, Err(DeviceError::Stale)));
        return;
    }
    for (r, result) in replies.into_iter().zip(results) {
        reply(r, result.map(|embedding| Done { embedding, started, finished }).map_err(Into::into));
    }
}

/// Whether the backend is gone, rather than that a batch failed.
fn is_loss(error: &BackendError) -> bool {
    match error {
        BackendError::Lost(_)
        | BackendError::NoDevice(_)
        | BackendError::Unavailable(_)
        | BackendError::NoSuchModel(_) => true,
        BackendError::TimedOut(_)
        | BackendError::Interrupted
        | BackendError::Inference(_)
        | BackendError::Output(_) => false,
    }
}

/// One result for each input. If a batch fails, each input is tried alone, so that one that the
/// encoder cannot take does not fail its neighbours.
fn embed_each<I>(
    installed: &Installed,
    inputs: &[&I],
    embed: Embed<I>,
) -> Vec<Result<Embedding, BackendError>> {
    let all = |error: BackendError| inputs.iter().map(|_| Err(error.clone())).collect();
    match try_embed(installed, inputs, embed) {
        Ok(embeddings) => embeddings.into_iter().map(Ok).collect(),
        Err(error @ (BackendError::Inference(_) | BackendError::Output(_))) if inputs.len() == 1 => {
            all(error)
        }
        Err(BackendError::Inference(_) | BackendError::Output(_)) => inputs
            .iter()
            .map(|&input| {
                let mut one = try_embed(installed, &[input], embed)?;
                one.pop().ok_or_else(|| BackendError::Inference("no output".into()))
            })
            .collect(),
        Err(error) => all(error),
    }
}

/// How often a batch is run again that was interrupted by the failure of another one.
const INTERRUPTIONS: usize = 3;

fn try_embed<I>(
    installed: &Installed,
    inputs: &[&I],
    embed: Embed<I>,
) -> Result<Vec<Embedding>, BackendError> {
    for _ in 0..INTERRUPTIONS {
        let backend = installed.acquire()?;
        let result = catch_unwind(AssertUnwindSafe(|| embed(&*backend, inputs))).unwrap_or_else(|_| {
            installed.discard(&backend);
            Err(BackendError::Inference("the backend stopped unexpectedly".into()))
        });
        match result {
            Ok(embeddings) if embeddings.len() == inputs.len() => return Ok(embeddings),
            Ok(_) => {
                return Err(BackendError::Inference("the encoder's output does not fit the batch".into()));
            }
            Err(BackendError::Interrupted) => {}
            Err(error) => {
                // A loss is logged by whoever is told of it.
                if !is_loss(&error) {
                    error!(model = &*installed.model.name, batch = inputs.len(), "{error}");
                }
                return Err(error);
            }
        }
    }
    Err(BackendError::Inference("the device was reset again and again".into()))
}
