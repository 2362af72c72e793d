//! Long runs outlast a service that loads its model, restarts, or is busy. One request has its timeout and
//! may fail; a run of thousands waits, and says once that it does.

use std::{cell::Cell, time::Duration};

use tokio::time::{Instant, sleep};

use super::client::{Client, ServiceError};

/// Pauses between two attempts: the first, and the longest.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long a service that has gone may stay away.
const LONGEST_ABSENCE: Duration = Duration::from_secs(120);

/// What a wait means to the one who waits.
pub(super) trait Listener {
    /// The run waits, for this reason.
    fn waiting(&self, reason: &str);
    /// It goes on.
    fn resumed(&self);
}

/// Requests that are sent until they are answered.
pub(super) struct Patience<'a, L> {
    client: &'a Client,
    listener: &'a L,
    longest_absence: Duration,
    served: Cell<bool>,
    /// Since when nothing is answered.
    waiting: Cell<Option<Instant>>,
}

impl<'a, L: Listener> Patience<'a, L> {
    pub(super) fn new(client: &'a Client, listener: &'a L) -> Self {
        let (served, waiting) = (Cell::new(false), Cell::new(None));
        Self { client, listener, longest_absence: LONGEST_ABSENCE, served, waiting }
    }

    /// For a run that has no end: it waits for a service that was never there, and as long as it takes.
    pub(super) fn endless(client: &'a Client, listener: &'a L) -> Self {
        Self { longest_absence: Duration::MAX, served: Cell::new(true), ..Self::new(client, listener) }
    }

    /// Sends a request until it is answered or fails for good.
    pub(super) async fn ask<T>(
        &self,
        request: impl AsyncFn(&Client) -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        let mut pause = PAUSE;
        loop {
            match request(self.client).await {
                Err(error) if self.is_worth_waiting(&error).await => {
                    if self.waiting.get().is_none() {
                        self.waiting.set(Some(Instant::now()));
                        self.listener.waiting(&error.to_string());
                    }
                }
                Err(error) if error.concerns_all() => return Err(error),
                // It is there, whatever it thinks of this picture.
                result => {
                    self.served.set(true);
                    if self.waiting.take().is_some() {
                        self.listener.resumed();
                    }
                    return result;
                }
            }
            sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    async fn is_worth_waiting(&self, error: &ServiceError) -> bool {
        use ServiceError as E;
        match error {
            E::QueueFull(_) => true,
            E::NotReady(_) if self.is_loading().await => true,
            E::NotReady(_) | E::Lost | E::NotRunning(_) | E::NotStarted(_) | E::NoBus { .. } => {
                let absence = self.waiting.get().map_or(Duration::ZERO, |since| since.elapsed());
                self.served.get() && absence < self.longest_absence
            }
            _ => false,
        }
    }

    async fn is_loading(&self) -> bool {
        let status = self.client.status().await;
        status.is_ok_and(|now| matches!(now.state.as_str(), "starting" | "loading"))
    }
}
