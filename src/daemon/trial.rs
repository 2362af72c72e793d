//! A trial of a model in a process of its own.
//!
//! An ONNX graph may ask for any amount of memory, recurse or loop, and no error handling survives
//! that: an allocation that fails aborts the process. So a model is opened first in a child that may
//! be lost, under limits; the daemon opens what the child has come through with.

use std::{
    collections::HashSet,
    ffi::OsString,
    io,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, ExitCode, Stdio},
    sync::{Mutex, PoisonError},
};

use nix::sys::{
    prctl,
    resource::{Resource, setrlimit},
    signal::Signal,
};

use crate::{
    backend::{self, BackendError, CpuOptions},
    model::{Artefact, Bundle, Shapes, TowerKind},
};

/// Address space beyond the model's files: code, stacks, the allocator's reserves, a trial run.
const ADDRESS_SPACE: u64 = 4 << 30;
/// Address space for each byte of the files: read, converted, folded.
const ADDRESS_SPACE_PER_BYTE: u64 = 4;
/// Processor time in seconds; the largest CLIP on the slowest Raspberry Pi opens in a tenth of it.
const PROCESSOR_TIME: u64 = 120;

/// The networks that have come through a trial in this process, by their digests.
#[derive(Default)]
pub(super) struct Trials(Mutex<HashSet<Vec<[u8; 32]>>>);

impl Trials {
    /// Opens these encoders in a child process, unless the same ones were tried before.
    ///
    /// # Errors
    /// What the child says is wrong, or that it was lost.
    pub(super) fn require(&self, bundle: &Bundle, towers: &[TowerKind]) -> Result<(), BackendError> {
        let digests: Vec<_> = networks(bundle, towers).map(|artefact| artefact.sha256).collect();
        let mut passed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !digests.is_empty() && !passed.contains(&digests) {
            run(bundle, towers)?;
            passed.insert(digests);
        }
        Ok(())
    }
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
