//! Jobs: long work on models, each an object `org.hailo.Clip1.Job` that can be followed and cancelled. Their
//! doc comments are printed by introspection.
//!
//! A job goes on if its caller leaves the bus; it stays on the bus for a while after its end, for those who
//! look late.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, task::spawn_blocking, time::MissedTickBehavior};
use tracing::{debug, info, warn};
use zbus::{
    Connection, OwnedObjectPath, interface,
    message::Header,
    names::OwnedUniqueName,
    object_server::{InterfaceRef, SignalEmitter},
};

use super::{Error, PATH, authority::Action, gate::Gate};
use crate::model::{ChangeError, Watch};

/// How often a change of progress is signalled.
const INTERVAL: Duration = Duration::from_millis(200);
/// How long a job that has ended can still be asked.
const LINGER: Duration = Duration::from_secs(60);
/// Most jobs that run at a time.
const MAX_RUNNING: usize = 4;

/// All jobs of this process.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    started: AtomicU64,
    running: Arc<AtomicUsize>,
    /// One is started at a time, so that of two that come together one joins.
    starting: tokio::sync::Mutex<()>,
    /// Running pulls by model, so that a second one joins.
    pulls: Arc<Mutex<HashMap<String, OwnedObjectPath>>>,
}

/// What a job is to do.
pub(super) struct Order<W, A> {
    /// For people.
    pub(super) description: String,
    /// Who asked.
    pub(super) owner: OwnedUniqueName,
    /// Model that is pulled, so that whoever asks for the same joins.
    pub(super) joins: Option<String>,
    /// The work, on a blocking thread; what it gives is for people.
    pub(super) work: W,
    /// Told when it has ended well.
    pub(super) after: A,
}

struct Ended {
    state: &'static str,
    message: String,
    missing: Vec<String>,
}

/// A job on the bus.
pub(super) struct Job {
    gate: Gate,
    owner: OwnedUniqueName,
    description: String,
    watch: Watch,
    progress: watch::Receiver<(u64, u64)>,
    ended: Option<Ended>,
}

impl Jobs {
    /// Starts a job; the path of its object.
    ///
    /// # Errors
    /// As many jobs run as may.
    pub(super) async fn start<W, A, F>(
        &self,
        connection: &Connection,
        gate: &Gate,
        order: Order<W, A>,
    ) -> Result<OwnedObjectPath, Error>
    where
        W: FnOnce(&Watch) -> Result<String, ChangeError> + Send + 'static,
        A: FnOnce() -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let Order { description, owner, joins, work, after } = order;
        let _one_at_a_time = self.starting.lock().await;
        if let Some(path) = joins.as_ref().and_then(|model| lock(&self.pulls).get(model).cloned()) {
            return Ok(path);
        }
        let running = Running::begin(&self.running)?;
        let (report, progress) = watch::channel((0, 0));
        let watch = Watch::new(move |done, total| {
            report.send_replace((done, total));
        });
        let number = self.started.fetch_add(1, Ordering::Relaxed) + 1;
        let path = OwnedObjectPath::try_from(format!("{PATH}/jobs/{number}")).map_err(not_served)?;
        let job = Job {
            gate: gate.clone(),
            owner,
            description: description.clone(),
            watch: watch.clone(),
            progress: progress.clone(),
            ended: None,
        };
        let server = connection.object_server();
        server.at(path.clone(), job).await.map_err(not_served)?;
        let object: InterfaceRef<Job> = server.interface(path.clone()).await.map_err(not_served)?;
        if let Some(model) = &joins {
            lock(&self.pulls).insert(model.clone(), path.clone());
        }
        let (pulls, gone, connection) = (Arc::clone(&self.pulls), path.clone(), connection.clone());
        tokio::spawn(async move {
            info!(job = number, "{description}");
            let working = spawn_blocking(move || work(&watch));
            let result = follow(&object, progress, working).await;
            drop(running);
            if let Some(model) = joins {
                lock(&pulls).remove(&model);
            }
            if result.is_ok() {
                after().await;
            }
            finish(&object, number, result).await;
            tokio::time::sleep(LINGER).await;
            // It fails only if the connection has.
            let _ = connection.object_server().remove::<Job, _>(gone).await;
        });
        Ok(path)
    }
}

/// Counts a job as long as it runs.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn begin(count: &Arc<AtomicUsize>) -> Result<Self, Error> {
        count
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |running| {
                (running < MAX_RUNNING).then_some(running + 1)
            })
            .map(|_| Self(Arc::clone(count)))
            .map_err(|_| {
                Error::QueueFull(format!("{MAX_RUNNING} jobs run already; wait for one, or cancel it"))
            })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn not_served(error: impl std::fmt::Display) -> Error {
    Error::BackendFailed(format!("the job cannot be put on the bus: {error}"))
}

/// Signals progress until the work ends.
async fn follow(
    object: &InterfaceRef<Job>,
    mut progress: watch::Receiver<(u64, u64)>,
    mut working: tokio::task::JoinHandle<Result<String, ChangeError>>,
) -> Result<String, ChangeError> {
    let mut due = tokio::time::interval(INTERVAL);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            result = &mut working => {
                return result.unwrap_or_else(|_| Err(ChangeError::Storage("internal error, please report it".to_owned())));
            }
            _ = due.tick() => {
                if progress.has_changed().unwrap_or(false) {
                    progress.mark_unchanged();
                    let _ = object.get().await.progress_changed(object.signal_emitter()).await;
                }
            }
        }
    }
}

async fn finish(object: &InterfaceRef<Job>, number: u64, result: Result<String, ChangeError>) {
    let (success, ended) = match result {
        Ok(message) => {
            info!(job = number, "done: {message}");
            (true, Ended { state: "done", message, missing: Vec::new() })
        }
        Err(error) => {
            warn!(job = number, "{error}");
            let state = if error == ChangeError::Cancelled { "cancelled" } else { "failed" };
            let missing = match &error {
                ChangeError::MissingOption { option, .. } => vec![option.clone()],
                _ => Vec::new(),
            };
            (false, Ended { state, message: error.to_string(), missing })
        }
    };
    let message = ended.message.clone();
    object.get_mut().await.ended = Some(ended);
    let job = object.get().await;
    let emitter = object.signal_emitter();
    let told = async {
        job.progress_changed(emitter).await?;
        job.state_changed(emitter).await?;
        Job::finished(emitter, success, &message).await
    };
    if let Err(error) = told.await {
        debug!(%error, "the end of a job could not be signalled");
    }
}

#[interface(name = "org.hailo.Clip1.Job")]
impl Job {
    /// Asks the job to end; it does within a moment, and changes nothing.
    ///
    /// Whoever started the job may do this, and who may manage models.
    async fn cancel(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        let watch = self.watch.clone();
        if header.sender().is_some_and(|sender| sender.as_str() == self.owner.as_str()) {
            watch.cancel();
            return Ok(());
        }
        self.gate
            .answer(Action::ManageModels, &header, connection, async move {
                watch.cancel();
                Ok(())
            })
            .await
    }

    /// The job has ended: whether it did what it was to do, and a sentence about that for people.
    #[zbus(signal)]
    async fn finished(emitter: &SignalEmitter<'_>, success: bool, message: &str) -> zbus::Result<()>;

    /// running, done, failed or cancelled.
    #[zbus(property)]
    fn state(&self) -> &str {
        self.ended.as_ref().map_or("running", |ended| ended.state)
    }

    /// How much of it is done, from 0 to 1.
    #[zbus(property)]
    fn progress(&self) -> f64 {
        let (done, total) = *self.progress.borrow();
        let fraction = if total == 0 { 0.0 } else { (done as f64 / total as f64).min(1.0) };
        if self.state() == "done" { 1.0 } else { fraction }
    }

    /// Bytes done, and bytes in all as far as known.
    #[zbus(property(emits_changed_signal = "false"))]
    fn bytes(&self) -> (u64, u64) {
        *self.progress.borrow()
    }

    /// What it does, for people.
    #[zbus(property(emits_changed_signal = "const"))]
    fn description(&self) -> &str {
        &self.description
    }

    /// A sentence about its end, for people; empty while it runs.
    #[zbus(property(emits_changed_signal = "false"))]
    fn message(&self) -> &str {
        self.ended.as_ref().map_or("", |ended| &ended.message)
    }

    /// Options that the job failed for want of.
    #[zbus(property(emits_changed_signal = "false"))]
    fn missing_options(&self) -> Vec<String> {
        self.ended.as_ref().map_or_else(Vec::new, |ended| ended.missing.clone())
    }
}
