//! What an administrator does to a running engine by hand.

use std::{sync::Arc, time::Duration};

use thiserror::Error;
use tracing::info;

use super::{Engine, EngineError, State, life::refusal};
use crate::{clip::Pixels, config::Settings, model::ChangeError};

/// Longest wait for batches that run, when their device is to be released.
const RELEASE_LIMIT: Duration = Duration::from_secs(60);

/// How one model took another one's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// The old one served until the new one was there.
    Beside,
    /// The old one was given up first, and requests waited.
    InPlace,
}

/// Why a choice of a model was not made, or will not last.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ChoiceError {
    /// The model does not load; the old one stays.
    #[error(transparent)]
    Load(#[from] EngineError),
    /// The model is in service, and that is not recorded.
    #[error(transparent)]
    Record(#[from] ChangeError),
}

/// Whether there is memory for the model that the settings name, beside what is loaded. May read files.
pub type FitsBeside = Arc<dyn Fn(&Settings) -> bool + Send + Sync>;

impl Engine {
    /// Has `fits` decide whether a model is loaded beside the old one; without it, all are.
    pub fn ask_for_room(&self, fits: FitsBeside) {
        // Only the first answer counts; there is one daemon.
        let _ = self.shared.fits_beside.set(fits);
    }

    /// Takes another model into service, loaded beside the old one where memory allows; an empty name
    /// stands for the model in service. The configuration file is left as it is, so a reload goes back to it.
    ///
    /// # Errors
    /// [`EngineError::NoSuchModel`], or why it does not load; the old one stays.
    pub async fn load_model(&self, name: &str) -> Result<(), EngineError> {
        self.switch_model(name).await.map(drop)
    }

    /// As [`load_model`](Self::load_model), and says which way was taken.
    ///
    /// # Errors
    /// As [`load_model`](Self::load_model).
    pub async fn switch_model(&self, name: &str) -> Result<Switch, EngineError> {
        let _one_at_a_time = self.shared.loading.lock().await;
        self.switch_locked(name).await
    }

    /// As [`switch_model`](Self::switch_model), and has `record` write the choice down before another model
    /// can be loaded: what was recorded last is what is in service.
    ///
    /// A future that is dropped in between leaves the one without the other, so callers spawn it.
    ///
    /// # Errors
    /// [`ChoiceError`]
    pub async fn choose_model(
        &self,
        name: String,
        record: impl FnOnce(&str) -> Result<(), ChangeError> + Send + 'static,
    ) -> Result<Switch, ChoiceError> {
        let _one_at_a_time = self.shared.loading.lock().await;
        let switch = self.switch_locked(&name).await?;
        let recorded = tokio::task::spawn_blocking(move || record(&name)).await;
        recorded.map_err(|_| ChangeError::Storage("internal error, please report it".to_owned()))??;
        Ok(switch)
    }

    async fn switch_locked(&self, name: &str) -> Result<Switch, EngineError> {
        let mut settings = self.settings();
        if !name.is_empty() && settings.clip.model != name {
            Arc::make_mut(&mut settings).clip.model = name.to_owned();
        }
        let held = self.shared.model.load().is_some() && self.backend_is_held();
        let switch =
            if held && !self.fits_beside(&settings).await { Switch::InPlace } else { Switch::Beside };
        if switch == Switch::InPlace {
            info!(
                model = settings.clip.model,
                "memory does not allow two models: requests wait for the new one"
            );
            self.make_room().await;
        }
        if let Err(error) = self.install(&settings, settings.clip.backend).await {
            if switch == Switch::InPlace {
                // The settings in force are those of the old one. A failure is logged.
                let _ = self.load_or_fail().await;
            }
            return Err(refusal(error));
        }
        self.put_in_force(settings);
        Ok(switch)
    }

    async fn fits_beside(&self, settings: &Arc<Settings>) -> bool {
        let Some(fits) = self.shared.fits_beside.get().map(Arc::clone) else { return true };
        let settings = Arc::clone(settings);
        tokio::task::spawn_blocking(move || fits(&settings)).await.unwrap_or(true)
    }

    /// Gives up the model in service; requests wait from now on, those that had begun included.
    async fn make_room(&self) {
        self.shared.status.send_modify(|status| {
            if status.state != State::Draining {
                status.state = State::Loading;
            }
            status.idle = false;
        });
        self.shared.model.store(None);
        let device = Arc::clone(&self.shared.device);
        let released = tokio::task::spawn_blocking(move || {
            let Some(installed) = device.installed() else { return };
            device.uninstall(&installed);
            device.wait_for_batches(RELEASE_LIMIT);
            installed.release();
        });
        // It cannot panic.
        let _ = released.await;
    }

    /// Gives up the model's memory and the device, until the next request takes them again.
    ///
    /// # Errors
    /// Batches still ran after a minute.
    pub async fn unload_model(&self) -> Result<(), EngineError> {
        let device = Arc::clone(&self.shared.device);
        match tokio::task::spawn_blocking(move || device.unload(RELEASE_LIMIT)).await {
            Ok(true) => Ok(()),
            _ => Err(EngineError::Timeout(RELEASE_LIMIT)),
        }
    }

    /// Runs both encoders as often as `performance.warmup_iterations` says, once at least.
    ///
    /// # Errors
    /// As a request's.
    pub async fn warm_up(&self) -> Result<(), EngineError> {
        for _ in 0..self.settings().performance.warmup_iterations.max(1) {
            let accepted = self.admit()?;
            self.within_deadline(&accepted, None, move |model, _| async move {
                let black = Pixels::black(model.image.size);
                let text = self.encode_uncached(&model, "warm-up");
                tokio::try_join!(self.encode_pixels(&model, black), text)?;
                Ok(())
            })
            .await?;
        }
        Ok(())
    }
}
