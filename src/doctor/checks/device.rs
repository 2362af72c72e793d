//! The device: whether there is one with a driver, whether the service may open it, and who holds it.

use std::{fs, os::unix::fs::MetadataExt};

use crate::{
    config::BackendChoice,
    doctor::{
        finding::{Check, Outcome},
        machine::Machine,
    },
    kernel::{
        npu::{self, Node},
        process,
    },
};

/// What brings driver and library, for either kind of device.
pub(super) const PACKAGES: [&str; 2] = ["sudo apt install hailo-all", "sudo apt install hailo-h10-all"];
const JOIN: &str = "sudo /usr/libexec/hailo-clip/hailo-clip-join-device-group";

pub(super) const NODE: Check = Check {
    id: "device",
    title: "Hailo device and driver",
    symptom: "\"no Hailo device found\"; the service runs on the CPU",
    looks_at: "`/sys/class/hailo_chardev` and `/sys/class/hailo1x` (drivers up to 5.2, and from 5.3), the node in `/dev`, the PCI bus",
    remedy: "install the driver for the device and reboot; without a device, set `clip.backend: cpu`",
    run: node,
};

/// Whether the NPU is to be used; else the outcome that says that it is not.
pub(super) fn wanted(machine: &Machine) -> Result<BackendChoice, Outcome> {
    match machine.settings_or_default().clip.backend {
        BackendChoice::Cpu => Err(Outcome::not_applicable("clip.backend is cpu")),
        wanted => Ok(wanted),
    }
}

/// The nodes of the devices; else the outcome that there are none.
pub(super) fn nodes(machine: &Machine) -> Result<Vec<Node>, Outcome> {
    wanted(machine)?;
    let nodes = npu::find(&machine.hardware);
    if nodes.is_empty() { Err(Outcome::not_applicable("there is no Hailo device")) } else { Ok(nodes) }
}

fn node(machine: &Machine) -> Outcome {
    let choice = match wanted(machine) {
        Ok(choice) => choice,
        Err(outcome) => return outcome,
    };
    let nodes = npu::find(&machine.hardware);
    if nodes.is_empty() && npu::on_pci_bus(&machine.hardware) {
        return Outcome::failure("a Hailo device is on the PCI bus, but no driver serves it")
            .seen("a PCI device of vendor 0x1e60, and nothing in /sys/class/hailo_chardev or /sys/class/hailo1x")
            .advise("the first for Hailo-8 and 8L, the second for Hailo-10H; reboot after that")
            .mend(PACKAGES[0])
            .mend(PACKAGES[1]);
    }
    if nodes.is_empty() {
        let seen =
            "no PCI device of vendor 0x1e60, nothing in /sys/class/hailo_chardev or /sys/class/hailo1x";
        return match choice {
            BackendChoice::Hailo => Outcome::failure("clip.backend is hailo, and there is no Hailo device")
                .seen(seen)
                .advise("check that the board is seated and PCIe is on (\"dtparam=pciex1\"), or set clip.backend to auto or cpu"),
            _ => Outcome::warning("there is no Hailo device, so the service runs on the CPU")
                .seen(seen)
                .advise("if that is as it should be, set clip.backend: cpu; else check that the board is seated"),
        }
        .mend("sudoedit /etc/hailo/hailo-clip.yaml");
    }
    let missing = nodes.iter().filter(|node| !node.path.exists());
    let missing: Vec<_> = missing.map(|node| format!("/dev/{}", node.name)).collect();
    if !missing.is_empty() {
        return Outcome::failure(format!("the driver shows a device, but {} is missing", missing.join(" ")))
            .advise("udev makes the node; if it does not, reinstall the driver")
            .mend(
                "sudo udevadm trigger --action=add --subsystem-match=hailo_chardev --subsystem-match=hailo1x",
            );
    }
    let outcome = Outcome::ok(match nodes.len() {
        1 => "a Hailo device is there".to_owned(),
        count => format!("{count} Hailo devices are there"),
    });
    nodes.iter().fold(outcome, |outcome, node| {
        let driver = node.driver.as_deref().unwrap_or("of unknown version");
        outcome.seen(format!("/dev/{}, driver {driver}", node.name))
    })
}

pub(super) const ACCESS: Check = Check {
    id: "device-access",
    title: "Access to the device",
    symptom: "\"/dev/hailo0 may not be opened by this service\"",
    looks_at: "mode and group of the node, the groups of the user hailo-clip in `/etc/group`, and those that the daemon was started with",
    remedy: "have the user join the node's group, and restart the service",
    run: access,
};

fn access(machine: &Machine) -> Outcome {
    let nodes = match nodes(machine) {
        Ok(nodes) => nodes,
        Err(outcome) => return outcome,
    };
    let user = machine.installed_units().and_then(|units| units.service_state.user.clone());
    let user = user.filter(|user| !user.is_empty()).unwrap_or_else(|| "hailo-clip".to_owned());
    let Some(own_gid) = own_group(machine, &user) else {
        return Outcome::failure(format!("there is no user {user}"))
            .mend_safely("sudo systemd-sysusers hailo-clip.conf");
    };
    let mut outcome = Outcome::ok("the service may open the device");
    for node in &nodes {
        let path = format!("/dev/{}", node.name);
        let Ok(metadata) = fs::metadata(&node.path) else {
            return Outcome::not_applicable(format!("{path} is missing"));
        };
        let (mode, gid) = (metadata.mode() & 0o777, metadata.gid());
        let group = group(machine, gid);
        let name = group.as_ref().map_or_else(|| gid.to_string(), |(name, _)| name.clone());
        outcome = outcome.seen(format!("{path} has mode {mode:04o} and group {name}"));
        if mode & 0o006 == 0o006 {
            continue;
        }
        if mode & 0o060 != 0o060 || gid == 0 {
            let rule = r#"SUBSYSTEM=="hailo_chardev|hailo1x", GROUP="hailo-clip", MODE="0660""#;
            return Outcome::failure(format!("{path} can be opened by root alone"))
                .seen(format!("it has mode {mode:04o} and group {name}"))
                .mend(format!("echo '{rule}' | sudo tee /etc/udev/rules.d/71-hailo.rules"))
                .mend("sudo udevadm control --reload")
                .mend("sudo udevadm trigger --action=add --subsystem-match=hailo_chardev --subsystem-match=hailo1x");
        }
        let member = own_gid == gid || group.is_some_and(|(_, members)| members.contains(&user));
        if !member {
            return Outcome::failure(format!("the user {user} is not in the group {name} of {path}"))
                .seen(format!("it has mode {mode:04o} and group {name}"))
                .mend_safely(format!("{JOIN} {path}"));
        }
        if started_with(machine).is_some_and(|groups| !groups.contains(&gid)) {
            return Outcome::failure(format!(
                "the service was started before {user} joined the group {name}"
            ))
            .seen(format!("{path} has group {name}, which the running daemon does not have"))
            .mend_safely("sudo systemctl restart hailo-clip.service");
        }
    }
    outcome
}

/// The primary group of a user.
fn own_group(machine: &Machine, user: &str) -> Option<u32> {
    let passwd = machine.read("/etc/passwd").ok()?;
    let line = passwd.lines().find(|line| line.split(':').next() == Some(user))?;
    line.split(':').nth(3)?.parse().ok()
}

/// Name and members of a group.
fn group(machine: &Machine, gid: u32) -> Option<(String, Vec<String>)> {
    let groups = machine.read("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        let [name, _, number, members] = fields[..] else { return None };
        let members = members.split(',').map(str::to_owned).collect();
        (number.parse() == Ok(gid)).then(|| (name.to_owned(), members))
    })
}

/// The groups of the running daemon.
fn started_with(machine: &Machine) -> Option<Vec<u32>> {
    let status = fs::read_to_string(machine.proc().join(machine.pid()?.to_string()).join("status")).ok()?;
    let numbers = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        line.split_whitespace().filter_map(|number| number.parse().ok()).collect::<Vec<u32>>()
    };
    // Root opens what it likes.
    if numbers("Uid:").get(1) == Some(&0) {
        return None;
    }
    Some([numbers("Groups:"), numbers("Gid:")].concat())
}

pub(super) const HOLDER: Check = Check {
    id: "device-holder",
    title: "Who holds the device",
    symptom: "HailoRT status 74, \"in use by another process\"; the service runs on the CPU or fails",
    looks_at: "the processes that have the node open, and hailort.service, which takes devices for itself",
    remedy: "stop the other program, or have it share by turns (`performance.idle_unload_seconds`)",
    run: holder,
};

fn holder(machine: &Machine) -> Outcome {
    let nodes = match nodes(machine) {
        Ok(nodes) => nodes,
        Err(outcome) => return outcome,
    };
    if machine.properties().and_then(|properties| properties.backend.as_deref()) == Some("hailo") {
        return Outcome::ok("the service itself holds the device");
    }
    let own = machine.pid();
    let proc = machine.hardware.join("proc");
    let others = nodes.iter().flat_map(|node| {
        let target = node.path.canonicalize().unwrap_or_else(|_| node.path.clone());
        let holders: Vec<_> =
            process::holders(&target, &proc).filter(|holder| Some(holder.pid) != own).collect();
        holders.into_iter().map(|holder| (format!("/dev/{}", node.name), holder))
    });
    let others: Vec<_> = others.collect();
    let multi_process =
        machine.units.iter().flat_map(|units| &units.others).any(|(name, _)| name == "hailort.service");
    if let Some((node, holder)) = others.first() {
        let outcome = Outcome::failure(format!("{node} is held by {holder}"))
            .advise("stop that program; a service is better stopped by its unit")
            .mend(format!("ps -o pid,user,unit,cmd -p {}", holder.pid));
        let outcome = if multi_process && holder.name.contains("hailort") {
            outcome.mend("sudo systemctl disable --now hailort.service")
        } else {
            outcome.mend(format!("sudo kill {}", holder.pid))
        };
        return others
            .iter()
            .fold(outcome, |outcome, (node, holder)| outcome.seen(format!("{node}: {holder}")));
    }
    if !machine.privileged {
        let names: Vec<_> = nodes.iter().map(|node| format!("/dev/{}", node.name)).collect();
        return Outcome::needs_root("open files of other users' programs are root's to see")
            .mend(format!("sudo fuser -v {}", names.join(" ")));
    }
    Outcome::ok("nobody holds the device")
}
