//! What the limits depend on: whether there is an NPU, and how many cores.

use std::{fs, path::Path};

use crate::kernel::npu;

/// The machine, as far as limits depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    /// Whether a Hailo device is plugged in.
    pub(super) npu: bool,
    /// Processor cores that run, hardware threads counted.
    pub(super) cores: u32,
}

impl Machine {
    pub(super) fn examine(root: &Path) -> Self {
        // At boot generators run before any driver is loaded.
        let npu = npu::on_pci_bus(root) || !npu::find(root).is_empty();
        Self { npu, cores: cores(root) }
    }
}

/// Asked of the kernel: the usual ways answer less within a service that has a quota, and a service's
/// start must find what boot found.
fn cores(root: &Path) -> u32 {
    fs::read_to_string(super::within(root, "/sys/devices/system/cpu/online"))
        .ok()
        .and_then(|list| count(list.trim()))
        .unwrap_or(1)
}

/// Members of a list such as `0-3,6`.
fn count(list: &str) -> Option<u32> {
    list.split(',').try_fold(0_u32, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        sum.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn machine(files: &[(&str, &str)]) -> Machine {
        let root = TempDir::new().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Machine::examine(root.path())
    }

    #[test]
    fn knows_an_npu_by_its_driver_or_its_slot() {
        assert!(machine(&[("sys/class/hailo_chardev/hailo0/dev", "")]).npu);
        assert!(machine(&[("sys/class/hailo1x/h1x-0/dev", "")]).npu);
        assert!(machine(&[("sys/bus/pci/devices/0001:01:00.0/vendor", "0x1e60\n")]).npu);
        assert!(!machine(&[("sys/bus/pci/devices/0001:01:00.0/vendor", "0x8086\n")]).npu);
        assert!(!machine(&[]).npu);
    }

    #[test]
    fn a_loaded_driver_alone_is_no_npu() {
        let root = TempDir::new().unwrap();
        fs::create_dir_all(root.path().join("sys/class/hailo_chardev")).unwrap();
        assert!(!Machine::examine(root.path()).npu);
    }

    #[test]
    fn counts_cores() {
        assert_eq!(machine(&[("sys/devices/system/cpu/online", "0-3\n")]).cores, 4);
        for (list, cores) in [("0", Some(1)), ("0-2,4,6-7", Some(6)), ("", None), ("3-1", None), ("x", None)]
        {
            assert_eq!(count(list), cores, "{list}");
        }
        assert_eq!(machine(&[]).cores, 1);
    }
}
