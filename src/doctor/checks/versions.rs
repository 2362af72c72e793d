//! Driver, library, firmware and shim: whether they are there, and of one version.

use std::{collections::BTreeSet, fs, path::PathBuf};

use super::device;
use crate::{
    doctor::{
        finding::{Check, Outcome},
        machine::Machine,
    },
    kernel::npu,
};

const BUILD_SHIM: &str = "/usr/libexec/hailo-clip/hailo-clip-build-shim";
const SHIM_FILE: (&str, &str) = ("libhailo_clip_shim-", ".so");

/// Numbers of Hailo's devices on PCI: what they are, and the major version of the HailoRT that drives them.
const DEVICES: [(&str, &str, &str); 2] = [("0x2864", "Hailo-8 or 8L", "4"), ("0x45c4", "Hailo-10H", "5")];

pub(super) const SHIM: Check = Check {
    id: "shim",
    title: "Shim for HailoRT",
    symptom: "\"the shim over HailoRT is not there\", or it \"was made for\" another version",
    looks_at: "libhailort's file name, `/usr/lib/hailo-clip/libhailo_clip_shim-VERSION.so`, `hailo-clip-build-shim --check`",
    remedy: "compile the shim for the installed HailoRT, and restart the service",
    run: shim,
};

fn shim(machine: &Machine) -> Outcome {
    if let Err(outcome) = device::nodes(machine) {
        return outcome;
    }
    let shims = shims(machine);
    let Some(library) = library(machine) else {
        return Outcome::failure("there is a Hailo device, and no HailoRT (libhailort)")
            .advise("the first for Hailo-8 and 8L, the second for Hailo-10H; reboot after that")
            .mend(device::PACKAGES[0])
            .mend(device::PACKAGES[1]);
    };
    let build = |outcome: Outcome| {
        outcome
            .mend_safely(format!("sudo {BUILD_SHIM}"))
            .mend_safely("sudo systemctl restart hailo-clip.service")
    };
    if !shims.contains(&library) {
        return build(if shims.is_empty() {
            Outcome::failure(format!("there is no shim for HailoRT {library}")).seen(format!(
                "no {}VERSION{} in {}",
                SHIM_FILE.0,
                SHIM_FILE.1,
                machine.shown(&machine.shim_dir)
            ))
        } else {
            let shims: Vec<_> = shims.into_iter().collect();
            Outcome::failure(format!(
                "the shim is for HailoRT {}, and HailoRT is {library}",
                shims.join(", ")
            ))
        });
    }
    match &machine.printed.shim {
        Some(printed) if printed.status == Some(1) => build(
            Outcome::warning("the shim was made by another version of hailo-clip").seen(printed.out.trim()),
        ),
        Some(printed) if !printed.succeeded() => {
            Outcome::warning("the shim could not be compiled anew if it had to be").seen(printed.err.trim())
        }
        _ => Outcome::ok(format!("the shim fits HailoRT {library}")),
    }
}

/// Versions of HailoRT that there are shims for.
fn shims(machine: &Machine) -> BTreeSet<String> {
    names(&machine.shim_dir)
        .filter_map(|name| Some(name.strip_prefix(SHIM_FILE.0)?.strip_suffix(SHIM_FILE.1)?.to_owned()))
        .collect()
}

/// The version of libhailort: what the daemon has loaded, else what its file is called.
fn library(machine: &Machine) -> Option<String> {
    let loaded = machine.properties().and_then(|properties| properties.library_version.clone());
    loaded.filter(|version| !version.is_empty()).or_else(|| {
        let mut folders = vec![machine.within("/usr/lib"), machine.within("/usr/local/lib")];
        let triplets = names(&folders[0]).filter(|name| name.ends_with("-linux-gnu")).collect::<Vec<_>>();
        folders.extend(triplets.iter().map(|name| machine.within("/usr/lib").join(name)));
        let versions = folders.iter().flat_map(names).filter_map(|name| {
            let version = name.strip_prefix("libhailort.so.")?.to_owned();
            (version.split('.').count() == 3).then_some(version)
        });
        versions.max()
    })
}

fn names(folder: &PathBuf) -> impl Iterator<Item = String> + use<> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
}

pub(super) const VERSIONS: Check = Check {
    id: "versions",
    title: "Versions of driver, library and firmware",
    symptom: "HailoRT status 76; the device is not used after an upgrade",
    looks_at: "the driver's version in `/sys`, libhailort's, the firmware's as the daemon sees it, and the kind of device on the PCI bus",
    remedy: "bring all to one version, and reboot: Hailo-8 and 8L need HailoRT 4, Hailo-10H HailoRT 5",
    run: versions,
};

fn versions(machine: &Machine) -> Outcome {
    let nodes = match device::nodes(machine) {
        Ok(nodes) => nodes,
        Err(outcome) => return outcome,
    };
    let firmware = machine.properties().and_then(|properties| properties.firmware_version.clone());
    let of_daemon = machine.properties().and_then(|properties| properties.driver_version.clone());
    let driver = nodes.iter().find_map(|node| node.driver.clone()).or(of_daemon);
    let found = [("driver", driver), ("library", library(machine)), ("firmware", firmware)];
    let found: Vec<(&str, String)> = found
        .into_iter()
        .filter_map(|(what, version)| Some((what, version.filter(|version| !version.is_empty())?)))
        .collect();
    let library = found.iter().find(|(what, _)| *what == "library").map(|(_, version)| version.as_str());
    if let Some(library) = library
        && let Some((name, major)) = other_generation(machine, library)
    {
        let package = device::PACKAGES[usize::from(major == "5")];
        return Outcome::failure(format!("the device is a {name}, which HailoRT {library} does not drive"))
            .advise(format!("it needs HailoRT {major}; reboot after that"))
            .mend(package);
    }
    let distinct: BTreeSet<&str> = found.iter().map(|(_, version)| version.as_str()).collect();
    let mut outcome = match (distinct.len(), found.len()) {
        (_, 0 | 1) => Outcome::not_applicable("there are no two versions to compare"),
        (1, _) => Outcome::ok(format!("{} are of one version", list(&found))),
        _ => Outcome::failure(format!("{} are of different versions", list(&found)))
            .mend("sudo apt update")
            .mend("sudo apt full-upgrade")
            .mend("sudo reboot"),
    };
    for (what, version) in &found {
        outcome = outcome.seen(format!("{what} {version}"));
    }
    outcome
}

fn list(found: &[(&str, String)]) -> String {
    let names: Vec<&str> = found.iter().map(|(what, _)| *what).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// The device and the HailoRT that it needs, if this library is for others.
fn other_generation(machine: &Machine, library: &str) -> Option<(&'static str, &'static str)> {
    let ids = npu::pci_devices(&machine.hardware);
    let known = DEVICES.iter().find(|(id, ..)| ids.iter().any(|found| found.eq_ignore_ascii_case(id)))?;
    let (_, name, major) = *known;
    (library.split('.').next() != Some(major)).then_some((name, major))
}
