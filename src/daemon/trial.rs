//! A trial of a model in a process of its own.
//!
//! An ONNX graph may ask for any amount of memory, recurse or loop, and no error handling survives
//! that: an allocation that fails aborts the process. So a model is opened first in a child that may
//! be lost, under limits; the daemon opens what the child has come through with.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    io::{self, Read},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::{Mutex, PoisonError},
};

use nix::sys::{
    prctl,
    resource::{Resource, setrlimit},
    signal::Signal,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tracing::debug;

use crate::{
    backend::{self, BackendError, CpuOptions},
    model::{self, Artefact, Bundle, Shapes, TowerKind},
};

/// Address space beyond the model's files: code, stacks, the allocator's reserves, a trial run.
const ADDRESS_SPACE: u64 = 4 << 30;
/// Address space for each byte of the files: read, converted, folded.
const ADDRESS_SPACE_PER_BYTE: u64 = 4;
/// Most models that are recorded, and bytes that a record of so many takes at the very most.
const MOST_RECORDS: usize = 64;
const MOST_BYTES: u64 = 64 * 1024;
/// Processor time in seconds; the largest CLIP on the slowest Raspberry Pi opens in a tenth of it.
const PROCESSOR_TIME: u64 = 120;

/// The models that have come through a trial.
///
/// They are recorded on disk, for a trial takes as long as loading the model. A record is taken out before the
/// model is loaded on its word, and put back once it is: should that bring the daemon down, the next one tries
/// the model again.
pub(super) struct Trials {
    file: PathBuf,
    passed: Mutex<BTreeSet<String>>,
}

/// What is on disk.
#[derive(Default, Serialize, Deserialize)]
struct Record {
    passed: BTreeSet<String>,
}

impl Trials {
    /// As they are recorded in the folder `state`.
    pub(super) fn new(state: &Path) -> Self {
        Self { file: state.join("tried-models.json"), passed: Mutex::default() }
    }

    /// Opens these encoders in a child process, unless the same ones were tried before.
    ///
    /// # Errors
    /// What the child says is wrong, or that it was lost.
    pub(super) fn require(&self, bundle: &Bundle, towers: &[TowerKind]) -> Result<(), BackendError> {
        if networks(bundle, towers).next().is_none() {
            return Ok(());
        }
        let digest = digest(bundle, towers);
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        if passed.contains(&digest) {
            return Ok(());
        }
        let mut recorded = self.read();
        // A record that cannot be taken out is no use: it would still be there if the daemon came down.
        if !recorded.remove(&digest) || self.write(recorded).is_err() {
            run(bundle, towers)?;
        }
        passed.insert(digest);
        Ok(())
    }

    /// Records what has passed: a model has been loaded.
    pub(super) fn record(&self) {
        let mut recorded = self.read();
        let before = recorded.len();
        recorded.extend(self.passed.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        if recorded.len() == before {
            return;
        }
        if recorded.len() > MOST_RECORDS {
            recorded.clone_from(&self.passed.lock().unwrap_or_else(PoisonError::into_inner));
        }
        // Without a record, the next start takes longer.
        if let Err(error) = self.write(recorded) {
            debug!(%error, "the trial of the model is not recorded");
        }
    }

    fn read(&self) -> BTreeSet<String> {
        let record = fs::File::open(&self.file).and_then(|file| {
            let mut json = Vec::new();
            file.take(MOST_BYTES).read_to_end(&mut json)?;
            Ok(serde_json::from_slice::<Record>(&json)?)
        });
        record.unwrap_or_default().passed
    }

    fn write(&self, passed: BTreeSet<String>) -> io::Result<()> {
        let new = self.file.with_extension("new");
        fs::create_dir_all(self.file.parent().unwrap_or(Path::new(".")))?;
        fs::write(&new, serde_json::to_vec(&Record { passed })?)?;
        fs::rename(&new, &self.file)
    }
}

/// A digest of all that a trial depends on: the networks, the sizes of their inputs, and this program.
fn digest(bundle: &Bundle, towers: &[TowerKind]) -> String {
    let mut hasher = Sha256::new_with_prefix(concat!("hailo-clip ", env!("CARGO_PKG_VERSION"), "\n"));
    hasher.update(format!(
        "{towers:?} {} {} {}\n",
        bundle.image.size, bundle.context_length, bundle.embedding_dimension
    ));
    networks(bundle, towers).for_each(|artefact| hasher.update(artefact.sha256));
    model::hex(&hasher.finalize().into())
}

fn networks<'a>(bundle: &'a Bundle, towers: &'a [TowerKind]) -> impl Iterator<Item = &'a Artefact> {
    towers
        .iter()
        .map(|kind| match kind {
            TowerKind::Image => &bundle.image_tower,
            TowerKind::Text => &bundle.text_tower,
        })
        .filter_map(|tower| tower.cpu.as_ref())
        .flat_map(|encoder| std::iter::once(&encoder.onnx).chain(&encoder.data))
}

fn run(bundle: &Bundle, towers: &[TowerKind]) -> Result<(), BackendError> {
    let not_tried = |error: io::Error| {
        BackendError::Unavailable(format!(
            "model {} cannot be tried in a process of its own: {error}",
            bundle.name
        ))
    };
    let folder = bundle.tokenizer.path.parent().unwrap_or(Path::new("."));
    let mut arguments = vec!["--try-model".into(), folder.into()];
    arguments.extend(towers.iter().flat_map(|tower| ["--try-tower".into(), tower.to_string().into()]));
    in_child(&bundle.name, arguments).map_err(not_tried)?.map(drop)
}

/// What the networks in `folder` say of their shapes, asked in a child process.
pub(super) fn inspect(name: &str, folder: &Path, size: Option<u32>) -> Result<Shapes, BackendError> {
    let mut arguments: Vec<OsString> = vec!["--inspect-model".into(), folder.into()];
    if let Some(size) = size {
        arguments.extend(["--inspect-size".into(), size.to_string().into()]);
    }
    let failed = |error: io::Error| {
        BackendError::Unavailable(format!("model {name} cannot be opened in a process of its own: {error}"))
    };
    let said = in_child(name, arguments).map_err(failed)??;
    serde_json::from_str(&said).map_err(|error| failed(error.into()))
}

/// What a child says that ends well; else what is wrong with the model.
fn in_child(name: &str, arguments: Vec<OsString>) -> io::Result<Result<String, BackendError>> {
    let output = Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdin(Stdio::null())
        // What a lost process says on its way down is of no use to anybody.
        .stderr(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return Ok(Ok(said.into_owned()));
    }
    Ok(Err(BackendError::Unavailable(match (output.status.signal(), said.trim()) {
        (Some(_), _) | (None, "") => format!(
            "model {name} brings the ONNX runtime down, by its hunger for memory or time; install it again, or \
             export it in another way"
        ),
        (None, said) => said.to_owned(),
    })))
}

/// The child's side of [`inspect`].
pub(super) fn inspect_main(folder: &Path, size: Option<u32>) -> ExitCode {
    let length = |name: &str| std::fs::metadata(folder.join(name)).map_or(0, |metadata| metadata.len());
    let inspected = confine(length("image.onnx") + length("text.onnx"))
        .and_then(|()| backend::inspect_on_cpu(folder, size));
    match inspected {
        Ok(shapes) => {
            println!("{}", serde_json::to_string(&shapes).unwrap_or_default());
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The child's side: opens encoders of the bundle in `folder` within limits, and says what is wrong.
pub(super) fn main(folder: &Path, towers: &[TowerKind]) -> ExitCode {
    match open(folder, towers) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn open(folder: &Path, towers: &[TowerKind]) -> Result<(), BackendError> {
    let unavailable = |error: &dyn std::fmt::Display| BackendError::Unavailable(error.to_string());
    let bundle = Bundle::open(folder).map_err(|error| unavailable(&error))?;
    confine(networks(&bundle, towers).map(|artefact| artefact.size).sum())?;
    backend::try_on_cpu(&bundle, towers, CpuOptions { threads: Some(1), prepack_weights: Some(false) })
}

/// Limits this process to what opening files of so many bytes may take.
fn confine(bytes: u64) -> Result<(), BackendError> {
    let unavailable = |error: &dyn std::fmt::Display| BackendError::Unavailable(error.to_string());
    let memory = bytes.saturating_mul(ADDRESS_SPACE_PER_BYTE).saturating_add(ADDRESS_SPACE);
    // Not to outlive the daemon, and not to leave a core dump behind.
    prctl::set_pdeathsig(Signal::SIGKILL)
        .and_then(|()| setrlimit(Resource::RLIMIT_CORE, 0, 0))
        .and_then(|()| setrlimit(Resource::RLIMIT_AS, memory, memory))
        .and_then(|()| setrlimit(Resource::RLIMIT_CPU, PROCESSOR_TIME, PROCESSOR_TIME))
        .map_err(|error| unavailable(&error))
}
