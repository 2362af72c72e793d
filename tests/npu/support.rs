//! What the tests ask the service, and what they know of it.

use std::{fs, path::Path, time::Instant};

use serde_json::{Value, json};

use crate::{
    common::{
        Daemon, PATIENCE,
        simulator::{Kind, Machine},
    },
    http::{Answer, base64, get, post, sample},
};

pub(crate) const SAMPLES: [(&str, &str); 5] = [
    ("red-circle.png", "a red circle"),
    ("stocked-shelf.jpg", "a stocked shelf"),
    ("person-on-bicycle.jpg", "a person on a bicycle"),
    ("night-sky.jpg", "the night sky with a moon"),
    ("house-red-roof.jpg", "a house with a red roof"),
];

/// The daemon on a machine of this kind that must use its NPU.
pub(crate) fn on_npu(kind: Kind) -> Daemon {
    on_npu_with(kind, "clip: {backend: hailo}\n")
}

pub(crate) fn on_npu_with(kind: Kind, config: &str) -> Daemon {
    Daemon::on(Machine::new(kind), config)
}

pub(crate) fn machine(daemon: &Daemon) -> &Machine {
    daemon.machine.as_ref().unwrap()
}

/// Ranks all samples' captions for one sample.
pub(crate) fn classify(daemon: &Daemon, name: &str) -> Answer {
    let prompts: Vec<&str> = SAMPLES.iter().map(|(_, caption)| *caption).collect();
    post(daemon, "/v1/classify", &json!({"image": base64(&sample(name)), "prompts": prompts}))
}

/// Classifies every sample, and each right.
#[track_caller]
pub(crate) fn assert_works(daemon: &Daemon) {
    for (name, caption) in SAMPLES {
        let answer = classify(daemon, name);
        let body = answer.json();
        assert_eq!(answer.status, 200, "{body}\n{}", daemon.log());
        assert_eq!(body["classifications"][0]["text"], caption, "{body}");
    }
}

/// Embeds a sample, or says with what it failed.
pub(crate) fn embed_image(daemon: &Daemon, name: &str) -> Answer {
    post(daemon, "/v1/embed/image", &json!({"image": base64(&sample(name))}))
}

pub(crate) fn embed_text(daemon: &Daemon, text: &str) -> Answer {
    post(daemon, "/v1/embed/text", &json!({"text": text}))
}

pub(crate) fn embedding(answer: &Answer) -> Vec<f64> {
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()["embedding"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

pub(crate) fn cosine(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub(crate) fn health(daemon: &Daemon) -> Value {
    get(daemon, "/health").json()
}

/// Waits until the service says this of itself.
#[track_caller]
pub(crate) fn wait_for(daemon: &Daemon, what: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let health = health(daemon);
        if what(&health) {
            return health;
        }
        assert!(started.elapsed() < PATIENCE, "{health}\n{}", daemon.log());
        std::thread::yield_now();
    }
}

pub(crate) fn is_real(health: &Value) -> bool {
    health["status"] == "healthy" && health["runtime_mode"] == "real"
}

pub(crate) fn is_degraded(health: &Value) -> bool {
    health["status"] == "healthy" && health["runtime_mode"] == "degraded"
}

/// Threads of the daemon by name.
pub(crate) fn threads(daemon: &Daemon) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.process.id())).unwrap().flatten();
    let mut names: Vec<String> = tasks
        .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .collect();
    names.sort();
    names
}

/// A copy of the models whose manifest is changed.
pub(crate) fn changed_models(change: impl FnOnce(&mut Value, &Path)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let demo = folder.path().join("demo");
    fs::create_dir(&demo).unwrap();
    for file in fs::read_dir(Machine::models().join("demo")).unwrap().flatten() {
        fs::copy(file.path(), demo.join(file.file_name())).unwrap();
    }
    let manifest = demo.join("model.yaml");
    // JSON is YAML, and what the maker of HEFs writes.
    let mut value: Value = serde_json::from_str(&fs::read_to_string(&manifest).unwrap()).unwrap();
    change(&mut value, &demo);
    fs::write(manifest, value.to_string()).unwrap();
    folder
}
