//! The `hailo-clip` command with the real daemon and the bundled model.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use common::Daemon;

fn hailo_clip(daemon: &Daemon) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hailo-clip"));
    command.env("HAILO_CLIP_BUS", &daemon.bus.address).current_dir(samples()).stdin(Stdio::null());
    command
}

fn samples() -> PathBuf {
    common::models().join("demo/samples")
}

#[track_caller]
fn success(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn classifies_a_picture() {
    let daemon = Daemon::start();
    let mut command = hailo_clip(&daemon);
    command.args(["classify", "red-circle.png", "a blue square", "a red circle", "a green triangle"]);
    let out = success(command.output().unwrap());
    let prompts: Vec<&str> = out.lines().map(|line| line.rsplit('\t').next().unwrap()).collect();
    assert_eq!(prompts.len(), 3);
    assert_eq!(prompts[0], "a red circle");
    let sum: f64 = out.lines().map(|line| line.split('\t').nth(1).unwrap().parse::<f64>().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-5, "{out}");
}

#[test]
fn a_pipe_and_a_file_give_the_same_scores() {
    let daemon = Daemon::start();
    let scores = |picture: &str, input: Stdio| -> serde_json::Value {
        let mut command = hailo_clip(&daemon);
        command.args(["classify", picture, "--json", "-p", "a red circle", "a blue square"]).stdin(input);
        let line: serde_json::Value = serde_json::from_str(&success(command.output().unwrap())).unwrap();
        line["classifications"].clone()
    };
    let mut cat =
        Command::new("cat").arg(samples().join("red-circle.png")).stdout(Stdio::piped()).spawn().unwrap();
    let pipe = cat.stdout.take().unwrap().into();
    assert_eq!(scores("red-circle.png", Stdio::null()), scores("-", pipe));
    assert!(cat.wait().unwrap().success());
}

#[test]
fn prompts_that_do_not_tell_pictures_apart_are_warned_about() {
    let daemon = Daemon::start();
    let classify = |more: &[&str]| {
        let mut command = hailo_clip(&daemon);
        command.args(["classify", "red-circle.png"]).args(more).output().unwrap()
    };
    let warnings = |more: &[&str]| String::from_utf8(classify(more).stderr).unwrap();
    assert_eq!(warnings(&["-p", "a red circle", "a blue square", "a green triangle"]), "");
    let twice = warnings(&["-p", "a red circle", "a red disc", "a blue square"]);
    assert!(
        twice.contains("\" mean almost the same to the model") && twice.contains("a red disc"),
        "{twice}"
    );
    assert_eq!(twice.lines().count(), 1);
    let hidden = warnings(&["--threshold", "0.9", "-p", "a red circle"]);
    assert!(hidden.contains("the threshold 0.9 hides the prompt"), "{hidden}");

    let explain =
        ["--explain", "--json", "--template", "a photo of {}", "-p", "a red circle", "a blue square"];
    let line: serde_json::Value = serde_json::from_str(&success(classify(&explain))).unwrap();
    let explanation = &line["explanation"];
    assert_eq!(explanation["margin"]["winner"], "a red circle");
    assert!(explanation["margin"]["odds"].as_f64().unwrap() > 3.0, "{line}");
    assert_eq!(explanation["templates"][0]["template"], "{}");
    assert_eq!(explanation["templates"][1]["template"], "a photo of {}");
    assert!(line["classifications"][0]["cosine"].as_f64() > line["classifications"][1]["cosine"].as_f64());
}

#[test]
fn embeds_texts_and_shows_the_status() {
    let daemon = Daemon::start();
    let status = success(hailo_clip(&daemon).args(["status", "--json"]).output().unwrap());
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["state"], "ready");
    let texts =
        success(hailo_clip(&daemon).args(["embed", "text", "a cat", "a dog", "--json"]).output().unwrap());
    for line in texts.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["dimension"], status["embedding_dimension"]);
        let embedding: Vec<f32> = serde_json::from_value(line["embedding"].clone()).unwrap();
        assert_eq!(embedding.len(), line["dimension"]);
        let norm: f32 = embedding.iter().map(|value| value * value).sum();
        assert!((norm - 1.0).abs() < 1e-4, "{norm}");
    }
    assert_eq!(texts.lines().count(), 2);
}

#[test]
fn what_is_no_picture_is_told_and_the_next_is_classified() {
    let daemon = Daemon::start();
    let mut command = hailo_clip(&daemon);
    let junk = daemon.directory.path().join("junk.png");
    std::fs::write(&junk, "no picture").unwrap();
    let output =
        command.args(["classify", junk.to_str().unwrap(), "red-circle.png", "-p", "a cat"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("junk.png: not a picture"));
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("red-circle.png\t"));
}
