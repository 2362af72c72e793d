//! Inferences that the device has not finished, by number.
//!
//! C gets a number as its context and not a pointer, so a callback that comes twice, or for something
//! that is gone, finds nothing and does no harm. What a device never finishes stays here for good, and
//! with it the buffers that the device may still write to.

use std::{collections::HashMap, ffi::c_void};

use crate::{
    buffer::Frame,
    handover::Handover,
    sync::{Arc, Mutex, MutexGuard, lock},
};

/// The frames of a submission, for whoever waits for them.
pub(crate) type Frames = Arc<Handover<Vec<Frame>>>;

struct Calls {
    next: usize,
    under_way: Option<HashMap<usize, Frames>>,
}

// C's callback gets nothing of ours but a number, so this has to be global.
#[cfg(not(loom))]
static CALLS: Mutex<Calls> = Mutex::new(Calls { next: 1, under_way: None });

#[cfg(loom)]
loom::lazy_static! {
    static ref CALLS: Mutex<Calls> = Mutex::new(Calls { next: 1, under_way: None });
}

fn calls() -> MutexGuard<'static, Calls> {
    lock(&CALLS)
}

/// Submissions of this process that the device has not finished, those that were given up included.
#[must_use]
pub fn under_way() -> usize {
    calls().under_way.as_ref().map_or(0, HashMap::len)
}

/// Submissions that the device has not finished, and that nobody waits for any more. Their buffers are
/// the device's until it does.
#[must_use]
pub fn abandoned() -> usize {
    let calls = calls();
    let frames = calls.under_way.iter().flat_map(HashMap::values);
    frames.filter(|frames| Arc::strong_count(frames) == 1).count()
}

/// Notes a submission before it is made, and gives the context for its callback.
pub(crate) fn begin(frames: Vec<Frame>) -> (Frames, *mut c_void) {
    let frames = Arc::new(Handover::new(frames));
    let mut calls = calls();
    let number = calls.next;
    calls.next += 1;
    calls.under_way.get_or_insert_default().insert(number, Arc::clone(&frames));
    (frames, std::ptr::without_provenance_mut(number))
}

/// Takes a submission back that was refused: its callback will not come.
pub(crate) fn withdraw(context: *mut c_void) {
    drop(take(context));
}

/// The callback. Late, twice or on a foreign thread: only the first one finds its submission.
pub(crate) extern "C" fn finished(context: *mut c_void, status: i32) {
    if let Some(frames) = take(context) {
        frames.complete(status);
    }
}

fn take(context: *mut c_void) -> Option<Frames> {
    calls().under_way.as_mut()?.remove(&context.addr())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_callback_counts_once() {
        let (frames, context) = begin(Vec::new());
        assert!(frames.wait(Duration::ZERO).is_none());
        finished(context, 0);
        finished(context, 63);
        finished(std::ptr::null_mut(), 0);
        assert_eq!(frames.wait(Duration::ZERO).map(|(_, status)| status), Some(0));
        assert_eq!(Arc::strong_count(&frames), 1, "nothing is kept");
    }

    #[test]
    fn what_was_withdrawn_is_not_completed() {
        let (frames, context) = begin(Vec::new());
        withdraw(context);
        finished(context, 0);
        assert!(frames.wait(Duration::ZERO).is_none());
    }
}

#[cfg(all(test, loom))]
mod tests {
    use std::time::Duration;

    use loom::thread;

    use super::*;
    use crate::buffer::FramePool;

    /// A submission with one frame, its context, and where the frame belongs.
    fn submission() -> (Frames, usize, std::sync::Arc<FramePool>) {
        let pool = FramePool::new(vec![1], vec![1]);
        let (frames, context) = begin(vec![pool.take()]);
        (frames, context.addr(), pool)
    }

    fn call_back(number: usize, status: i32) -> thread::JoinHandle<()> {
        thread::spawn(move || finished(std::ptr::without_provenance_mut(number), status))
    }

    #[test]
    fn of_two_callbacks_one_ends_the_wait() {
        loom::model(|| {
            let (frames, number, pool) = submission();
            let callbacks = [call_back(number, 0), call_back(number, 63)];
            let (value, status) = frames.wait(Duration::MAX).expect("it is completed");
            assert!(value.len() == 1 && (status == 0 || status == 63));
            for callback in callbacks {
                callback.join().expect("it does not panic");
            }
            assert_eq!((under_way(), pool.kept()), (0, 0), "the waiter has the frame, and nobody else");
            drop(value);
            assert_eq!(pool.kept(), 1);
        });
    }

    #[test]
    fn a_frame_that_was_given_up_returns_with_the_callback_and_not_before() {
        loom::model(|| {
            let (frames, number, pool) = submission();
            assert_eq!((under_way(), abandoned(), pool.kept()), (1, 0, 0), "somebody waits");
            let callback = call_back(number, 0);
            let value = frames.wait(Duration::ZERO);
            drop(frames);
            callback.join().expect("it does not panic");
            drop(value);
            assert_eq!((under_way(), abandoned(), pool.kept()), (0, 0, 1), "it is back, once");
        });
    }

    #[test]
    fn a_refused_submission_gives_its_frame_back() {
        loom::model(|| {
            let (frames, number, pool) = submission();
            // The shim does not do this. If it did, nothing would be freed twice.
            let callback = call_back(number, 0);
            withdraw(std::ptr::without_provenance_mut(number));
            let value = frames.take();
            assert_eq!(value.as_ref().map(Vec::len), Some(1));
            callback.join().expect("it does not panic");
            drop((value, frames));
            assert_eq!((under_way(), pool.kept()), (0, 1));
        });
    }
}
