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
use procfs::process::{MMPermissions, MMapPath, Process};
use rten::{LoadError, Model, ModelOptions};

/// Loads the network at `path`, whose name ends in `.onnx`.
///
/// Weights in external data files beside it are mapped: they are read on first use, shared between
/// processes and reclaimable. Weights inside the `.onnx` file itself are copied, since nothing aligns
/// them there. `prepack` adds a second copy of the weights in a faster layout, and lets go of the mapped pages that
/// went into it: those that a run needs after all come back from the page cache.
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
    let model = unsafe { options.load_mmap(path) }?;
    if prepack {
        // If this fails they are resident for longer, until the kernel reclaims them.
        let _ = let_go(path.parent().unwrap_or(Path::new(".")));
    }
    Ok(model)
}

/// Gives back the resident pages of all files in this folder that are mapped for reading. They remain in the page cache.
fn let_go(folder: &Path) -> io::Result<()> {
    let folder = folder.canonicalize()?;
    let maps = Process::myself().and_then(|process| process.maps()).map_err(io::Error::other)?;
    for map in maps {
        match map.pathname {
            MMapPath::Path(file)
                if file.parent() == Some(&folder) && !map.perms.contains(MMPermissions::WRITE) => {}
            _ => continue,
        }
        let (start, end) = map.address;
        let (Ok(start), Ok(length)) = (usize::try_from(start), usize::try_from(end - start)) else {
            continue;
        };
        // SAFETY: The pages cannot be written to, so they hold what the file holds, and the next access reads that
        // again.
        unsafe { libc::madvise(std::ptr::with_exposed_provenance_mut(start), length, libc::MADV_DONTNEED) };
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use std::{fs, hint::black_box};

    use super::*;

    /// Resident pages of mapped files in KiB, of those in memory (tmpfs) too.
    fn resident() -> u64 {
        let status = Process::myself().unwrap().status().unwrap();
        status.rssfile.unwrap() + status.rssshmem.unwrap()
    }

    #[test]
    fn what_is_let_go_is_read_again() {
        const SIZE: usize = 64 << 20;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("weights"), vec![7; SIZE]).unwrap();
        let map = file(&folder.path().join("weights")).unwrap();
        let sum = |map: &Mmap| map.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        let before = resident();
        assert_eq!(black_box(sum(&map)), 7 * SIZE as u64);
        let whole = resident() - before;
        assert!(whole > 60 << 10, "{whole} KiB of 64 MiB were read");

        let_go(&folder.path().join(".")).unwrap();
        let left = resident().saturating_sub(before);
        assert!(left < 4 << 10, "{left} KiB are left");
        assert_eq!(sum(&map), 7 * SIZE as u64);
    }
}
