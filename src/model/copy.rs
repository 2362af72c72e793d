//! Copies of files that somebody may be changing meanwhile.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
};

use sha2::{Digest, Sha256};

use super::{ChangeError, verify::CHUNK};

/// Copies `length` bytes of `source` to a new file, and hashes what was written: size and SHA-256.
pub(super) fn copy_and_hash(
    mut source: File,
    target: &Path,
    length: u64,
    at: &mut dyn FnMut(u64) -> Result<(), ChangeError>,
) -> Result<(u64, [u8; 32]), ChangeError> {
    let mut copy = File::create(target)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut bytes = 0;
    let copied = loop {
        let read = match source.read(&mut chunk) {
            Ok(0) => break Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => break Err(error.into()),
        };
        bytes += read as u64;
        if bytes > length {
            break Err(ChangeError::Unsuitable("a file became longer while it was copied".to_owned()));
        }
        hasher.update(&chunk[..read]);
        if let Err(error) = copy.write_all(&chunk[..read]).map_err(Into::into).and_then(|()| at(bytes)) {
            break Err(error);
        }
    };
    let result = copied.and_then(|()| {
        if bytes < length {
            return Err(ChangeError::Unsuitable("a file became shorter while it was copied".to_owned()));
        }
        copy.sync_all()?;
        Ok((bytes, hasher.finalize().into()))
    });
    if result.is_err() {
        let _ = fs::remove_file(target);
    }
    result
}
