//! The drop-ins: their text, and their files.

use std::{
    fs::{self, Permissions},
    io::{self, Write},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use super::machine::Machine;
use crate::config::{BackendChoice, Settings};

/// Paths within a generator's folder.
const SOCKET: &str = "hailo-clip.socket.d/50-hailo-clip-yaml.conf";
const SERVICE: &str = "hailo-clip.service.d/50-hailo-clip-yaml.conf";

/// HTTP for this machine's programs. It is part of the packaged list, which a drop-in can only replace.
const UNIX_SOCKET: &str = "/run/hailo-clip/http.sock";

const HEADER: &str = "# Made from /etc/hailo/hailo-clip.yaml by hailo-clip-generator; edit that file.\n";

/// The text of each drop-in; none: the packaged unit stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DropIns {
    pub(super) socket: Option<String>,
    pub(super) service: Option<String>,
}

impl DropIns {
    pub(super) fn new(settings: &Settings, machine: &Machine) -> Self {
        let address = SocketAddr::new(settings.server.host, settings.server.port);
        let memory_max = &settings.resource_limits.memory_max;
        let cpu_quota = settings.resource_limits.cpu_quota.clone().unwrap_or_else(|| {
            let on_npu = match settings.clip.backend {
                BackendChoice::Auto => machine.npu,
                BackendChoice::Hailo => true,
                BackendChoice::Cpu => false,
            };
            let cores = if on_npu { 1 } else { machine.cores };
            format!("{}%", u64::from(cores) * 80)
        });
        Self {
            // The empty line forgets what the unit itself lists.
            socket: (address.port() != 0).then(|| {
                format!(
                    "{HEADER}[Socket]\nListenStream=\nListenStream={address}\nListenStream={UNIX_SOCKET}\n"
                )
            }),
            service: Some(format!("{HEADER}[Service]\nMemoryMax={memory_max}\nCPUQuota={cpu_quota}\n")),
        }
    }

    /// What a generator has written into `folder`.
    pub(super) fn read(folder: &Path) -> Self {
        let read = |path| fs::read_to_string(folder.join(path)).ok();
        Self { socket: read(SOCKET), service: read(SERVICE) }
    }

    /// Makes `folder` hold these and no others.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let socket = put(&folder.join(SOCKET), self.socket.as_deref());
        put(&folder.join(SERVICE), self.service.as_deref()).and(socket)
    }
}

/// The file appears whole or not at all.
fn put(path: &Path, text: Option<&str>) -> io::Result<()> {
    let Some(text) = text else {
        return fs::remove_file(path).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        });
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(0o644)).tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const MACHINE: Machine = Machine { npu: false, cores: 4 };

    fn dropins(yaml: &str, machine: Machine) -> DropIns {
        DropIns::new(&config::parse(yaml.as_bytes(), "test").unwrap().settings, &machine)
    }

    /// The lines of the service's drop-in without its head.
    fn limits(yaml: &str, machine: Machine) -> Vec<String> {
        let text = dropins(yaml, machine).service.unwrap();
        text.lines().skip(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_address_is_what_the_file_says() {
        for (server, listen) in [
            ("", "0.0.0.0:5000"),
            ("host: 127.0.0.1, port: 80", "127.0.0.1:80"),
            ("host: localhost", "127.0.0.1:5000"),
            ("host: \"::\"", "[::]:5000"),
            ("host: \"fd00::1\", port: 65535", "[fd00::1]:65535"),
        ] {
            let text = dropins(&format!("server: {{{server}}}"), MACHINE).socket.unwrap();
            let lines: Vec<_> = text.lines().skip(1).collect();
            let listen = format!("ListenStream={listen}");
            assert_eq!(
                lines,
                ["[Socket]", "ListenStream=", &listen, "ListenStream=/run/hailo-clip/http.sock"]
            );
        }
    }

    #[test]
    fn any_port_is_none_for_systemd() {
        let dropins = dropins("server: {port: 0}", MACHINE);
        assert_eq!(dropins.socket, None);
        assert!(dropins.service.is_some());
    }

    #[test]
    fn limits_are_the_files() {
        let yaml = "resource_limits: {memory_max: 50%, cpu_quota: 150%}";
        assert_eq!(limits(yaml, MACHINE), ["MemoryMax=50%", "CPUQuota=150%"]);
        assert_eq!(limits(yaml, Machine { npu: true, ..MACHINE }), ["MemoryMax=50%", "CPUQuota=150%"]);
    }

    #[test]
    fn the_quota_follows_the_place_of_inference() {
        let npu = Machine { npu: true, ..MACHINE };
        for (yaml, machine, quota) in [
            ("", MACHINE, "320%"),
            ("", npu, "80%"),
            ("resource_limits: {cpu_quota: auto}", npu, "80%"),
            ("clip: {backend: cpu}", npu, "320%"),
            ("clip: {backend: hailo}", MACHINE, "80%"),
        ] {
            assert_eq!(
                limits(yaml, machine),
                ["MemoryMax=3G".to_owned(), format!("CPUQuota={quota}")],
                "{yaml}"
            );
        }
    }
}
