//! What the tests of other services' interfaces need: a model with other names, and their own clients.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::common::{Daemon, models, skip::skipped};

/// A name by which the bundled model answers in these tests.
pub const ALIAS: &str = "ViT-B-32__openai";

/// The daemon on the CPU, with the bundled model under its own name and [`ALIAS`].
pub struct Aliased {
    pub daemon: Daemon,
    _models: TempDir,
}

impl Aliased {
    pub fn start() -> Self {
        Self::with_config("")
    }

    pub fn with_config(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (models().join("demo"), folder.path().join("demo"));
        fs::create_dir(&to).unwrap();
        for file in ["image.onnx", "text.onnx", "tokenizer.json"] {
            fs::copy(from.join(file), to.join(file)).unwrap();
        }
        let yaml = fs::read_to_string(from.join("model.yaml")).unwrap();
        let named = yaml.replace("aliases: []", &format!("aliases: [{ALIAS}]"));
        assert_ne!(named, yaml);
        fs::write(to.join("model.yaml"), named).unwrap();
        Self { daemon: Daemon::with_models(more, folder.path()), _models: folder }
    }
}

/// A client's program in `tests/clients`.
pub fn client(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// Python with the clients from PyPI, which `make test` installs; without it, `None` and a word about `what` is
/// left out.
pub fn python(what: &str, target: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("HAILO_CLIP_CLIENTS");
    if folder.is_none() {
        skipped(what, target);
    }
    Some(Path::new(&folder?).join("bin/python"))
}

/// Runs a client to its end, which must be a good one.
#[track_caller]
pub fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {out}{errors}");
    out.into_owned()
}

/// Run on its own, without what `make` sets, a test that needs it says so although it passes.
#[test]
fn a_client_that_is_left_out_is_named() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "openai::openais_own_client_is_served"])
        .env_remove("HAILO_CLIP_CLIENTS")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        said,
        "SKIPPED in openai::openais_own_client_is_served: OpenAI's client; \"make test-clients\" does it\n"
    );
}
