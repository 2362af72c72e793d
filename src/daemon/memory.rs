//! Memory goes back to the system when a burst is over, or an idle model is released.
//!
//! Buffers of one inference serve the next: had glibc to fetch their pages anew each time, as with a fixed
//! threshold for `mmap`, hundreds of page faults would slow each request down.

use std::{pin::pin, time::Duration};

use futures_util::StreamExt;

use super::watchdog;

/// Seldom enough to cost nothing under load, soon enough for whoever waits for memory.
const INTERVAL: Duration = Duration::from_secs(10);

/// Gives free memory back every now and then, for ever.
pub(super) async fn give_back() {
    let mut due = pin!(watchdog::every(INTERVAL));
    while due.next().await.is_some() {
        // Beside the event loop: it takes milliseconds.
        let _ = tokio::task::spawn_blocking(heap::give_back).await;
    }
}
