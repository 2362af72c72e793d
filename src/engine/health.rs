//! What the device's sensors say, asked from time to time so that nobody waits for the device.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tracing::{info, warn};

use super::Shared;
use crate::backend::Health;

/// How often the sensors are asked; chips warm up slowly.
const INTERVAL: Duration = Duration::from_secs(2);

/// Samples as long as the engine lives: at intervals, and when something else is installed.
pub(super) async fn sample(shared: Weak<Shared>) {
    let Some((mut status, installed)) =
        shared.upgrade().map(|shared| (shared.status.subscribe(), Arc::clone(&shared.installed)))
    else {
        return;
    };
    let mut throttled = false;
    loop {
        let Some(device) = shared.upgrade().map(|shared| shared.device.clone()) else { return };
        let read = tokio::task::spawn_blocking(move || {
            let installed = device.installed();
            let health = installed.as_ref().and_then(|installed| installed.health());
            (health, installed.is_some_and(|installed| installed.model.description.npu.is_some()))
        });
        let (health, senses) = read.await.unwrap_or((None, true));
        let Some(shared_now) = shared.upgrade() else { return };
        report_throttling(&mut throttled, health);
        shared_now.health.send_replace(health);
        drop(shared_now);
        // Without sensors, or with nothing installed, there is nothing to ask until something is.
        let interval = if senses { INTERVAL } else { Duration::MAX };
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            // It was announced before.
            () = installed.notified() => {}
            changed = status.changed() => if changed.is_err() { return },
        }
    }
}

fn report_throttling(before: &mut bool, health: Option<Health>) {
    let now = health.and_then(|health| health.throttled).unwrap_or(false);
    let temperature = health.and_then(|health| health.temperature);
    if now && !*before {
        warn!(temperature, "the device is throttled: improve its cooling");
    }
    if !now && *before {
        info!(temperature, "the device is not throttled any more");
    }
    *before = now;
}
