//! Signs of life for systemd: the watchdog, and more time while a model loads.
//!
//! A backend that hangs keeps its batch for ever, and nothing in this process can end it: the watchdog is not
//! fed any more, and systemd starts the service again. A slow one is left in peace. What hangs outside the
//! backend stops the feeding by itself, as that is one task among the others.

use std::{pin::pin, time::Duration};

use futures_util::{Stream, StreamExt, stream};
use tracing::error;

/// A batch that takes longer hangs, whatever the device's timeout.
const LONGEST_BATCH: Duration = Duration::from_secs(60);
/// A batch hangs after so many timeouts of the device: the backend had time to notice and to recover.
const DEVICE_TIMEOUTS: u32 = 4;

/// Between two requests for more time.
pub(super) const EXTENSION_INTERVAL: Duration = Duration::from_secs(10);
/// What is asked for each time: enough for a busy machine to miss one.
pub(super) const EXTENSION: Duration = Duration::from_secs(30);
/// So many times, ten minutes in all: a model that takes longer to load hangs as well.
pub(super) const EXTENSIONS: usize = 60;

/// Whether the backend hangs, if its oldest batch has run for this long.
fn hangs(longest_batch: Option<Duration>, device_timeout: Duration) -> bool {
    let limit = LONGEST_BATCH.max(device_timeout.saturating_mul(DEVICE_TIMEOUTS));
    longest_batch.is_some_and(|longest| longest >= limit)
}

/// Feeds the watchdog whenever it is `due`, unless the backend hangs; ends when nothing is due any more.
pub(super) async fn feed(
    due: impl Stream<Item = ()>,
    mut longest_batch: impl FnMut() -> Option<Duration>,
    device_timeout: impl Fn() -> Duration,
    mut alive: impl FnMut(),
) {
    let mut due = pin!(due);
    let mut hung = false;
    while due.next().await.is_some() {
        let longest = longest_batch();
        let hangs = hangs(longest, device_timeout());
        if hangs && !hung {
            let seconds = longest.unwrap_or_default().as_secs();
            error!("the backend hangs: a batch has been running for {seconds} s; the watchdog will strike");
        }
        hung = hangs;
        if !hangs {
            alive();
        }
    }
}

/// Does `work`, and asks for more time whenever that is `due`, until nothing is due any more.
pub(super) async fn extend_while<T>(
    work: impl Future<Output = T>,
    due: impl Stream<Item = ()>,
    mut extend: impl FnMut(),
) -> T {
    let (mut work, mut due) = (pin!(work), pin!(due));
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            Some(()) = due.next() => extend(),
        }
    }
}

/// What is due at intervals, at once for the first time.
pub(super) fn every(interval: Duration) -> impl Stream<Item = ()> {
    stream::unfold(tokio::time::interval(interval), |mut interval| async {
        interval.tick().await;
        Some(((), interval))
    })
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const DEVICE_TIMEOUT: Duration = Duration::from_secs(5);

    /// How often the watchdog was fed while the oldest batch was so old at each time it was due.
    async fn fed(ages: &[Option<Duration>], device_timeout: Duration) -> usize {
        let mut fed = 0;
        let mut next = ages.iter();
        let due = stream::iter(ages).map(|_| ());
        feed(due, || *next.next().unwrap(), || device_timeout, || fed += 1).await;
        assert!(next.next().is_none(), "each time was used");
        fed
    }

    #[tokio::test]
    async fn an_idle_and_a_slow_backend_are_alive() {
        assert_eq!(fed(&[None, Some(SECOND), Some(59 * SECOND)], DEVICE_TIMEOUT).await, 3);
        // A device that may take a minute for a batch is given four.
        assert_eq!(fed(&[Some(60 * SECOND), Some(239 * SECOND)], 60 * SECOND).await, 2);
    }

    #[tokio::test]
    async fn a_hung_backend_is_not_and_may_come_back() {
        let ages = [Some(59 * SECOND), Some(60 * SECOND), Some(75 * SECOND), None];
        assert_eq!(fed(&ages, DEVICE_TIMEOUT).await, 2);
        assert_eq!(fed(&[Some(240 * SECOND)], 60 * SECOND).await, 0);
        assert_eq!(fed(&[Some(60 * SECOND)], Duration::MAX).await, 1, "no overflow");
    }

    #[tokio::test]
    async fn more_time_is_asked_for_until_the_work_is_done() {
        let (asked, done) = (Cell::new(0), tokio::sync::Notify::new());
        let extend = || {
            asked.set(asked.get() + 1);
            if asked.get() == 3 {
                done.notify_one();
            }
        };
        extend_while(done.notified(), stream::repeat(()), extend).await;
        assert_eq!(asked.get(), 3);
        // Work that is done already asks for nothing.
        extend_while(future::ready(()), stream::repeat(()), || asked.set(asked.get() + 1)).await;
        assert_eq!(asked.get(), 3);
    }

    #[tokio::test]
    async fn work_that_takes_too_long_gets_no_more_time_and_goes_on() {
        let (asked, done) = (Cell::new(0), tokio::sync::Notify::new());
        let twice = stream::iter([(), ()]).chain(stream::poll_fn(|_| {
            done.notify_one();
            std::task::Poll::Ready(None)
        }));
        extend_while(done.notified(), twice, || asked.set(asked.get() + 1)).await;
        assert_eq!(asked.get(), 2);
    }
}
