//! Picture files that claim little and would take much. One test alone: it watches this process's memory.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test fails by panicking")]

use std::io::Write;

use hailo_clip::clip::{Draft, Fit, ImageError, ImageLimits, ImageSpec, Picture};

const LIMITS: ImageLimits = ImageLimits { max_pixels: 1 << 20 };

/// Ten bytes for each pixel of the limit, 16 MiB besides, and room for the test itself.
const MAX_GROWTH_KIB: u64 = (10 << 10) + (16 << 10) + (8 << 10);

#[test]
fn bombs_are_refused_without_taking_memory() {
    let before = peak_kib();
    for (name, file, refusal) in bombs() {
        let error = Picture::decode(&file, &LIMITS).expect_err(name);
        let spec = ImageSpec { size: 32, fit: Fit::Stretch };
        assert_eq!(Draft::decode(&file, &LIMITS, &spec).err().as_ref(), Some(&error), "{name}");
        let after = peak_kib();
        eprintln!("{name}: {error}; peak + {} KiB", after - before);
        assert!(after - before < MAX_GROWTH_KIB, "{name} took {} KiB", after - before);
        let as_expected = match error {
            ImageError::TooLarge { pixels, .. } => refusal == Large && pixels > LIMITS.max_pixels,
            ImageError::TooMuchMemory { .. } => refusal == Memory,
            ImageError::Undecodable => refusal == Damaged,
        };
        assert!(as_expected, "{name}: {error}");
    }
}

/// Most memory that this process has had resident.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[derive(Debug, PartialEq)]
enum Refusal {
    Large,
    Memory,
    /// The decoder finds the contradiction, or no data behind the claims.
    Damaged,
}
use Refusal::{Damaged, Large, Memory};

fn bombs() -> Vec<(&'static str, Vec<u8>, Refusal)> {
    vec![
        ("PNG that claims 10^10 pixels", png(100_000, 100_000, &[], &[0; 1000]), Large),
        ("PNG of 2^31 pixels in one row", png(0x7fff_ffff, 1, &[], &[0; 1000]), Memory),
        (
            "PNG with a colour profile of 256 MiB",
            png(8, 8, &bomb_chunk(*b"iCCP", b"icc\0\0"), &[0; 200]),
            Damaged,
        ),
        ("PNG with a text of 256 MiB", png(8, 8, &bomb_chunk(*b"zTXt", b"t\0\0"), &[0; 100]), Damaged),
        ("PNG without width", png(0, 8, &[], &[0; 8]), Damaged),
        ("JPEG that claims 65535 × 65535", jpeg(65_535, 65_535, 1), Large),
        ("JPEG with 10,000 scans", jpeg(1024, 1024, 10_000), Damaged),
        ("GIF that claims 65535 × 65535", gif((65_535, 65_535), (1, 1)), Large),
        ("GIF with a frame of 65535 × 65535 on a small canvas", gif((8, 8), (65_535, 65_535)), Memory),
        (
            "WebP with a picture of 16383 × 16383 on a small canvas",
            webp(16_383, 16_383, Some((8, 8))),
            Damaged,
        ),
        ("WebP that claims 16383 × 16383", webp(16_383, 16_383, None), Large),
        ("WebP that claims a canvas of 2^32 pixels", webp(8, 8, Some((65_536, 65_535))), Large),
        ("BMP that claims 2^30 × 2^30", bmp(1 << 30, 1 << 30), Damaged),
        ("BMP that claims a negative height", bmp(1 << 16, -(1 << 16)), Damaged),
        ("TIFF that claims 10^10 pixels", tiff(&[(256, 100_000), (257, 100_000), (278, 100_000)]), Large),
        ("TIFF with one strip of 2^32 rows", tiff(&[(256, 8), (257, u32::MAX), (278, u32::MAX)]), Large),
        ("TIFF with a strip of 4 GiB", tiff(&[(256, 8), (257, 8), (278, 8), (279, u32::MAX)]), Memory),
        (
            "TIFF with tiles of 2^30 pixels",
            tiff(&[(256, 8), (257, 8), (322, 1 << 15), (323, 1 << 15), (324, 8), (325, 64)]),
            Damaged,
        ),
        ("BigTIFF that claims 2^63 entries", big_tiff(), Damaged),
    ]
}

fn deflated(bytes: usize) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..bytes >> 16 {
        encoder.write_all(&[0; 1 << 16]).unwrap();
    }
    encoder.finish().unwrap()
}

fn png_chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(&kind);
    crc.update(data);
    let length = u32::try_from(data.len()).unwrap();
    [&length.to_be_bytes()[..], &kind, data, &crc.sum().to_be_bytes()].concat()
}

fn bomb_chunk(kind: [u8; 4], prefix: &[u8]) -> Vec<u8> {
    png_chunk(kind, &[prefix, &deflated(256 << 20)].concat())
}

/// A PNG whose compressed data is damaged.
fn png(width: u32, height: u32, chunks: &[u8], data: &[u8]) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    [b"\x89PNG\r\n\x1a\n", &png_chunk(*b"IHDR", &header)[..], chunks, &png_chunk(*b"IDAT", data)].concat()
}

/// A progressive gray JPEG whose scans all say the same nothing.
fn jpeg(width: u16, height: u16, scans: usize) -> Vec<u8> {
    let [w, h] = [width.to_be_bytes(), height.to_be_bytes()];
    let mut file = vec![0xff, 0xd8, 0xff, 0xdb, 0, 67, 0];
    file.extend([1; 64]);
    file.extend([0xff, 0xc2, 0, 11, 8, h[0], h[1], w[0], w[1], 1, 1, 0x11, 0]);
    // Huffman tables for DC and AC with one code each.
    for class in [0x00, 0x10] {
        file.extend([0xff, 0xc4, 0, 20, class, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
    for scan in 0..scans {
        let band = if scan == 0 { [0, 0] } else { [1, 63] };
        file.extend([0xff, 0xda, 0, 8, 1, 1, 0, band[0], band[1], 0]);
        file.extend([0; 64]);
    }
    file.extend([0xff, 0xd9]);
    file
}

fn gif(canvas: (u16, u16), frame: (u16, u16)) -> Vec<u8> {
    let le = |(width, height): (u16, u16)| [width.to_le_bytes(), height.to_le_bytes()].concat();
    let mut file = [&b"GIF89a"[..], &le(canvas), &[0x80, 0, 0], &[0; 6]].concat();
    file.extend([&[0x2c, 0, 0, 0, 0], &le(frame)[..], &[0], &[2, 2, 0x4c, 1, 0, 0x3b]].concat());
    file
}

fn webp(width: u32, height: u32, canvas: Option<(u32, u32)>) -> Vec<u8> {
    let chunk =
        |kind: &[u8], data: &[u8]| [kind, &u32::try_from(data.len()).unwrap().to_le_bytes(), data].concat();
    let lossless = [&[0x2f][..], &((width - 1) | (height - 1) << 14).to_le_bytes(), &[0; 27]].concat();
    let mut chunks = Vec::new();
    if let Some((width, height)) = canvas {
        let sides = [&(width - 1).to_le_bytes()[..3], &(height - 1).to_le_bytes()[..3]].concat();
        chunks.extend(chunk(b"VP8X", &[&[0, 0, 0, 0], &sides[..]].concat()));
    }
    chunks.extend(chunk(b"VP8L", &lossless));
    chunk(b"RIFF", &[b"WEBP", &chunks[..]].concat())
}

fn bmp(width: i32, height: i32) -> Vec<u8> {
    let mut file = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    file.extend([width.to_le_bytes(), height.to_le_bytes()].concat());
    file.extend(b"\x01\0\x18\0");
    file.extend([0; 100]);
    file
}

/// A gray TIFF of 8 bits with these entries besides.
fn tiff(entries: &[(u16, u32)]) -> Vec<u8> {
    let mut all = vec![(258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (279, 64)];
    all.retain(|(tag, _)| entries.iter().all(|(other, _)| other != tag));
    all.extend(entries);
    all.sort_unstable();
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    file.extend(u16::try_from(all.len()).unwrap().to_le_bytes());
    for (tag, value) in all {
        file.extend([&tag.to_le_bytes()[..], &[4, 0, 1, 0, 0, 0], &value.to_le_bytes()].concat());
    }
    file.extend([0; 4]);
    file
}

fn big_tiff() -> Vec<u8> {
    let header = b"II\x2b\0\x08\0\0\0\x10\0\0\0\0\0\0\0";
    [&header[..], &(1_u64 << 63).to_le_bytes(), &[0; 200]].concat()
}
