//! Memory: what control groups and the machine have, and how much a process may still take of it.

use std::{fs, path::Path};

/// What a control group (v2) holds of memory, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    /// `None`: as much as there is.
    pub(crate) limit: Option<u64>,
    /// Pages of files that nobody used of late, which the kernel gives up first, are not in it.
    pub(crate) used: u64,
    /// Those pages.
    pub(crate) cached: u64,
    /// Processes that were killed for want of memory.
    pub(crate) kills: u64,
}

impl Account {
    /// Of the group with this folder; `None` where memory is not accounted for.
    pub(crate) fn of(cgroup: &Path) -> Option<Self> {
        let text = |file: &str| fs::read_to_string(cgroup.join(file)).unwrap_or_default();
        let current: u64 = text("memory.current").trim().parse().ok()?;
        let cached = field(&text("memory.stat"), "inactive_file").unwrap_or(0).min(current);
        Some(Self {
            // "max" is no limit.
            limit: text("memory.max").trim().parse().ok(),
            used: current - cached,
            cached,
            kills: field(&text("memory.events"), "oom_kill").unwrap_or(0),
        })
    }
}

/// Memory of the machine, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    pub(crate) total: u64,
    /// What programs can have without swapping.
    pub(crate) available: u64,
}

impl Machine {
    /// `root` is `/` but in tests.
    pub(crate) fn read(root: &Path) -> Option<Self> {
        let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
        let bytes = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
            Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? << 10)
        };
        Some(Self { total: bytes("MemTotal")?, available: bytes("MemAvailable")? })
    }
}

/// Bytes that this process can allocate before its cgroup's limit, or the machine's, is met; `None` where
/// nothing says. `root` is `/` but in tests.
pub(crate) fn available(root: &Path) -> Option<u64> {
    let on_machine = Machine::read(root).map(|machine| machine.available);
    [in_cgroups(root), on_machine].into_iter().flatten().min()
}

/// The least room in the process's cgroup and those around it.
fn in_cgroups(root: &Path) -> Option<u64> {
    let membership = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let path = membership.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mount = root.join("sys/fs/cgroup");
    let groups = mount.join(path);
    let groups = groups.ancestors().take_while(|dir| dir.starts_with(&mount));
    groups.filter_map(Account::of).filter_map(|group| Some(group.limit?.saturating_sub(group.used))).min()
}

/// The number in a line such as `oom_kill 3`, of which the files of control groups are made.
pub(crate) fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_limit_counts_and_idle_file_pages_do_not() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        assert_eq!(available(root), None);
        let cgroup = root.join("sys/fs/cgroup/system.slice/hailo-clip.service");
        fs::create_dir_all(&cgroup).unwrap();
        fs::create_dir_all(root.join("proc/self")).unwrap();
        fs::write(root.join("proc/self/cgroup"), "0::/system.slice/hailo-clip.service\n").unwrap();
        fs::write(root.join("proc/meminfo"), "MemTotal: 9 kB\nMemAvailable:    8 kB\n").unwrap();
        fs::write(cgroup.join("memory.max"), "max\n").unwrap();
        fs::write(cgroup.join("memory.current"), "3000\n").unwrap();
        fs::write(cgroup.join("memory.stat"), "anon 1\ninactive_file 1000\n").unwrap();
        assert_eq!(available(root), Some(8192));
        fs::write(cgroup.join("memory.max"), "5000\n").unwrap();
        assert_eq!(available(root), Some(3000));
        fs::write(cgroup.parent().unwrap().join("memory.max"), "2500\n").unwrap();
        fs::write(cgroup.parent().unwrap().join("memory.current"), "2400\n").unwrap();
        assert_eq!(available(root), Some(100));
    }
}
