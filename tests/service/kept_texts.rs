//! Text embeddings that outlive the daemon.

use std::{fs, path::Path};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    common::{Daemon, models},
    http::{get, post},
};

const TEXTS: [&str; 3] = ["a red circle", "a blue star", "a green square"];

/// A daemon on the models in `models`, with what another one left in `state`.
fn start(more: &str, models: &Path, state: &Path) -> Daemon {
    Daemon::with_state(more, models, state, &[])
}

fn embeddings(daemon: &Daemon) -> Value {
    let answer = post(daemon, "/v1/embeddings", &json!({"input": TEXTS, "model": "demo"}));
    assert_eq!(answer.status, 200);
    answer.json()["data"].clone()
}

/// Texts that were known, texts that were encoded, batches of them.
fn counts(daemon: &Daemon) -> [f64; 3] {
    let metrics = String::from_utf8(get(daemon, "/metrics").body).unwrap();
    let value = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
    };
    [
        value("hailo_clip_text_cache_hits_total"),
        value("hailo_clip_text_cache_misses_total"),
        value(r#"hailo_clip_batch_size_count{encoder="text"}"#),
    ]
}

fn stop(mut daemon: Daemon) {
    daemon.signal("TERM");
    assert!(daemon.process.wait().unwrap().success(), "{}", daemon.log());
}

/// The demo model with a tokenizer that has another digest, and the same tokens.
fn other_model(folder: &Path) {
    let demo = folder.join("demo");
    fs::create_dir_all(&demo).unwrap();
    for name in ["image.onnx", "text.onnx"] {
        fs::copy(models().join("demo").join(name), demo.join(name)).unwrap();
    }
    let hex =
        |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let old = fs::read(models().join("demo/tokenizer.json")).unwrap();
    let new = [old.as_slice(), b"\n"].concat();
    let manifest = fs::read_to_string(models().join("demo/model.yaml")).unwrap();
    let manifest = manifest
        .replace(&hex(&old), &hex(&new))
        .replace(&format!("size: {}", old.len()), &format!("size: {}", new.len()));
    fs::write(demo.join("tokenizer.json"), new).unwrap();
    fs::write(demo.join("model.yaml"), manifest).unwrap();
}

#[test]
fn known_texts_are_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let file = state.join("text-embeddings.safetensors");
    let first = start("", &models(), &state);
    let before = embeddings(&first);
    assert_eq!(counts(&first)[..2], [0.0, 3.0]);
    stop(first);
    let content = fs::read(&file).unwrap();
    assert!(!content.windows(10).any(|window| window == b"red circle"), "no text is written");

    let second = start("", &models(), &state);
    assert_eq!(embeddings(&second), before, "to the bit");
    assert_eq!(counts(&second), [3.0, 0.0, 0.0], "no device time");
    let new = post(&second, "/v1/embed/text", &json!({"text": "a yellow triangle"}));
    assert_eq!(new.status, 200);
    stop(second);
    assert!(fs::read(&file).unwrap().len() > content.len(), "what is new is added");

    // Cut short, and written over: each is survived, and mended.
    let good = fs::read(&file).unwrap();
    for bad in [&good[..good.len() / 2], b"nothing of ours"] {
        fs::write(&file, bad).unwrap();
        let third = start("", &models(), &state);
        assert_eq!(third.log().matches("text embeddings").count(), 1, "{}", third.log());
        assert_eq!(embeddings(&third), before);
        assert_eq!(counts(&third)[..2], [0.0, 3.0]);
        stop(third);
    }
    let fourth = start("", &models(), &state);
    embeddings(&fourth);
    assert_eq!(counts(&fourth), [3.0, 0.0, 0.0]);
    // A reload that loads the model anew keeps them as well, and may end the keeping.
    fourth.reload("text_embedding: {cache_max_entries: 500}\n");
    embeddings(&fourth);
    assert_eq!(counts(&fourth), [6.0, 0.0, 0.0]);
    fourth.reload("text_embedding: {cache_persist: false}\n");
    assert!(!file.exists(), "what is not to be kept is removed");
    embeddings(&fourth);
    stop(fourth);
    assert!(!file.exists());
}

#[test]
fn another_models_texts_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let (state, others) = (folder.path().join("state"), folder.path().join("models"));
    other_model(&others);
    let demo = start("", &models(), &state);
    embeddings(&demo);
    stop(demo);
    for expected in [[0.0, 3.0], [3.0, 0.0]] {
        let other = start("", &others, &state);
        embeddings(&other);
        assert_eq!(counts(&other)[..2], expected, "{}", other.log());
        stop(other);
    }
}
