//! Inferences that the device has not finished, by number.
//!
//! C gets a number as its context and not a pointer, so a callback that comes twice, or for something
//! that is gone, finds nothing and does no harm. What a device never finishes stays here for good, and
//! with it the buffers that the device may still write to.

use std::{
    collections::HashMap,
    ffi::c_void,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{buffer::Frame, handover::Handover};

/// The frames of a submission, while they are under way.
pub(crate) type Frames = Handover<Vec<Frame>>;

struct Calls {
    next: usize,
    under_way: Option<HashMap<usize, Arc<Frames>>>,
}

/// C's callback gets nothing of ours but a number, so this has to be global.
static CALLS: Mutex<Calls> = Mutex::new(Calls { next: 1, under_way: None });

fn lock() -> MutexGuard<'static, Calls> {
    CALLS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Submissions of this process that the device has not finished, those that were given up included.
#[must_use]
pub fn under_way() -> usize {
    lock().under_way.as_ref().map_or(0, HashMap::len)
}

/// Notes a submission before it is made, and gives the context for its callback.
pub(crate) fn begin(frames: Arc<Frames>) -> *mut c_void {
    let mut calls = lock();
    let number = calls.next;
    calls.next += 1;
    calls.under_way.get_or_insert_default().insert(number, frames);
    std::ptr::without_provenance_mut(number)
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

fn take(context: *mut c_void) -> Option<Arc<Frames>> {
    lock().under_way.as_mut()?.remove(&context.addr())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_callback_counts_once() {
        let frames = Arc::new(Handover::new(Vec::new()));
        let context = begin(Arc::clone(&frames));
        assert!(frames.wait(Duration::ZERO).is_none());
        finished(context, 0);
        finished(context, 63);
        finished(std::ptr::null_mut(), 0);
        assert_eq!(frames.wait(Duration::ZERO).map(|(_, status)| status), Some(0));
        assert_eq!(Arc::strong_count(&frames), 1, "nothing is kept");
    }

    #[test]
    fn what_was_withdrawn_is_not_completed() {
        let frames = Arc::new(Handover::new(Vec::new()));
        let context = begin(Arc::clone(&frames));
        withdraw(context);
        finished(context, 0);
        assert!(frames.wait(Duration::ZERO).is_none());
    }
}
