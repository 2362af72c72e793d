//! The real daemon on a private bus and a free port.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of this")]

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

/// Longest wait for anything; only a failure ever takes so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

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
    notify: UnixDatagram,
}

impl Daemon {
    /// With the bundled model and the default settings.
    pub fn start() -> Self {
        Self::with_config("")
    }

    /// With further configuration, in YAML; `server` and `clip.backend` are given.
    pub fn with_config(more: &str) -> Self {
        Self::with_models(more, &models())
    }

    /// With the models of another folder.
    pub fn with_models(more: &str, models: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("hailo-clip.yaml");
        fs::write(&config, Self::config(more)).unwrap();
        let socket = directory.path().join("notify");
        let notify = UnixDatagram::bind(&socket).unwrap();
        notify.set_read_timeout(Some(PATIENCE)).unwrap();
        let bus = Bus::start();
        let process = Command::new(env!("CARGO_BIN_EXE_hailo-clipd"))
            .arg("--config")
            .arg(&config)
            .args(["--bus", &bus.address])
            .arg("--models-dir")
            .arg(models)
            .env("NOTIFY_SOCKET", &socket)
            .env_remove("LISTEN_FDS")
            // As the service's unit does: with a fixed threshold, glibc gives large buffers back when
            // they are freed; left alone, it raises the threshold after the first one and keeps them.
            .env("MALLOC_MMAP_THRESHOLD_", "1048576")
            .stderr(fs::File::create(directory.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut daemon = Self { process, bus, http: String::new(), directory, notify };
        let status = daemon.wait_for("READY=1");
        let (_, http) = status.split_once("http on ").expect("the status line names the address");
        daemon.http = http.split(' ').next().unwrap().to_owned();
        daemon
    }

    /// The configuration file's text with `more` in it.
    pub fn config(more: &str) -> String {
        let server = if more.contains("server:") { "" } else { "server: {host: 127.0.0.1, port: 0}\n" };
        let clip = if more.contains("clip:") { "" } else { "clip: {backend: cpu}\n" };
        format!("{server}{clip}{more}")
    }

    /// Rewrites the configuration, asks for a reload, and waits until that is over.
    pub fn reload(&self, more: &str) -> String {
        fs::write(self.directory.path().join("hailo-clip.yaml"), Self::config(more)).unwrap();
        self.signal("HUP");
        self.wait_for("RELOADING=1");
        self.wait_for("READY=1")
    }

    /// Waits for a message to systemd that has this line; gives its status line.
    pub fn wait_for(&self, line: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let length = self.notify.recv(&mut buffer).unwrap_or_else(|error| {
                panic!("no {line} from the daemon: {error}\n{}", self.log());
            });
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
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

/// The folder of the bundled models.
pub fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models")
}
