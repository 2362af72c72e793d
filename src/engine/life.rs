//! The engine's life: start, load, reload, drain.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Semaphore, oneshot, watch};
use tracing::{error, info, warn};

use super::{
    Engine, EngineError, Loader, Shared, State, Status, Tuning,
    admission::Admission,
    device::{self, DeviceQueue, Install, Limits},
    model::Model,
};
use crate::config::Settings;

impl Engine {
    /// Starts the device thread. No model is loaded yet: see [`load`](Self::load).
    ///
    /// The device thread ends when the last handle is dropped.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(settings: Arc<Settings>, loader: Loader) -> std::io::Result<Self> {
        let device = Arc::new(DeviceQueue::default());
        std::thread::Builder::new().name("device".into()).spawn({
            let device = Arc::clone(&device);
            move || device::run(&device)
        })?;
        let status = Status {
            state: State::Starting,
            model: settings.clip.model.clone(),
            loaded: None,
            backend: None,
            error: None,
        };
        Ok(Self {
            shared: Arc::new(Shared {
                tuning: ArcSwap::from_pointee(Tuning::new(settings, None)),
                model: ArcSwapOption::empty(),
                admission: Admission::new(),
                device,
                status: watch::Sender::new(status),
                loader,
                loading: tokio::sync::Mutex::new(()),
            }),
        })
    }

    /// Loads the configured model and serves from then on.
    ///
    /// # Errors
    /// The state is `failed`, and requests are refused with the reason.
    pub async fn load(&self) -> Result<(), EngineError> {
        let _one_at_a_time = self.shared.loading.lock().await;
        self.shared.status.send_modify(|status| status.state = State::Loading);
        let settings = self.settings();
        let result = self.install(&settings).await;
        if let Err(error) = &result {
            error!(model = settings.clip.model, "cannot load the model: {error}");
            self.shared.status.send_modify(|status| {
                status.state = State::Failed;
                status.error = Some(error.to_string());
            });
        }
        result
    }

    /// Puts new settings in force. If they name another model or backend, it is loaded while the old
    /// one goes on serving.
    ///
    /// # Errors
    /// The new model cannot be loaded; the old one and the old settings stay in force.
    pub async fn reload(&self, settings: Arc<Settings>) -> Result<(), EngineError> {
        let _one_at_a_time = self.shared.loading.lock().await;
        let old = self.settings();
        let same_model = old.clip == settings.clip
            && old.text_cache == settings.text_cache
            && old.performance.inference_threads == settings.performance.inference_threads
            && old.performance.idle_unload == settings.performance.idle_unload;
        if !same_model || self.shared.model.load().is_none() {
            self.install(&settings).await?;
        }
        let workers = Arc::clone(&self.shared.tuning.load().workers);
        let workers =
            (old.performance.worker_threads == settings.performance.worker_threads).then_some(workers);
        self.shared.tuning.store(Arc::new(Tuning::new(settings, workers)));
        Ok(())
    }

    /// Refuses new requests and waits for those in flight; whether all were answered within `limit`.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.shared.status.send_modify(|status| status.state = State::Draining);
        tokio::time::timeout(limit, self.shared.admission.idle()).await.is_ok()
    }

    async fn install(&self, settings: &Arc<Settings>) -> Result<(), EngineError> {
        let started = Instant::now();
        let loader = Arc::clone(&self.shared.loader);
        let load = move |settings: Arc<Settings>| {
            let mut loaded = loader(&settings)?;
            loaded.warm_up(settings.performance.warmup_iterations)?;
            Ok::<_, crate::backend::BackendError>(loaded)
        };
        let loaded = tokio::task::spawn_blocking({
            let (load, settings) = (load.clone(), Arc::clone(settings));
            move || load(settings)
        });
        let failed = |message: String| EngineError::NotReady { state: State::Failed, message };
        let loaded = loaded
            .await
            .map_err(|_| failed("the model could not be loaded".into()))?
            .map_err(|error| failed(error.to_string()))?;

        let entries = if settings.text_cache.enabled { settings.text_cache.max_entries } else { 0 };
        let (model, backend) = Model::split(loaded, entries);
        let (installed, done) = oneshot::channel();
        let again = Arc::clone(settings);
        self.shared.device.install(Install {
            model: Arc::clone(&model),
            backend,
            reopen: Box::new(move || load(Arc::clone(&again)).map(|loaded| loaded.backend)),
            limits: Limits {
                batch_size: settings.clip.batch_size,
                idle_unload: settings.performance.idle_unload,
            },
            installed,
        });
        done.await.map_err(|_| failed("the device thread has ended".into()))?;
        self.shared.model.store(Some(Arc::clone(&model)));
        self.announce(&model);
        info!(
            model = &*model.name,
            backend = %model.description.kind,
            device = model.description.device,
            milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "model loaded"
        );
        Ok(())
    }

    fn announce(&self, model: &Model) {
        if let Some(reason) = &model.degraded {
            warn!("{reason}");
        }
        let serving = if model.degraded.is_some() { State::Degraded } else { State::Ready };
        self.shared.status.send_modify(|status| {
            // A service that is about to stop stays so.
            if status.state != State::Draining {
                status.state = serving;
            }
            status.model.clone_from(&model.info.name);
            status.loaded = Some(model.info.clone());
            status.backend = Some(model.description.clone());
            status.error.clone_from(&model.degraded);
        });
    }
}

impl Tuning {
    fn new(settings: Arc<Settings>, workers: Option<Arc<Semaphore>>) -> Self {
        let workers =
            workers.unwrap_or_else(|| Arc::new(Semaphore::new(settings.performance.worker_threads)));
        Self { settings, workers }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.device.close();
    }
}
