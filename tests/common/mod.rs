//! The real daemon on a private bus and a free port.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses a part of this")]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

pub mod notify;
pub mod simulator;
pub mod skip;

use notify::Notify;
pub use notify::PATIENCE;
use simulator::Machine;

/// A message bus of its own.
pub struct Bus {
    process: Child,
    pub address: String,
}

impl Bus {
    pub fn start() -> Self {
        Self::launch("--session".into())
    }

    /// With a configuration of its own, such as one with policies.
    pub fn with_config(file: &Path) -> Self {
        Self::launch(format!("--config-file={}", file.display()))
    }

    fn launch(config: String) -> Self {
        let mut process = Command::new("dbus-daemon")
            .args([config.as_str(), "--nofork", "--nopidfile", "--print-address=1"])
            .stdout(Stdio::piped())
            // It complains about limits that it may not raise.
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon is installed (package dbus-daemon)");
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { process, address: address.trim().to_owned() }
    }

    /// Ends it under everybody's feet.
    pub fn stop(&mut self) {
        end(&mut self.process);
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The daemon, ready to serve.
pub struct Daemon {
    pub process: Child,
    pub bus: Bus,
    /// Address of the HTTP facade, `127.0.0.1:PORT`.
    pub http: String,
    pub directory: TempDir,
    notify: Notify,
    models: PathBuf,
    /// How long it took to be ready.
    pub ready_after: Duration,
    /// The machine that it was started on, if it has an NPU.
    pub machine: Option<Machine>,
}

impl Daemon {
    /// With the bundled model and the default settings.
    pub fn start() -> Self {
        Self::with_config("")
    }

    /// With further configuration, in YAML; `server` and `clip.backend` are given. On the CPU, or on the
    /// device that the environment asks for.
    pub fn with_config(more: &str) -> Self {
        match simulator::kind_to_test() {
            None => Self::with_models(more, &models()),
            Some(kind) => Self::launch(more, &Machine::models(), Some(Machine::new(kind))),
        }
    }

    /// On a machine with an NPU.
    pub fn on(machine: Machine, more: &str) -> Self {
        Self::launch(more, &Machine::models(), Some(machine))
    }

    /// On a machine with an NPU, with the models of another folder.
    pub fn on_with_models(machine: Machine, more: &str, models: &Path) -> Self {
        Self::launch(more, models, Some(machine))
    }

    /// Ends it, and starts another one on the same machine with the same models.
    pub fn restart(mut self, more: &str) -> Self {
        self.signal("TERM");
        self.process.wait().unwrap();
        Self::launch(more, &self.models.clone(), self.machine.take())
    }

    /// With the models of another folder, on the CPU.
    pub fn with_models(more: &str, models: &Path) -> Self {
        Self::launch(more, models, None)
    }

    fn launch(more: &str, models: &Path, machine: Option<Machine>) -> Self {
        Self::launch_with(more, models, machine, None, &[])
    }

    /// With a state directory that outlives it, and further arguments; on the CPU.
    pub fn with_state(more: &str, models: &Path, state: &Path, extra: &[&str]) -> Self {
        Self::launch_with(more, models, None, Some(state), extra)
    }

    fn launch_with(
        more: &str,
        models: &Path,
        machine: Option<Machine>,
        state: Option<&Path>,
        extra: &[&str],
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("hailo-clip.yaml");
        fs::write(&config, config_text(more, machine.is_some())).unwrap();
        let socket = directory.path().join("notify");
        let notify = Notify::bind(&socket);
        let bus = Bus::start();
        let mut command = Command::new(env!("CARGO_BIN_EXE_hailo-clipd"));
        if let Some(machine) = &machine {
            machine.equip(&mut command);
        }
        let started = Instant::now();
        let process = command
            .arg("--config")
            .arg(&config)
            .args(["--bus", &bus.address])
            .arg("--models-dir")
            .arg(models)
            .arg("--state-dir")
            .arg(state.unwrap_or(&directory.path().join("state")))
            .args(extra)
            .env("NOTIFY_SOCKET", &socket)
            .env_remove("LISTEN_FDS")
            .envs(allocator())
            .stderr(fs::File::create(directory.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut daemon = Self {
            process,
            bus,
            http: String::new(),
            directory,
            notify,
            models: models.to_owned(),
            ready_after: Duration::ZERO,
            machine,
        };
        let status = daemon.wait_for("READY=1");
        daemon.ready_after = started.elapsed();
        let (_, http) = status.split_once("http on ").expect("the status line names the address");
        daemon.http = http.split(' ').next().unwrap().to_owned();
        daemon
    }

    /// Rewrites the configuration, and does not tell the daemon.
    pub fn configure(&self, more: &str) {
        let text = config_text(more, self.machine.is_some());
        fs::write(self.directory.path().join("hailo-clip.yaml"), text).unwrap();
    }

    /// Rewrites the configuration, asks for a reload, and waits until that is over.
    pub fn reload(&self, more: &str) -> String {
        self.configure(more);
        self.signal("HUP");
        self.wait_for("RELOADING=1");
        self.wait_for("READY=1")
    }

    /// Waits for a message to systemd that has this line; gives its status line.
    pub fn wait_for(&self, line: &str) -> String {
        loop {
            let message = self.notify.next().unwrap_or_else(|error| {
                panic!("no {line} from the daemon: {error}\n{}", self.log());
            });
            if message.lines().any(|l| l == line) {
                let status = message.lines().find_map(|l| l.strip_prefix("STATUS="));
                return status.unwrap_or_default().to_owned();
            }
        }
    }

    /// What the daemon logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }

    /// Resident anonymous memory in KiB.
    pub fn anonymous_memory(&self) -> u64 {
        self.memory("RssAnon:")
    }

    /// The most that was ever resident, in KiB.
    pub fn peak_memory(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches("kB").trim().parse().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        end(&mut self.process);
        if std::thread::panicking() {
            eprintln!("--- the daemon's log ---\n{}", self.log());
        }
    }
}

fn end(process: &mut Child) {
    // Both fail only if it has ended already.
    let _ = process.kill();
    let _ = process.wait();
}

/// The configuration file's text with `more` in it. Where there is an NPU, it is used instead of the CPU.
pub fn config_text(more: &str, npu: bool) -> String {
    let server = if more.contains("server:") { "" } else { "server: {host: 127.0.0.1, port: 0}\n" };
    let clip = if more.contains("clip:") { "" } else { "clip: {backend: cpu}\n" };
    let config = format!("{server}{clip}{more}");
    if npu { config.replace("backend: cpu", "backend: hailo") } else { config }
}

/// The backend that tests run on.
pub fn backend() -> &'static str {
    if simulator::kind_to_test().is_some() { "hailo" } else { "cpu" }
}

/// The folder of the bundled models.
pub fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models")
}

/// How the service's unit has the allocator behave, on which its memory depends.
fn allocator() -> impl Iterator<Item = (&'static str, &'static str)> {
    let settings = include_str!("../../systemd/hailo-clip.service")
        .lines()
        .filter_map(|line| line.strip_prefix("Environment="))
        .flat_map(str::split_whitespace)
        .filter(|setting| setting.starts_with("MALLOC_"));
    settings.filter_map(|setting| setting.split_once('='))
}
