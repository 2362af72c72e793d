//! A model of one's own, made with `tools/make-bundle`.

use std::{path::Path, process::Command};

use serde_json::json;

use crate::{
    common::{Daemon, models},
    http::{base64, get, post, sample},
};

#[test]
fn a_made_bundle_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let demo = models().join("demo");
    let yaml = std::fs::read_to_string(demo.join("model.yaml")).unwrap();
    let value = |key: &str| {
        let (_, rest) = yaml.split_once(key).unwrap_or_else(|| panic!("{key} in {yaml}"));
        rest.lines().next().unwrap().trim().to_owned()
    };
    let list = |key: &str| value(key).replace(['[', ']', ' '], "");
    let made = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/make-bundle"))
        .args(["--dimension", &value("embedding_dimension:"), "--fit", "stretch"])
        .args(["--mean", &list("mean:"), "--std", &list("std:"), "--logit-scale", &value("logit_scale:")])
        .arg(folder.path().join("mine"))
        .args(["image.onnx", "text.onnx", "tokenizer.json"].map(|name| demo.join(name)))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let daemon = Daemon::with_models("clip: {model: mine, backend: cpu}\n", folder.path());
    assert_eq!(get(&daemon, "/health").json()["model"], "mine");
    let body =
        json!({"image": base64(&sample("red-circle.png")), "prompts": ["a red circle", "a blue star"]});
    let answer = post(&daemon, "/v1/classify", &body).json();
    assert_eq!(answer["classifications"][0]["text"], "a red circle", "{answer}");
}

/// A network may ask for terabytes or more time than there is: the daemon names it and lives on.
#[test]
fn a_greedy_model_does_not_bring_the_daemon_down() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx");
    for greedy in ["greedy-constant.onnx", "greedy-run.onnx"] {
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/make-bundle"))
            .args(["--dimension", "8", "--size", "16", "--context", "12"])
            .arg(folder.path().join("greedy"))
            .args([greedy, "text.onnx", "tokenizer.json"].map(|name| fixtures.join(name)))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let daemon = Daemon::with_models("clip: {model: greedy, backend: cpu}\n", folder.path());
        let health = get(&daemon, "/health");
        let error = health.json()["error"].as_str().unwrap().to_owned();
        assert!(health.status == 503 && error.contains("model greedy brings"), "{greedy}: {error}");
        assert_eq!(get(&daemon, "/health/live").status, 200);
    }
}
