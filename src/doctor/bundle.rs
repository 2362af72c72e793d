//! `hailo-clip report`: what an issue report needs, in one archive.
//!
//! Keys, pictures and prompts are in nothing that is collected here; names and addresses are scrubbed.

use std::{
    fs,
    io::{self, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use flate2::{Compression, write::GzEncoder};
use tokio::task::spawn_blocking;

use super::{Diagnosis, Options, command, scrub::Scrubber};
use crate::{config, dbus};

/// Records of the journal, from the newest back.
const JOURNAL_LINES: &str = "2000";
/// Properties of the units; none of them holds what an administrator's drop-in passes to the service.
const UNIT_PROPERTIES: &str = "--property=Id,LoadState,ActiveState,SubState,UnitFileState,Result,NRestarts,\
ExecMainStatus,ExecMainCode,ExecMainStartTimestamp,ActiveEnterTimestamp,FragmentPath,DropInPaths,NeedDaemonReload,\
MemoryCurrent,MemoryPeak,MemoryMax,CPUQuotaPerSecUSec,CPUUsageNSec,TasksCurrent,TimeoutStartUSec,WatchdogUSec,\
StatusText,Listen,IPAddressAllow,IPAddressDeny,User,SupplementaryGroups";

/// A file of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What it is, for people.
    pub about: &'static str,
    /// Its text.
    pub text: String,
}

/// A report before it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Its files, a README first.
    pub entries: Vec<Entry>,
}

/// Collects a report; `shown` is the diagnosis as people read it.
pub async fn collect(options: &Options, diagnosis: &Diagnosis, shown: String) -> Bundle {
    let json = serde_json::to_string_pretty(diagnosis).unwrap_or_default();
    let status = status(options).await;
    let for_files = options.clone();
    let files = spawn_blocking(move || files(&for_files)).await.unwrap_or_default();
    let mut entries = vec![
        Entry { name: "doctor.txt", about: "what hailo-clip doctor --all prints", text: shown },
        Entry { name: "doctor.json", about: "the same for programs", text: json },
        Entry {
            name: "status.json",
            about: "properties and statistics of the running service",
            text: status,
        },
    ];
    entries.extend(files);
    let passwd = fs::read_to_string(options.root.join("etc/passwd")).unwrap_or_default();
    let hostname = nix::unistd::gethostname().unwrap_or_default();
    let scrubber = Scrubber::new(&passwd, &hostname.to_string_lossy());
    for entry in &mut entries {
        entry.text = scrubber.scrub(&entry.text);
    }
    entries.insert(0, readme(&entries));
    Bundle { entries }
}

fn readme(entries: &[Entry]) -> Entry {
    let width = entries.iter().map(|entry| entry.name.len()).max().unwrap_or_default();
    let list = entries.iter().map(|entry| format!("  {:width$}  {}\n", entry.name, entry.about));
    let text = format!(
        "A report of hailo-clip {} for an issue.\n\n{}\nNot in it: API keys, pictures, prompts, the journal of other \
         programs.\nReplaced: names and homes of users (USER-1 …), the machine's name (HOST), addresses other than \
         loopback\n(ADDRESS, PRIVATE-ADDRESS). Read it before you publish it.\n",
        env!("CARGO_PKG_VERSION"),
        list.collect::<String>()
    );
    Entry { name: "README", about: "this list", text }
}

async fn status(options: &Options) -> String {
    let asked = async {
        let connection = dbus::connect(&options.bus).await.map_err(|error| error.to_string())?;
        Ok::<_, String>(super::service::ask(&connection, options.limit).await)
    };
    match tokio::time::timeout(options.limit * 5, asked).await {
        Ok(Ok(service)) => serde_json::to_string_pretty(&service).unwrap_or_default(),
        Ok(Err(error)) => format!("{error}\n"),
        Err(_) => "no answer\n".to_owned(),
    }
}

fn files(options: &Options) -> Vec<Entry> {
    let limit = options.limit * 3;
    let print = |arguments: &[&str]| match command::run(arguments, limit) {
        Some(printed) => format!("$ {}\n{}{}\n", arguments.join(" "), printed.out, printed.err),
        None => format!("$ {}\nnot there, or not done within {limit:?}\n\n", arguments.join(" ")),
    };
    let read = |path: &str| {
        let text = fs::read_to_string(options.root.join(path.trim_start_matches('/')));
        text.map_or_else(|error| format!("{path}: {}\n\n", error.kind()), |text| format!("{path}:\n{text}\n"))
    };
    let units = ["hailo-clip.service", "hailo-clip.socket"];
    vec![
        Entry {
            name: "journal.txt",
            about: "the last lines of the units' journal",
            text: print(&[
                "journalctl",
                "--unit=hailo-clip.service",
                "--unit=hailo-clip.socket",
                "--lines",
                JOURNAL_LINES,
                "--output=short-iso-precise",
                "--no-hostname",
                "--no-pager",
            ]),
        },
        Entry {
            name: "configuration.yaml",
            about: "the effective settings, or the mistakes of the file; no key",
            text: config::check(&options.config).output,
        },
        Entry {
            name: "units.txt",
            about: "the units as systemd knows them",
            text: print(&["systemctl", "show", "--no-pager", UNIT_PROPERTIES, units[0], units[1]]),
        },
        Entry {
            name: "versions.txt",
            about: "package, HailoRT, kernel, system, C library",
            text: [
                format!("hailo-clip {}\n\n", env!("CARGO_PKG_VERSION")),
                print(&[
                    "dpkg-query",
                    "-W",
                    "-f",
                    "${Package} ${Version} ${db:Status-Status}\\n",
                    "*hailo*",
                    "systemd",
                    "polkitd",
                ]),
                print(&["uname", "-srvm"]),
                print(&["getconf", "GNU_LIBC_VERSION"]),
                read("/etc/os-release"),
                read("/proc/device-tree/model"),
                print(&["ls", "-l", "/usr/lib/hailo-clip/"]),
            ]
            .concat(),
        },
        Entry {
            name: "machine.txt",
            about: "devices, memory, load",
            text: [
                print(&["lspci", "-nn", "-d", "1e60:"]),
                print(&["sh", "-c", "ls -lL /dev/hailo* /dev/h1x-*"]),
                read("/sys/module/hailo_pci/version"),
                read("/sys/module/hailo1x_pci/version"),
                read("/proc/meminfo"),
                read("/proc/pressure/memory"),
                read("/proc/pressure/cpu"),
                read("/proc/loadavg"),
            ]
            .concat(),
        },
    ]
}

impl Bundle {
    /// Writes the archive, a gzipped tar with one folder.
    ///
    /// # Errors
    /// `out` cannot be written to.
    pub fn write(&self, out: impl Write) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let mut archive = tar::Builder::new(GzEncoder::new(out, Compression::default()));
        for entry in &self.entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(entry.text.len() as u64);
            header.set_mode(0o600);
            header.set_mtime(now);
            archive.append_data(
                &mut header,
                format!("hailo-clip-report/{}", entry.name),
                entry.text.as_bytes(),
            )?;
        }
        archive.into_inner()?.finish()?.flush()
    }
}
