//! Where a folder's index is, and the lock that keeps two writers apart.

use std::{
    env,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::{
    cli::{
        Failure,
        console::{escape, reason},
    },
    model::hex,
};

/// Characters of a digest that tell folders apart.
const DIGITS: usize = 32;

/// The place of one folder's index; only one process has it at a time.
pub(super) struct Place {
    pub(super) index: PathBuf,
    _lock: Option<File>,
}

impl Place {
    /// Takes the place of `folder`, an absolute path without links. Waits for another process that has it,
    /// after `busy` was called.
    pub(super) async fn take(folder: &Path, busy: impl FnOnce()) -> Result<Self, Failure> {
        let directory = directory()?;
        let trouble = |error: io::Error| {
            Failure::Input(format!(
                "cannot keep an index in {}: {}",
                escape(&directory.display().to_string()),
                reason(&error)
            ))
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(trouble)?;
        let mut name = hex(&Sha256::digest(folder.as_os_str().as_bytes()).into());
        name.truncate(DIGITS);
        // Not the index itself: that is replaced as a whole now and then.
        let lock = private().open(directory.join(format!("{name}.lock"))).map_err(trouble)?;
        let lock = match lock.try_lock() {
            Ok(()) => lock,
            Err(TryLockError::WouldBlock) => {
                busy();
                let waiting = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock));
                waiting.await.map_err(io::Error::other).flatten().map_err(trouble)?
            }
            Err(TryLockError::Error(error)) => return Err(trouble(error)),
        };
        Ok(Self { index: directory.join(format!("{name}.index")), _lock: Some(lock) })
    }
}

#[cfg(test)]
impl Place {
    /// Without a lock.
    pub(super) fn at(index: PathBuf) -> Self {
        Self { index, _lock: None }
    }
}

/// How files here are opened: for their owner alone, since names of pictures are private.
pub(super) fn private() -> OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options
}

/// After the XDG base directory specification, which ignores relative paths.
fn directory() -> Result<PathBuf, Failure> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".cache")))
        .map(|cache| cache.join("hailo-clip/index"))
        .ok_or_else(|| Failure::Input("no place for an index: set HOME or XDG_CACHE_HOME".to_owned()))
}
