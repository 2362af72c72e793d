//! Choosing the backend that the configuration asks for.

use std::{fs, path::Path};

use super::{Backend, BackendError, CpuBackend, CpuOptions};
use crate::{
    config::{self, BackendChoice},
    model::Bundle,
};

/// Where the kernel lists devices.
pub const SYSFS_CLASS: &str = "/sys/class";

/// Device classes of the Hailo drivers, 4.x and 5.x.
const HAILO_CLASSES: [&str; 2] = ["hailo_chardev", "hailo1x"];

/// A backend that is ready to run.
pub struct Opened {
    /// The encoders.
    pub backend: Box<dyn Backend>,
    /// Why this is not the hardware that was asked for, for people; `None` if it is.
    pub degraded: Option<String>,
}

/// Opens `bundle` on the hardware that `clip.backend` asks for, and falls back to the CPU where it may.
///
/// The files are taken as they are: verify them first. `threads` is for the CPU; `None`: the cores and the cgroup's CPU quota decide. `sysfs_class` is
/// [`SYSFS_CLASS`] but in tests.
///
/// # Errors
/// [`BackendError::Unavailable`] if no permitted backend can run the model.
pub fn open(
    bundle: &Bundle,
    clip: &config::Clip,
    threads: Option<usize>,
    sysfs_class: &Path,
) -> Result<Opened, BackendError> {
    let cpu = || CpuBackend::open(bundle, CpuOptions { threads, prepack_weights: clip.prepack_weights });
    let degraded = match clip.backend {
        BackendChoice::Cpu => None,
        BackendChoice::Auto => Some(format!(
            "{}; running on the CPU (set clip.backend: cpu to make this the normal state)",
            missing_for_hailo(sysfs_class)
        )),
        BackendChoice::Hailo => {
            return Err(BackendError::Unavailable(format!(
                "{}; set clip.backend to auto or cpu",
                missing_for_hailo(sysfs_class)
            )));
        }
    };
    Ok(Opened { backend: Box::new(cpu()?), degraded })
}

fn missing_for_hailo(sysfs_class: &Path) -> &'static str {
    if hailo_device_exists(sysfs_class) {
        "this version of hailo-clip cannot use Hailo devices yet"
    } else {
        "no Hailo device found"
    }
}

fn hailo_device_exists(sysfs_class: &Path) -> bool {
    HAILO_CLASSES
        .iter()
        .filter_map(|class| fs::read_dir(sysfs_class.join(class)).ok())
        .any(|mut devices| devices.next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_a_node_in_a_driver_class() {
        let sysfs = tempfile::tempdir().unwrap();
        assert_eq!(missing_for_hailo(sysfs.path()), "no Hailo device found");
        let class = sysfs.path().join("hailo_chardev");
        fs::create_dir(&class).unwrap();
        assert_eq!(missing_for_hailo(sysfs.path()), "no Hailo device found", "a driver without a device");
        fs::create_dir(class.join("hailo0")).unwrap();
        assert_eq!(
            missing_for_hailo(sysfs.path()),
            "this version of hailo-clip cannot use Hailo devices yet"
        );
    }
}
