//! The D-Bus facade as `busctl` and `gdbus` see it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod dbus_service;

use std::process::Command;

use common::{Bus, Daemon, PATIENCE, backend, models};
use dbus_service::{RED, Service, picture};
use hailo_clip::{
    dbus::{NAME, PATH},
    model::{Bundle, Platform},
};

fn run(command: &mut Command) -> String {
    let output = command.output().expect("busctl (package systemd) and gdbus (libglib2.0-bin) are installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn busctl(bus: &Bus, arguments: &[&str]) -> String {
    run(Command::new("busctl").arg(format!("--address={}", bus.address)).args(arguments))
}

#[tokio::test(flavor = "multi_thread")]
async fn busctl_classifies_and_reads_properties() {
    let service = Service::start().await;
    let image = picture(RED);
    let length = image.len().to_string();
    let bytes: Vec<String> = image.iter().map(u8::to_string).collect();

    let mut call = vec!["--json=short", "call", NAME, PATH, NAME, "Classify", "ayasa{sv}", &length];
    call.extend(bytes.iter().map(String::as_str));
    call.extend(["2", "green", "red", "1", "top_k", "i", "1"]);
    let answer: serde_json::Value = serde_json::from_str(&busctl(&service.bus, &call)).unwrap();
    assert_eq!(answer["type"], "a(sd)a{sv}");
    assert_eq!(answer["data"][0].as_array().unwrap().len(), 1);
    assert_eq!(answer["data"][0][0][0], "red");
    assert_eq!(answer["data"][1]["model"]["data"], "demo");

    let property = |name| busctl(&service.bus, &["get-property", NAME, PATH, NAME, name]);
    assert_eq!(property("State"), "s \"ready\"");
    assert_eq!(property("EmbeddingDimension"), "u 3");
    let unknown =
        busctl(&service.bus, &["--json=short", "get-property", NAME, PATH, NAME, "DeviceTemperature"]);
    assert_eq!(unknown, r#"{"type":"d","data":null}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn gdbus_classifies() {
    let service = Service::start().await;
    let bytes: Vec<String> = picture(RED).iter().map(|byte| format!("byte {byte}")).collect();
    let answer = run(Command::new("gdbus")
        .args(["call", "--address", &service.bus.address, "--dest", NAME, "--object-path", PATH])
        .args(["--method", "org.hailo.Clip1.Classify", &format!("[{}]", bytes.join(","))])
        .args(["['green', 'red']", "{'top_k': <1>, 'apply_softmax': <false>}"]));
    assert!(answer.starts_with("([('red', 0.99"), "{answer}");
    assert!(answer.contains("'backend': <'cpu'>"), "{answer}");
}

/// The lines of an interface's element.
fn interface<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let lines: Vec<&str> = xml.lines().map(str::trim).collect();
    let start = lines.iter().position(|line| *line == format!("<interface name=\"{name}\">")).unwrap();
    let length = lines[start..].iter().position(|line| *line == "</interface>").unwrap();
    lines[start..=start + length].to_vec()
}

#[test]
fn the_installed_xml_is_what_the_daemon_prints() {
    let daemon = Daemon::start();
    let printed = busctl(&daemon.bus, &["introspect", "--xml-interface", NAME, PATH]);
    for name in ["org.hailo.Clip1", "org.hailo.Clip1.Manager"] {
        assert_eq!(
            interface(include_str!("../dbus/org.hailo.Clip1.xml"), name),
            interface(&printed, name),
            "dbus/org.hailo.Clip1.xml must be taken from \"busctl introspect --xml-interface\""
        );
    }
}

#[test]
fn the_model_is_known_by_what_it_is_made_of() {
    let daemon = Daemon::start();
    let digest = busctl(&daemon.bus, &["get-property", NAME, PATH, NAME, "ModelDigest"]);
    let digest = digest.strip_prefix("s \"").and_then(|digest| digest.strip_suffix('"')).unwrap();
    assert!(digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()), "{digest}");
    if backend() == "cpu" {
        let bundle = Bundle::open(&models().join("demo")).unwrap();
        assert_eq!(digest, bundle.digest(Platform::Cpu, bundle.image.fit));
    }
}

#[test]
fn a_lost_bus_ends_the_daemon_with_an_error() {
    let mut daemon = Daemon::start();
    daemon.bus.stop();
    let started = std::time::Instant::now();
    let status = loop {
        match daemon.process.try_wait().unwrap() {
            Some(status) => break status,
            None if started.elapsed() > PATIENCE => panic!("the daemon goes on without a bus"),
            None => std::thread::yield_now(),
        }
    };
    assert!(!status.success());
    assert!(daemon.log().contains("the connection to the message bus was lost"), "{}", daemon.log());
}
