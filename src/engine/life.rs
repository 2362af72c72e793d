//! The engine's life: start, load, reload, drain.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Semaphore, watch};
use tracing::{error, info, warn};

use super::{
    Engine, EngineError, Loader, Shared, State, Statistics, Status, Tuning,
    admission::Admission,
    device::{self, Installed, Limits},
    health, kept_texts,
    model::Model,
    queue::DeviceQueue,
    recovery::{self, Recovery},
};
use crate::{
    backend::{BackendError, BackendKind},
    config::{BackendChoice, Settings},
};

/// A text without its padding is so many times less work than a picture, at least: the prompts of a request
/// are to be one batch.
const TEXTS_PER_PICTURE: usize = 4;
/// But not so many that the memory for them counts.
const MOST_TEXTS: usize = 64;

impl Engine {
    /// Starts the device thread. No model is loaded yet: see [`load`](Self::load).
    ///
    /// The engine's threads and tasks end when the last handle is dropped.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(settings: Arc<Settings>, loader: Loader) -> std::io::Result<Self> {
        let status = Status {
            state: State::Starting,
            model: settings.clip.model.clone(),
            loaded: None,
            backend: None,
            idle: false,
            error: None,
        };
        let shared = Arc::new(Shared {
            tuning: ArcSwap::from_pointee(Tuning::new(settings, None)),
            model: ArcSwapOption::empty(),
            admission: Admission::default(),
            device: Arc::new(DeviceQueue::default()),
            device_threads: std::sync::Mutex::new(0),
            status: watch::Sender::new(status),
            health: watch::Sender::new(None),
            installed: Arc::default(),
            recovery: watch::Sender::new(Recovery::Idle),
            statistics: Arc::new(Statistics::new()),
            texts: kept_texts::KeptTexts::default(),
            loader,
            fits_beside: std::sync::OnceLock::new(),
            loading: tokio::sync::Mutex::new(()),
        });
        shared.ensure_device_threads(1)?;
        tokio::spawn(recovery::watch(Arc::downgrade(&shared)));
        tokio::spawn(health::sample(Arc::downgrade(&shared)));
        tokio::spawn(kept_texts::save_now_and_then(Arc::downgrade(&shared)));
        Ok(Self { shared })
    }

    /// Loads the configured model and serves from then on.
    ///
    /// # Errors
    /// The state is `failed`, and requests are refused with the reason.
    pub async fn load(&self) -> Result<(), EngineError> {
        let _one_at_a_time = self.shared.loading.lock().await;
        self.shared.status.send_modify(|status| status.state = State::Loading);
        self.load_or_fail().await
    }

    /// Puts new settings in force. If they name another model or backend, it is loaded while the old
    /// one goes on serving. `settings` is called when no other model can be chosen in between.
    ///
    /// # Errors
    /// The new model cannot be loaded; the old one and the old settings stay in force.
    pub async fn reload(&self, settings: impl FnOnce() -> Arc<Settings>) -> Result<(), EngineError> {
        let _one_at_a_time = self.shared.loading.lock().await;
        let settings = settings();
        let old = self.settings();
        let same_model = old.clip == settings.clip
            && old.text_cache == settings.text_cache
            && old.performance.inference_threads == settings.performance.inference_threads
            && old.performance.idle_unload == settings.performance.idle_unload;
        if !same_model || self.shared.model.load().is_none() {
            self.install(&settings, settings.clip.backend).await.map_err(refusal)?;
        }
        self.put_in_force(settings);
        Ok(())
    }

    /// Refuses new requests and waits for those in flight; whether all were answered within `limit`.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.shared.status.send_modify(|status| status.state = State::Draining);
        tokio::time::timeout(limit, self.shared.admission.idle()).await.is_ok()
    }

    pub(super) fn put_in_force(&self, settings: Arc<Settings>) {
        let workers = Arc::clone(&self.shared.tuning.load().workers);
        let workers = (self.settings().performance.worker_threads == settings.performance.worker_threads)
            .then_some(workers);
        self.shared.tuning.store(Arc::new(Tuning::new(settings, workers)));
    }

    /// Installs the configured model; if that is not possible, the state is `failed`.
    pub(super) async fn load_or_fail(&self) -> Result<(), EngineError> {
        let settings = self.settings();
        let result = self.install(&settings, settings.clip.backend).await;
        result.map_err(|error| {
            error!(model = settings.clip.model, "cannot load the model: {error}");
            self.shared.model.store(None);
            self.shared.status.send_modify(|status| {
                if status.state != State::Draining {
                    status.state = State::Failed;
                }
                status.loaded = None;
                status.backend = None;
                status.idle = false;
                status.error = Some(error.to_string());
            });
            if matches!(error, BackendError::NoDevice(_) | BackendError::Lost(_)) {
                self.shared.recovery.send_replace(Recovery::Later);
            }
            refusal(error)
        })
    }

    /// Loads what the settings name, on `choice`, and puts it in service.
    pub(super) async fn install(
        &self,
        settings: &Arc<Settings>,
        choice: BackendChoice,
    ) -> Result<(), BackendError> {
        let started = Instant::now();
        let loader = Arc::clone(&self.shared.loader);
        let load = move |settings: Arc<Settings>| {
            let mut loaded = loader(&settings)?;
            loaded.warm_up(settings.performance.warmup_iterations)?;
            Ok::<_, BackendError>(loaded)
        };
        let first = tokio::task::spawn_blocking({
            let (load, settings, shared) = (load.clone(), on(settings, choice), Arc::clone(&self.shared));
            move || {
                let (kept, batch_size) = (settings.text_cache, settings.clip.batch_size);
                let loaded = load(settings)?;
                let texts = shared.texts.adopt(loaded.text_digest, loaded.info.embedding_dimension, kept);
                Ok::<_, BackendError>(Model::split(loaded, texts, batch_size))
            }
        });
        let (model, backend) =
            first.await.map_err(|_| BackendError::Unavailable("the model could not be loaded".into()))??;
        // What runs on the NPU is not to come back on the CPU unseen, nor the other way round.
        let again = on(
            settings,
            match model.description.kind {
                BackendKind::Cpu => BackendChoice::Cpu,
                BackendKind::Hailo => BackendChoice::Hailo,
            },
        );
        let threads = backend.concurrency().most();
        self.shared.ensure_device_threads(threads).map_err(|error| {
            BackendError::Unavailable(format!("cannot start the device threads: {error}"))
        })?;
        let (lost, watching) = (Arc::downgrade(&self.shared), Arc::downgrade(&self.shared));
        // Announced before it runs: a device that is lost at once is to be told of after that.
        self.shared.model.store(Some(Arc::clone(&model)));
        self.announce(&model);
        self.shared.device.install(Arc::new(Installed::new(
            Arc::clone(&model),
            backend,
            Limits {
                images: settings.clip.batch_size,
                texts: (settings.clip.batch_size * TEXTS_PER_PICTURE).min(MOST_TEXTS),
                idle_unload: settings.performance.idle_unload,
            },
            Box::new(move || load(Arc::clone(&again)).map(|loaded| loaded.backend)),
            Box::new(move |error| {
                if let Some(shared) = lost.upgrade() {
                    shared.lost(error);
                }
            }),
            Box::new(move |model, held| {
                if let Some(shared) = watching.upgrade() {
                    shared.is_held(model, held);
                }
            }),
        )));
        self.shared.installed.notify_one();
        info!(
            model = &*model.name,
            precision = model.info.precision,
            backend = %model.description.kind,
            device = model.description.device,
            milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "model loaded"
        );
        Ok(())
    }

    fn announce(&self, model: &Model) {
        let degraded = model.degraded.as_ref();
        if let Some(degraded) = degraded {
            warn!("{}", degraded.reason);
        }
        let later = degraded.is_some_and(|degraded| degraded.may_pass);
        self.shared.recovery.send_replace(if later { Recovery::Later } else { Recovery::Idle });
        self.shared.status.send_modify(|status| {
            // A service that is about to stop stays so.
            if status.state != State::Draining {
                status.state = if degraded.is_some() { State::Degraded } else { State::Ready };
            }
            status.model.clone_from(&model.info.name);
            status.loaded = Some(model.info.clone());
            status.backend = Some(model.description.clone());
            status.idle = false;
            status.error = degraded.map(|degraded| degraded.reason.clone());
        });
    }
}

/// The settings with another choice of backend.
fn on(settings: &Arc<Settings>, choice: BackendChoice) -> Arc<Settings> {
    let mut settings = Arc::clone(settings);
    if settings.clip.backend != choice {
        Arc::make_mut(&mut settings).clip.backend = choice;
    }
    settings
}

/// What a caller is told who waits for a model that cannot be loaded.
pub(super) fn refusal(error: BackendError) -> EngineError {
    match error {
        BackendError::NoSuchModel(message) => EngineError::NoSuchModel(message),
        error => EngineError::NotReady { state: State::Failed, message: error.to_string() },
    }
}

impl Shared {
    /// Starts device threads until there are so many.
    fn ensure_device_threads(&self, count: usize) -> std::io::Result<()> {
        let mut running = self.device_threads.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        while *running < count {
            let (queue, statistics) = (Arc::clone(&self.device), Arc::clone(&self.statistics));
            std::thread::Builder::new()
                .name("device".into())
                .spawn(move || device::run(&queue, &statistics))?;
            *running += 1;
        }
        Ok(())
    }

    /// A device thread has lost its backend: requests wait until the recovery has an answer.
    fn lost(&self, error: &BackendError) {
        error!("{error}");
        // The state first: whoever finds no model is to find the reason as well.
        self.status.send_modify(|status| {
            if status.state != State::Draining {
                status.state = State::Loading;
            }
            status.idle = false;
            status.error = Some(error.to_string());
        });
        self.model.store(None);
        self.recovery.send_replace(Recovery::Now);
    }

    /// The backend of `model` was opened or released.
    fn is_held(&self, model: &Arc<Model>, held: bool) {
        if self.model.load().as_ref().is_some_and(|current| Arc::ptr_eq(current, model)) {
            self.status.send_if_modified(|status| std::mem::replace(&mut status.idle, !held) == held);
        }
    }
}

impl Tuning {
    fn new(settings: Arc<Settings>, workers: Option<Arc<Semaphore>>) -> Self {
        let workers = workers.unwrap_or_else(|| Arc::new(Semaphore::new(settings.performance.workers())));
        Self { settings, workers }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.device.close();
    }
}
