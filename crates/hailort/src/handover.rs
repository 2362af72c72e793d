//! Handing a value over from whoever completes it, once, to whoever waits for it.
//!
//! The completer is a thread of libhailort's, the waiter may give up, and either may come first:
//! `make loom` goes through the interleavings.

use std::time::{Duration, Instant};

use crate::sync::{Condvar, Mutex, lock, wait};

/// A value that is under way.
#[derive(Debug)]
pub(crate) struct Handover<T> {
    state: Mutex<State<T>>,
    completed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    value: Option<T>,
    status: Option<i32>,
}

impl<T> Handover<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { state: Mutex::new(State { value: Some(value), status: None }), completed: Condvar::new() }
    }

    /// Takes the value back that is not under way.
    pub(crate) fn take(&self) -> Option<T> {
        lock(&self.state).value.take()
    }

    /// Ends the wait. Only the first call counts.
    pub(crate) fn complete(&self, status: i32) {
        lock(&self.state).status.get_or_insert(status);
        self.completed.notify_all();
    }

    /// Waits for the completion, at most for `limit`, and takes the value; `None` if it did not come,
    /// and then the value stays with whoever is to complete it.
    pub(crate) fn wait(&self, limit: Duration) -> Option<(T, i32)> {
        let deadline = Instant::now().checked_add(limit);
        let mut state = lock(&self.state);
        loop {
            if let Some(status) = state.status {
                return state.value.take().map(|value| (value, status));
            }
            let remaining =
                deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
            if remaining.is_zero() {
                return None;
            }
            state = wait(&self.completed, state, remaining);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_value_comes_with_the_first_status() {
        let handover = Handover::new("value");
        assert_eq!(handover.wait(Duration::ZERO), None);
        handover.complete(0);
        handover.complete(62);
        assert_eq!(handover.wait(Duration::ZERO), Some(("value", 0)));
        assert_eq!(handover.wait(Duration::ZERO), None, "it is taken once");
    }
}

#[cfg(all(test, loom))]
mod tests {
    use loom::{sync::Arc, thread};

    use super::*;

    #[test]
    fn a_waiter_always_gets_the_value() {
        loom::model(|| {
            let handover = Arc::new(Handover::new(7));
            let completer = thread::spawn({
                let handover = Arc::clone(&handover);
                move || handover.complete(3)
            });
            assert_eq!(handover.wait(Duration::MAX), Some((7, 3)));
            completer.join().expect("it does not panic");
        });
    }

    #[test]
    fn of_two_completions_one_counts_and_the_value_is_taken_once() {
        loom::model(|| {
            let handover = Arc::new(Handover::new(7));
            let completers = [1, 2].map(|status| {
                let handover = Arc::clone(&handover);
                thread::spawn(move || handover.complete(status))
            });
            let (value, status) = handover.wait(Duration::MAX).expect("it is completed");
            assert!(value == 7 && (status == 1 || status == 2));
            for completer in completers {
                completer.join().expect("it does not panic");
            }
            assert_eq!(handover.wait(Duration::ZERO), None);
        });
    }

    #[test]
    fn a_waiter_that_gave_up_leaves_the_value_to_the_completer() {
        loom::model(|| {
            let value = Arc::new(());
            let handover = Arc::new(Handover::new(Arc::clone(&value)));
            let completer = thread::spawn({
                let handover = Arc::clone(&handover);
                move || handover.complete(0)
            });
            drop(handover.wait(Duration::ZERO));
            drop(handover);
            completer.join().expect("it does not panic");
            assert_eq!(Arc::strong_count(&value), 1, "nothing is leaked");
        });
    }
}
