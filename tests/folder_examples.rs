//! `search`, `embed -o` and `watch` with the real daemon, and the examples of docs/watch.md and docs/home-assistant.md.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use common::Daemon;
use serde_json::Value;

fn hailo_clip(daemon: &Daemon) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hailo-clip"));
    command.env("HAILO_CLIP_BUS", &daemon.bus.address).env("XDG_CACHE_HOME", daemon.directory.path());
    command.current_dir(daemon.directory.path()).stdin(Stdio::null());
    command
}

fn samples() -> PathBuf {
    common::models().join("demo/samples")
}

fn doc(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

#[track_caller]
fn success(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_search_finds_what_it_is_asked_for() {
    let daemon = Daemon::start();
    let samples = samples();
    let samples = samples.to_str().unwrap();
    let mut command = hailo_clip(&daemon);
    let out = success(command.args(["search", samples, "a red circle", "-n", "1"]).output().unwrap());
    assert!(out.contains("/red-circle.png\t"), "{out}");
    let like = samples.to_owned() + "/red-circle.png";
    let mut command = hailo_clip(&daemon);
    command.args(["search", samples, "--image", &like, "-n", "1", "--sheet", "sheet.png"]);
    success(command.output().unwrap());
    assert!(image::open(daemon.directory.path().join("sheet.png")).unwrap().width() > 200);
    let mut command = hailo_clip(&daemon);
    let out = success(command.args(["search", samples, "--image", &like, "-n", "1"]).output().unwrap());
    let score: f32 = out.split('\t').nth(1).unwrap().parse().unwrap();
    assert!(out.contains("/red-circle.png\t") && score > 0.999, "{out}");
}

/// What the index gives is what the service gives.
#[test]
fn a_table_holds_the_services_embeddings() {
    let daemon = Daemon::start();
    let picture = samples().join("red-circle.png");
    fs::create_dir(daemon.directory.path().join("photos")).unwrap();
    fs::copy(&picture, daemon.directory.path().join("photos/a.png")).unwrap();
    for _ in 0..2 {
        let mut command = hailo_clip(&daemon);
        success(command.args(["embed", "image", "photos", "-o", "out.jsonl"]).output().unwrap());
        let row: Value =
            serde_json::from_slice(&fs::read(daemon.directory.path().join("out.jsonl")).unwrap()).unwrap();
        let mut command = hailo_clip(&daemon);
        command.args(["embed", "image", "--json"]).arg(&picture);
        let direct: Value = serde_json::from_str(&success(command.output().unwrap())).unwrap();
        let values = |row: &Value| -> Vec<f32> { serde_json::from_value(row["embedding"].clone()).unwrap() };
        let pairs = values(&row).into_iter().zip(values(&direct));
        assert!(pairs.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs())) < 1e-4);
        assert_eq!((&row["backend"], &row["dimension"]), (&common::backend().into(), &direct["dimension"]));
    }
}

/// The blocks of Home Assistant's configuration, as YAML.
fn home_assistant() -> Vec<Value> {
    let doc = doc("home-assistant.md");
    let blocks = doc.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks
        .map(|block| serde_saphyr::from_str(block).unwrap_or_else(|error| panic!("{error}\n{block}")))
        .collect()
}

fn block(key: &str) -> Value {
    let blocks = home_assistant();
    blocks.iter().find(|block| block.get(key).is_some()).unwrap()[key].clone()
}

#[test]
fn home_assistants_files_are_yaml() {
    assert_eq!(home_assistant().len(), 5);
    assert_eq!(block("template")[0]["triggers"][0]["webhook_id"], "clip_yard");
}

#[test]
fn home_assistants_commands_are_answered() {
    let daemon = Daemon::start();
    let picture = samples().join("red-circle.png");
    let here = |text: &str| text.replace("hailo.local:5000", &daemon.http);

    // rest_command: the template's body, as Home Assistant would send it.
    let rest = block("rest_command")["clip_classify"].clone();
    let image = BASE64_STANDARD.encode(fs::read(&picture).unwrap());
    let body = rest["payload"].as_str().unwrap().replace("{{ image }}", &image);
    fs::write(daemon.directory.path().join("body"), body).unwrap();
    let mut curl = Command::new("curl");
    curl.args([
        "-sf",
        "-X",
        &rest["method"].as_str().unwrap().to_uppercase(),
        "--data-binary",
        "@body",
        "-H",
    ]);
    curl.arg(format!("Content-Type: {}", rest["content_type"].as_str().unwrap()));
    curl.arg(here(rest["url"].as_str().unwrap())).current_dir(daemon.directory.path());
    let answer: Value = serde_json::from_str(&success(curl.output().unwrap())).unwrap();
    assert_eq!(answer["classifications"].as_array().unwrap().len(), 1, "{answer}");

    // shell_command: without a shell's help, as Home Assistant runs it where it has no template.
    let line = here(block("shell_command")["clip_yard"].as_str().unwrap())
        .replace("/config/www/yard.jpg", picture.to_str().unwrap());
    let answer = success(Command::new("sh").args(["-c", &line]).output().unwrap());
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert!(answer["classifications"][0]["text"].is_string(), "{answer}");

    let sensor = block("sensor")[0].clone();
    let answer = success(
        Command::new("curl").args(["-sf", &here(sensor["resource"].as_str().unwrap())]).output().unwrap(),
    );
    let health: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(health["status"], "healthy");
    for attribute in sensor["json_attributes"].as_array().unwrap() {
        assert!(!health[attribute.as_str().unwrap()].is_null(), "{attribute}: {health}");
    }
}

/// The document's own command, with our camera and our Home Assistant.
#[test]
fn a_watch_calls_the_webhook() {
    let daemon = Daemon::start();
    let doc = doc("home-assistant.md");
    let start = doc.find("    hailo-clip watch").unwrap();
    let command = doc[start..].split("\n\n").next().unwrap();
    let webhook = TcpListener::bind("127.0.0.1:0").unwrap();
    fs::create_dir(daemon.directory.path().join("yard")).unwrap();
    fs::copy(samples().join("red-circle.png"), daemon.directory.path().join("yard/a.png")).unwrap();
    let command = command
        .replace("http://camera.example/snapshot.jpg", "yard")
        .replace("--hold 2", "")
        .replace("homeassistant.example:8123", &webhook.local_addr().unwrap().to_string())
        .replace("hailo-clip watch", &format!("exec {} watch", env!("CARGO_BIN_EXE_hailo-clip")));
    let mut watch = Command::new("sh")
        .args(["-c", &command])
        .env("HAILO_CLIP_BUS", &daemon.bus.address)
        .current_dir(daemon.directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut connection, _) = webhook.accept().unwrap();
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    let body = String::from_utf8(body).unwrap();
    assert!(head.starts_with("POST /api/webhook/clip_yard HTTP/1.1\r\n"), "{head}");
    assert!(body.starts_with("prompt=a") && body.contains("&score=0."), "{body}");
    let pid = watch.id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    assert!(watch.wait().unwrap().success());
}

#[test]
fn systemd_takes_the_example_unit() {
    let folder = tempfile::tempdir().unwrap();
    let unit = doc("examples/hailo-clip-watch@.service");
    let verify = |unit: &str| {
        let path = folder.path().join("hailo-clip-watch@yard.service");
        fs::write(&path, unit.replace("/usr/bin/hailo-clip", env!("CARGO_BIN_EXE_hailo-clip"))).unwrap();
        let mut command = Command::new("systemd-analyze");
        let output =
            command.args(["verify", "--man=no", "--recursive-errors=no"]).arg(path).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(verify(&unit), (true, String::new()));
    assert!(verify(&unit.replace("NoNewPrivileges", "NoNewPrivilege")).1.contains("NoNewPrivilege"));
}

/// What systemd makes of the environment file is a command line that the program understands.
#[test]
fn the_example_environment_is_understood() {
    let text = doc("examples/yard.env");
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap();
        shlex::split(line).unwrap().concat()
    };
    let daemon = Daemon::start();
    let mut words = vec!["watch".to_owned()];
    for name in ["SOURCE", "PROMPTS", "ARGUMENTS"] {
        words.extend(shlex::split(&value(name)).unwrap());
    }
    words[1] = "http://127.0.0.1:1/".to_owned();
    let mut command = hailo_clip(&daemon);
    let mut watch = command.args(words).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(watch.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.ends_with("trying again\n"), "{line}");
    watch.kill().unwrap();
    watch.wait().unwrap();
}
