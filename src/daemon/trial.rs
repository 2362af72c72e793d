//! A trial of a model in a process of its own.
//!
//! An ONNX graph may ask for any amount of memory, recurse or loop, and no error handling survives
//! that: an allocation that fails aborts the process. So a model is opened first in a child that may
//! be lost, under limits; the daemon opens what the child has come through with.

use std::{
    collections::HashSet,
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
    model::{Artefact, Bundle, TowerKind},
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
    let output = Command::new(std::env::current_exe().map_err(not_tried)?)
        .arg("--try-model")
        .arg(folder)
        .args(towers.iter().flat_map(|tower| ["--try-tower".to_owned(), tower.to_string()]))
        .stdin(Stdio::null())
        // What a lost process says on its way down is of no use to anybody.
        .stderr(Stdio::null())
        .output()
        .map_err(not_tried)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    Err(BackendError::Unavailable(match (output.status.signal(), said.trim()) {
        (Some(_), _) | (None, "") => format!(
            "model {} brings the ONNX runtime down, by its hunger for memory or time; install it again, or \
             export it in another way",
            bundle.name
        ),
        (None, said) => said.to_owned(),
    }))
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
    let bytes: u64 = networks(&bundle, towers).map(|artefact| artefact.size).sum();
    let memory = bytes.saturating_mul(ADDRESS_SPACE_PER_BYTE).saturating_add(ADDRESS_SPACE);
    // Not to outlive the daemon, and not to leave a core dump behind.
    prctl::set_pdeathsig(Signal::SIGKILL)
        .and_then(|()| setrlimit(Resource::RLIMIT_CORE, 0, 0))
        .and_then(|()| setrlimit(Resource::RLIMIT_AS, memory, memory))
        .and_then(|()| setrlimit(Resource::RLIMIT_CPU, PROCESSOR_TIME, PROCESSOR_TIME))
        .map_err(|error| unavailable(&error))?;
    backend::try_on_cpu(&bundle, towers, CpuOptions { threads: Some(1), prepack_weights: false })
}
