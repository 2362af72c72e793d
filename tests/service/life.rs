//! Starting, reloading, stopping.

use std::{
    io::{Read, Write},
    process::{Command, Output},
};

use serde_json::json;

use crate::{
    common::{Bus, Daemon, PATIENCE, models},
    http::{base64, connect, get, post, read_answer, sample},
};

fn hailo_clipd(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hailo-clipd")).args(arguments).output().unwrap()
}

#[test]
fn a_configuration_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hailo-clip.yaml");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "server: {port: 5001}\n").unwrap();
    let good = hailo_clipd(&["--check-config", path]);
    let stdout = String::from_utf8_lossy(&good.stdout);
    assert_eq!(good.status.code(), Some(0), "{stdout}");
    assert!(stdout.contains("port: 5001"), "{stdout}");
    assert!(stdout.contains("max_queue_size: 64"), "defaults are shown too: {stdout}");

    std::fs::write(&file, "server:\n  prot: 5001\n").unwrap();
    let bad = hailo_clipd(&["--check-config", path]);
    let said = [bad.stdout, bad.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert_eq!(bad.status.code(), Some(78), "{said}");
    assert!(said.contains(":2:") && said.contains("server.port"), "{said}");

    let unstarted = hailo_clipd(&["--config", path, "--bus", "unix:path=/nonexistent"]);
    assert_eq!(unstarted.status.code(), Some(78), "a bad file starts nothing");
}

#[test]
fn a_missing_bus_and_a_taken_port_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hailo-clip.yaml");
    let run = |port: u16, bus: &str| {
        std::fs::write(&file, format!("server: {{host: 127.0.0.1, port: {port}}}\n")).unwrap();
        let output = hailo_clipd(&["--config", file.to_str().unwrap(), "--bus", bus]);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let log = run(0, "unix:path=/nonexistent/bus");
    assert!(log.contains("bus"), "{log}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let bus = Bus::start();
    let log = run(port, &bus.address);
    assert!(log.contains(&port.to_string()) && log.contains("server.port"), "{log}");
    assert!(log.contains(&format!("(process {}) listens there", std::process::id())), "{log}");
}

#[test]
fn a_missing_model_is_named_and_nothing_crashes() {
    let mut daemon = Daemon::with_config("clip: {model: clip-vit-b-32, backend: cpu}\n");
    let health = get(&daemon, "/health");
    assert_eq!(health.status, 503);
    let health = health.json();
    assert_eq!(health["status"], "unhealthy");
    assert_eq!(health["model_loaded"], false);
    let error = health["error"].as_str().unwrap();
    assert!(error.contains("clip-vit-b-32") && error.contains("demo"), "{error}");
    assert_eq!(get(&daemon, "/health/ready").status, 503);
    assert_eq!(get(&daemon, "/health/live").status, 200);
    let refused = post(&daemon, "/v1/embed/text", &json!({"text": "red"}));
    assert_eq!(refused.status, 503);

    daemon.reload("");
    assert_eq!(post(&daemon, "/v1/embed/text", &json!({"text": "red"})).status, 200, "mended by a reload");
    daemon.signal("TERM");
    assert!(daemon.process.wait().unwrap().success());
}

#[test]
fn a_damaged_model_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("demo");
    std::fs::create_dir(&bundle).unwrap();
    for name in ["model.yaml", "image.onnx", "text.onnx", "tokenizer.json"] {
        std::fs::copy(models().join("demo").join(name), bundle.join(name)).unwrap();
    }
    let onnx = bundle.join("image.onnx");
    let mut bytes = std::fs::read(&onnx).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&onnx, bytes).unwrap();
    let daemon = Daemon::with_models("", folder.path());
    let error = get(&daemon, "/health").json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains("image.onnx"), "{error}");
    assert!(!error.contains(folder.path().to_str().unwrap()), "no paths: {error}");
}

#[test]
fn a_reload_takes_effect_or_changes_nothing() {
    let daemon = Daemon::start();
    let prompts = || {
        post(
            &daemon,
            "/v1/classify",
            &json!({"image": base64(&sample("red-circle.png")), "prompts": ["a red circle", "a blue star"]}),
        )
    };
    let softmax = |answer: serde_json::Value| {
        let scores =
            answer["classifications"].as_array().unwrap().iter().map(|c| c["score"].as_f64().unwrap());
        (scores.sum::<f64>() - 1.0).abs() < 1e-5
    };
    assert!(softmax(prompts().json()));
    daemon.reload("clip: {backend: cpu, apply_softmax: false}\n");
    assert!(!softmax(prompts().json()));
    daemon.reload("clip: {backend: cpu, apply_sotfmax: true}\n");
    assert!(!softmax(prompts().json()), "the old configuration stays");
    assert!(daemon.log().contains("clip.apply_softmax"), "{}", daemon.log());
    daemon.reload("clip: {backend: cpu, model: nothing}\n");
    assert_eq!(prompts().status, 200, "the old model stays");
    assert!(daemon.log().contains("nothing"), "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_model_is_unloaded_and_everybody_can_see_it() {
    let daemon = Daemon::with_config("performance: {idle_unload_seconds: 1}\n");
    let since = std::time::Instant::now();
    // Looking is no request: it keeps nothing awake.
    while get(&daemon, "/health").json()["idle"] != true {
        assert!(since.elapsed() < PATIENCE, "{}", daemon.log());
    }
    let health = get(&daemon, "/health");
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("healthy")));
    assert_eq!(health.json()["model_loaded"], true, "as far as callers are concerned");
    assert_eq!(get(&daemon, "/health/ready").status, 200);
    let metrics = String::from_utf8(get(&daemon, "/metrics").body).unwrap();
    assert!(metrics.contains("hailo_clip_idle 1\n"), "{metrics}");
    let status = Command::new(env!("CARGO_BIN_EXE_hailo-clip"))
        .arg("status")
        .env("HAILO_CLIP_BUS", &daemon.bus.address)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.status.success() && said.contains("ready, model unloaded"), "{said}");
    let idle = get(&daemon, "/health").json()["idle"].clone();
    assert_eq!(idle, true, "still");

    let picture = json!({"image": base64(&sample("red-circle.png"))});
    assert_eq!(post(&daemon, "/v1/embed/image", &picture).status, 200);
    let metrics = String::from_utf8(get(&daemon, "/metrics").body).unwrap();
    assert!(metrics.contains("hailo_clip_state{state=\"ready\"} 1\n"), "{metrics}");
}

#[test]
fn stopping_answers_what_was_asked_and_refuses_the_rest() {
    let mut daemon = Daemon::start();
    let body = json!({"text": "red"}).to_string();
    let head = format!(
        "POST /v1/embed/text HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut idle = connect(&daemon);
    let mut under_way = connect(&daemon);
    under_way.write_all(head.as_bytes()).unwrap();
    under_way.write_all(&body.as_bytes()[..5]).unwrap();
    // An answer on the other connection: the daemon has read what came before it.
    idle.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice()).unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");

    daemon.signal("TERM");
    daemon.wait_for("STOPPING=1");
    under_way.write_all(&body.as_bytes()[5..]).unwrap();
    let answer = read_answer(&mut under_way);
    assert!(matches!(answer.status, 200 | 503), "an answer, not a reset: {}", answer.head);
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).unwrap();
    assert!(daemon.process.wait().unwrap().success(), "a clean exit");
    assert!(std::net::TcpStream::connect(&daemon.http).is_err(), "the port is free");
}
