//! Loads ONNX networks whose weights stay in the page cache.
//!
//! Mapping a file is unsafe in Rust, because whoever truncates or rewrites it changes memory behind
//! the compiler's back. This crate holds that one unsafe block, so that all other code can forbid them.

use std::path::Path;

use rten::{LoadError, Model, ModelOptions};

/// Loads the network at `path`, whose name ends in `.onnx`.
///
/// Weights in external data files beside it are mapped: they are read on first use, shared between
/// processes and reclaimable. Weights inside the `.onnx` file itself are copied, since nothing aligns
/// them there. `prepack` adds a second copy of the weights in a faster layout.
///
/// The files must not be truncated or written to while the [`Model`] lives; to update a model, write
/// new files and rename them over the old ones.
///
/// # Errors
/// A file cannot be read, is no valid ONNX, or uses an operator that is not implemented.
///
/// # Panics
/// The ONNX reader may panic on malformed input: contain it where the file is not trusted.
pub fn load(path: &Path, prepack: bool) -> Result<Model, LoadError> {
    let mut options = ModelOptions::with_all_ops();
    options.prepack_weights(prepack);
    // SAFETY: A mapped file must not change under the map. Model files live in directories that only
    // root or the service's own user may write to, and the service replaces files by rename, never in
    // place: the map keeps the old file alive. A privileged user who truncates a file in place can
    // still crash the process (SIGBUS), as with any mapped program or library; nobody else can.
    unsafe { options.load_mmap(path) }
}
