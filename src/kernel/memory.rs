//! How much memory this process may still take.

use std::{fs, path::Path};

/// Bytes that can be allocated before the cgroup's limit, or the machine's, is met; `None` where nothing says.
/// `root` is `/` but in tests.
///
/// Counted as free is what the kernel gives up first: pages of files that nobody used of late.
pub(crate) fn available(root: &Path) -> Option<u64> {
    [in_cgroups(root), on_machine(root)].into_iter().flatten().min()
}

/// The least room in the process's cgroup and those around it.
fn in_cgroups(root: &Path) -> Option<u64> {
    let membership = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let path = membership.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mount = root.join("sys/fs/cgroup");
    mount.join(path).ancestors().take_while(|dir| dir.starts_with(&mount)).filter_map(room).min()
}

fn room(cgroup: &Path) -> Option<u64> {
    let number = |file: &str| fs::read_to_string(cgroup.join(file)).ok()?.trim().parse::<u64>().ok();
    // "max" is no limit.
    let limit = number("memory.max")?;
    let used = number("memory.current")?;
    let statistics = fs::read_to_string(cgroup.join("memory.stat")).unwrap_or_default();
    let idle = statistics.lines().find_map(|line| line.strip_prefix("inactive_file ")?.parse::<u64>().ok());
    Some(limit.saturating_sub(used.saturating_sub(idle.unwrap_or(0))))
}

fn on_machine(root: &Path) -> Option<u64> {
    let memory = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
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
