//! What an administrator does to a running engine by hand.

use std::{sync::Arc, time::Duration};

use super::{Engine, EngineError, life::refusal};
use crate::clip::Pixels;

/// Longest wait for batches that run, when their device is to be released.
const RELEASE_LIMIT: Duration = Duration::from_secs(60);

impl Engine {
    /// Takes another model into service, loaded beside the old one; an empty name stands for the
    /// model in service. The configuration file is left as it is, so a reload goes back to it.
    ///
    /// # Errors
    /// [`EngineError::NoSuchModel`], or why it does not load; the old one stays.
    pub async fn load_model(&self, name: &str) -> Result<(), EngineError> {
        let _one_at_a_time = self.shared.loading.lock().await;
        let mut settings = self.settings();
        if !name.is_empty() && settings.clip.model != name {
            Arc::make_mut(&mut settings).clip.model = name.to_owned();
        }
        self.install(&settings, settings.clip.backend).await.map_err(refusal)?;
        self.put_in_force(settings);
        Ok(())
    }

    /// Gives up the model's memory and the device, until the next request takes them again.
    ///
    /// # Errors
    /// Batches still ran after a minute.
    pub async fn unload_model(&self) -> Result<(), EngineError> {
        let device = Arc::clone(&self.shared.device);
        let released = tokio::task::spawn_blocking(move || {
            if let Some(installed) = device.installed() {
                installed.release();
            }
            device.wait_for_batches(RELEASE_LIMIT)
        });
        match released.await {
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
