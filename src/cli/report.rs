//! `hailo-clip report`: the bundle for an issue report, in a file that its owner alone reads.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;

use super::{
    Exit, Failure,
    console::{Console, reason},
    doctor::{self as show, Place},
};
use crate::{dbus::Bus, doctor};

/// Arguments of `hailo-clip report`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The archive to write, a gzipped tar such as report.tar.gz.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Overwrite a file that is there.
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(
    arguments: &Arguments,
    bus: Bus,
    limit: Option<Duration>,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let path = &arguments.file;
    let there = || Failure::Input(format!("{} is there already; --force overwrites it", path.display()));
    // Before the work, and again by the system when the file gets its name.
    if !arguments.force && path.symlink_metadata().is_ok() {
        return Err(there());
    }
    let options = arguments.place.options(bus, limit, None);
    let diagnosis = doctor::diagnose(&options).await;
    let shown = anstream::adapter::strip_str(&show::text(&diagnosis, true)).to_string();
    let bundle = doctor::collect(&options, &diagnosis, shown).await;

    let failed = |error: &std::io::Error| {
        Failure::Input(format!("cannot write {}: {}", path.display(), reason(error)))
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    let mut file = builder
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .map_err(|error| failed(&error))?;
    bundle.write(&mut file).map_err(|error| failed(&error))?;
    if arguments.force {
        file.persist(path).map_err(|error| failed(&error.error))?;
    } else {
        file.persist_noclobber(path).map_err(|error| match error.error.kind() {
            std::io::ErrorKind::AlreadyExists => there(),
            _ => failed(&error.error),
        })?;
    }
    let list = bundle.entries.iter().map(|entry| format!("  {:20}{}\n", entry.name, entry.about));
    let list: String = list.collect();
    let missing = if diagnosis.root { "" } else { "Some of it takes root to see: sudo hailo-clip report.\n" };
    console.print(&format!(
        "{} holds:\n{list}API keys, pictures and prompts are not in it; names and addresses are replaced. Read it \
         before you publish it.\n{missing}",
        path.display()
    ))?;
    Ok(Exit::Success)
}
