//! Whether the package is installed, whole, and connected to systemd and the bus.

use crate::doctor::{
    finding::{Check, Outcome},
    machine::Machine,
    service::Service,
    systemd::{SERVICE, SOCKET},
};

pub(super) const UNITS: Check = Check {
    id: "installation",
    title: "Installed as a service",
    symptom: "systemctl does not know hailo-clip, or the service does not come up at boot",
    looks_at: "systemd's unit files: present, masked, enabled, changed on disk",
    remedy: "install the package, unmask or enable its units, or have systemd read them again",
    run: units,
};

fn units(machine: &Machine) -> Outcome {
    let Some(units) = &machine.units else {
        let outcome = if machine.runs() {
            Outcome::not_applicable("the service runs on a bus without systemd")
        } else if machine.no_bus.is_some() {
            Outcome::not_applicable("systemd cannot be asked without D-Bus")
        } else {
            Outcome::failure("neither systemd nor a running service is on this bus")
                .advise("start the service by hand, or choose another bus with --bus")
        };
        return machine.no_systemd.clone().into_iter().fold(outcome, Outcome::seen);
    };
    let load = units.service.load_state.as_deref().unwrap_or_default();
    match load {
        "loaded" => {}
        "masked" => {
            return Outcome::failure("hailo-clip.service is masked, so nothing starts it")
                .advise("an administrator did this; if it is not wanted any more:")
                .mend(format!("sudo systemctl unmask {SERVICE} {SOCKET}"));
        }
        _ if machine.runs() => {
            return Outcome::not_applicable("the service runs, but was not started by systemd")
                .seen(format!("{SERVICE} is {load}"));
        }
        _ => {
            return Outcome::failure("hailo-clip is not installed as a service")
                .seen(format!("{SERVICE} is {load}"))
                .mend("sudo apt install hailo-clip");
        }
    }
    if units.service.need_daemon_reload == Some(true) || units.socket.need_daemon_reload == Some(true) {
        return Outcome::warning("unit files have changed since systemd read them")
            .mend_safely("sudo systemctl daemon-reload");
    }
    let state = units.service.unit_file_state.as_deref().unwrap_or_default();
    if state == "disabled" && units.socket.unit_file_state.as_deref() == Some("disabled") {
        return Outcome::warning("the service does not start at boot")
            .seen(format!("{SERVICE} and {SOCKET} are disabled"))
            .mend(format!("sudo systemctl enable --now {SOCKET} {SERVICE}"));
    }
    let mut outcome = Outcome::ok("the service is installed").seen(format!(
        "{SERVICE} is {state}, from {}",
        units.service.fragment_path.as_deref().unwrap_or("?")
    ));
    for path in units
        .service
        .drop_in_paths
        .iter()
        .flatten()
        .filter(|path| !path.starts_with("/run/systemd/generator"))
    {
        outcome = outcome.seen(format!("drop-in {path}"));
    }
    outcome
}

/// What small systems leave out on purpose (dpkg's path-exclude).
const LEFT_OUT: [&str; 3] = [" /usr/share/doc/", " /usr/share/man/", " /usr/share/lintian/"];

pub(super) const FILES: Check = Check {
    id: "package-files",
    title: "Files of the package",
    symptom: "the service or the command does not start, or behaves as another version would",
    looks_at: "`dpkg --verify hailo-clip`: missing and altered files; edited configuration is in order",
    remedy: "install the package again",
    run: files,
};

fn files(machine: &Machine) -> Outcome {
    let Some(printed) = &machine.printed.package_files else {
        return Outcome::not_applicable("there is no dpkg on this system");
    };
    if printed.err.contains("not installed") {
        return Outcome::not_applicable("hailo-clip was not installed as a package");
    }
    // Such as "??5??????   /usr/bin/hailo-clip", "missing     /usr/…", and with a "c" for configuration.
    let wrong: Vec<&str> = printed
        .out
        .lines()
        .filter(|line| {
            let mut words = line.split_whitespace();
            let (Some(what), Some(kind)) = (words.next(), words.next()) else { return false };
            let left_out = what == "missing" && LEFT_OUT.iter().any(|folder| line.contains(folder));
            !left_out
                && (what == "missing" || what.contains('5'))
                && kind != "c"
                && !line.contains("Permission denied")
        })
        .collect();
    if wrong.is_empty() {
        return Outcome::ok("the package's files are as they were installed");
    }
    let summary = format!("{} of the package's files are missing or altered", wrong.len());
    let outcome = Outcome::failure(summary).mend_safely("sudo apt-get install --reinstall -y hailo-clip");
    wrong.into_iter().take(8).fold(outcome, Outcome::seen)
}

pub(super) const BUS: Check = Check {
    id: "bus",
    title: "D-Bus",
    symptom: "\"cannot connect to the system bus\"",
    looks_at: "a connection to the message bus",
    remedy: "start the bus",
    run: bus,
};

fn bus(machine: &Machine) -> Outcome {
    match (&machine.no_bus, &machine.service) {
        (Some(reason), _) => Outcome::failure("the message bus cannot be reached")
            .seen(reason.clone())
            .mend_safely("sudo systemctl start dbus.socket"),
        (None, Service::Silent(reason)) => {
            Outcome::ok("the message bus answers, the service does not").seen(reason.clone())
        }
        (None, _) => Outcome::ok("the message bus answers"),
    }
}
