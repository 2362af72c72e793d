//! NumPy's file format, version 1.0, for one matrix of little-endian f32.
//!
//! The crates for it (`npyz`, `ndarray-npy`) bring a PEG parser for headers that are only written here.

use std::{
    fs::{self, File, Permissions},
    io::{self, BufWriter, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use nix::unistd::{AccessFlags, access};

/// Writes a matrix with rows of `columns` values each, row by row. A regular file appears whole or not at all.
pub(super) fn write(path: &Path, values: &[f32], columns: usize) -> io::Result<()> {
    // What is behind a symbolic link is replaced, not the link; a device or a pipe never is.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
        return encode(File::options().write(true).open(path)?, values, columns);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Asked first, since the error would name the temporary file.
    access(folder, AccessFlags::W_OK | AccessFlags::X_OK)?;
    // As the umask says, like any other new file.
    let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(folder)?;
    encode(file.as_file_mut(), values, columns)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>
fn encode(output: impl Write, values: &[f32], columns: usize) -> io::Result<()> {
    let mut output = BufWriter::new(output);
    let rows = values.len().checked_div(columns).unwrap_or(0);
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    // The values start at a multiple of 64 bytes, after ten bytes of preamble and a line feed.
    let padding = 63 - (10 + header.len()) % 64;
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    let length = u16::try_from(header.len()).map_err(io::Error::other)?;

    output.write_all(b"\x93NUMPY\x01\x00")?;
    output.write_all(&length.to_le_bytes())?;
    output.write_all(header.as_bytes())?;
    for value in values {
        output.write_all(&value.to_le_bytes())?;
    }
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_aligned_and_values_follow_row_by_row() {
        let mut bytes = Vec::new();
        encode(&mut bytes, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3).unwrap();
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
        assert_eq!(bytes[..10], *b"\x93NUMPY\x01\x00\x76\x00");
        assert_eq!(bytes[10..10 + header.len()], *header.as_bytes());
        assert_eq!(bytes[127], b'\n');
        assert_eq!(bytes.len(), 128 + 6 * 4);
        assert_eq!(bytes[128 + 5 * 4..], 6.0_f32.to_le_bytes());
    }

    #[test]
    fn an_existing_file_is_replaced_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write(&link, &[1.0], 1).unwrap();
        assert_eq!(fs::read(&file).unwrap().len(), 132);
        assert!(link.is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_device_is_written_to_and_stays_a_device() {
        write(Path::new("/dev/null"), &[1.0], 1).unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
