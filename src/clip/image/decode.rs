//! From the bytes of a file to RGB, within limits.

use std::{
    io::Cursor,
    panic::{AssertUnwindSafe, catch_unwind},
};

use image::{ImageDecoder, ImageFormat, ImageReader, Limits};
use memchr::memchr;

use super::{ImageError, ImageLimits, ImageSpec, Stored, color, reduce};

/// What a decoder may take for each pixel of the limit: 16-bit RGBA, or RGB twice over.
const BYTES_PER_PIXEL: u64 = 8;

/// What a decoder may take besides: tables, metadata.
const OVERHEAD_BYTES: u64 = 16 << 20;

/// Pixels as the file stores them: all, or as many as are enough for `spec`.
pub(super) fn decode(
    file: &[u8],
    limits: &ImageLimits,
    spec: Option<&ImageSpec>,
) -> Result<Stored, ImageError> {
    // The decoders know no unsafe state that a panic could leave behind, and nothing of them survives it.
    catch_unwind(AssertUnwindSafe(|| decode_unguarded(file, limits, spec)))
        .unwrap_or(Err(ImageError::Undecodable))
}

fn decode_unguarded(
    file: &[u8],
    limits: &ImageLimits,
    spec: Option<&ImageSpec>,
) -> Result<Stored, ImageError> {
    let max_pixels = limits.max_pixels;
    let error = |error| match error {
        image::ImageError::Limits(_) => ImageError::TooMuchMemory { max_pixels },
        _ => ImageError::Undecodable,
    };

    let mut reader =
        ImageReader::new(Cursor::new(file)).with_guessed_format().map_err(|_| ImageError::Undecodable)?;
    let is_jpeg = reader.format() == Some(ImageFormat::Jpeg);
    if is_jpeg && !jpeg_is_complete(file) {
        return Err(ImageError::Undecodable);
    }
    let mut memory = Limits::no_limits();
    memory.max_alloc = Some(max_pixels.saturating_mul(BYTES_PER_PIXEL).saturating_add(OVERHEAD_BYTES));
    reader.limits(memory.clone());
    let mut decoder = reader.into_decoder().map_err(error)?;

    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(ImageError::Undecodable);
    }
    if pixels > max_pixels {
        return Err(ImageError::TooLarge { pixels, max_pixels });
    }
    memory.reserve(decoder.total_bytes()).map_err(error)?;
    decoder.set_limits(memory).map_err(error)?;

    let orientation = decoder.orientation().map_err(error)?;
    let whole = (width, height);
    if is_jpeg
        && let Some(spec) = spec
        && let Some((scaled, denominator)) = reduce::reduce(file, whole, spec)
    {
        let libturbojpeg::Scaled { width, height, rgb } = scaled;
        return Ok(Stored { width, height, rgb, orientation, whole, denominator });
    }
    let color = decoder.color_type();
    let length =
        usize::try_from(decoder.total_bytes()).map_err(|_| ImageError::TooMuchMemory { max_pixels })?;
    let mut samples = vec![0; length];
    decoder.read_image(&mut samples).map_err(error)?;

    let rgb = color::into_rgb(samples, color).ok_or(ImageError::Undecodable)?;
    Ok(Stored { width, height, rgb, orientation, whole, denominator: 1 })
}

/// Whether a JPEG ends where its last marker says. The decoder would fill what is missing with gray.
fn jpeg_is_complete(file: &[u8]) -> bool {
    const END_OF_IMAGE: u8 = 0xd9;
    let mut rest = file;
    // Past the start-of-image marker.
    rest = rest.get(2..).unwrap_or_default();
    while let Some(at) = memchr(0xff, rest) {
        rest = &rest[at + 1..];
        match rest.first() {
            Some(&END_OF_IMAGE) => return true,
            // Segments with a length, which is skipped: a thumbnail in them has an end of its own.
            Some(0xc0..=0xcf | 0xda..=0xfe) => {
                let &[_, high, low, ..] = rest else { return false };
                rest = rest.get(1 + usize::from(u16::from_be_bytes([high, low]))..).unwrap_or_default();
            }
            // A stuffed 0xff of the compressed data, padding, a restart marker.
            _ => {}
        }
    }
    false
}
