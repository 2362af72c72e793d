//! Who is let in: at most so many requests at a time, and none while draining.

use std::sync::Arc;

use tokio::sync::watch;

/// Counts the requests that are accepted and not yet answered.
#[derive(Clone)]
pub(super) struct Admission {
    in_flight: Arc<watch::Sender<usize>>,
}

/// One accepted request; dropping it ends the request.
pub(super) struct Permit {
    in_flight: Arc<watch::Sender<usize>>,
}

impl Admission {
    pub(super) fn new() -> Self {
        Self { in_flight: Arc::new(watch::Sender::new(0)) }
    }

    /// Accepts a request unless `limit` are in flight.
    pub(super) fn admit(&self, limit: usize) -> Option<Permit> {
        let admitted = self.in_flight.send_if_modified(|count| {
            let free = *count < limit;
            *count += usize::from(free);
            free
        });
        admitted.then(|| Permit { in_flight: Arc::clone(&self.in_flight) })
    }

    /// Waits until fewer than `limit` are in flight. Somebody else may take the place first.
    pub(super) async fn place(&self, limit: usize) {
        // The sender lives in `self`, so the wait can only end with the condition.
        let _ = self.in_flight.subscribe().wait_for(|count| *count < limit).await;
    }

    /// Requests in flight.
    pub(super) fn in_flight(&self) -> usize {
        *self.in_flight.borrow()
    }

    /// Waits until no request is in flight.
    pub(super) async fn idle(&self) {
        // The sender lives in `self`, so the wait can only end with the condition.
        let _ = self.in_flight.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.in_flight.send_modify(|count| *count -= 1);
    }
}
