//! Hailo devices, before HailoRT is asked.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Device classes of the drivers, 4.x and up to 5.2, and from 5.3.
const CLASSES: [&str; 2] = ["hailo_chardev", "hailo1x"];
/// Their kernel modules, for drivers that do not link to theirs.
const MODULES: [&str; 2] = ["hailo_pci", "hailo1x_pci"];
/// Hailo's vendor number on PCI.
const PCI_VENDOR: &str = "0x1e60";

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// Such as `hailo0`.
    pub(crate) name: String,
    /// Where programs open it.
    pub(crate) path: PathBuf,
    /// Version of the driver, if it says one.
    pub(crate) driver: Option<String>,
}

/// The device nodes, by name; `root` is `/` but in tests.
pub(crate) fn find(root: &Path) -> Vec<Node> {
    let mut nodes = Vec::new();
    for (class, module) in CLASSES.iter().zip(MODULES) {
        for entry in fs::read_dir(root.join("sys/class").join(class)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let linked = entry.path().join("device/driver/module/version");
            let fallback = root.join("sys/module").join(module).join("version");
            let driver = [linked, fallback].iter().find_map(|file| fs::read_to_string(file).ok());
            nodes.push(Node {
                path: root.join("dev").join(&name),
                name,
                driver: driver.map(|version| version.trim().to_owned()).filter(|version| !version.is_empty()),
            });
        }
    }
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    nodes
}

/// Whether a Hailo device is on the PCI bus, with a driver or without.
pub(crate) fn on_pci_bus(root: &Path) -> bool {
    !pci_devices(root).is_empty()
}

/// The device numbers of what Hailo has on the PCI bus, such as `0x2864`; empty where it does not say.
pub(crate) fn pci_devices(root: &Path) -> Vec<String> {
    let devices = fs::read_dir(root.join("sys/bus/pci/devices")).into_iter().flatten().flatten();
    let read = |path: PathBuf| fs::read_to_string(path).map(|text| text.trim().to_owned());
    devices
        .filter(|device| read(device.path().join("vendor")).is_ok_and(|vendor| vendor == PCI_VENDOR))
        .map(|device| read(device.path().join("device")).unwrap_or_default())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_a_node_in_a_driver_class() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        assert_eq!(find(root), []);
        let class = root.join("sys/class/hailo_chardev");
        fs::create_dir_all(&class).unwrap();
        assert_eq!(find(root), [], "a driver without a device");

        fs::create_dir_all(class.join("hailo1")).unwrap();
        fs::create_dir_all(class.join("hailo0/device/driver/module")).unwrap();
        fs::write(class.join("hailo0/device/driver/module/version"), "4.23.0\n").unwrap();
        fs::create_dir_all(root.join("sys/class/hailo1x/h1x-0")).unwrap();
        fs::create_dir_all(root.join("sys/module/hailo1x_pci")).unwrap();
        fs::write(root.join("sys/module/hailo1x_pci/version"), "5.3.0\n").unwrap();
        let node = |name: &str, driver: Option<&str>| Node {
            name: name.into(),
            path: root.join("dev").join(name),
            driver: driver.map(Into::into),
        };
        let expected = [node("h1x-0", Some("5.3.0")), node("hailo0", Some("4.23.0")), node("hailo1", None)];
        assert_eq!(find(root), expected);
    }

    #[test]
    fn a_device_without_driver_is_seen_on_the_bus() {
        let root = tempfile::tempdir().unwrap();
        let device = root.path().join("sys/bus/pci/devices/0000:01:00.0");
        fs::create_dir_all(&device).unwrap();
        fs::write(device.join("vendor"), "0x8086\n").unwrap();
        assert!(!on_pci_bus(root.path()));
        fs::write(device.join("vendor"), "0x1e60\n").unwrap();
        assert!(on_pci_bus(root.path()));
        fs::write(device.join("device"), "0x2864\n").unwrap();
        assert_eq!(pci_devices(root.path()), ["0x2864"]);
    }
}
