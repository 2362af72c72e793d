//! `--sync`: a restart of the service alone puts an edited port and edited limits in force.
//!
//! It runs as root before the daemon, each time the service starts, and does two things:
//!
//! 1. If the configuration asks for other drop-ins than the generator last wrote, systemd reads its units
//!    again. That runs the generator, and puts the limits in force.
//! 2. If the socket unit is active and systemd does not listen on one of its addresses, the socket unit is
//!    restarted. A socket does not open while its service runs, so the restart takes the service along
//!    (`PartOf=`): it joins the service's start, which stands still here, and that begins again once the
//!    socket is open. The process ends in the course of that, and whoever waits for the start waits on.
//!
//! A restart is not asked for twice in a row: the mark of the first one stands until a start finds the
//! socket as it should be, or finds the mark. So no state of systemd or of the network makes this loop.
//! A socket that fails to open (the port is taken) is not active, and is left as it is. Who is there is told
//! here: root sees every program, the daemon its own user's alone.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use thiserror::Error;

use super::{dropins::DropIns, journal::Journal, listening, within};
use crate::kernel::port;

/// Where systemd has its generators write.
pub(super) const GENERATED: &str = "/run/systemd/generator";

/// The socket was restarted, and no start since has found it as it should be.
const MARK: &str = "/run/hailo-clip-generator.restarted";

const SOCKET_UNIT: &str = "hailo-clip.socket";

/// Why systemd does not have the configuration's port and limits.
#[derive(Debug, Error)]
enum SyncError {
    #[error("cannot run systemctl: {0}")]
    NoSystemctl(io::Error),
    #[error("\"systemctl {command}\" failed: {message}")]
    Systemctl { command: String, message: String },
    #[error("cannot see what systemd listens on: {0}")]
    Listening(io::Error),
    #[error("cannot mark the restart in {MARK}: {0}")]
    Mark(io::Error),
}

/// Brings systemd up to date. What fails is told; the daemon starts with what there is.
pub(super) fn run(root: &Path, journal: &Journal) {
    // A configuration that cannot be used is the daemon's to tell.
    let Ok(wanted) = super::configured(root) else { return };
    if let Err(error) = sync(root, &wanted, journal) {
        journal.warning(&format!(
            "{error}; if server.host, server.port or limits were edited, run \"systemctl daemon-reload\" and \
             \"systemctl restart hailo-clip.socket\""
        ));
    }
}

fn sync(root: &Path, wanted: &DropIns, journal: &Journal) -> Result<(), SyncError> {
    if DropIns::read(&within(root, GENERATED)) != *wanted {
        journal.notice("port or limits have changed: systemd reads its units again");
        systemctl(&["daemon-reload"])?;
    }
    let mark = within(root, MARK);
    let unit = systemctl(&["show", "--property=ActiveState,Listen", SOCKET_UNIT])?;
    if has_state(&unit, "failed") {
        tell_of_holders(root, &unit, journal);
    }
    let missing = if has_state(&unit, "active") { missing_address(root, &unit)? } else { None };
    let marked = unmark(&mark);
    match missing {
        None => Ok(()),
        Some(address) if marked => {
            journal.warning(&format!(
                "{SOCKET_UNIT} was restarted and still does not listen on {address}; the service starts \
                 without it (see \"systemctl status {SOCKET_UNIT}\")"
            ));
            Ok(())
        }
        Some(address) => {
            journal.notice(&format!("{SOCKET_UNIT} is restarted to listen on {address}"));
            fs::write(&mark, "").map_err(SyncError::Mark)?;
            systemctl(&["--no-block", "restart", SOCKET_UNIT]).map(drop).inspect_err(|_| {
                unmark(&mark);
            })
        }
    }
}

/// Whether there was a mark.
fn unmark(mark: &PathBuf) -> bool {
    fs::remove_file(mark).is_ok()
}

/// Whether `unit`, as `systemctl show` prints it, is in a state.
fn has_state(unit: &str, state: &str) -> bool {
    unit.lines().any(|line| line.strip_prefix("ActiveState=") == Some(state))
}

/// Who listens on the ports that the socket unit did not get.
fn tell_of_holders(root: &Path, unit: &str, journal: &Journal) {
    for port in addresses(unit).map(|address| address.port()) {
        match port::holder(port, &within(root, "/proc")) {
            // It failed for another reason, or they have gone.
            port::Holder::Unknown { .. } => {}
            holder => {
                journal.error(&format!("port {port} is taken: {holder}; stop it, or change server.port"))
            }
        }
    }
}

/// An address of the active socket unit that systemd does not listen on.
fn missing_address(root: &Path, unit: &str) -> Result<Option<SocketAddr>, SyncError> {
    let open = listening::by_systemd(root).map_err(SyncError::Listening)?;
    Ok(addresses(unit).find(|address| !open.contains(address)))
}

/// The TCP addresses in `Listen=0.0.0.0:5000 (Stream)`. Port 0 is whichever the kernel gave.
fn addresses(unit: &str) -> impl Iterator<Item = SocketAddr> {
    unit.lines()
        .filter_map(|line| line.strip_prefix("Listen=")?.strip_suffix(" (Stream)")?.parse().ok())
        .filter(|address: &SocketAddr| address.port() != 0)
}

fn systemctl(arguments: &[&str]) -> Result<String, SyncError> {
    let output = Command::new("systemctl")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(SyncError::NoSystemctl)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let message = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    Err(SyncError::Systemctl { command: arguments.join(" "), message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_addresses_of_a_unit() {
        let unit =
            "Listen=0.0.0.0:5000 (Stream)\nListen=[::]:80 (Stream)\nListen=/run/hailo-clip/http.sock (Stream)
Listen=127.0.0.1:0 (Stream)\nListen=127.0.0.1:9 (Datagram)\nActiveState=active\n";
        let expected: [SocketAddr; 2] = ["0.0.0.0:5000".parse().unwrap(), "[::]:80".parse().unwrap()];
        assert_eq!(addresses(unit).collect::<Vec<_>>(), expected);
    }
}
