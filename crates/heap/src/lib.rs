//! Memory that was freed and that glibc keeps for later.
//!
//! glibc gives back what lies at the end of its heaps by itself, and what lies between allocations that
//! live on when it is asked. Asking is a call into C, so it has a crate of its own.

/// Gives the pages back that no allocation uses. Takes milliseconds, in which other threads may wait for memory.
pub fn give_back() {
    // SAFETY: `malloc_trim(3)` may be called at any time from any thread, and touches no memory that is in use.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(test)]
mod tests {
    use std::{fs, hint::black_box};

    use super::*;

    /// Anonymous memory of this process in KiB.
    fn resident() -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse().unwrap()
    }

    #[test]
    fn memory_between_allocations_that_live_on_goes_back() {
        const BLOCKS: u64 = 1000;
        let before = resident();
        // Small enough for the heap; every other one lives on.
        let (freed, kept): (Vec<_>, Vec<_>) =
            (0..BLOCKS).map(|_| (black_box(vec![1_u8; 60 << 10]), black_box(vec![1_u8; 64]))).unzip();
        drop(freed);
        let held = resident() - before;
        assert!(held > BLOCKS * 50, "left alone, glibc keeps them: {held} KiB");
        give_back();
        let left = resident().saturating_sub(before);
        assert!(left < BLOCKS * 5, "{left} of {held} KiB are left");
        drop(kept);
    }
}
