//! `hailo-clip-generator`: what systemd must know of the configuration file, as drop-ins for its units.
//!
//! systemd runs it at boot and on every reload (`systemd.generator(7)`), before anything else is up: it
//! reads files, writes files, and does nothing slow. A configuration that cannot be used leaves the
//! packaged units as they are, with one line in the journal; it never makes a boot fail.
//! With `--sync` it is a step of the service's start, see `sync`.
//! Deliberately not here: what the settings mean, and the units' own defaults.

mod dropins;
mod journal;
mod listening;
mod machine;
mod sync;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;

use self::{dropins::DropIns, journal::Journal, machine::Machine};
use crate::config::{self, ConfigErrors};

/// systemd's generator of hailo-clip: drop-ins for its units from /etc/hailo/hailo-clip.yaml.
#[derive(Debug, Parser)]
#[command(name = "hailo-clip-generator", version)]
struct Arguments {
    /// Where the drop-ins go.
    #[arg(value_name = "NORMAL-DIR", required_unless_present = "sync")]
    normal: Option<PathBuf>,

    /// Unused: nothing here overrides what an administrator wrote.
    #[arg(value_name = "EARLY-DIR")]
    _early: Option<PathBuf>,

    /// Unused, as above.
    #[arg(value_name = "LATE-DIR")]
    _late: Option<PathBuf>,

    /// Have systemd take over what has changed since it last read the configuration.
    #[arg(long, conflicts_with = "normal")]
    sync: bool,

    /// What stands for `/`.
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
}

/// Does what the process's arguments ask for. The exit code is 0 unless these are wrong: what fails is
/// told, and the units stay as they are.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let root = &arguments.root;
    match &arguments.normal {
        Some(folder) => generate(root, folder, &Journal::kernel(root)),
        None => sync::run(root, &Journal::standard_error()),
    }
    ExitCode::SUCCESS
}

fn generate(root: &Path, folder: &Path, journal: &Journal) {
    let dropins = configured(root).unwrap_or_else(|message| {
        journal.error(&message);
        DropIns::default()
    });
    if dropins.socket.is_none() && dropins.service.is_some() {
        journal.warning(
            "server.port is 0, and systemd opens the port: the one of hailo-clip.socket stays in use; \
             set server.port to 1 or more",
        );
    }
    if let Err(error) = dropins.write(folder) {
        journal.error(&format!("cannot write to {}: {error}", folder.display()));
    }
}

/// The drop-ins that the configuration file asks for; or, in one line, why none.
fn configured(root: &Path) -> Result<DropIns, String> {
    const LEFT: &str = "the units keep their packaged port and limits";
    let path = within(root, config::DEFAULT_PATH);
    if !path.exists() {
        return Err(format!(
            "{}: there is no such file; {LEFT} (\"apt install --reinstall -o Dpkg::Options::=--force-confmiss \
             hailo-clip\" brings it back)",
            path.display()
        ));
    }
    let loaded = config::load(&path).map_err(|ConfigErrors(findings)| {
        let first = findings.first().map(ToString::to_string).unwrap_or_default();
        match findings.len() {
            0 | 1 => format!("{first}; {LEFT}"),
            more => format!(
                "{first}; {LEFT} (all {more} mistakes: /usr/libexec/hailo-clip/hailo-clipd --check-config)"
            ),
        }
    })?;
    Ok(DropIns::new(&loaded.settings, &Machine::examine(root)))
}

/// Whether systemd was told of the configuration's port and limits; `None` if the configuration cannot be
/// used.
pub(crate) fn is_in_force(root: &Path) -> Option<bool> {
    let wanted = configured(root).ok()?;
    Some(DropIns::read(&within(root, sync::GENERATED)) == wanted)
}

/// An absolute path below what stands for `/`.
fn within(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}
