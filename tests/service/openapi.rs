//! The service's description of itself, held against the service.

use std::{collections::BTreeSet, path::Path, process::Command};

use crate::{
    common::models,
    http::get,
    interop::{Aliased, client, python, succeed},
};

#[test]
fn every_endpoint_is_described() {
    let service = Aliased::start();
    let document = get(&service.daemon, "/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let methods = |path: &serde_json::Value| -> Vec<String> {
        path.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect()
    };
    let described: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| methods(item).into_iter().map(move |method| (method, path.clone())))
        .collect();
    let index = get(&service.daemon, "/").json();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let mut listed: BTreeSet<(String, String)> = index["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|endpoint| (text(&endpoint["method"]), text(&endpoint["path"])))
        .collect();
    listed.insert(("GET".to_owned(), "/".to_owned()));
    assert_eq!(described, listed);
    let dimensions = &document["components"]["schemas"]["EmbeddingsBody"]["properties"]["dimensions"];
    assert_eq!((&dimensions["minimum"], &dimensions["maximum"]), (&128.into(), &128.into()));
}

/// Thousands of requests, good and bad, made from the description.
#[test]
fn schemathesis_finds_nothing() {
    let Some(python) = python("schemathesis", "test-openapi") else { return };
    let service = Aliased::start();
    let config = client("schemathesis.toml");
    succeed(
        Command::new(python.with_file_name("schemathesis"))
            .arg("--config-file")
            .arg(&config)
            .arg("run")
            .arg(format!("http://{}/openapi.json", service.daemon.http))
            // It keeps what it found where it runs.
            .current_dir(service.daemon.directory.path())
            .env("PYTHONPATH", Path::new(&config).parent().unwrap())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("HAILO_CLIP_SAMPLES", models().join("demo/samples")),
    );
    assert_eq!(get(&service.daemon, "/health/ready").status, 200);
}
