//! Who is let in: at most so many requests at a time, and none while draining.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

/// Counts the requests that are accepted and not yet answered.
#[derive(Clone, Default)]
pub(super) struct Admission {
    requests: Arc<Requests>,
}

#[derive(Default)]
struct Requests {
    in_flight: AtomicUsize,
    /// One has ended.
    ended: Notify,
}

/// One accepted request; dropping it ends the request.
pub(super) struct Permit {
    requests: Arc<Requests>,
}

impl Admission {
    /// Accepts a request unless `limit` are in flight.
    pub(super) fn admit(&self, limit: usize) -> Option<Permit> {
        let one_more = |count: usize| (count < limit).then_some(count + 1);
        self.requests.in_flight.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).ok()?;
        Some(Permit { requests: Arc::clone(&self.requests) })
    }

    /// Waits until fewer than `limit` are in flight. Somebody else may take the place first.
    pub(super) async fn place(&self, limit: usize) {
        loop {
            let mut ended = pin!(self.requests.ended.notified());
            // Before the count is read: an end between the two is not to be missed.
            ended.as_mut().enable();
            if self.in_flight() < limit {
                return;
            }
            ended.await;
        }
    }

    /// Requests in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.requests.in_flight.load(Ordering::SeqCst)
    }

    /// Waits until no request is in flight.
    pub(super) async fn idle(&self) {
        self.place(1).await;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.requests.in_flight.fetch_sub(1, Ordering::SeqCst);
        self.requests.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nobody_waits_for_an_end_that_came_before() {
        let admission = Admission::default();
        for _ in 0..2000 {
            let permit = admission.admit(1).unwrap();
            assert!(admission.admit(1).is_none());
            let waiting = tokio::spawn({
                let admission = admission.clone();
                async move { admission.idle().await }
            });
            drop(permit);
            let limit = std::time::Duration::from_secs(60);
            tokio::time::timeout(limit, waiting).await.unwrap().unwrap();
        }
        assert_eq!(admission.in_flight(), 0);
    }
}
