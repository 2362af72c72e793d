//! The machine as the checks see it: everything that is not a file is asked once, before them.
//!
//! Files are read by the checks themselves, below a root that is `/` but in tests. Each question has a
//! deadline, and one that is not answered is an answer.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::unistd::Uid;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

use super::{
    Options,
    command::{self, Printed},
    journal::{self, Record, Unreadable},
    service::{self, Properties, Service},
    systemd::{self, Units},
};
use crate::{
    config::{self, ConfigErrors, Loaded, Settings},
    dbus,
    kernel::memory,
};

/// What the checks look at.
pub(crate) struct Machine {
    pub(crate) root: PathBuf,
    /// What stands for `/` where Hailo devices are looked for.
    pub(crate) hardware: PathBuf,
    pub(crate) config_file: PathBuf,
    pub(crate) models: Vec<PathBuf>,
    pub(crate) shim_dir: PathBuf,
    /// Whether this is root.
    pub(crate) privileged: bool,
    /// The address whose way in is asked about.
    pub(crate) from: Option<IpAddr>,
    pub(crate) config: Result<Loaded, ConfigErrors>,
    /// Why there is no bus.
    pub(crate) no_bus: Option<String>,
    /// Why systemd does not answer on the bus.
    pub(crate) no_systemd: Option<String>,
    /// `None` where systemd does not answer.
    pub(crate) units: Option<Units>,
    pub(crate) service: Service,
    /// The daemon's HTTP, if it runs: what `/health` said, or why it said nothing.
    pub(crate) health: Option<Result<String, String>>,
    pub(crate) journal: Result<Vec<Record>, Unreadable>,
    pub(crate) printed: PrintedByOthers,
}

/// What other programs print; `None` where they are not there.
#[derive(Clone, Debug, Default)]
pub(crate) struct PrintedByOthers {
    /// `dpkg --verify hailo-clip`
    pub(crate) package_files: Option<Printed>,
    /// `hailo-clip-build-shim --check`
    pub(crate) shim: Option<Printed>,
    /// `vcgencmd measure_temp` and `get_throttled`
    pub(crate) temperature: Option<Printed>,
    pub(crate) throttled: Option<Printed>,
}

/// Started at once, awaited one after the other.
fn started<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    spawn_blocking(work)
}

impl Machine {
    /// Asks everything there is to ask.
    pub(crate) async fn examine(options: &Options) -> Self {
        let limit = options.limit;
        let journal = started(move || journal::read(limit));
        let ask = |arguments: &'static [&'static str]| started(move || command::run(arguments, limit));
        let package_files = ask(&["dpkg", "--verify", "hailo-clip"]);
        let shim = ask(&["/usr/libexec/hailo-clip/hailo-clip-build-shim", "--check"]);
        let temperature = ask(&["vcgencmd", "measure_temp"]);
        let throttled = ask(&["vcgencmd", "get_throttled"]);

        let mut machine = Self {
            root: options.root.clone(),
            hardware: options.hardware_root.clone().unwrap_or_else(|| options.root.clone()),
            config_file: options.config.clone(),
            models: options.models.clone(),
            shim_dir: options.shim_dir.clone(),
            privileged: Uid::effective().is_root(),
            from: options.from,
            config: config::load(&options.config),
            no_bus: None,
            no_systemd: None,
            units: None,
            service: Service::NoBus,
            health: None,
            journal: Err(Unreadable::Absent),
            printed: PrintedByOthers::default(),
        };
        match timeout(limit, dbus::connect(&options.bus)).await {
            Ok(Ok(connection)) => {
                match timeout(limit, systemd::units(&connection)).await {
                    Ok(Ok(units)) => machine.units = Some(units),
                    Ok(Err(error)) => machine.no_systemd = Some(error.to_string()),
                    Err(_) => machine.no_systemd = Some(format!("no answer within {limit:?}")),
                }
                machine.service = service::ask(&connection, limit).await;
            }
            Ok(Err(error)) => machine.no_bus = Some(error.to_string()),
            Err(_) => machine.no_bus = Some(format!("{} does not answer within {limit:?}", options.bus)),
        }
        // Whoever connects to a socket of systemd's starts the service, so only one that runs is asked.
        if machine.runs()
            && let Some(address) = machine.http_address()
        {
            machine.health = Some(health(address, limit).await);
        }
        machine.journal = journal.await.unwrap_or(Err(Unreadable::Absent));
        machine.printed = PrintedByOthers {
            package_files: package_files.await.ok().flatten(),
            shim: shim.await.ok().flatten(),
            temperature: temperature.await.ok().flatten(),
            throttled: throttled.await.ok().flatten(),
        };
        machine
    }

    /// An absolute path below what stands for `/`.
    pub(crate) fn within(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A file's text.
    pub(crate) fn read(&self, path: &str) -> io::Result<String> {
        std::fs::read_to_string(self.within(path))
    }

    pub(crate) fn proc(&self) -> PathBuf {
        self.within("/proc")
    }

    /// The settings, if the file has no mistake.
    pub(crate) fn settings(&self) -> Option<&Settings> {
        self.config.as_ref().ok().map(|loaded| &loaded.settings)
    }

    /// Settings to go by where the file has a mistake, too.
    pub(crate) fn settings_or_default(&self) -> Settings {
        self.settings().cloned().unwrap_or_default()
    }

    /// The units, if the service is installed as one.
    pub(crate) fn installed_units(&self) -> Option<&Units> {
        self.units.as_ref().filter(|units| units.service.is_loaded())
    }

    pub(crate) fn properties(&self) -> Option<&Properties> {
        self.service.answers().map(|answers| &answers.properties)
    }

    /// Whether a daemon is there, answering or not.
    pub(crate) fn runs(&self) -> bool {
        matches!(self.service, Service::Answers(_) | Service::Silent(_))
            || self.installed_units().is_some_and(|units| units.service.is_active())
    }

    /// The daemon's process.
    pub(crate) fn pid(&self) -> Option<u32> {
        let of_unit = self.installed_units().and_then(|units| units.service_state.main_pid);
        of_unit.filter(|pid| *pid != 0).or_else(|| self.service.answers()?.pid)
    }

    /// Where the configuration has HTTP reached from this machine; `None` for a port that is not settled.
    fn http_address(&self) -> Option<SocketAddr> {
        let server = &self.settings()?.server;
        let host = match server.host {
            IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            host => host,
        };
        (server.port != 0).then(|| SocketAddr::new(host, server.port))
    }

    /// The folder of the service's control group.
    fn cgroup_folder(&self) -> Option<PathBuf> {
        let group = self.installed_units()?.service_state.control_group.as_deref()?;
        (!group.is_empty()).then(|| self.within("/sys/fs/cgroup").join(group.trim_start_matches('/')))
    }

    /// What that group holds of memory.
    pub(crate) fn memory(&self) -> Option<memory::Account> {
        memory::Account::of(&self.cgroup_folder()?)
    }

    /// A file of that group.
    pub(crate) fn cgroup(&self, file: &str) -> Option<String> {
        std::fs::read_to_string(self.cgroup_folder()?.join(file)).ok()
    }

    /// A path for people: without what stands for `/`.
    pub(crate) fn shown(&self, path: &Path) -> String {
        match path.strip_prefix(&self.root) {
            Ok(path) => format!("/{}", path.display()),
            Err(_) => path.display().to_string(),
        }
    }
}

/// What `/health` answers, or why there is no answer.
async fn health(address: SocketAddr, limit: Duration) -> Result<String, String> {
    const MOST: u64 = 64 << 10;
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MOST).read_to_end(&mut answer).await?;
        io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    match timeout(limit, exchange).await {
        Ok(Ok(answer)) if answer.starts_with("HTTP/1.") => Ok(answer),
        Ok(Ok(_)) => Err(format!("what listens on {address} does not speak HTTP")),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Err(format!("nothing listens on {address}"))
        }
        Ok(Err(error)) => Err(format!("{address} does not answer ({})", error.kind())),
        Err(_) => Err(format!("{address} does not answer within {limit:?}")),
    }
}
