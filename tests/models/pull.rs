//! The pull itself, in this process.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use hailo_clip::model::{
    Bundle, Catalog, ChangeError, Patience, Platform, PullOptions, RESERVE, Staging, Store, Watch, pull,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::server::{Server, Way};

const CPU: [Platform; 1] = [Platform::Cpu];

pub fn hex(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Content that does not repeat itself.
fn content(seed: u8, bytes: usize) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(bytes)
    .collect()
}

struct Machine {
    folder: TempDir,
    server: Server,
    image: Vec<u8>,
}

impl Machine {
    fn new() -> Self {
        let machine = Self {
            folder: tempfile::tempdir().unwrap(),
            server: Server::start(),
            image: content(1, 300_000),
        };
        machine.server.put("/image.onnx", &machine.image, Way::Well);
        machine.server.put("/text.onnx", &content(2, 1000), Way::Well);
        machine.server.put("/tokenizer.json", &content(3, 10), Way::Well);
        machine
    }

    fn image(&self, way: Way) {
        self.server.put("/image.onnx", &self.image, way);
    }

    fn store(&self) -> Store {
        Store::new(self.folder.path().join("models"))
    }

    fn staged(&self, file: &str) -> PathBuf {
        self.folder.path().join("models/.pull/m").join(file)
    }

    /// `more` belongs to the entry of the image encoder.
    fn pull(&self, more: &str, watch: &Watch) -> Result<Vec<String>, ChangeError> {
        self.pull_into(&self.store(), more, watch)
    }

    fn pull_into(&self, store: &Store, more: &str, watch: &Watch) -> Result<Vec<String>, ChangeError> {
        let file = self.folder.path().join("catalog.yaml");
        let url = |path: &str| self.server.url(path);
        fs::write(
            &file,
            format!(
                "format: 1\nmodels:\n  m:\n    description: d\n    license: MIT\n    source: s\n    precision: fp32\n    \
                 embedding_dimension: 8\n    image: {{size: 16, fit: crop, mean: [0, 0, 0], std: [1, 1, 1]}}\n    \
                 text: {{context_length: 12, pad: 0, tokenizer: {{file: tokenizer.json, url: '{}'}}}}\n    \
                 logit_scale: 100\n    towers:\n      image: {{cpu: {{file: image.onnx, url: '{}'{more}}}}}\n      \
                 text: {{cpu: {{file: text.onnx, url: '{}'}}}}\n",
                url("/tokenizer.json"),
                url("/image.onnx"),
                url("/text.onnx"),
            ),
        )
        .unwrap();
        let catalog = Catalog::load(&[file]).unwrap();
        let options = PullOptions {
            resources: vec![self.folder.path().join("resources")],
            patience: Patience { idle: Duration::from_millis(300), retries: 2, pause: Duration::ZERO },
        };
        pull(catalog.get("m").unwrap(), &CPU, store, &options, watch)
    }

    /// Puts the staged bundle in place and checks it.
    fn install(&self) -> Bundle {
        let store = self.store();
        store.install(store.stage("m", Staging::Pull).unwrap(), "m").unwrap();
        let bundle = Bundle::find("m", &[store.dir().to_owned()]).unwrap();
        bundle.verify_all(&Watch::default()).unwrap();
        bundle
    }
}

#[test]
fn a_model_comes_whole_and_what_was_not_known_is_told() {
    let machine = Machine::new();
    let told = Arc::new(Mutex::new(Vec::new()));
    let watch = Watch::new({
        let told = Arc::clone(&told);
        move |done, total| told.lock().unwrap().push((done, total))
    });
    let notes = machine.pull(&format!(", sha256: {}", hex(&machine.image)), &watch).unwrap();
    assert!(notes.iter().any(|note| note.contains(&hex(&content(2, 1000)))), "{notes:?}");
    assert!(!notes.iter().any(|note| note.contains("image.onnx")), "its digest was known: {notes:?}");
    assert_eq!(told.lock().unwrap().last(), Some(&(301_010, 301_010)));
    let bundle = machine.install();
    assert_eq!(bundle.artefacts().len(), 3);
    assert_eq!(bundle.source.as_deref(), Some("s"));
    let left: Vec<_> = fs::read_dir(machine.folder.path().join("models/m")).unwrap().flatten().collect();
    assert_eq!(left.len(), 4, "{left:?}");
}

#[test]
fn a_server_that_cuts_is_asked_for_the_rest() {
    let machine = Machine::new();
    machine.image(Way::CutEvery(100_000));
    machine.pull(&format!(", sha256: {}", hex(&machine.image)), &Watch::default()).unwrap();
    let ranges: Vec<_> = machine.server.ranges().into_iter().flatten().collect();
    assert!(!ranges.is_empty() && ranges.iter().all(|range| range != "bytes=0-"), "{ranges:?}");
    machine.install();
}

#[test]
fn a_server_without_ranges_is_asked_for_all_of_it() {
    let machine = Machine::new();
    machine.image(Way::StallAfter(1000));
    machine.pull("", &Watch::default()).unwrap_err();
    assert_eq!(fs::metadata(machine.staged("image.onnx.part")).unwrap().len(), 1000);
    machine.image(Way::WithoutRanges);
    machine.pull("", &Watch::default()).unwrap();
    machine.install();
}

#[test]
fn a_server_that_stalls_is_given_up_and_taken_up_again_later() {
    let machine = Machine::new();
    machine.image(Way::StallAfter(200_000));
    let error = machine.pull("", &Watch::default()).unwrap_err();
    assert!(matches!(error, ChangeError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1"), "{error}");
    machine.image(Way::Well);
    machine.server.asked();
    machine.pull("", &Watch::default()).unwrap();
    assert!(machine.server.ranges().contains(&Some("bytes=200000-".to_owned())));
    machine.install();
}

#[test]
fn another_version_is_not_mixed_with_what_has_come() {
    let machine = Machine::new();
    machine.image(Way::StallAfter(200_000));
    machine.pull("", &Watch::default()).unwrap_err();
    let other = content(9, 250_000);
    machine.server.put("/image.onnx", &other, Way::Well);
    machine.pull("", &Watch::default()).unwrap();
    assert!(fs::read(machine.staged("image.onnx")).unwrap() == other);
}

#[test]
fn lies_about_the_length_are_seen() {
    let machine = Machine::new();
    machine.image(Way::Longer(10));
    let error = machine.pull("", &Watch::default()).unwrap_err();
    assert!(matches!(error, ChangeError::Unreachable { .. }), "{error}");

    machine.image(Way::Well);
    let error = machine.pull(", size: 299999", &Watch::default()).unwrap_err();
    assert!(error.to_string().contains("300000 bytes instead of 299999"), "{error}");
}

#[test]
fn the_wrong_content_is_not_kept() {
    let machine = Machine::new();
    let error = machine.pull(&format!(", sha256: {}", hex(b"else")), &Watch::default()).unwrap_err();
    assert!(matches!(error, ChangeError::WrongDigest { .. }), "{error}");
    assert!(!machine.staged("image.onnx").exists() && !machine.staged("image.onnx.part").exists());
    assert!(!machine.store().has("m"));
}

#[test]
fn what_came_first_must_come_again() {
    let machine = Machine::new();
    machine.pull("", &Watch::default()).unwrap();
    machine.install();
    machine.store().remove("m").unwrap();
    machine.server.put("/image.onnx", &content(7, 300_000), Way::Well);
    let error = machine.pull("", &Watch::default()).unwrap_err();
    assert!(matches!(error, ChangeError::WrongDigest { .. }), "{error}");
}

#[test]
fn redirections_are_followed_but_not_in_circles() {
    let machine = Machine::new();
    machine.image(Way::Redirect);
    machine.pull("", &Watch::default()).unwrap();
    machine.install();
    let machine = Machine::new();
    machine.image(Way::Circle);
    let error = machine.pull("", &Watch::default()).unwrap_err();
    assert!(error.to_string().contains("circles"), "{error}");
}

#[test]
fn a_refusal_is_told_with_its_status() {
    let machine = Machine::new();
    machine.image(Way::Status(404));
    let error = machine.pull("", &Watch::default()).unwrap_err();
    assert!(error.to_string().contains("404"), "{error}");
    machine.image(Way::Status(503));
    let error = machine.pull("", &Watch::default()).unwrap_err();
    assert!(matches!(error, ChangeError::Unreachable { .. }), "{error}");
    assert_eq!(
        machine.server.asked().iter().filter(|asked| asked.0 == "GET" && asked.1 == "/image.onnx").count(),
        4
    );
}

#[test]
fn a_full_disk_is_seen_before_anything_is_fetched() {
    fn nearly_full(_: &Path) -> io::Result<u64> {
        Ok(RESERVE + 300_000)
    }
    let machine = Machine::new();
    let store = machine.store().with_free_space(nearly_full);
    let error = machine.pull_into(&store, "", &Watch::default()).unwrap_err();
    assert!(matches!(error, ChangeError::NoSpace { needed: 301_010, .. }), "{error}");
    assert!(machine.server.asked().iter().all(|asked| asked.0 == "HEAD"));
}

#[test]
fn files_of_other_programs_are_used() {
    let machine = Machine::new();
    let resource = machine.folder.path().join("resources/models/cpu/image.onnx");
    fs::create_dir_all(resource.parent().unwrap()).unwrap();
    fs::write(&resource, &machine.image).unwrap();
    let notes = machine.pull(&format!(", sha256: {}", hex(&machine.image)), &Watch::default()).unwrap();
    assert!(notes.contains(&"image.onnx was on this machine already".to_owned()), "{notes:?}");
    assert!(!machine.server.asked().iter().any(|asked| asked.0 == "GET" && asked.1 == "/image.onnx"));
    machine.install();

    // One that is not what it should be is not.
    let machine = Machine::new();
    let resource = machine.folder.path().join("resources/models/cpu/image.onnx");
    fs::create_dir_all(resource.parent().unwrap()).unwrap();
    fs::write(&resource, content(8, 300_000)).unwrap();
    machine.pull(&format!(", sha256: {}", hex(&machine.image)), &Watch::default()).unwrap();
    machine.install();
}

#[test]
fn a_pull_ends_when_it_is_cancelled() {
    let machine = Machine::new();
    let watch = Watch::default();
    watch.cancel();
    assert_eq!(machine.pull("", &watch).unwrap_err(), ChangeError::Cancelled);
}

#[test]
fn two_do_not_work_in_one_folder() {
    let machine = Machine::new();
    let store = machine.store();
    let held = store.stage("m", Staging::Pull).unwrap();
    assert_eq!(machine.pull("", &Watch::default()).unwrap_err(), ChangeError::Busy("m".to_owned()));
    drop(held);
    machine.pull("", &Watch::default()).unwrap();
}

#[test]
fn what_was_broken_off_is_cleared_away_and_a_pull_kept() {
    let machine = Machine::new();
    let store = machine.store();
    let import = store.stage("half", Staging::Import).unwrap();
    fs::write(import.dir.join("image.onnx"), "half").unwrap();
    drop(import);
    machine.image(Way::StallAfter(1000));
    machine.pull("", &Watch::default()).unwrap_err();
    store.tidy();
    assert!(!store.dir().join(".import").exists());
    assert!(machine.staged("image.onnx.part").exists());
}

/// The program itself, as the environment of its unit may have it: it asks the proxy, and names what is wrong.
#[test]
fn a_proxy_of_the_environment_is_asked() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = proxy.local_addr().unwrap();
    let asked = std::thread::spawn(move || {
        let mut lines = Vec::new();
        // The sizes are asked for first; then one file.
        for stream in proxy.incoming().flatten() {
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            (&stream).write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").unwrap();
            lines.push(line);
            if lines.len() == 2 {
                break;
            }
        }
        lines
    });
    let folder = tempfile::tempdir().unwrap();
    let catalog = folder.path().join("catalog.yaml");
    let file = |name: &str| format!("{{file: {name}, url: 'https://models.invalid/{name}'}}");
    fs::write(
        &catalog,
        format!(
            "format: 1\nmodels:\n  m:\n    description: d\n    license: MIT\n    source: s\n    precision: fp32\n    \
             embedding_dimension: 8\n    image: {{size: 16, fit: crop, mean: [0, 0, 0], std: [1, 1, 1]}}\n    \
             text: {{context_length: 12, pad: 0, tokenizer: {}}}\n    logit_scale: 100\n    towers: {{image: {{cpu: {}}}, text: {{cpu: {}}}}}\n",
            file("tokenizer.json"),
            file("image.onnx"),
            file("text.onnx"),
        ),
    )
    .unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_hailo-clip-pull"))
        .arg("--models")
        .arg(folder.path().join("models"))
        .arg("--catalog")
        .arg(&catalog)
        .env("HTTPS_PROXY", format!("http://{address}"))
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = program.stdin.take().unwrap();
    input.write_all(b"{\"name\": \"m\", \"platforms\": [\"cpu\"]}\n").unwrap();
    let lines = asked.join().unwrap();
    assert!(lines.iter().all(|line| line.starts_with("CONNECT models.invalid:443")), "{lines:?}");
    // Nobody is interested any more: it ends by itself.
    drop(input);
    program.wait().unwrap();
}
