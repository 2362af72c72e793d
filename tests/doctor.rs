//! `hailo-clip doctor` and `hailo-clip report` with the real daemon, up, down, hung, and on a simulated NPU
//! with faults. What takes a whole system is in tests/system/guest/72-doctor.sh.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use common::{
    Bus, Daemon,
    simulator::{self, HAILO_8, Machine},
};
use serde_json::Value;

fn command(arguments: &[&str], bus: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hailo-clip"));
    command.args(arguments).env("HAILO_CLIP_BUS", bus).stdin(Stdio::null());
    command
}

/// `doctor --json` where this daemon is.
fn doctor(daemon: &Daemon) -> Diagnosis {
    let mut command = command(&["doctor", "--json"], &daemon.bus.address);
    place(&mut command, daemon);
    command.output().unwrap().into()
}

/// Where this daemon's files and hardware are.
fn place(command: &mut Command, daemon: &Daemon) {
    command.arg("--config").arg(daemon.directory.path().join("hailo-clip.yaml"));
    command.arg("--models-dir");
    match &daemon.machine {
        Some(machine) => {
            command.arg(Machine::models()).arg("--hardware-root").arg(machine.root());
            command.arg("--shim-dir").arg(simulator::build().join(machine.kind.hailort).join("shim"))
        }
        None => command.arg(common::models()),
    };
}

struct Diagnosis {
    code: Option<i32>,
    answer: Value,
}

impl From<Output> for Diagnosis {
    fn from(output: Output) -> Self {
        let answer = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        Self { code: output.status.code(), answer }
    }
}

impl Diagnosis {
    fn check(&self, id: &str) -> &Value {
        let checks = self.answer["checks"].as_array().unwrap();
        checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("there is no check {id}"))
    }

    /// That a check has this verdict, and says this somewhere.
    #[track_caller]
    fn says(&self, id: &str, verdict: &str, what: &str) {
        let check = self.check(id);
        assert_eq!(check["verdict"], verdict, "{check}");
        assert!(check.to_string().contains(what), "{check}");
    }
}

#[test]
fn a_daemon_that_serves() {
    let daemon = Daemon::start();
    let found = doctor(&daemon);
    assert_eq!(found.answer["schema"], 1);
    found.says("bus", "ok", "answers");
    found.says("configuration", "ok", "no mistake");
    found.says("model", "ok", "whole");
    found.says("service", "ok", "runs");
    found.says("answers", "ok", "classified a picture");
    found.says("backend", "ok", "demo");
    for check in found.answer["checks"].as_array().unwrap() {
        assert!(check["evidence"].is_array() && !check["summary"].as_str().unwrap().is_empty(), "{check}");
        assert!(check["remedy"].is_null() || check["remedy"]["commands"].is_array(), "{check}");
    }
}

#[test]
fn exit_codes_tell_the_worst_verdict() {
    let daemon = Daemon::start();
    let code = |found: &Diagnosis| match found.answer["verdict"].as_str().unwrap() {
        "ok" => 0,
        "warning" => 5,
        "failure" => 6,
        other => panic!("{other}"),
    };
    let found = doctor(&daemon);
    assert_eq!(found.code, Some(code(&found)));
    daemon.configure("logging: {levl: debug}\n");
    let found = doctor(&daemon);
    found.says("configuration", "failure", "hailo-clip.yaml:3:");
    found.says("configuration", "failure", "logging.level");
    assert_eq!((found.code, code(&found)), (Some(6), 6));
}

#[test]
fn a_stopped_daemon_is_not_started_by_the_question() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let mark = folder.path().join("started");
    let script = folder.path().join("start");
    fs::write(&script, format!("#!/bin/sh\ntouch {}\n", mark.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let activation = format!("[D-BUS Service]\nName=org.hailo.Clip1\nExec={path}/start\n");
    fs::write(folder.path().join("org.hailo.Clip1.service"), activation).unwrap();
    let config = folder.path().join("bus.conf");
    fs::write(
        &config,
        format!(
            "<busconfig><type>session</type><listen>unix:tmpdir={path}</listen><auth>EXTERNAL</auth>\
             <servicedir>{path}</servicedir><policy context='default'><allow send_destination='*'/>\
             <allow receive_sender='*'/><allow own='*'/></policy></busconfig>"
        ),
    )
    .unwrap();
    let bus = Bus::with_config(&config);
    let found: Diagnosis = command(&["doctor", "--json"], &bus.address).output().unwrap().into();
    found.says("installation", "failure", "neither");
    found.says("service", "failure", "does not run");
    found.says("answers", "not_applicable", "does not run");
    assert!(!mark.exists());
    // That this bus would start it:
    command(&["--timeout", "20", "embed", "text", "a cat"], &bus.address).output().unwrap();
    assert!(mark.exists());
}

#[test]
fn no_bus_is_a_verdict() {
    let found: Diagnosis = command(&["doctor", "--json"], "unix:path=/nowhere/bus").output().unwrap().into();
    found.says("bus", "failure", "systemctl start dbus.socket");
    assert_eq!(found.code, Some(6));
}

#[test]
fn fix_runs_nothing_without_a_yes() {
    let output = command(&["doctor", "--fix", "--json"], "unix:path=/nowhere/bus").output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let found: Diagnosis = output.into();
    for fix in found.answer["fixes"].as_array().unwrap() {
        assert!(fix["succeeded"].is_null(), "{fix}");
    }
    // Root is asked, and there is nobody to answer; others are told the command.
    assert!(
        told.contains("left as it is") || told.contains("as root: sudo systemctl start dbus.socket"),
        "{told}"
    );
    let found: Diagnosis = command(&["doctor", "--json"], "unix:path=/nowhere/bus").output().unwrap().into();
    assert!(found.answer.get("fixes").is_none());
}

/// On a terminal, each harmless command is run only after a yes. `script` is one; a stand-in for systemctl says what
/// it was asked for.
#[test]
fn fix_asks_on_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let (asked, systemctl) = (folder.path().join("asked"), folder.path().join("systemctl"));
    fs::write(&systemctl, format!("#!/bin/sh\necho \"$@\" >> {}\n", asked.display())).unwrap();
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let answer = |text: &str| {
        // Of an empty system, so that there is nothing else to mend.
        let doctor =
            format!("{} doctor --fix --root {}", env!("CARGO_BIN_EXE_hailo-clip"), folder.path().display());
        let mut terminal = Command::new("script")
            .args(["-qec", &doctor, "/dev/null"])
            .env("HAILO_CLIP_BUS", "unix:path=/nowhere/bus")
            .env("PATH", &path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(terminal.stdin.as_mut().unwrap(), text.as_bytes()).unwrap();
        let output = terminal.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(6), "{output:?}");
        let told = String::from_utf8(output.stdout).unwrap();
        (told, fs::read_to_string(&asked).unwrap_or_default())
    };
    if !nix::unistd::Uid::effective().is_root() {
        let (told, asked) = answer("y\n");
        assert!(told.contains("as root: sudo systemctl start dbus.socket"), "{told}");
        assert_eq!(asked, "");
        return;
    }
    for no in ["n\n", "\n", "yesterday\n", ""] {
        let (told, asked) = answer(no);
        assert!(told.contains("run \"sudo systemctl start dbus.socket\"? [y/N]"), "{told}");
        assert!(told.contains("left as it is"), "{told}");
        assert_eq!(asked, "", "{no:?}");
    }
    let (told, asked) = answer("y\n");
    assert!(told.contains("runs sudo systemctl start dbus.socket"), "{told}");
    assert!(told.contains("bus is now: failure"), "{told}");
    assert_eq!(asked, "start dbus.socket\n");
}

#[test]
fn a_hung_daemon_is_told_within_deadlines() {
    let daemon = Daemon::start();
    daemon.signal("STOP");
    let mut asked = command(&["--timeout", "0.5", "doctor", "--json"], &daemon.bus.address);
    place(&mut asked, &daemon);
    let found: Diagnosis = asked.output().unwrap().into();
    daemon.signal("CONT");
    found.says("answers", "failure", "does not answer within 500ms");
    found.says("backend", "not_applicable", "does not answer");
}

#[test]
fn a_damaged_model() {
    let daemon = Daemon::start();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("demo");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(common::models().join("demo")).unwrap().flatten() {
        if entry.path().is_file() {
            fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
    }
    let onnx = fs::read_dir(&copy).unwrap().flatten().map(|entry| entry.path());
    let onnx: PathBuf = onnx.filter(|path| path.extension().is_some_and(|e| e == "onnx")).min().unwrap();
    let mut bytes = fs::read(&onnx).unwrap();
    bytes[1000] ^= 1;
    fs::write(&onnx, bytes).unwrap();
    let found: Diagnosis = command(&["doctor", "--json"], &daemon.bus.address)
        .arg("--config")
        .arg(daemon.directory.path().join("hailo-clip.yaml"))
        .arg("--models-dir")
        .arg(folder.path())
        .output()
        .unwrap()
        .into();
    found.says("model", "failure", onnx.file_name().unwrap().to_str().unwrap());
}

#[test]
fn heat_and_throttling_of_the_device() {
    let daemon = Daemon::on(Machine::new(HAILO_8), "clip: {backend: hailo}\n");
    let machine = daemon.machine.as_ref().unwrap();
    let found = doctor(&daemon);
    found.says("device", "ok", "/dev/hailo0, driver 4.23.0");
    found.says("device-holder", "ok", "the service itself");
    found.says("versions", "ok", "one version");
    found.says("shim", "ok", "4.23.0");
    until(|| doctor(&daemon).check("heat")["evidence"].to_string().contains("NPU: 45"));
    machine.set("temperature", "83");
    // The service looks at its sensors now and then.
    until(|| doctor(&daemon).check("heat")["verdict"] == "warning");
    machine.set("temperature", "45");
    machine.set("throttling", "2");
    until(|| doctor(&daemon).check("heat")["summary"].to_string().contains("protect itself"));
}

/// Asks again until it is so.
#[track_caller]
fn until(condition: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !condition() {
        assert!(started.elapsed() < common::PATIENCE, "it never came");
    }
}

/// A picture to classify; whether it was.
fn classifies(daemon: &Daemon) -> bool {
    let picture = common::models().join("demo/samples/red-circle.png");
    let mut command = command(&["classify"], &daemon.bus.address);
    command.arg(picture).args(["a red circle", "a blue square"]).output().unwrap().status.success()
}

#[test]
fn a_first_request_that_was_slow() {
    let machine = Machine::new(HAILO_8);
    machine.set("late_ms", "2100");
    let daemon = Daemon::on(
        machine,
        "clip: {backend: hailo, device_timeout_ms: 60000}\nperformance: {idle_unload_seconds: 3600}\n",
    );
    assert!(classifies(&daemon));
    daemon.machine.as_ref().unwrap().unset("late_ms");
    // Each diagnosis has a picture classified, until these make the median.
    until(|| doctor(&daemon).check("warm-up")["verdict"] == "warning");
    let found = doctor(&daemon);
    found.says("warm-up", "warning", "the first request waited for the model");
    found.says("warm-up", "warning", "released after 3600 s");
    daemon.configure("clip: {backend: hailo}\nperformance: {warmup_enabled: true}\n");
    doctor(&daemon).says("warm-up", "ok", "not slow");
}

#[test]
fn requests_that_run_out_of_time_or_fail() {
    let daemon = Daemon::on(Machine::new(HAILO_8), "clip: {backend: hailo, device_timeout_ms: 300}\n");
    assert!(classifies(&daemon));
    doctor(&daemon).says("timeouts", "ok", "in time");
    let machine = daemon.machine.as_ref().unwrap();
    machine.set("fault", "hang");
    assert!(!classifies(&daemon));
    machine.unset("fault");
    let found = doctor(&daemon);
    found.says("timeouts", "warning", "run out of time");
    found.says("timeouts", "warning", "1 were late and 0 failed");
    machine.set("fail_call", "run 8");
    assert!(!classifies(&daemon));
    machine.unset("fail_call");
    let found = doctor(&daemon);
    found.says("timeouts", "warning", "requests have failed");
    found.says("timeouts", "warning", "1 were late and 1 failed");
}

#[test]
fn driver_and_firmware_of_other_versions() {
    let machine = Machine::new(HAILO_8);
    machine.set("firmware", "4.20.0");
    let daemon = Daemon::on(machine, "clip: {backend: hailo}\n");
    let found = doctor(&daemon);
    found.says("versions", "failure", "firmware 4.20.0");
    daemon.machine.as_ref().unwrap().driver("4.21.0");
    doctor(&daemon).says("versions", "failure", "driver 4.21.0");
}

#[test]
fn a_held_device_and_a_missing_one() {
    let machine = Machine::new(HAILO_8);
    machine.set("held", "all");
    let node = machine.root().join("dev/hailo0");
    let mut holder = Command::new("sh")
        .args(["-c", "exec 3< \"$0\"; echo held; read line"])
        .arg(&node)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 5];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut said).unwrap();
    // The word "auto" stays as it is; the harness replaces "cpu" alone.
    let daemon = Daemon::on(machine, "clip: {backend: auto}\n");
    let found = doctor(&daemon);
    found.says("device-holder", "failure", &format!("sh (process {})", holder.id()));
    found.says("backend", "warning", "in use by");
    drop(holder.stdin.take());
    holder.wait().unwrap();

    fs::remove_file(&node).unwrap();
    doctor(&daemon).says("device", "failure", "/dev/hailo0 is missing");
    fs::write(&node, "").unwrap();
    daemon.machine.as_ref().unwrap().unplug(0);
    doctor(&daemon).says("device", "warning", "no Hailo device");
}

#[test]
fn a_report_is_whole_and_its_owners() {
    let daemon = Daemon::start();
    let folder = daemon.directory.path();
    let keys = folder.join("keys");
    fs::write(&keys, "a-key-that-nobody-may-see\n").unwrap();
    daemon.configure(&format!("server: {{host: 127.0.0.1, port: 0, api_keys_file: {}}}\n", keys.display()));
    let archive = folder.join("report.tar.gz");
    let report = |more: &[&str]| {
        let mut command = command(&["report"], &daemon.bus.address);
        place(&mut command, &daemon);
        command.arg(&archive).args(more).output().unwrap()
    };
    let output = report(&[]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::metadata(&archive).unwrap().permissions().mode() & 0o777, 0o600);
    let told = String::from_utf8(output.stdout).unwrap();
    let files = unpacked(&archive);
    let readme = &files.iter().find(|(name, _)| name.ends_with("/README")).unwrap().1;
    for name in [
        "doctor.txt",
        "doctor.json",
        "status.json",
        "journal.txt",
        "configuration.yaml",
        "units.txt",
        "versions.txt",
    ] {
        assert!(told.contains(name) && readme.contains(name), "{name}");
        assert!(
            files.iter().any(|(file, text)| file.ends_with(&format!("/{name}")) && !text.is_empty()),
            "{name}"
        );
    }
    for (name, text) in &files {
        assert!(!text.contains("a-key-that-nobody-may-see"), "{name}");
    }
    let text = |name: &str| &files.iter().find(|(file, _)| file.ends_with(name)).unwrap().1;
    assert!(serde_json::from_str::<Value>(text("/doctor.json")).unwrap()["checks"].is_array());
    assert!(text("/configuration.yaml").contains("api_keys_file"));
    assert!(text("/status.json").contains("demo"));

    let output = report(&[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("--force"));
    assert!(report(&["--force"]).status.success());
}

fn unpacked(archive: &Path) -> Vec<(String, String)> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(fs::File::open(archive).unwrap()));
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
        (name, text)
    });
    entries.collect()
}

#[test]
fn the_guide_is_made_from_the_checks() {
    assert!(
        include_str!("../docs/troubleshooting.md") == hailo_clip::doctor::guide(),
        "docs/troubleshooting.md must be made anew: cargo run -- doctor --guide > docs/troubleshooting.md"
    );
}
