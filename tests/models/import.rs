//! Models of one's own.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
};

use hailo_clip::model::{Bundle, Tower};
use nix::pty::openpty;

use crate::{
    command::{Terminal, command, failure, path, run, state_of, success},
    common::{Daemon, models},
    polkit::Polkit,
};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx")
}

fn daemon(state: &Path) -> Daemon {
    Daemon::with_state("", &models(), state, &["--catalog", "/nowhere"])
}

/// The bundled model as Immich has its models, under the name `Mine__demo`.
fn immich_folder(within: &Path, preprocess: &str) -> PathBuf {
    let folder = within.join("Mine__demo");
    for (from, to) in [
        ("image.onnx", "visual/model.onnx"),
        ("text.onnx", "textual/model.onnx"),
        ("tokenizer.json", "textual/tokenizer.json"),
    ] {
        fs::create_dir_all(folder.join(to).parent().unwrap()).unwrap();
        fs::copy(models().join("demo").join(from), folder.join(to)).unwrap();
    }
    fs::write(folder.join("visual/preprocess_cfg.json"), preprocess).unwrap();
    fs::write(
        folder.join("config.json"),
        r#"{"embed_dim": 128, "vision_cfg": {"image_size": 224}, "text_cfg": {"context_length": 77}}"#,
    )
    .unwrap();
    folder
}

const PREPROCESS: &str = r#"{"size": [224, 224], "mode": "RGB", "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25],
    "interpolation": "bicubic", "resize_mode": "squash", "fill_color": 0}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_as_immich_has_it_becomes_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = daemon(&folder.path().join("state"));
    let _polkit = Polkit::start(&daemon.bus.address).await;
    let immich = immich_folder(folder.path(), PREPROCESS);
    let said = success(&run(&daemon, &["model", "import", path(&immich), "--logit-scale", "34.8929"]));
    assert_eq!(said, "model mine__demo is installed\n");
    let made = fs::read_to_string(folder.path().join("state/models/mine__demo/model.yaml")).unwrap();
    assert!(made.contains("fit: stretch") && made.contains("embedding_dimension: 128"), "{made}");
    success(&run(&daemon, &["model", "verify", "mine__demo"]));
    success(&run(&daemon, &["model", "use", "mine__demo"]));
    let picture = models().join("demo/samples/red-circle.png");
    let said = success(&run(&daemon, &["classify", path(&picture), "a blue star", "a red circle"]));
    assert!(said.lines().next().unwrap().ends_with("a red circle"), "{said}");

    let said = failure(&run(&daemon, &["model", "import", path(&immich)]), 4);
    assert!(said.contains("is installed already"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_says_everything_itself() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let daemon = daemon(&state);
    let _polkit = Polkit::start(&daemon.bus.address).await;
    success(&run(&daemon, &["model", "import", "--name", "again", path(&models().join("demo"))]));
    let read = |dir: &Path| Bundle::open(dir).unwrap();
    let (demo, again) = (read(&models().join("demo")), read(&state.join("models/again")));
    assert_eq!(
        Bundle {
            tokenizer: demo.tokenizer.clone(),
            image_tower: Tower::default(),
            text_tower: Tower::default(),
            ..again
        },
        Bundle {
            name: "again".to_owned(),
            image_tower: Tower::default(),
            text_tower: Tower::default(),
            ..demo
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_files_do_not_say_is_named_or_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let daemon = daemon(&state);
    let _polkit = Polkit::start(&daemon.bus.address).await;
    let immich = immich_folder(folder.path(), r#"{"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}"#);
    let said = failure(&run(&daemon, &["model", "import", path(&immich)]), 4);
    assert!(said.contains("give it with the option --fit") && said.lines().count() == 1, "{said}");
    assert!(state_of(&daemon, "mine__demo").is_none());
    assert!(!state.join("models/.import/mine__demo").exists(), "nothing half stays");
    let said = failure(&run(&daemon, &["model", "import", path(&immich), "--fit", "stretched"]), 4);
    assert!(said.contains("stretch, crop or pad"), "{said}");

    let pty = openpty(None, None).unwrap();
    let mut import = command(&daemon, &["model", "import", path(&immich)]);
    import.stdin(Stdio::from(pty.slave.try_clone().unwrap())).stdout(Stdio::null()).stderr(pty.slave);
    let mut child = import.spawn().unwrap();
    drop(import);
    let mut keyboard = File::from(pty.master.try_clone().unwrap());
    let mut terminal = Terminal::new(pty.master);
    terminal.wait_for("(--fit): ");
    keyboard.write_all(b"stretch\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(state_of(&daemon, "mine__demo").unwrap()["state"], "installed");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_model_are_told_and_nothing_stays() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let daemon = daemon(&state);
    let _polkit = Polkit::start(&daemon.bus.address).await;
    let import = |image: &Path, more: &[&str]| {
        let (text, tokenizer) = (fixtures().join("text.onnx"), fixtures().join("tokenizer.json"));
        let mut arguments = vec!["model", "import", "--name", "mine", "--image", path(image)];
        arguments.extend(["--text", path(&text), "--tokenizer", path(&tokenizer), "--fit", "crop"]);
        arguments.extend([
            "--mean",
            "0.5,0.5,0.5",
            "--std",
            "0.5,0.5,0.5",
            "--size",
            "16",
            "--context-length",
            "12",
        ]);
        arguments.extend(["--dimension", "8"]);
        arguments.extend(more);
        run(&daemon, &arguments)
    };
    for (image, reason) in [
        ("greedy-constant.onnx", "brings the ONNX runtime down"),
        ("greedy-run.onnx", "brings the ONNX runtime down"),
        ("unknown-operator.onnx", "operator"),
        ("tokenizer.json", "damaged"),
        ("image-mapped.onnx", ""),
    ] {
        let output = import(&fixtures().join(image), &[]);
        if reason.is_empty() {
            let said = success(&output);
            assert!(
                said.contains("is installed") && said.contains("100 was taken"),
                "weights are taken along: {said}"
            );
            success(&run(&daemon, &["model", "verify", "mine"]));
            continue;
        }
        let said = failure(&output, 4);
        assert!(said.contains(reason), "{image}: {said}");
        assert!(!state.join("models/mine").exists() && !state.join("models/.import/mine").exists());
    }
    assert_eq!(state_of(&daemon, "mine").unwrap()["precision"], "fp32");
    success(&run(&daemon, &["model", "remove", "mine"]));
    let said = success(&import(&fixtures().join("image-int8.onnx"), &[]));
    assert!(said.contains("its networks are int8"), "{said}");
    assert_eq!(state_of(&daemon, "mine").unwrap()["precision"], "int8");
    success(&run(&daemon, &["model", "verify", "mine"]));
    assert!(
        failure(&run(&daemon, &["model", "import", "--name", "x", "--image", "/nowhere"]), 1)
            .contains("/nowhere")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hefs_are_added_to_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = daemon(&folder.path().join("state"));
    let _polkit = Polkit::start(&daemon.bus.address).await;
    let file = |name: &str| {
        fs::write(folder.path().join(name), name).unwrap();
        folder.path().join(name)
    };
    let (image, text) =
        (format!("hailo8l={}", path(&file("i.hef"))), format!("hailo8l={}", path(&file("t.hef"))));
    let (table, projection) = (file("table.npy"), file("projection.npy"));
    let said = failure(&run(&daemon, &["model", "import", "--name", "demo", "--text-hef", &text]), 4);
    assert!(said.contains("--token-embedding"), "{said}");
    let arguments = ["model", "import", "--name", "demo", "--image-hef", &image, "--text-hef", &text];
    let tables = ["--token-embedding", path(&table), "--text-projection", path(&projection)];
    success(&run(&daemon, &[&arguments[..], &tables[..]].concat()));
    let demo = state_of(&daemon, "demo").unwrap();
    assert_eq!(demo["platforms"], serde_json::json!(["cpu", "hailo8l"]), "{demo}");
    assert_eq!(demo["where"], "local");
    assert!(success(&run(&daemon, &["model", "verify", "demo"])).contains("all 7 files"));
    let said = failure(&run(&daemon, &["model", "import", "--name", "nobody", "--image-hef", &image]), 4);
    assert!(said.contains("not installed"), "{said}");
}
