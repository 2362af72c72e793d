//! `hailo-clip model` with the real daemon, and a server on loopback that has the bundled model.

use std::{
    fs::{self, File},
    io::Read,
    os::{fd::OwnedFd, unix::net::UnixListener},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use nix::pty::{Winsize, openpty};
use serde_json::{Value, json};

use crate::{
    common::{Daemon, models},
    polkit::{Polkit, Says},
    server::{Server, Way},
};

/// A machine with a catalogue of one model, `other`, which is the bundled one under another name.
struct Machine {
    folder: tempfile::TempDir,
    server: Server,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { folder: tempfile::tempdir().unwrap(), server: Server::start() };
        for file in ["image.onnx", "text.onnx", "tokenizer.json"] {
            machine.server.put(&format!("/{file}"), &demo(file), Way::Well);
        }
        let url = |path: &str| machine.server.url(path);
        let catalog = format!(
            "format: 1\nmodels:\n  other:\n    description: the demo\n    license: MIT\n    source: a test\n    precision: fp32\n    \
             embedding_dimension: 128\n    image: {{size: 224, fit: stretch, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}}\n    \
             text: {{context_length: 77, pad: 0, tokenizer: {{file: tokenizer.json, url: '{}'}}}}\n    logit_scale: 34.8929\n    \
             towers:\n      image: {{cpu: {{file: image.onnx, url: '{}'}}}}\n      text: {{cpu: {{file: text.onnx, url: '{}'}}}}\n",
            url("/tokenizer.json"),
            url("/image.onnx"),
            url("/text.onnx"),
        );
        fs::write(machine.folder.path().join("catalog.yaml"), catalog).unwrap();
        machine
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn daemon(&self) -> Daemon {
        self.daemon_on("")
    }

    fn daemon_on(&self, hardware_root: &str) -> Daemon {
        let catalog = self.folder.path().join("catalog.yaml");
        let mut extra = vec!["--catalog", catalog.to_str().unwrap(), "--resources", "/nowhere"];
        if !hardware_root.is_empty() {
            extra.extend(["--hardware-root", hardware_root]);
        }
        Daemon::with_state("", &models(), &self.state(), &extra)
    }
}

fn demo(file: &str) -> Vec<u8> {
    fs::read(models().join("demo").join(file)).unwrap()
}

pub fn command(daemon: &Daemon, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hailo-clip"));
    command.args(arguments).env("HAILO_CLIP_BUS", &daemon.bus.address).stdin(Stdio::null());
    command
}

pub fn run(daemon: &Daemon, arguments: &[&str]) -> Output {
    command(daemon, arguments).output().unwrap()
}

#[track_caller]
pub fn success(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
pub fn failure(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub fn state_of(daemon: &Daemon, model: &str) -> Option<Value> {
    let list = success(&run(daemon, &["model", "list", "--json"]));
    list.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).find(|line| line["name"] == model)
}

fn served(daemon: &Daemon) -> Value {
    let status = success(&run(daemon, &["status", "--json"]));
    serde_json::from_str::<Value>(&status).unwrap()["model"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_listed_fetched_used_kept_checked_and_removed() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let polkit = Polkit::start(&daemon.bus.address).await;
    let other = state_of(&daemon, "other").unwrap();
    assert_eq!((&other["where"], &other["state"]), (&json!("catalogue"), &json!("available")), "{other}");
    assert_eq!(state_of(&daemon, "demo").unwrap()["state"], "in service");

    let said = success(&run(&daemon, &["model", "pull", "other"]));
    assert!(
        said.starts_with("model other is installed\n") && said.matches("is recorded now").count() == 3,
        "{said}"
    );
    assert!(success(&run(&daemon, &["model", "pull", "other"])).contains("installed already"));
    let other = state_of(&daemon, "other").unwrap();
    assert_eq!((&other["where"], &other["state"]), (&json!("local"), &json!("installed")), "{other}");
    let shown = success(&run(&daemon, &["model", "show", "other"]));
    assert!(shown.contains("MIT") && shown.contains("a test") && shown.contains("image.onnx"), "{shown}");
    assert!(success(&run(&daemon, &["model", "verify", "other"])).contains("all 3 files"));

    let said = success(&run(&daemon, &["model", "use", "other"]));
    assert!(said.starts_with("other is in service, now and after a restart; the old one served"), "{said}");
    assert_eq!(served(&daemon), "other");
    let said = failure(&run(&daemon, &["model", "remove", "other"]), 4);
    assert!(said.contains("is in service"), "{said}");
    assert!(failure(&run(&daemon, &["model", "remove", "demo"]), 4).contains("belongs to the package"));
    drop((daemon, polkit));

    // The choice outlives the daemon, but not an edit of the configuration.
    let daemon = machine.daemon();
    let _polkit = Polkit::start(&daemon.bus.address).await;
    assert_eq!(served(&daemon), "other");
    daemon.reload("");
    assert_eq!(served(&daemon), "other");
    daemon.reload("clip: {backend: cpu, model: other}\n");
    daemon.reload("");
    assert_eq!(served(&daemon), "demo");
    assert!(daemon.log().contains("which ends the choice of model other"), "{}", daemon.log());

    let image = machine.state().join("models/other/image.onnx");
    let mut altered = fs::read(&image).unwrap();
    altered[1000] ^= 1;
    fs::write(&image, altered).unwrap();
    let said = failure(&run(&daemon, &["model", "verify", "other"]), 4);
    assert!(said.contains("image.onnx is altered"), "{said}");
    success(&run(&daemon, &["model", "remove", "other"]));
    assert!(!machine.state().join("models/other").exists());
    assert_eq!(state_of(&daemon, "other").unwrap()["state"], "available");
    assert!(failure(&run(&daemon, &["model", "pull", "nothing"]), 4).contains("no model nothing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_killed_leaves_nothing_half_and_the_next_pull_goes_on() {
    let machine = Machine::new();
    let half = demo("image.onnx").len() / 2;
    machine.server.put("/image.onnx", &demo("image.onnx"), Way::StallAfter(half));
    let mut daemon = machine.daemon();
    let _polkit = Polkit::start(&daemon.bus.address).await;
    let pull = command(&daemon, &["model", "pull", "other"]).stderr(Stdio::piped()).spawn().unwrap();
    machine.server.wait_for_stall(1);
    let part = machine.state().join("models/.pull/other/image.onnx.part");
    while fs::metadata(&part).map_or(0, |part| part.len()) < half as u64 {
        std::thread::yield_now();
    }
    daemon.process.kill().unwrap();
    daemon.process.wait().unwrap();
    let said = failure(&pull.wait_with_output().unwrap(), 4);
    assert!(said.contains("the service stopped"), "{said}");
    assert!(!machine.state().join("models/other").exists());

    let daemon = machine.daemon();
    let _polkit = Polkit::start(&daemon.bus.address).await;
    assert_eq!(state_of(&daemon, "other").unwrap()["state"], "available");
    machine.server.asked();
    machine.server.put("/image.onnx", &demo("image.onnx"), Way::Well);
    // The fetching process of the killed daemon may take a moment to notice.
    let said = loop {
        let output = run(&daemon, &["model", "pull", "other"]);
        if !String::from_utf8_lossy(&output.stderr).contains("being changed already") {
            break success(&output);
        }
    };
    assert!(said.contains("is installed"), "{said}");
    assert!(machine.server.ranges().iter().any(Option::is_some), "it went on where it was broken off");
    assert!(success(&run(&daemon, &["model", "verify", "other"])).contains("all 3 files"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pulls_of_one_model_are_one() {
    let machine = Machine::new();
    machine.server.put("/image.onnx", &demo("image.onnx"), Way::StallAfter(1000));
    let daemon = machine.daemon();
    let _polkit = Polkit::start(&daemon.bus.address).await;
    let pulls: Vec<_> = (0..3)
        .map(|_| command(&daemon, &["model", "pull", "other"]).stdout(Stdio::piped()).spawn().unwrap())
        .collect();
    machine.server.wait_for_stall(1);
    machine.server.go_on();
    for pull in pulls {
        assert!(success(&pull.wait_with_output().unwrap()).contains("is installed"));
    }
    let fetched =
        machine.server.asked().into_iter().filter(|asked| asked.0 == "GET" && asked.1 == "/image.onnx");
    assert_eq!(fetched.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bar_is_shown_on_a_terminal_and_ctrl_c_cancels() {
    let machine = Machine::new();
    machine.server.put("/image.onnx", &demo("image.onnx"), Way::StallAfter(1000));
    let daemon = machine.daemon();
    let _polkit = Polkit::start(&daemon.bus.address).await;
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(&size, None).unwrap();
    let mut pull = command(&daemon, &["model", "pull", "other"]);
    pull.env("TERM", "xterm").stdout(Stdio::null()).stderr(pty.slave);
    let mut child = pull.spawn().unwrap();
    drop(pull);
    machine.server.wait_for_stall(1);
    let mut terminal = Terminal::new(pty.master);
    terminal.wait_for("Fetching model other");
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
    terminal.wait_for("cancelled");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!machine.state().join("models/other").exists());
    assert_eq!(state_of(&daemon, "other").unwrap()["state"], "available");
}

/// A job can be watched and looked at by everybody, and cancelled by others who may manage models alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_an_object_on_the_bus() {
    let machine = Machine::new();
    machine.server.put("/image.onnx", &demo("image.onnx"), Way::StallAfter(1000));
    let daemon = machine.daemon();
    let polkit = Polkit::start(&daemon.bus.address).await;
    let pull = command(&daemon, &["model", "pull", "other"]).stderr(Stdio::piped()).spawn().unwrap();
    machine.server.wait_for_stall(1);
    let busctl = |arguments: &[&str]| {
        let address = format!("--address={}", daemon.bus.address);
        let output = Command::new("busctl").arg(address).args(arguments).output().unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let (name, object, job) = ("org.hailo.Clip1", "/org/hailo/Clip1/jobs/1", "org.hailo.Clip1.Job");
    let (_, printed) = busctl(&["introspect", "--xml-interface", name, object]);
    assert_eq!(
        interface(include_str!("../../dbus/org.hailo.Clip1.xml"), job),
        interface(&printed, job),
        "dbus/org.hailo.Clip1.xml must be taken from \"busctl introspect --xml-interface\""
    );
    let (_, managed) = busctl(&[
        "call",
        name,
        "/org/hailo/Clip1",
        "org.freedesktop.DBus.ObjectManager",
        "GetManagedObjects",
    ]);
    assert!(managed.contains(object) && managed.contains("Fetching model other"), "{managed}");
    let (_, state) = busctl(&["get-property", name, object, job, "State"]);
    assert_eq!(state.trim(), "s \"running\"");

    polkit.says("org.hailo.clip1.manage-models", Says::No);
    let (cancelled, said) = busctl(&["call", name, object, job, "Cancel"]);
    assert!(!cancelled && said.contains("manage-models"), "{said}");
    polkit.says("org.hailo.clip1.manage-models", Says::Yes);
    assert!(busctl(&["call", name, object, job, "Cancel"]).0);
    let said = failure(&pull.wait_with_output().unwrap(), 4);
    assert_eq!(said, "hailo-clip: cancelled; nothing was changed\n");
    let (_, state) = busctl(&["get-property", name, object, job, "State"]);
    assert_eq!(state.trim(), "s \"cancelled\"");
}

/// As under systemd: a socket, and a program for each connection to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_fetched_through_a_socket() {
    let machine = Machine::new();
    let socket = machine.folder.path().join("pull.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let (catalog, store) = (machine.folder.path().join("catalog.yaml"), machine.state().join("models"));
    let fetching = std::thread::spawn({
        let catalog = catalog.clone();
        move || {
            let (stream, _) = listener.accept().unwrap();
            let mut program = Command::new(env!("CARGO_BIN_EXE_hailo-clip-pull"));
            program
                .arg("--models")
                .arg(store)
                .arg("--catalog")
                .arg(catalog)
                .args(["--resources", "/nowhere"]);
            program.stdin(OwnedFd::from(stream.try_clone().unwrap())).stdout(OwnedFd::from(stream));
            let mut child = program.spawn().unwrap();
            drop(program);
            child.wait().unwrap().success()
        }
    });
    let extra = ["--catalog", path(&catalog), "--pull-socket", path(&socket)];
    let daemon = Daemon::with_state("", &models(), &machine.state(), &extra);
    let _polkit = Polkit::start(&daemon.bus.address).await;
    assert!(success(&run(&daemon, &["model", "pull", "other"])).contains("model other is installed"));
    assert!(fetching.join().unwrap());
    fs::remove_file(&socket).unwrap();
    success(&run(&daemon, &["model", "remove", "other"]));
    let said = failure(&run(&daemon, &["model", "pull", "other"]), 4);
    assert!(said.contains("the program that fetches models cannot be used"), "{said}");
}

/// The lines of an interface's element.
fn interface(xml: &str, name: &str) -> Vec<String> {
    let lines = xml.lines().map(|line| line.trim().to_owned());
    let lines = lines.skip_while(|line| *line != format!("<interface name=\"{name}\">"));
    let mut within = true;
    lines.take_while(|line| std::mem::replace(&mut within, line != "</interface>")).collect()
}

pub struct Terminal {
    file: File,
    shown: String,
}

impl Terminal {
    pub fn new(master: OwnedFd) -> Self {
        Self { file: master.into(), shown: String::new() }
    }

    pub fn wait_for(&mut self, text: &str) {
        let mut chunk = [0; 1024];
        while !self.shown.contains(text) {
            let length = self.file.read(&mut chunk).unwrap_or(0);
            assert!(length > 0, "no {text:?} in {:?}", self.shown);
            self.shown.push_str(&String::from_utf8_lossy(&chunk[..length]));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_told_so() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let polkit = Polkit::start(&daemon.bus.address).await;
    polkit.says("org.hailo.clip1.manage-models", Says::No);
    for arguments in [["model", "pull", "other"], ["model", "remove", "other"], ["model", "verify", "demo"]] {
        assert!(failure(&run(&daemon, &arguments), 3).contains("manage-models"));
    }
    polkit.says("org.hailo.clip1.manage", Says::No);
    assert!(failure(&run(&daemon, &["model", "use", "demo"]), 3).contains("may not manage"));
    success(&run(&daemon, &["model", "show", "other"]));
}

/// With memory for two models and without it, no request fails while they change places.
#[tokio::test(flavor = "multi_thread")]
async fn models_change_places_under_load_without_a_failed_request() {
    for (room, way) in [("1000000000000", "the old one served"), ("1000", "requests waited")] {
        let machine = Machine::new();
        let hardware = tempfile::tempdir().unwrap();
        let cgroup = hardware.path().join("sys/fs/cgroup/x");
        fs::create_dir_all(&cgroup).unwrap();
        fs::create_dir_all(hardware.path().join("proc/self")).unwrap();
        fs::write(hardware.path().join("proc/self/cgroup"), "0::/x\n").unwrap();
        fs::write(cgroup.join("memory.max"), room).unwrap();
        fs::write(cgroup.join("memory.current"), "0").unwrap();
        let daemon = Arc::new(machine.daemon_on(hardware.path().to_str().unwrap()));
        let _polkit = Polkit::start(&daemon.bus.address).await;
        success(&run(&daemon, &["model", "pull", "other"]));

        let enough = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..3)
            .map(|_| {
                let (daemon, enough) = (Arc::clone(&daemon), Arc::clone(&enough));
                std::thread::spawn(move || {
                    let mut answers = 0;
                    while !enough.load(Ordering::Relaxed) {
                        let picture = models().join("demo/samples/red-circle.png");
                        let output =
                            run(&daemon, &["classify", path(&picture), "a red circle", "a blue star"]);
                        assert!(success(&output).contains("a red circle"));
                        answers += 1;
                    }
                    answers
                })
            })
            .collect();
        for model in ["other", "demo", "other"] {
            let said = success(&run(&daemon, &["model", "use", model]));
            assert!(said.contains(way), "{said}");
            assert_eq!(served(&daemon), model);
        }
        enough.store(true, Ordering::Relaxed);
        let answers: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
        assert!(answers > 0);
    }
}

pub fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
