//! The threads of inference: how many are worth it, and where they run.

use std::sync::{Arc, Barrier};

use rten::ThreadPool;

use crate::kernel;

/// One thread for each core that this process may really use. A second hardware thread of the same core adds
/// nothing to matrix products, so it does not count.
pub(super) fn usable_cores() -> usize {
    let (processors, cores) = (kernel::processors(), kernel::cores().len());
    if cores == 0 { processors } else { processors.min(cores) }
}

/// Threads of inference, each on cores of its own, asleep between runs.
///
/// After a pause the kernel may wake two of them on one core and leave them there to the end of the run, with another
/// core idle: the one that finds no work yields and yields, which looks like work. A lone picture then takes half as
/// long again.
pub(super) struct Pool {
    threads: Arc<ThreadPool>,
    /// Where those wait that are counted and do not work.
    idle: Arc<Barrier>,
}

impl Pool {
    /// `threads` of them work.
    pub(super) fn new(threads: usize) -> Arc<Self> {
        let counted = counted(threads);
        let pool = ThreadPool::with_num_threads(counted);
        let exists = pool.run(|| rayon::current_thread_index().is_some());
        let idle = if exists { counted - threads } else { 0 };
        let pool = Arc::new(Self { threads: Arc::new(pool), idle: Arc::new(Barrier::new(idle + 1)) });
        if exists {
            pool.place(threads, counted);
        }
        pool
    }

    pub(super) fn threads(&self) -> Arc<ThreadPool> {
        Arc::clone(&self.threads)
    }

    /// Gives each thread that works its cores, and has the others wait.
    fn place(&self, threads: usize, counted: usize) {
        let shares = shares(&kernel::cores(), threads);
        let (placed, idle) = (Arc::new(Barrier::new(counted + 1)), Arc::clone(&self.idle));
        let all_placed = Arc::clone(&placed);
        self.threads.run(move || {
            rayon::spawn_broadcast(move |thread| {
                if let Some(Err(error)) = shares.get(thread.index()).map(|cores| kernel::keep_to(cores)) {
                    tracing::debug!(%error, "the kernel places the threads of inference");
                }
                placed.wait();
                if thread.index() >= threads {
                    idle.wait();
                }
            });
        });
        all_placed.wait();
    }
}

impl Drop for Pool {
    /// Those that wait end with the others.
    fn drop(&mut self) {
        self.idle.wait();
    }
}

/// Threads that rten is to count.
///
/// It cuts a matrix product into as many blocks of columns as there are threads, but none wider than 1024. The 3072
/// columns of a transformer of width 768 make three on two threads, and one thread works while the other waits:
/// a tenth of a lone picture's time. Four blocks leave nobody waiting. With more threads the blocks of such a model are
/// narrow enough.
fn counted(threads: usize) -> usize {
    if threads == 2 { 4 } else { threads }
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
    use std::{collections::BTreeSet, sync::Mutex};

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
        let mut seen = where_they_run(&Pool::new(threads), threads);
        seen.sort();
        assert_eq!(seen, kernel::cores());
    }

    #[test]
    fn who_is_counted_does_not_work() {
        for threads in 1..=4 {
            let pool = Pool::new(threads);
            assert_eq!(pool.threads().run(rayon::current_num_threads), counted(threads));
            // Each waits until all of them run, so they are different ones.
            where_they_run(&pool, threads);
            let working = Mutex::new(BTreeSet::new());
            pool.threads().run(|| {
                rayon::scope(|scope| {
                    for _ in 0..1000 {
                        scope.spawn(|_| {
                            working.lock().unwrap().insert(rayon::current_thread_index());
                        });
                    }
                });
            });
            assert!(working.lock().unwrap().iter().all(|index| index.is_some_and(|index| index < threads)));
        }
    }

    /// The cores of each of so many threads that run at the same time.
    fn where_they_run(pool: &Pool, threads: usize) -> Vec<Vec<usize>> {
        let (seen, together) = (Mutex::new(Vec::new()), Barrier::new(threads));
        pool.threads().run(|| {
            rayon::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|_| {
                        together.wait();
                        seen.lock().unwrap().extend(kernel::cores());
                    });
                }
            });
        });
        seen.into_inner().unwrap()
    }
}
