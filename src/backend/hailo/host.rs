//! This machine's NPUs: finding them, opening them, and saying what is missing.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use hailort::{Architecture, Identity, Library, VDevice, VDeviceParams};
use nix::unistd::{AccessFlags, access};

use crate::{
    backend::{BackendError, Health, Npu},
    kernel::{
        npu::{self, Node},
        process,
    },
    model::Platform,
};

/// Where the package's tool puts the shim that it compiles.
pub const SHIM_DIR: &str = "/usr/lib/hailo-clip";

/// What the shim's file is called, before HailoRT's version.
const SHIM_PREFIX: &str = "libhailo_clip_shim-";

/// How a person gets the shim made, or is told why it cannot be.
const BUILD_SHIM: &str = "\"sudo /usr/libexec/hailo-clip/hailo-clip-build-shim\"";

/// The machine on which NPUs are looked for. One value serves a process: models share its devices.
pub struct Host {
    root: PathBuf,
    shim_dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    library: Option<Library>,
    /// The devices that models hold now, and which they are.
    device: Weak<Device>,
}

/// Devices that are held, and whatever is known of them.
pub(super) struct Device {
    /// One for each: only a Hailo-8 lets HailoRT join several into one.
    pub(super) vdevices: Vec<VDevice>,
    pub(super) platform: Platform,
    pub(super) npu: Npu,
    indices: Vec<u32>,
    lost: AtomicBool,
}

impl Host {
    /// `root` is `/`, and `shim_dir` is [`SHIM_DIR`], but in tests.
    #[must_use]
    pub fn new(root: PathBuf, shim_dir: PathBuf) -> Self {
        Self { root, shim_dir, state: Mutex::default() }
    }

    /// The devices with these indices: those that are held already, or newly opened.
    pub(super) fn device(&self, indices: &[u32]) -> Result<Arc<Device>, BackendError> {
        let mut state = self.lock();
        if let Some(device) = state.device.upgrade().filter(|device| !device.is_lost()) {
            if device.indices == indices {
                return Ok(device);
            }
            if device.indices.iter().any(|index| indices.contains(index)) {
                return Err(BackendError::NoDevice(
                    "the model in service holds one of the devices that clip.device names; \"sudo systemctl \
                     restart hailo-clip\" changes devices"
                        .into(),
                ));
            }
        }
        let nodes = npu::find(&self.root);
        self.check_nodes(&nodes)?;
        let library = match &state.library {
            Some(library) => library.clone(),
            None => state.library.insert(self.load_library()?).clone(),
        };
        check_versions(&library, &nodes)?;
        let device = Arc::new(self.open(&library, &nodes, indices)?);
        state.device = Arc::downgrade(&device);
        Ok(device)
    }

    fn check_nodes(&self, nodes: &[Node]) -> Result<(), BackendError> {
        let packages = "\"apt install hailo-all\" (Hailo-8, 8L) or \"apt install hailo-h10-all\" (Hailo-10H)";
        if nodes.is_empty() {
            return Err(BackendError::NoDevice(if npu::on_pci_bus(&self.root) {
                format!(
                    "a Hailo device is there, but no driver serves it; install one with {packages}, and reboot"
                )
            } else {
                format!(
                    "no Hailo device found; if there is one, install its driver with {packages}, and reboot"
                )
            }));
        }
        match nodes.iter().find(|node| !may_open(&node.path)) {
            None => Ok(()),
            Some(node) => Err(BackendError::NoDevice(format!(
                "/dev/{} may not be opened by this service; {}",
                node.name,
                remedy_for_permission(&node.path)
            ))),
        }
    }

    fn load_library(&self) -> Result<Library, BackendError> {
        let mut shims: Vec<PathBuf> = fs::read_dir(&self.shim_dir)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(SHIM_PREFIX))
            .map(|entry| entry.path())
            .collect();
        shims.sort();
        // After an upgrade of HailoRT the shim for the old version may still lie there.
        let mut failure = format!("the shim over HailoRT is not there; {BUILD_SHIM} makes it");
        for shim in shims.iter().rev() {
            match Library::open(shim) {
                Ok(library) => return Ok(library),
                Err(error) => failure = format!("{error}; {BUILD_SHIM} makes the shim anew"),
            }
        }
        Err(BackendError::NoDevice(failure))
    }

    fn open(&self, library: &Library, nodes: &[Node], indices: &[u32]) -> Result<Device, BackendError> {
        let failed = |error: hailort::Error| no_device(&error);
        let mut ids = library.scan().map_err(failed)?;
        ids.sort();
        if ids.is_empty() {
            let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
            return Err(BackendError::NoDevice(format!(
                "the driver shows {}, but HailoRT finds no device; reboot, or reinstall HailoRT and its driver",
                names.join(", ")
            )));
        }
        let chosen = indices.iter().map(|&index| {
            ids.get(index as usize).cloned().ok_or_else(|| {
                BackendError::NoDevice(format!(
                    "clip.device is {index}, but there {}; count from 0",
                    if ids.len() == 1 {
                        "is one device".into()
                    } else {
                        format!("are {} devices", ids.len())
                    }
                ))
            })
        });
        let mut vdevices = Vec::new();
        let mut identities = Vec::new();
        for id in chosen {
            let params = VDeviceParams { device_ids: vec![id?], ..VDeviceParams::default() };
            let vdevice = VDevice::open(library, &params).map_err(|error| {
                if error.status().is_busy() { self.busy(nodes) } else { no_device(&error) }
            })?;
            identities.extend(vdevice.identities().map_err(failed)?);
            vdevices.push(vdevice);
        }
        let (platform, first) = common_platform(&identities)?;
        let npu = Npu {
            architecture: platform.to_string(),
            firmware: first.firmware.to_string(),
            library: library.version().to_string(),
            driver: nodes.iter().find_map(|node| node.driver.clone()),
        };
        Ok(Device { vdevices, platform, npu, indices: indices.to_vec(), lost: AtomicBool::new(false) })
    }

    fn busy(&self, nodes: &[Node]) -> BackendError {
        let proc = self.root.join("proc");
        let held = nodes.iter().find_map(|node| Some((node, process::other_holder(&node.path, &proc)?)));
        BackendError::NoDevice(match held {
            Some((node, holder)) => {
                format!("/dev/{} is in use by {holder}; stop it to use the device here", node.name)
            }
            None => {
                let nodes: Vec<_> = nodes.iter().map(|node| format!("/dev/{}", node.name)).collect();
                format!(
                    "the Hailo device is in use by another process; \"sudo fuser -v {}\" names it",
                    nodes.join(" ")
                )
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Device {
    /// Not to be handed out any more.
    pub(super) fn mark_lost(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }

    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// What the sensors of all devices say, the worst of each.
    pub(super) fn health(&self) -> Health {
        let mut worst = Health::default();
        for vdevice in &self.vdevices {
            let Ok(health) = vdevice.health(0) else { continue };
            worst.temperature =
                [worst.temperature, health.temperature].into_iter().flatten().reduce(f32::max);
            worst.throttled = [worst.throttled, health.throttling].into_iter().flatten().reduce(|a, b| a | b);
        }
        worst
    }
}

/// HailoRT, its driver and the firmware work together in the same version alone.
fn check_versions(library: &Library, nodes: &[Node]) -> Result<(), BackendError> {
    let library = library.version().to_string();
    let other = nodes.iter().filter_map(|node| node.driver.as_ref()).find(|driver| **driver != library);
    match other {
        None => Ok(()),
        Some(driver) => Err(BackendError::NoDevice(format!(
            "HailoRT is of version {library} and its driver of version {driver}, but they must be the same; \
             \"sudo apt full-upgrade\" and a reboot mend that"
        ))),
    }
}

fn common_platform(identities: &[Identity]) -> Result<(Platform, &Identity), BackendError> {
    let [first, others @ ..] = identities else {
        return Err(BackendError::NoDevice("HailoRT opened no device; reboot".into()));
    };
    let platform = match first.architecture {
        Architecture::Hailo8 => Platform::Hailo8,
        Architecture::Hailo8L => Platform::Hailo8L,
        Architecture::Hailo10H => Platform::Hailo10H,
        Architecture::Other(number) => {
            return Err(BackendError::Unavailable(format!(
                "this kind of Hailo device (number {number}) is not supported; only Hailo-8, 8L and 10H are"
            )));
        }
    };
    if others.iter().any(|other| other.architecture != first.architecture) {
        return Err(BackendError::Unavailable(
            "the devices that clip.device names are of different kinds; name devices of one kind".into(),
        ));
    }
    Ok((platform, first))
}

fn may_open(node: &Path) -> bool {
    access(node, AccessFlags::R_OK | AccessFlags::W_OK).is_ok()
}

fn remedy_for_permission(node: &Path) -> String {
    let group = fs::metadata(node).ok().and_then(|metadata| {
        let gid = nix::unistd::Gid::from_raw(metadata.gid());
        nix::unistd::Group::from_gid(gid).ok().flatten().map(|group| group.name)
    });
    match group.filter(|name| name != "root") {
        Some(group) => {
            format!("\"sudo adduser hailo-clip {group}\" and \"sudo systemctl restart hailo-clip\" mend that")
        }
        None => "reinstall the Hailo driver, whose udev rule opens it for programs".into(),
    }
}

/// HailoRT's error as one that says that there is no device to use.
pub(super) fn no_device(error: &hailort::Error) -> BackendError {
    BackendError::NoDevice(error.to_string())
}
