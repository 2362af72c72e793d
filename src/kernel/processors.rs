//! How many processors this process may use.

use std::thread;

/// As many as the affinity mask and the CPU quotas of the cgroup, and of those around it, leave.
///
/// [`thread::available_parallelism`] reads both (`cpu.max` up to the root of the hierarchy) and rounds a
/// quota down: one thread more would only be throttled. Tokio sizes its own pool by the same number.
pub(crate) fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
