//! A machine with simulated devices, and a process for each scenario on it.

use std::{
    any::type_name,
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::{
        Mutex, Once,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use hailort::{Error, Format, Frame, Job, JobError, Library, Model, ModelOptions, VDevice, VDeviceParams};

/// Longer than anything takes, unless a test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A kind of device, with the HailoRT that drives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub architecture: &'static str,
    pub hailort: &'static str,
}

pub const HAILO_8: Kind = Kind { architecture: "hailo8", hailort: "4.23.0" };
pub const HAILO_8L: Kind = Kind { architecture: "hailo8l", hailort: "4.23.0" };
pub const HAILO_10H: Kind = Kind { architecture: "hailo10h", hailort: "5.2.0" };
pub const KINDS: [Kind; 3] = [HAILO_8, HAILO_8L, HAILO_10H];
/// One of each generation of HailoRT.
pub const GENERATIONS: [Kind; 2] = [HAILO_8, HAILO_10H];

const FOLDER: &str = "HAILORT_TEST_FOLDER";
const ARCHITECTURE: &str = "HAILORT_TEST_ARCHITECTURE";

/// The project's folder.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

/// Where simulator, shims and models are.
fn simulator() -> PathBuf {
    root().join("target/hailort-sim")
}

/// Builds them, where they are not up to date.
fn build() {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        for target in [["shim", "VERSION=4.23.0"], ["shim", "VERSION=5.2.0"], ["models", "VERSION=5.2.0"]] {
            let built = Command::new("make")
                .arg("-C")
                .arg(root().join("crates/hailort-sys/sim"))
                .args(target)
                .arg(format!("OUT={}", simulator().display()))
                .output()
                .expect("make runs; \"make packages-test\" installs all that tests need");
            assert!(
                built.status.success(),
                "the simulator does not build; \"make packages-test\" installs all that tests need\n{}",
                String::from_utf8_lossy(&built.stderr)
            );
        }
    });
}

/// Runs the test that calls this in a process of its own, once for each kind of device.
pub fn on<F: Fn(&Machine)>(kinds: &[Kind], scenario: F) {
    run(kinds, Some("NONE"), scenario);
}

/// The same, with what libhailort is to find as HAILORT_LOGGER_PATH.
pub fn run<F: Fn(&Machine)>(kinds: &[Kind], logger_path: Option<&str>, scenario: F) {
    if let Some(folder) = env::var_os(FOLDER) {
        let architecture = env::var(ARCHITECTURE).unwrap();
        let kind = KINDS.into_iter().find(|kind| kind.architecture == architecture).unwrap();
        let _watch = Watchdog::start();
        return scenario(&Machine::new(kind, folder.into()));
    }
    build();
    let test = test_name(type_name::<F>());
    for kind in kinds {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args([test, "--exact", "--nocapture"])
            .current_dir(&folder)
            .env(FOLDER, folder.path())
            .env(ARCHITECTURE, kind.architecture)
            .env("HAILO_SIM_CONTROL", folder.path().join("control"))
            .env("HAILO_SIM_STATS", folder.path().join("stats"))
            .env_remove("HAILORT_LOGGER_PATH")
            .envs(logger_path.map(|path| ("HAILORT_LOGGER_PATH", path)));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{}: {}\n{said}{}",
            kind.architecture,
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// The test's name from its closure's, `simulator::module::test::{{closure}}`.
fn test_name(closure: &'static str) -> &'static str {
    let (_binary, name) = closure.split_once("::").unwrap();
    name.split_once("::{{closure}}").expect("a test calls this with a closure of its own").0
}

/// Ends a process that hangs.
struct Watchdog(#[expect(dead_code, reason = "dropping it ends the watch")] mpsc::Sender<()>);

impl Watchdog {
    fn start() -> Self {
        let (sender, receiver) = mpsc::channel::<()>();
        thread::spawn(move || {
            if receiver.recv_timeout(10 * PATIENCE) == Err(RecvTimeoutError::Timeout) {
                eprintln!("the scenario does not end");
                process::abort();
            }
        });
        Self(sender)
    }
}

/// The machine of this process.
pub struct Machine {
    pub kind: Kind,
    pub folder: PathBuf,
    control: Mutex<BTreeMap<String, String>>,
}

/// Which of the bundled model's networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tower {
    Image,
    Text,
}

impl Machine {
    /// With one device, which is fast and answers by its input.
    fn new(kind: Kind, folder: PathBuf) -> Self {
        let defaults = [
            ("architecture", kind.architecture),
            ("mode", "timed"),
            ("image_us", "500 1000"),
            ("text_us", "500 1000"),
            ("shutdown_timeout_ms", "100"),
        ];
        let control = defaults.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let machine = Self { kind, folder, control: Mutex::new(control.into()) };
        machine.write();
        machine
    }

    /// Changes the devices from now on.
    pub fn set(&self, key: &str, value: &str) {
        self.control.lock().unwrap().insert(key.to_owned(), value.to_owned());
        self.write();
    }

    /// Back to the default.
    pub fn unset(&self, key: &str) {
        self.control.lock().unwrap().remove(key);
        self.write();
    }

    fn write(&self) {
        let control = self.control.lock().unwrap();
        let text: String = control.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
        let part = self.folder.join("control.part");
        fs::write(&part, text).unwrap();
        fs::rename(part, self.folder.join("control")).unwrap();
    }

    /// One of the simulator's counters.
    pub fn counter(&self, name: &str) -> i64 {
        let text = fs::read_to_string(self.folder.join("stats")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("there is no counter {name}")).parse().unwrap()
    }

    /// Waits until a counter is at least so high.
    pub fn wait_for(&self, counter: &str, value: i64) {
        while self.counter(counter) < value {
            thread::yield_now();
        }
    }

    pub fn shim(&self) -> PathBuf {
        let version = self.kind.hailort;
        simulator().join(version).join("shim").join(format!("libhailo_clip_shim-{version}.so"))
    }

    /// The bundled model's network, compiled for some kind of device.
    pub fn hef_for(tower: Tower, architecture: &str) -> PathBuf {
        let tower = if tower == Tower::Image { "image" } else { "text" };
        simulator().join(format!("models/demo/{tower}-{architecture}.hef"))
    }

    pub fn hef(&self, tower: Tower) -> PathBuf {
        Self::hef_for(tower, self.kind.architecture)
    }

    pub fn library(&self) -> Library {
        Library::open(&self.shim()).unwrap()
    }

    pub fn try_vdevice(&self) -> Result<VDevice, Error> {
        VDevice::open(&self.library(), &VDeviceParams::default())
    }

    pub fn vdevice(&self) -> VDevice {
        self.try_vdevice().unwrap()
    }

    pub fn try_model(&self, vdevice: &VDevice, tower: Tower) -> Result<Model, Error> {
        Model::open(vdevice, &self.hef(tower), &options(tower))
    }

    pub fn model(&self, vdevice: &VDevice, tower: Tower) -> Model {
        self.try_model(vdevice, tower).unwrap()
    }

    /// A vdevice and the image network on it.
    pub fn image(&self) -> (VDevice, Model) {
        let vdevice = self.vdevice();
        let model = self.model(&vdevice, Tower::Image);
        (vdevice, model)
    }
}

/// As the service sets them.
pub fn options(tower: Tower) -> ModelOptions {
    let input = if tower == Tower::Image { Format::UInt8 } else { Format::UInt16 };
    ModelOptions { batch_size: 8, input, output: Format::Float32 }
}

/// A frame whose answer is its own.
pub fn frame(model: &Model, tag: u32) -> Frame {
    let mut frame = model.frame();
    for word in frame.input::<u8>(0).chunks_mut(4) {
        word.copy_from_slice(&tag.to_le_bytes()[..word.len()]);
    }
    frame
}

pub fn submit(model: &Model, tags: &[u32]) -> Result<Job, JobError> {
    model.submit(tags.iter().map(|&tag| frame(model, tag)).collect(), PATIENCE)
}

/// The answers to some frames, submitted as one batch.
pub fn infer(model: &Model, tags: &[u32]) -> Result<Vec<Vec<f32>>, JobError> {
    Ok(outputs(&submit(model, tags)?.wait(PATIENCE)?))
}

pub fn outputs(frames: &[Frame]) -> Vec<Vec<f32>> {
    frames.iter().map(|frame| frame.output(0).to_vec()).collect()
}

/// What a network answers, learnt frame by frame.
pub struct Answers(BTreeMap<u32, Vec<f32>>);

impl Answers {
    pub fn learn(model: &Model, tags: impl Iterator<Item = u32>) -> Self {
        let answers: BTreeMap<_, _> =
            tags.map(|tag| (tag, infer(model, &[tag]).unwrap().remove(0))).collect();
        let mut different: Vec<_> = answers.values().collect();
        different.sort_by(|a, b| a.partial_cmp(b).expect("answers are finite"));
        different.dedup();
        assert_eq!(different.len(), answers.len(), "no two frames have the same answer");
        Self(answers)
    }

    #[track_caller]
    pub fn check(&self, tags: &[u32], answers: &[Vec<f32>]) {
        assert_eq!(tags.len(), answers.len());
        for (tag, answer) in tags.iter().zip(answers) {
            assert!(self.0[tag] == *answer, "frame {tag} has another one's answer");
        }
    }

    /// Whether the model infers, and rightly.
    #[track_caller]
    pub fn check_model(&self, model: &Model) {
        let tags: Vec<u32> = self.0.keys().copied().take(8).collect();
        self.check(&tags, &infer(model, &tags).unwrap());
    }
}
