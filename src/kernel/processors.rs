//! Which processors this process may use.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread,
};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// As many as the affinity mask and the CPU quotas of the cgroup, and of those around it, leave.
///
/// [`thread::available_parallelism`] reads both (`cpu.max` up to the root of the hierarchy) and rounds a
/// quota down: one thread more would only be throttled. Tokio sizes its own pool by the same number.
pub(crate) fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The physical cores of the affinity mask: of each, the processors (hardware threads) that may be used.
/// Empty if the kernel does not tell the mask.
pub(crate) fn cores() -> Vec<Vec<usize>> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).map_or_else(
        |_| Vec::new(),
        |mask| (0..CpuSet::count()).filter(|&cpu| mask.is_set(cpu).unwrap_or(false)).collect(),
    );
    group(&allowed, Path::new("/sys/devices/system/cpu"))
}

/// Processors that name the same siblings are one core; one that names none is a core of its own.
fn group(allowed: &[usize], sys: &Path) -> Vec<Vec<usize>> {
    let siblings = |cpu: usize| -> PathBuf { sys.join(format!("cpu{cpu}/topology/thread_siblings_list")) };
    let mut cores: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for &cpu in allowed {
        let core = fs::read_to_string(siblings(cpu)).unwrap_or_else(|_| cpu.to_string());
        cores.entry(core).or_default().push(cpu);
    }
    let mut cores: Vec<_> = cores.into_values().collect();
    cores.sort();
    cores
}

/// Keeps the calling thread to these processors. What seccomp or a cpuset forbids leaves it where it was.
pub(crate) fn keep_to(processors: &[usize]) -> nix::Result<()> {
    let mut mask = CpuSet::new();
    for &cpu in processors {
        mask.set(cpu)?;
    }
    sched_setaffinity(Pid::from_raw(0), &mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_threads_of_a_core_are_one() {
        let sys = tempfile::tempdir().unwrap();
        // As on a machine with four cores of two threads, numbered by the firmware's second habit.
        for cpu in 0..8 {
            let folder = sys.path().join(format!("cpu{cpu}/topology"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("thread_siblings_list"), format!("{},{}\n", cpu % 4, cpu % 4 + 4)).unwrap();
        }
        let all: Vec<usize> = (0..8).collect();
        assert_eq!(group(&all, sys.path()), [[0, 4], [1, 5], [2, 6], [3, 7]]);
        assert_eq!(group(&[2, 3, 6, 11], sys.path()), [vec![2, 6], vec![3], vec![11]]);
        assert_eq!(group(&[3, 1], Path::new("/nowhere")), [[1], [3]]);
    }

    #[test]
    fn a_thread_is_kept_where_it_is_put() {
        let last = cores().pop().unwrap();
        let kept = last.clone();
        // A thread of its own: the mask stays with it.
        let seen = thread::spawn(move || keep_to(&kept).map(|()| cores())).join().unwrap().unwrap();
        assert_eq!(seen, [last]);
        assert!(keep_to(&[]).is_err());
    }
}
