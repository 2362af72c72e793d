//! NumPy's file format, version 1.0, for one matrix of little-endian f32.
//!
//! The crates for it (`npyz`, `ndarray-npy`) bring a PEG parser for headers that are only written here.

use std::{
    io::{self, BufWriter, Write},
    path::Path,
};

use super::output;

/// Writes a matrix with rows of `columns` values each, row by row.
pub(super) fn write(path: &Path, values: &[f32], columns: usize) -> io::Result<()> {
    output::write(path, |file| encode(file, values, columns))
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
}
