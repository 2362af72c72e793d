//! Taking the NPU back: after it was lost, or where it was not there at the start.
//!
//! A lost device is asked for again at once; if it does not come, the CPU takes over where the
//! configuration lets it, and the device is tried again from time to time.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tracing::{debug, info};

use super::{Engine, Shared, State};
use crate::config::BackendChoice;

/// How soon the device is tried again, and how the pauses grow: a driver that is being loaded takes
/// a second, a board that was taken out may never come back.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What the recovery is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recovery {
    /// All is as configured, or cannot be mended by waiting.
    Idle,
    /// The device was lost just now, and requests wait.
    Now,
    /// The device is missing: try it again from time to time.
    Later,
}

/// Recovers as long as the engine lives.
pub(super) async fn watch(shared: Weak<Shared>) {
    let Some(mut wanted) = shared.upgrade().map(|shared| shared.recovery.subscribe()) else {
        return;
    };
    let mut pause = FIRST_PAUSE;
    loop {
        let what = *wanted.borrow_and_update();
        match what {
            Recovery::Idle => {
                pause = FIRST_PAUSE;
                if wanted.changed().await.is_err() {
                    return;
                }
            }
            Recovery::Now => {
                let Some(shared) = shared.upgrade() else { return };
                Engine { shared }.recover_now().await;
            }
            Recovery::Later => match tokio::time::timeout(pause, wanted.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) => {
                    let Some(shared) = shared.upgrade() else { return };
                    Engine { shared }.take_back().await;
                    pause = (2 * pause).min(LONGEST_PAUSE);
                }
            },
        }
    }
}

impl Engine {
    /// Loads the configured model again, as far as possible.
    async fn recover_now(&self) {
        let _one_at_a_time = self.shared.loading.lock().await;
        // A reload may have come first.
        if *self.shared.recovery.borrow() == Recovery::Now {
            self.shared.recovery.send_replace(Recovery::Idle);
            // A failure is logged, and told to whoever asks.
            let _ = self.load_or_fail().await;
        }
    }

    /// Tries the NPU once; what runs meanwhile goes on until then.
    async fn take_back(&self) {
        let _one_at_a_time = self.shared.loading.lock().await;
        let draining = self.shared.status.borrow().state == State::Draining;
        if *self.shared.recovery.borrow() != Recovery::Later || draining {
            return;
        }
        let settings: Arc<_> = self.settings();
        match self.install(&settings, BackendChoice::Hailo).await {
            Ok(()) => info!("the NPU has been taken into use"),
            Err(error) => {
                debug!("the NPU cannot be used yet: {error}");
                self.shared.status.send_if_modified(|status| {
                    let news = status.state == State::Failed && status.error != Some(error.to_string());
                    if news {
                        status.error = Some(error.to_string());
                    }
                    news
                });
            }
        }
    }
}
