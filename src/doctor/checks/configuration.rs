//! The configuration file, its keys, and whether the service has read it.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    time::{Duration, UNIX_EPOCH},
};

use crate::{
    config::{ConfigErrors, Loaded},
    doctor::{
        finding::{Check, Outcome},
        machine::Machine,
    },
};

/// A file's time and systemd's come from different clocks.
const TOLERANCE: Duration = Duration::from_secs(2);

pub(super) const FILE: Check = Check {
    id: "configuration",
    title: "Configuration file",
    symptom: "the service exits with 78, or a reload is refused",
    looks_at: "`/etc/hailo/hailo-clip.yaml`: every key, with line and column of each mistake",
    remedy: "correct the line; the message names the key that was meant",
    run: file,
};

fn file(machine: &Machine) -> Outcome {
    let path = machine.shown(&machine.config_file);
    match &machine.config {
        Ok(Loaded { notices, .. }) if notices.is_empty() => Outcome::ok(format!("{path} has no mistake")),
        Ok(Loaded { notices, .. }) if !machine.config_file.exists() && notices.len() == 1 => {
            Outcome::warning(format!("there is no {path}; every setting has its default"))
                .mend("sudo apt-get install --reinstall -o Dpkg::Options::=--force-confmiss hailo-clip")
        }
        Ok(Loaded { notices, .. }) => {
            let outcome =
                Outcome::warning(format!("{path} has keys without the effect that they seem to have"))
                    .mend(format!("sudoedit {path}"));
            notices.iter().map(ToString::to_string).fold(outcome, Outcome::seen)
        }
        Err(_) if !machine.privileged && fs::File::open(&machine.config_file).is_err() => {
            Outcome::needs_root(format!("{path} can be read by others alone"))
        }
        Err(ConfigErrors(findings)) => {
            let count = match findings.len() {
                1 => "a mistake".to_owned(),
                more => format!("{more} mistakes"),
            };
            let outcome =
                Outcome::failure(format!("{path} has {count}, and the service does not start with it"))
                    .mend(format!("sudoedit {path}"))
                    .mend("sudo systemctl restart hailo-clip.service");
            findings.iter().take(10).map(ToString::to_string).fold(outcome, Outcome::seen)
        }
    }
}

pub(super) const KEYS: Check = Check {
    id: "api-keys",
    title: "API keys",
    symptom: "every HTTP request is answered with 401, or keys can be read by everybody",
    looks_at: "the file of `server.api_keys_file`: present, owner, permissions (never its content)",
    remedy: "create the file, and let root and the group hailo-clip alone read it",
    run: keys,
};

fn keys(machine: &Machine) -> Outcome {
    let Some(path) = machine.settings().and_then(|settings| settings.server.api_keys_file.clone()) else {
        return Outcome::not_applicable("no API keys are demanded");
    };
    let shown = path.display().to_string();
    let metadata = match fs::metadata(machine.within(&shown)) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied && !machine.privileged => {
            return Outcome::needs_root(format!("{shown} lies in a folder that others alone can look into"));
        }
        Err(error) => {
            return Outcome::failure(format!("{shown} cannot be read ({})", error.kind()))
                .advise("put the keys there, one a line, or empty server.api_keys_file")
                .mend(format!("sudo install -m 0640 -g hailo-clip /dev/null {shown}"));
        }
    };
    let mode = metadata.mode() & 0o777;
    let seen = format!("{shown} has mode {mode:04o}, owner {}, group {}", metadata.uid(), metadata.gid());
    if mode & 0o004 != 0 {
        return Outcome::warning("every user of this machine can read the API keys")
            .seen(seen)
            .mend_safely(format!("sudo chgrp hailo-clip {shown}"))
            .mend_safely(format!("sudo chmod 0640 {shown}"));
    }
    Outcome::ok("the API keys are there, and not for everybody to read").seen(seen)
}

pub(super) const IN_FORCE: Check = Check {
    id: "configuration-in-force",
    title: "Configuration in force",
    symptom: "an edit of the configuration shows no effect",
    looks_at: "the time of the file, and when the service last started or reloaded",
    remedy: "reload the service",
    run: in_force,
};

fn in_force(machine: &Machine) -> Outcome {
    let Some(units) = machine.installed_units().filter(|units| units.service.is_active()) else {
        return Outcome::not_applicable("the service does not run under systemd");
    };
    if machine.settings().is_none() {
        return Outcome::not_applicable("the file has mistakes, and what was read before stays in force");
    }
    let modified = fs::metadata(&machine.config_file).and_then(|metadata| metadata.modified());
    let read = units.service.state_change_timestamp.map(|time| UNIX_EPOCH + Duration::from_micros(time));
    let (Ok(modified), Some(read)) = (modified, read) else {
        return Outcome::not_applicable("there is no file, or systemd does not say when the service started");
    };
    match modified.duration_since(read) {
        Ok(later) if later > TOLERANCE => {
            Outcome::warning("the file was edited after the service last read it")
                .seen(format!("{} s later", later.as_secs()))
                .mend_safely("sudo systemctl reload hailo-clip.service")
        }
        _ => Outcome::ok("the service has read the file as it is"),
    }
}
