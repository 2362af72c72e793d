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
