//! Models that are in the way of the daemon when it starts.

use std::{fs, path::Path};

use sha2::{Digest, Sha256};

use crate::{common::Daemon, http::get};

/// A bundle of the fixtures, with this image encoder.
fn bundle(models: &Path, name: &str, image: &str) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx");
    let folder = models.join(name);
    fs::create_dir_all(&folder).unwrap();
    let file = |from: &str, to: &str| {
        let content = fs::read(fixtures.join(from)).unwrap();
        fs::write(folder.join(to), &content).unwrap();
        let digest: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{{file: {to}, size: {}, sha256: {digest}}}", content.len())
    };
    let (image, text) = (file(image, "image.onnx"), file("text.onnx", "text.onnx"));
    let tokenizer = file("tokenizer.json", "tokenizer.json");
    let manifest = format!(
        "format: 1\nname: {name}\ndescription: greedy\nlicense: MIT\nprecision: fp32\nembedding_dimension: 8\n\
         image: {{size: 16, fit: crop, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}}\n\
         text: {{context_length: 12, pad: 0, tokenizer: {tokenizer}}}\nlogit_scale: 100\n\
         towers: {{image: {{cpu: {image}}}, text: {{cpu: {text}}}}}\n"
    );
    fs::write(folder.join("model.yaml"), manifest).unwrap();
}

/// A network may ask for terabytes or more time than there is: the daemon names it and lives on.
#[test]
fn a_greedy_model_does_not_bring_the_daemon_down() {
    for greedy in ["greedy-constant.onnx", "greedy-run.onnx"] {
        let folder = tempfile::tempdir().unwrap();
        bundle(folder.path(), "greedy", greedy);
        let daemon = Daemon::with_models("clip: {model: greedy, backend: cpu}\n", folder.path());
        let health = get(&daemon, "/health");
        let error = health.json()["error"].as_str().unwrap().to_owned();
        assert!(health.status == 503 && error.contains("model greedy brings"), "{greedy}: {error}");
        assert_eq!(get(&daemon, "/health/live").status, 200);
    }
}
