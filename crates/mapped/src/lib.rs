//! Model files that stay in the page cache: ONNX networks and plain files.
//!
//! Mapping a file is unsafe in Rust, because whoever truncates or rewrites it changes memory behind
//! the compiler's back. This crate holds the blocks that do it, so that all other code can forbid them.
//!
//! A mapped file must not be truncated or written to while its map lives; to update a model, write new
//! files and rename them over the old ones. Model files lie in directories that only root or the
//! service's own user may write to, and the service replaces files by rename alone.

use std::{fs::File, io, path::Path};

pub use memmap2::Mmap;
use rten::{LoadError, Model, ModelOptions};

/// Loads the network at `path`, whose name ends in `.onnx`.
///
/// Weights in external data files beside it are mapped: they are read on first use, shared between
/// processes and reclaimable. Weights inside the `.onnx` file itself are copied, since nothing aligns
/// them there. `prepack` adds a second copy of the weights in a faster layout.
///
/// # Errors
/// A file cannot be read, is no valid ONNX, or uses an operator that is not implemented.
///
/// # Panics
/// The ONNX reader may panic on malformed input: contain it where the file is not trusted.
pub fn onnx(path: &Path, prepack: bool) -> Result<Model, LoadError> {
    let mut options = ModelOptions::with_all_ops();
    options.prepack_weights(prepack);
    // SAFETY: The files do not change under their map: see above. A privileged user who truncates one
    // in place can still crash the process (SIGBUS), as with any mapped program or library; nobody
    // else can.
    unsafe { options.load_mmap(path) }
}

/// Maps the file at `path` for reading.
///
/// # Errors
/// The file cannot be opened or mapped.
pub fn file(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: As above.
    unsafe { Mmap::map(&file) }
}
