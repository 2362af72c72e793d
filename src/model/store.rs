//! The folder of models that this machine has fetched or made: what is put into it appears whole or not at
//! all, and what is taken out is gone at once.
//!
//! Work in progress lies in folders whose names start with a dot, which are no bundles, on the same file
//! system. Deliberately not here: what a bundle consists of.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use nix::fcntl::{AT_FDCWD, Flock, FlockArg, RenameFlags, renameat2};
use tracing::{info, warn};

use super::{ChangeError, manifest, search::is_bundle_name};

/// A pull that nobody has taken up again for so long is given up.
const ABANDONED: Duration = Duration::from_secs(14 * 24 * 3600);

/// Bytes that stay free on the disk, for the rest of the system.
pub const RESERVE: u64 = 256 << 20;

/// Models that this machine has fetched or made.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
    free: fn(&Path) -> io::Result<u64>,
}

/// Where a bundle is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staging {
    /// Files are fetched; what has come is of use later.
    Pull,
    /// Files are copied; without its end it is worth nothing.
    Import,
}

impl Staging {
    fn folder(self) -> &'static str {
        match self {
            Self::Pull => ".pull",
            Self::Import => ".import",
        }
    }
}

/// A staging folder that nobody else works in.
#[derive(Debug)]
pub struct Staged {
    /// The folder; its name is the bundle's.
    pub dir: PathBuf,
    _lock: Flock<fs::File>,
}

impl Store {
    /// The store in `dir`, which need not exist yet.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, free: free_space }
    }

    /// With another answer to how much space is free.
    #[must_use]
    pub fn with_free_space(self, free: fn(&Path) -> io::Result<u64>) -> Self {
        Self { free, ..self }
    }

    /// Its folder, one of those where bundles are looked for.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether it has the bundle `name`.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        is_bundle_name(name) && self.dir.join(name).join(manifest::FILE_NAME).exists()
    }

    /// Opens the staging folder of `name`; one of an import is empty.
    ///
    /// # Errors
    /// Somebody else works in it, or it cannot be made.
    pub fn stage(&self, name: &str, staging: Staging) -> Result<Staged, ChangeError> {
        if !is_bundle_name(name) {
            return Err(super::BundleError::InvalidName(name.to_owned()).into());
        }
        let parent = self.dir.join(staging.folder());
        fs::create_dir_all(&parent)?;
        let lock = fs::File::create(parent.join(format!(".{name}.lock")))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
            .map_err(|_| ChangeError::Busy(name.to_owned()))?;
        let dir = parent.join(name);
        if staging == Staging::Import && dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        Ok(Staged { dir, _lock: lock })
    }

    /// Puts what was staged in service of the name, in place of a bundle that is there.
    ///
    /// # Errors
    /// The system refuses; then nothing has changed.
    pub fn install(&self, staged: Staged, name: &str) -> Result<(), ChangeError> {
        let target = self.dir.join(name);
        sync_folder(&staged.dir)?;
        if target.exists() {
            // At no moment is there none.
            renameat2(AT_FDCWD, &staged.dir, AT_FDCWD, &target, RenameFlags::RENAME_EXCHANGE)
                .map_err(io::Error::from)?;
            discard(&staged.dir);
        } else {
            fs::rename(&staged.dir, &target)?;
        }
        sync_folder(&self.dir)?;
        Ok(())
    }

    /// Takes the bundle `name` out.
    ///
    /// # Errors
    /// There is none, or the system refuses.
    pub fn remove(&self, name: &str) -> Result<(), ChangeError> {
        if !is_bundle_name(name) {
            return Err(super::BundleError::InvalidName(name.to_owned()).into());
        }
        let waste = self.dir.join(".removed");
        fs::create_dir_all(&waste)?;
        let gone = waste.join(name);
        if gone.exists() {
            fs::remove_dir_all(&gone)?;
        }
        fs::rename(self.dir.join(name), &gone)?;
        sync_folder(&self.dir)?;
        discard(&gone);
        Ok(())
    }

    /// Gives up what was staged for `name`.
    pub fn abandon(&self, staged: Staged) {
        discard(&staged.dir);
    }

    /// Clears away what a process left behind that was ended in the middle; a pull can be resumed, so it
    /// is kept for two weeks.
    pub fn tidy(&self) {
        for folder in [".import", ".removed"] {
            let folder = self.dir.join(folder);
            if folder.exists() {
                info!("clearing away a change of models that was broken off");
                discard(&folder);
            }
        }
        for entry in fs::read_dir(self.dir.join(".pull")).into_iter().flatten().flatten() {
            let changed = entry.metadata().and_then(|metadata| metadata.modified());
            let age = changed.ok().and_then(|changed| SystemTime::now().duration_since(changed).ok());
            if age.is_some_and(|age| age > ABANDONED) {
                discard(&entry.path());
            }
        }
    }

    /// Fails unless `needed` more bytes leave the reserve free.
    ///
    /// # Errors
    /// [`ChangeError::NoSpace`].
    pub fn require_space(&self, needed: u64) -> Result<(), ChangeError> {
        let free = (self.free)(&self.dir)?;
        if needed.saturating_add(RESERVE) <= free {
            Ok(())
        } else {
            Err(ChangeError::NoSpace { needed, reserve: RESERVE, free })
        }
    }
}

/// Removes a file or a folder that nobody looks at any more.
fn discard(path: &Path) {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    if let Err(error) = removed {
        warn!("what is left of a model could not be removed: {error}");
    }
}

fn sync_folder(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

/// Bytes that an ordinary user may still write.
fn free_space(dir: &Path) -> io::Result<u64> {
    let existing = dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    let stat = nix::sys::statvfs::statvfs(existing)?;
    Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
}
