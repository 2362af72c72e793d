//! A simulated Hailo device: HailoRT's stand-in, the shim compiled against it, and a machine that has it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, OnceLock},
};

use tempfile::TempDir;

/// A kind of device, with the HailoRT that drives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub architecture: &'static str,
    /// As the service names it.
    pub name: &'static str,
    pub hailort: &'static str,
}

pub const HAILO_8: Kind = Kind { architecture: "hailo8", name: "Hailo-8", hailort: "4.23.0" };
pub const HAILO_8L: Kind = Kind { architecture: "hailo8l", name: "Hailo-8L", hailort: "4.23.0" };
pub const HAILO_10H: Kind = Kind { architecture: "hailo10h", name: "Hailo-10H", hailort: "5.2.0" };
pub const KINDS: [Kind; 3] = [HAILO_8, HAILO_8L, HAILO_10H];

/// The device that the environment asks tests to run on, if any: `make test-npu` sets it.
pub fn kind_to_test() -> Option<Kind> {
    let wanted = std::env::var("HAILO_CLIP_TEST_DEVICE").ok()?;
    let kind = KINDS.into_iter().find(|kind| kind.architecture == wanted);
    Some(kind.expect("HAILO_CLIP_TEST_DEVICE is hailo8, hailo8l or hailo10h"))
}

/// Where the simulator is built.
pub fn build() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let out = root.join("target/hailort-sim");
        for target in [["shim", "VERSION=4.23.0"], ["shim", "VERSION=5.2.0"], ["models", "VERSION=5.2.0"]] {
            let mut make = Command::new("make");
            make.arg("-C").arg(root.join("crates/hailort-sys/sim")).args(target);
            let built = make.arg(format!("OUT={}", out.display())).output().expect("make is installed");
            assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        }
        out
    })
}

/// A machine with one device of some kind, whose behaviour changes while programs run. Clones are the
/// same machine.
#[derive(Clone)]
pub struct Machine {
    pub kind: Kind,
    folder: Arc<TempDir>,
    control: Arc<Mutex<BTreeMap<String, String>>>,
    shim_dir: PathBuf,
    logger_path: &'static str,
}

impl Machine {
    pub fn new(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shim_dir = build().join(kind.hailort).join("shim");
        let machine =
            Self { kind, folder: Arc::new(folder), control: Arc::default(), shim_dir, logger_path: "NONE" };
        let root = machine.root();
        fs::create_dir_all(root.join("dev")).unwrap();
        fs::create_dir_all(root.join("sys/class/hailo_chardev")).unwrap();
        fs::create_dir_all(root.join("sys/module/hailo_pci")).unwrap();
        symlink("/proc", root.join("proc")).unwrap();
        machine.driver(kind.hailort);
        machine.plug(0);
        machine.set("architecture", kind.architecture);
        machine.set("node", root.join("dev/hailo").to_str().unwrap());
        machine
    }

    /// What stands for `/`.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    pub fn control_file(&self) -> PathBuf {
        self.folder.path().join("control")
    }

    /// Another folder for the shim than the one where it is.
    pub fn use_shim_dir(&mut self, folder: PathBuf) {
        self.shim_dir = folder;
    }

    /// Programs are started without what libhailort needs.
    pub fn spoil_environment(&mut self) {
        self.logger_path = "/nowhere";
    }

    /// What the simulator has counted.
    pub fn stats(&self) -> String {
        fs::read_to_string(self.folder.path().join("stats")).unwrap_or_default()
    }

    /// The folder of models with HEFs for the device.
    pub fn models() -> PathBuf {
        build().join("models")
    }

    /// Changes the simulated device; the README of the simulator has the keys.
    pub fn set(&self, key: &str, value: &str) {
        let mut control = self.control.lock().unwrap();
        control.insert(key.into(), value.into());
        self.write(&control);
    }

    /// Back to the default.
    pub fn unset(&self, key: &str) {
        let mut control = self.control.lock().unwrap();
        control.remove(key);
        self.write(&control);
    }

    fn write(&self, control: &BTreeMap<String, String>) {
        let text: String = control.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
        let part = self.control_file().with_extension("part");
        fs::write(&part, text).unwrap();
        fs::rename(part, self.control_file()).unwrap();
    }

    /// The driver's version, as the kernel shows it.
    pub fn driver(&self, version: &str) {
        fs::write(self.root().join("sys/module/hailo_pci/version"), format!("{version}\n")).unwrap();
    }

    /// A device node appears.
    pub fn plug(&self, index: usize) {
        fs::write(self.root().join(format!("dev/hailo{index}")), "").unwrap();
        fs::create_dir(self.root().join(format!("sys/class/hailo_chardev/hailo{index}"))).unwrap();
    }

    /// A device node goes away.
    pub fn unplug(&self, index: usize) {
        fs::remove_dir(self.root().join(format!("sys/class/hailo_chardev/hailo{index}"))).unwrap();
        fs::remove_file(self.root().join(format!("dev/hailo{index}"))).unwrap();
    }

    /// Lets a command run on this machine.
    pub fn equip(&self, command: &mut Command) {
        command
            .arg("--shim-dir")
            .arg(&self.shim_dir)
            .arg("--hardware-root")
            .arg(self.root())
            .env("HAILORT_LOGGER_PATH", self.logger_path)
            .env("HAILO_SIM_CONTROL", self.control_file())
            .env("HAILO_SIM_STATS", self.folder.path().join("stats"));
    }
}
