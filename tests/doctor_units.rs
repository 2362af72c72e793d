//! What `hailo-clip doctor` makes of systemd's answers, from a stand-in for systemd on a private bus.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    process::{Command, Stdio},
};

use common::Bus;
use serde_json::Value;
use tokio::runtime::Runtime;
use zbus::{Connection, OwnedObjectPath, connection, fdo, interface};

const FOLDER: &str = "/org/freedesktop/systemd1/unit";

struct Manager;

type Listed = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn load_unit(&self, name: &str) -> fdo::Result<OwnedObjectPath> {
        path(name)
    }

    fn list_units_by_patterns(&self, states: Vec<String>, patterns: Vec<String>) -> fdo::Result<Vec<Listed>> {
        assert_eq!((states, patterns), (vec!["active".to_owned()], vec!["*hailo*.service".to_owned()]));
        let unit = |name: &str| {
            let text = String::new;
            let listed = (
                name.to_owned(),
                text(),
                text(),
                text(),
                text(),
                text(),
                path(name)?,
                0,
                text(),
                path("none")?,
            );
            fdo::Result::Ok(listed)
        };
        Ok(vec![unit("hailo-clip.service")?, unit("hailo-ollama.service")?])
    }
}

fn path(name: &str) -> fdo::Result<OwnedObjectPath> {
    let name = name.replace('-', "_2d").replace('.', "_2e");
    format!("{FOLDER}/{name}").try_into().map_err(|_| fdo::Error::Failed("not a name".into()))
}

#[derive(Clone)]
struct Unit {
    load: &'static str,
    active: &'static str,
}

#[interface(name = "org.freedesktop.systemd1.Unit")]
impl Unit {
    #[zbus(property)]
    fn load_state(&self) -> &str {
        self.load
    }
    #[zbus(property)]
    fn active_state(&self) -> &str {
        self.active
    }
    #[zbus(property)]
    fn sub_state(&self) -> &str {
        "failed"
    }
    #[zbus(property)]
    fn unit_file_state(&self) -> &str {
        "enabled"
    }
    #[zbus(property)]
    fn need_daemon_reload(&self) -> bool {
        false
    }
    #[zbus(property)]
    fn description(&self) -> &str {
        "nobody asks for this"
    }
}

struct Service {
    result: &'static str,
}

#[interface(name = "org.freedesktop.systemd1.Service")]
impl Service {
    #[zbus(property)]
    fn result(&self) -> &str {
        self.result
    }
    #[zbus(property, name = "MainPID")]
    fn main_pid(&self) -> u32 {
        0
    }
    #[zbus(property, name = "NRestarts")]
    fn restarts(&self) -> u32 {
        4
    }
    #[zbus(property)]
    fn exec_main_status(&self) -> i32 {
        78
    }
    #[zbus(property)]
    fn memory_current(&self) -> u64 {
        900 << 20
    }
    #[zbus(property, name = "TimeoutStartUSec")]
    fn timeout_start(&self) -> u64 {
        120_000_000
    }
}

struct Socket;

#[interface(name = "org.freedesktop.systemd1.Socket")]
impl Socket {
    #[zbus(property)]
    fn result(&self) -> &str {
        "success"
    }
    #[zbus(property)]
    fn listen(&self) -> Vec<(String, String)> {
        vec![("Stream".into(), "0.0.0.0:5000".into()), ("Stream".into(), "/run/hailo-clip/http.sock".into())]
    }
    #[zbus(property, name = "IPAddressAllow")]
    fn allow(&self) -> Vec<(i32, Vec<u8>, u32)> {
        vec![(2, vec![192, 168, 0, 0], 16)]
    }
    #[zbus(property, name = "IPAddressDeny")]
    fn deny(&self) -> Vec<(i32, Vec<u8>, u32)> {
        vec![(2, vec![0; 4], 0), (10, vec![0; 16], 0)]
    }
}

struct Systemd {
    bus: Bus,
    _runtime: Runtime,
    _connection: Connection,
}

impl Systemd {
    fn with(unit: &Unit, result: &'static str) -> Self {
        let (bus, runtime) = (Bus::start(), Runtime::new().unwrap());
        let at = |name: &str| path(name).unwrap();
        let socket = Unit { active: "active", ..unit.clone() };
        let connection = runtime.block_on(async {
            connection::Builder::address(bus.address.as_str())
                .serve_at("/org/freedesktop/systemd1", Manager)
                .serve_at(at("hailo-clip.service"), unit.clone())
                .serve_at(at("hailo-clip.service"), Service { result })
                .serve_at(at("hailo-clip.socket"), socket)
                .serve_at(at("hailo-clip.socket"), Socket)
                .serve_at(at("hailo-ollama.service"), Service { result: "success" })
                .name("org.freedesktop.systemd1")
                .build()
                .await
                .unwrap()
        });
        Self { bus, _runtime: runtime, _connection: connection }
    }

    fn check(&self, id: &str, from: &str) -> Value {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("hailo-clip.yaml");
        fs::write(&config, "clip: {backend: cpu}\n").unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_hailo-clip"))
            .args(["--bus", &self.bus.address, "doctor", "--json", "--from", from, "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["checks"].as_array().unwrap().iter().find(|check| check["id"] == id).unwrap().clone()
    }

    #[track_caller]
    fn says(&self, id: &str, verdict: &str, what: &str) {
        let check = self.check(id, "203.0.113.7");
        assert!(check["verdict"] == verdict && check.to_string().contains(what), "{check}");
    }
}

#[test]
fn a_unit_that_failed_of_its_configuration() {
    let systemd = Systemd::with(&Unit { load: "loaded", active: "failed" }, "exit-code");
    systemd.says("installation", "ok", "hailo-clip.service is enabled");
    systemd.says("service", "failure", "the configuration cannot be used");
    systemd.says("crash-loop", "failure", "restarted 4 times");
    systemd.says("start-timeout", "ok", "120 s");
    systemd.says("memory-pressure", "ok", "hailo-ollama.service: 900 MiB");
}

#[test]
fn a_unit_that_timed_out_and_one_that_is_masked() {
    let systemd = Systemd::with(&Unit { load: "loaded", active: "failed" }, "timeout");
    systemd.says("start-timeout", "failure", "TimeoutStartSec=600");
    let systemd = Systemd::with(&Unit { load: "masked", active: "inactive" }, "success");
    systemd.says("installation", "failure", "unmask");
}

#[test]
fn addresses_against_the_sockets_filter() {
    let systemd = Systemd::with(&Unit { load: "loaded", active: "active" }, "success");
    systemd.says("address-filter", "failure", "IPAddressAllow=203.0.113.7");
    assert_eq!(systemd.check("address-filter", "192.168.1.5")["verdict"], "ok");
    assert_eq!(systemd.check("address-filter", "2001:db8::1")["verdict"], "failure");
}
