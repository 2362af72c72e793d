//! Which processes there are, and which has something open.

use std::{fs, path::Path};

/// A process, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) pid: u32,
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

/// The processes that have a descriptor of `target`, a file's path or what the kernel writes in its place
/// (`socket:[4711]`).
///
/// Without privileges, the descriptors of other users' processes cannot be seen.
pub(crate) fn holders(target: &Path, proc: &Path) -> impl Iterator<Item = Process> {
    fs::read_dir(proc).into_iter().flatten().flatten().filter_map(move |entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let mut descriptors = fs::read_dir(entry.path().join("fd")).ok()?.flatten();
        let has = descriptors.any(|fd| fs::read_link(fd.path()).is_ok_and(|link| link == target));
        let name = || fs::read_to_string(entry.path().join("comm")).unwrap_or_default().trim().to_owned();
        has.then(|| Process { name: name(), pid })
    })
}

/// The first process other than this one that has the file at `path` open.
pub(crate) fn other_holder(path: &Path, proc: &Path) -> Option<Process> {
    let target = path.canonicalize().ok()?;
    holders(&target, proc).find(|process| process.pid != std::process::id())
}

/// A process with what it was started as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    /// The program and its arguments; empty for the kernel's threads.
    pub(crate) arguments: Vec<String>,
}

/// All processes that can be seen.
pub(crate) fn running(proc: &Path) -> impl Iterator<Item = Running> {
    fs::read_dir(proc).into_iter().flatten().flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let arguments = fs::read(entry.path().join("cmdline")).ok()?;
        let arguments = arguments.split(|byte| *byte == 0).filter(|argument| !argument.is_empty());
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()?;
        let arguments = arguments.map(|argument| String::from_utf8_lossy(argument).into_owned()).collect();
        Some(Running { pid, parent, arguments })
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn this_process_runs() {
        let this = running("/proc".as_ref()).find(|process| process.pid == std::process::id()).unwrap();
        assert_eq!(this.arguments, std::env::args().collect::<Vec<_>>());
        assert_eq!(this.parent, std::os::unix::process::parent_id());
    }

    #[test]
    fn the_holder_is_another_process() {
        let folder = tempfile::tempdir().unwrap();
        let node = folder.path().join("hailo0");
        fs::write(&node, "").unwrap();
        let here = fs::File::open(&node).unwrap();
        assert_eq!(other_holder(&node, "/proc".as_ref()), None, "our own descriptor does not count");
        drop(here);
        let (reader, writer) = std::io::pipe().unwrap();
        let mut holder = Command::new("sh")
            .args(["-c", "exec 3< \"$0\"; echo held; read line"])
            .arg(&node)
            .stdin(reader)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 5];
        std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut said).unwrap();
        let found = other_holder(&node, "/proc".as_ref()).unwrap();
        assert_eq!(found.pid, holder.id());
        assert!(found.to_string().contains("sh (process "), "{found}");
        drop(writer);
        holder.wait().unwrap();
        assert_eq!(other_holder(&node, "/proc".as_ref()), None);
    }
}
