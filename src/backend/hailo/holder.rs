//! Which process holds a device.

use std::{fs, path::Path};

/// A process, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pid: u32,
    name: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

/// The first process other than this one that has the file open.
///
/// Without privileges, the descriptors of other users' processes cannot be seen.
pub(super) fn find(node: &Path, proc: &Path) -> Option<Holder> {
    let this = std::process::id();
    let node = node.canonicalize().ok()?;
    fs::read_dir(proc).ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok().filter(|pid| *pid != this)?;
        let descriptors = fs::read_dir(entry.path().join("fd")).ok()?;
        let open = descriptors
            .flatten()
            .any(|descriptor| fs::read_link(descriptor.path()).is_ok_and(|target| target == node));
        let name = || fs::read_to_string(entry.path().join("comm")).unwrap_or_default().trim().to_owned();
        open.then(|| Holder { pid, name: name() })
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_holder_is_another_process() {
        let folder = tempfile::tempdir().unwrap();
        let node = folder.path().join("hailo0");
        fs::write(&node, "").unwrap();
        let here = fs::File::open(&node).unwrap();
        assert_eq!(find(&node, "/proc".as_ref()), None, "our own descriptor does not count");
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
        let found = find(&node, "/proc".as_ref()).unwrap();
        assert_eq!(found.pid, holder.id());
        assert!(found.to_string().contains("sh (process "), "{found}");
        drop(writer);
        holder.wait().unwrap();
        assert_eq!(find(&node, "/proc".as_ref()), None);
    }
}
