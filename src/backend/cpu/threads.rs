//! How many threads inference is worth.

use crate::kernel;

/// One thread for each core that this process may really use. A second hardware thread of the same core adds
/// nothing to matrix products, so it does not count.
pub(super) fn usable_cores() -> usize {
    kernel::processors().min(num_cpus::get_physical()).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_the_process_may_use() {
        let allowed = std::thread::available_parallelism().unwrap().get();
        assert!((1..=allowed).contains(&usable_cores()));
    }
}
