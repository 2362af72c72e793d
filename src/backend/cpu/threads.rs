//! The threads of inference: how many are worth it, and where they run.

use rten::ThreadPool;

use crate::kernel;

/// One thread for each core that this process may really use. A second hardware thread of the same core adds
/// nothing to matrix products, so it does not count.
pub(super) fn usable_cores() -> usize {
    let (processors, cores) = (kernel::processors(), kernel::cores().len());
    if cores == 0 { processors } else { processors.min(cores) }
}

/// So many threads, each on cores of its own.
///
/// They sleep between runs. After a pause the kernel may wake two of them on one core and leave them there to the
/// end of the run, with another core idle: the one that finds no work yields and yields, which looks like work.
/// A lone picture then takes half as long again.
pub(super) fn pool(threads: usize) -> ThreadPool {
    let pool = ThreadPool::with_num_threads(threads);
    let shares = shares(&kernel::cores(), threads);
    if !shares.is_empty() {
        pool.run(|| {
            rayon::broadcast(|thread| {
                if let Err(error) = kernel::keep_to(&shares[thread.index()]) {
                    tracing::debug!(%error, "the kernel places the threads of inference");
                }
            })
        });
    }
    pool
}

/// The processors of each thread; none if there is nothing to share out.
fn shares(cores: &[Vec<usize>], threads: usize) -> Vec<Vec<usize>> {
    if threads < 2 || threads > cores.len() {
        return Vec::new();
    }
    (0..threads).map(|first| cores.iter().skip(first).step_by(threads).flatten().copied().collect()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn never_more_than_the_process_may_use() {
        let allowed = std::thread::available_parallelism().unwrap().get();
        assert!((1..=allowed).contains(&usable_cores()));
    }

    #[test]
    fn every_core_is_one_threads() {
        let cores = [vec![0, 4], vec![1, 5], vec![2, 6], vec![3, 7]];
        assert_eq!(shares(&cores, 4), cores);
        assert_eq!(shares(&cores, 2), [[0, 4, 2, 6], [1, 5, 3, 7]]);
        assert_eq!(shares(&cores, 3), [vec![0, 4, 3, 7], vec![1, 5], vec![2, 6]]);
        assert!(shares(&cores, 5).is_empty(), "the kernel shares cores among threads better than we do");
        assert!(shares(&cores, 1).is_empty(), "one thread may run anywhere");
    }

    #[test]
    fn threads_of_a_pool_run_on_cores_of_their_own() {
        let threads = kernel::cores().len();
        if threads < 2 {
            eprintln!("skipped: one core has nothing to share out");
            return;
        }
        let seen = Mutex::new(Vec::new());
        pool(threads).run(|| rayon::broadcast(|_| seen.lock().unwrap().extend(kernel::cores())));
        let mut seen = seen.into_inner().unwrap();
        seen.sort();
        assert_eq!(seen, kernel::cores());
    }
}
