//! How many threads inference is worth.

use std::thread;

/// One thread for each core that this process may really use.
///
/// [`thread::available_parallelism`] knows the affinity mask and the cgroup's CPU quota (v1 and v2),
/// whose fractions it rounds down: one thread more than the quota would only be throttled. A second
/// hardware thread of the same core adds nothing to matrix products, so it does not count.
pub(super) fn usable_cores() -> usize {
    let allowed = thread::available_parallelism().map_or(1, usize::from);
    allowed.min(num_cpus::get_physical()).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_the_process_may_use() {
        let allowed = thread::available_parallelism().unwrap().get();
        assert!((1..=allowed).contains(&usable_cores()));
    }
}
