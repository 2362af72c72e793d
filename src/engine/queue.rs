//! What waits for the device threads, and which batch may start.
//!
//! Pictures and texts wait in two queues that take turns, so a request with a thousand prompts
//! delays another caller's picture by one batch, not by a thousand texts. A job whose caller has
//! gone is dropped before it costs device time.
//!
//! A processor that is idle is given whatever waits, so a lone request is never held back. Behind a
//! batch that runs, only a full batch is put in line: what would be small now is larger when its
//! turn comes, and an NPU is several times faster with full batches.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    device::{Encoded, Installed, Limits},
    model::Model,
    text_cache::Claim,
};
use crate::{
    backend::{Concurrency, Pipeline},
    clip::{Pixels, Tokens},
};

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

/// What waits for the device threads.
#[derive(Default)]
pub(super) struct DeviceQueue {
    waiting: Mutex<Waiting>,
    /// Something came, or a batch ended.
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    installed: Option<Arc<Installed>>,
    images: VecDeque<ImageJob>,
    texts: VecDeque<TextJob>,
    texts_are_next: bool,
    running: Vec<Running>,
    batches: u64,
    /// When the last batch ended, if it was the last one.
    idle_since: Option<Instant>,
    unload: Unload,
    closed: bool,
}

struct Running {
    batch: BatchId,
    kind: Kind,
    since: Instant,
}

/// Whether the backend is to be given up until the next request. No batch starts before that is done.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Unload {
    #[default]
    No,
    /// As soon as no batch runs.
    Wanted,
    /// A device thread is at it.
    UnderWay,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Images,
    Texts,
}

/// Names a batch that runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchId(u64);

/// What a device thread is to do.
pub(super) enum Work {
    /// Jobs that were prepared for a model which is not installed any more.
    Stale(Vec<ImageJob>, Vec<TextJob>),
    Images(BatchId, Arc<Installed>, Vec<ImageJob>),
    Texts(BatchId, Arc<Installed>, Vec<TextJob>),
    /// The backend is to be given up until the next request; no batch runs, and none starts meanwhile.
    Unload(Arc<Installed>),
    Stop,
}

impl DeviceQueue {
    pub(super) fn push_image(&self, job: ImageJob) {
        self.lock().images.push_back(job);
        self.changed.notify_one();
    }

    /// All texts of a request at once, so that they can share a batch.
    pub(super) fn push_texts(&self, jobs: Vec<TextJob>) {
        self.lock().texts.extend(jobs);
        self.changed.notify_one();
    }

    /// Runs `installed` from now on. Batches of the one before end on it.
    pub(super) fn install(&self, installed: Arc<Installed>) {
        let mut waiting = self.lock();
        waiting.installed = Some(installed);
        waiting.idle_since = Some(Instant::now());
        waiting.keep();
        self.changed.notify_all();
    }

    /// Takes `installed` out of service, unless another one has taken its place.
    pub(super) fn uninstall(&self, installed: &Arc<Installed>) {
        let mut waiting = self.lock();
        if waiting.is_installed(installed) {
            waiting.installed = None;
            waiting.keep();
        }
        self.changed.notify_all();
    }

    /// Has the backend given up until the next request, once no batch runs; whether that was done in time.
    pub(super) fn unload(&self, limit: Duration) -> bool {
        let mut waiting = self.lock();
        if !waiting.installed.as_ref().is_some_and(|installed| installed.is_resident()) {
            return true;
        }
        if waiting.unload == Unload::No {
            waiting.unload = Unload::Wanted;
        }
        self.changed.notify_all();
        let waited = self.changed.wait_timeout_while(waiting, limit, |waiting| waiting.unload != Unload::No);
        let (mut waiting, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            waiting.keep();
            self.changed.notify_all();
        }
        !waited.timed_out()
    }

    /// The backend was given up.
    pub(super) fn unloaded(&self) {
        self.lock().unload = Unload::No;
        self.changed.notify_all();
    }

    /// What is in service.
    pub(super) fn installed(&self) -> Option<Arc<Installed>> {
        self.lock().installed.clone()
    }

    /// Ends the device threads; jobs that wait are given up.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Pictures and texts that wait.
    pub(super) fn len(&self) -> usize {
        let waiting = self.lock();
        waiting.images.len() + waiting.texts.len()
    }

    /// For how long the oldest batch has been running.
    pub(super) fn longest_batch(&self) -> Option<Duration> {
        self.lock().running.iter().map(|running| running.since.elapsed()).max()
    }

    /// Waits for the batches that run now, at most for `limit`; whether they ended.
    pub(super) fn wait_for_batches(&self, limit: Duration) -> bool {
        let waiting = self.lock();
        let newest = waiting.batches;
        let busy = |waiting: &mut Waiting| waiting.running.iter().any(|running| running.batch.0 <= newest);
        let waited = self.changed.wait_timeout_while(waiting, limit, busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// A batch has ended, and its jobs are answered.
    pub(super) fn finished(&self, batch: BatchId) {
        let mut waiting = self.lock();
        waiting.running.retain(|running| running.batch != batch);
        if waiting.running.is_empty() {
            waiting.idle_since = Some(Instant::now());
        }
        self.changed.notify_all();
    }

    /// Waits for something to do.
    pub(super) fn next(&self) -> Work {
        let mut waiting = self.lock();
        loop {
            if let Some(work) = waiting.take() {
                return work;
            }
            waiting = match waiting.unload_in() {
                None => self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some((installed, Duration::ZERO)) => {
                    waiting.unload = Unload::UnderWay;
                    return Work::Unload(installed);
                }
                Some((_, remaining)) => {
                    self.changed.wait_timeout(waiting, remaining).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn is_installed(&self, installed: &Arc<Installed>) -> bool {
        self.installed.as_ref().is_some_and(|current| Arc::ptr_eq(current, installed))
    }

    fn take(&mut self) -> Option<Work> {
        if self.closed {
            return Some(Work::Stop);
        }
        let model = self.installed.as_ref().map(|installed| Arc::as_ptr(&installed.model));
        let images = extract_stale(&mut self.images, |job| Some(Arc::as_ptr(&job.model)) == model);
        let texts = extract_stale(&mut self.texts, |job| Some(Arc::as_ptr(&job.model)) == model);
        if !images.is_empty() || !texts.is_empty() {
            return Some(Work::Stale(images, texts));
        }
        let installed = Arc::clone(self.installed.as_ref()?);
        self.images.retain(|job| !job.is_withdrawn());
        self.texts.retain(|job| !job.is_withdrawn());

        match self.unload {
            Unload::No => {}
            Unload::Wanted if self.running.is_empty() => {
                self.unload = Unload::UnderWay;
                return Some(Work::Unload(installed));
            }
            Unload::Wanted | Unload::UnderWay => return None,
        }
        let Limits { images: most_images, texts: most_texts, .. } = installed.limits;
        let images = self.may_start(Kind::Images, self.images.len(), &installed);
        let texts = self.may_start(Kind::Texts, self.texts.len(), &installed);
        let kind = match (images, texts) {
            (false, false) => return None,
            (true, true) if self.texts_are_next => Kind::Texts,
            (true, _) => Kind::Images,
            (false, true) => Kind::Texts,
        };
        self.texts_are_next = kind == Kind::Images;
        self.batches += 1;
        let batch = BatchId(self.batches);
        self.running.push(Running { batch, kind, since: Instant::now() });
        Some(match kind {
            Kind::Images => Work::Images(batch, installed, take_batch(&mut self.images, most_images)),
            Kind::Texts => Work::Texts(batch, installed, take_batch(&mut self.texts, most_texts)),
        })
    }

    fn may_start(&self, kind: Kind, waiting: usize, installed: &Installed) -> bool {
        let Concurrency { images, texts, shared } = installed.concurrency;
        let (Pipeline { devices, depth }, most) = match kind {
            Kind::Images => (images, installed.limits.images),
            Kind::Texts => (texts, installed.limits.texts),
        };
        let running = self.running.iter().filter(|running| shared || running.kind == kind).count();
        let full = waiting >= most;
        waiting > 0 && (running < devices || full && running < devices * depth)
    }

    /// Takes the wish to give the backend up back.
    fn keep(&mut self) {
        if self.unload == Unload::Wanted {
            self.unload = Unload::No;
        }
    }

    /// The backend to give up for idleness, and when.
    fn unload_in(&self) -> Option<(Arc<Installed>, Duration)> {
        if self.unload != Unload::No {
            return None;
        }
        let installed = self.installed.as_ref().filter(|installed| installed.is_resident())?;
        let idle = installed.limits.idle_unload?;
        let since = self.idle_since.filter(|_| self.running.is_empty())?;
        Some((Arc::clone(installed), idle.saturating_sub(since.elapsed())))
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

/// Takes out what is not `fresh`. Mostly nothing: a model is seldom replaced.
fn extract_stale<J>(queue: &mut VecDeque<J>, fresh: impl Fn(&J) -> bool) -> Vec<J> {
    if queue.iter().all(&fresh) {
        return Vec::new();
    }
    let (keep, stale): (VecDeque<J>, VecDeque<J>) = queue.drain(..).partition(fresh);
    *queue = keep;
    stale.into()
}

fn take_batch<J>(queue: &mut VecDeque<J>, batch_size: usize) -> Vec<J> {
    queue.drain(..batch_size.min(queue.len())).collect()
}
