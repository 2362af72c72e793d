//! What the documentation says of HTTP: its commands run, and its table is complete.

use std::{fs, path::Path, process::Command};

use crate::{
    common::models,
    http::get,
    interop::{Aliased, succeed},
};

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

/// The lines of all blocks of shell commands.
fn commands(text: &str) -> String {
    let mut inside = false;
    let mut commands = String::new();
    for line in text.lines() {
        match line.trim() {
            "```sh" => inside = true,
            "```" => inside = false,
            command if inside => commands += &format!("{command}\n"),
            _ => {}
        }
    }
    commands
}

#[test]
fn the_commands_of_the_documentation_run() {
    let service = Aliased::start();
    for name in ["http.md", "immich.md", "metrics.md"] {
        let commands = commands(&document(name));
        assert!(commands.contains("curl -s http://localhost:5000/"), "{name}: {commands}");
        let commands = commands
            // An error's answer is to fail.
            .replace("curl -s ", "curl --fail-with-body -s ")
            .replace("localhost:5000", &service.daemon.http)
            .replace("picture.jpg", "house-red-roof.jpg");
        succeed(
            Command::new("bash")
                .args(["-euo", "pipefail", "-c", &commands])
                .current_dir(models().join("demo/samples")),
        );
    }
}

#[test]
fn every_endpoint_is_documented() {
    let service = Aliased::start();
    let index = get(&service.daemon, "/").json();
    let text = document("http.md");
    for endpoint in index["endpoints"].as_array().unwrap() {
        let [method, path] = ["method", "path"].map(|key| endpoint[key].as_str().unwrap());
        assert!(text.contains(&format!("| `{method} {path}` |")), "{method} {path}");
    }
}
