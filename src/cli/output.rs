//! Result files.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use nix::unistd::{AccessFlags, access};

/// Writes a file by `encode`. A regular file appears whole or not at all.
pub(super) fn write(path: &Path, encode: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    // What is behind a symbolic link is replaced, not the link; a device or a pipe never is.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
        return encode(&mut File::options().write(true).open(path)?);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Asked first, since the error would name the temporary file.
    access(folder, AccessFlags::W_OK | AccessFlags::X_OK)?;
    // As the umask says, like any other new file.
    replace(&path, folder, 0o666, encode)
}

/// The same for a regular file that only its owner may read.
pub(super) fn write_private(path: &Path, encode: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    replace(path, path.parent().unwrap_or(Path::new(".")), 0o600, encode)
}

fn replace(
    path: &Path,
    folder: &Path,
    mode: u32,
    encode: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(mode)).tempfile_in(folder)?;
    encode(file.as_file_mut())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn an_existing_file_is_replaced_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write(&link, |file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(link.is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_that_fails_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "old").unwrap();
        write(&file, |file| file.write_all(b"half").and(Err(io::Error::other("no")))).unwrap_err();
        assert_eq!(fs::read(&file).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_device_is_written_to_and_stays_a_device() {
        write(Path::new("/dev/null"), |file| file.write_all(b"x")).unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
