//! What systemd is told. Outside systemd (`NOTIFY_SOCKET` unset) nothing happens.

use std::time::Duration;

use libsystemd::daemon::{NotifyState, notify, watchdog_enabled};
use nix::time::{ClockId, clock_gettime};
use tracing::debug;

/// Requests are served, or it is clear that they cannot be: `status` says which.
pub(super) fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status.into())]);
}

/// The line that `systemctl status` shows.
pub(super) fn status(status: &str) {
    send(&[NotifyState::Status(status.into())]);
}

/// The configuration is being read again; [`ready`] ends this.
pub(super) fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    // `Type=notify-reload` wants the time, `Type=notify` ignores it.
    if let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC) {
        let microseconds = now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000;
        states.push(NotifyState::Other(format!("MONOTONIC_USEC={microseconds}")));
    }
    send(&states);
}

/// The service works on what it was told to do, and needs so much more time for it.
pub(super) fn extend_timeout(by: Duration) {
    send(&[NotifyState::Other(format!("EXTEND_TIMEOUT_USEC={}", by.as_micros()))]);
}

/// How often the watchdog wants to be fed, if there is one.
pub(super) fn watchdog_interval() -> Option<Duration> {
    // Twice as often as it looks.
    let interval = watchdog_enabled(false)? / 2;
    (!interval.is_zero()).then_some(interval)
}

/// The service is alive.
pub(super) fn alive() {
    send(&[NotifyState::Watchdog]);
}

/// The service is about to stop.
pub(super) fn stopping() {
    send(&[NotifyState::Stopping, NotifyState::Status("answering what was accepted, then stopping".into())]);
}

fn send(states: &[NotifyState]) {
    if let Err(error) = notify(false, states) {
        debug!("cannot notify systemd: {error}");
    }
}
