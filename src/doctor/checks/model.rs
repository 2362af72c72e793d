//! The configured model's files.

use crate::{
    doctor::{
        finding::{Check, Outcome},
        machine::Machine,
    },
    kernel::npu,
    model::{Bundle, BundleError, Platform},
};

pub(super) const FILES: Check = Check {
    id: "model",
    title: "Model files",
    symptom: "the state is failed: a model is not installed, missing a file, truncated or altered",
    looks_at: "the bundle of `clip.model`: `model.yaml`, and size and SHA-256 of the files that this machine needs",
    remedy: "install the model again, or choose another with `clip.model`",
    run: files,
};

fn files(machine: &Machine) -> Outcome {
    let name = machine.settings_or_default().clip.model;
    // A folder that may not be entered hides what is in it.
    let hidden = machine
        .models
        .iter()
        .find(|folder| std::fs::read_dir(folder).is_err_and(|error| is_denied(&error)))
        .filter(|_| !machine.privileged);
    let bundle = match Bundle::find(&name, &machine.models) {
        Ok(bundle) => bundle,
        Err(BundleError::NotInstalled { .. } | BundleError::Unreadable { .. }) if hidden.is_some() => {
            return Outcome::needs_root(format!("model {name} may lie where others alone can look"))
                .seen(hidden.map(|folder| machine.shown(folder)).unwrap_or_default());
        }
        Err(error) => return wrong(&name, &error),
    };
    let mut platforms = vec![Platform::Cpu];
    if super::device::wanted(machine).is_ok() && !npu::find(&machine.hardware).is_empty() {
        platforms = vec![platform(machine).unwrap_or(Platform::Hailo8), Platform::Cpu];
    }
    // An encoder that is not compiled for the NPU runs on the CPU.
    let tower = |tower: &crate::model::Tower| {
        let has = |platform: &Platform| match platform {
            Platform::Cpu => tower.cpu.is_some(),
            Platform::Hailo8 => tower.hailo8.is_some(),
            Platform::Hailo8L => tower.hailo8l.is_some(),
            Platform::Hailo10H => tower.hailo10h.is_some(),
        };
        platforms.iter().copied().find(has).unwrap_or(platforms[0])
    };
    let (image, text) = (tower(&bundle.image_tower), tower(&bundle.text_tower));
    match bundle.verify(image, text) {
        Ok(()) => Outcome::ok(format!("the files of model {name} are whole"))
            .seen(format!("pictures on {image}, texts on {text}, {}", bundle.precision_on(image, text))),
        Err(BundleError::Unreadable { .. }) if !machine.privileged => {
            Outcome::needs_root(format!("the files of model {name} can be read by others alone"))
        }
        Err(error) => wrong(&name, &error),
    }
}

fn wrong(name: &str, error: &BundleError) -> Outcome {
    let outcome = Outcome::failure(format!("model {name} cannot be used")).seen(error.to_string());
    match (error, name) {
        (
            BundleError::InvalidName(_) | BundleError::NotInstalled { .. } | BundleError::NoEncoder { .. },
            _,
        ) => outcome
            .advise("set clip.model to a model that is installed")
            .mend("sudoedit /etc/hailo/hailo-clip.yaml")
            .mend("sudo systemctl restart hailo-clip.service"),
        // The bundled one.
        (_, "demo") => outcome
            .mend_safely("sudo apt-get install --reinstall -y hailo-clip")
            .mend_safely("sudo systemctl restart hailo-clip.service"),
        _ => outcome
            .advise(format!("install model {name} again"))
            .mend("sudo systemctl restart hailo-clip.service"),
    }
}

/// What the daemon says, else what the PCI bus says: it does not tell an 8 from an 8L.
fn platform(machine: &Machine) -> Option<Platform> {
    let said = machine.properties().and_then(|properties| properties.device_architecture.as_deref());
    match said {
        Some("Hailo-8") => Some(Platform::Hailo8),
        Some("Hailo-8L") => Some(Platform::Hailo8L),
        Some("Hailo-10H") => Some(Platform::Hailo10H),
        _ => {
            let ids = npu::pci_devices(&machine.hardware);
            ids.iter().any(|id| id.eq_ignore_ascii_case("0x45c4")).then_some(Platform::Hailo10H)
        }
    }
}

fn is_denied(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::PermissionDenied
}
