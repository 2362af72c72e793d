//! Every layout of samples that the decoders yield, reduced to RGB of 8 bits.

use image::ColorType;

/// Turns pixels of `color` (samples in native endianness) into RGB triples; `None` for floating point,
/// whose range no file tells.
///
/// Alpha is dropped. Of 16 bits the upper 8 are kept, as Pillow does with RGB.
pub(super) fn into_rgb(samples: Vec<u8>, color: ColorType) -> Option<Vec<u8>> {
    match color {
        ColorType::L8 => Some(repeat::<1>(&samples, 0)),
        ColorType::La8 => Some(repeat::<2>(&samples, 0)),
        ColorType::L16 => Some(repeat::<2>(&samples, UPPER)),
        ColorType::La16 => Some(repeat::<4>(&samples, UPPER)),
        ColorType::Rgb8 => Some(samples),
        ColorType::Rgba8 => Some(pick::<4>(samples, [0, 1, 2])),
        ColorType::Rgb16 => Some(pick::<6>(samples, [UPPER, 2 + UPPER, 4 + UPPER])),
        ColorType::Rgba16 => Some(pick::<8>(samples, [UPPER, 2 + UPPER, 4 + UPPER])),
        _ => None,
    }
}

/// Where the upper byte of a 16-bit sample lies.
const UPPER: usize = if cfg!(target_endian = "little") { 1 } else { 0 };

/// One byte of each pixel of `N` bytes, thrice.
fn repeat<const N: usize>(samples: &[u8], gray: usize) -> Vec<u8> {
    let (pixels, _) = samples.as_chunks::<N>();
    pixels.iter().flat_map(|pixel| [pixel[gray]; 3]).collect()
}

/// Three bytes of each pixel of `N` bytes, in the same buffer: a large picture needs no second one.
fn pick<const N: usize>(mut samples: Vec<u8>, rgb: [usize; 3]) -> Vec<u8> {
    let pixels = samples.len() / N;
    for pixel in 0..pixels {
        let triple = rgb.map(|byte| samples[pixel * N + byte]);
        samples[pixel * 3..][..3].copy_from_slice(&triple);
    }
    samples.truncate(pixels * 3);
    samples.shrink_to_fit();
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reduces_every_layout() {
        let words = |words: &[u16]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>();
        let cases = [
            (vec![7, 9], ColorType::L8, vec![7, 7, 7, 9, 9, 9]),
            (vec![7, 0, 9, 255], ColorType::La8, vec![7, 7, 7, 9, 9, 9]),
            (words(&[0x07ff, 0x0900]), ColorType::L16, vec![7, 7, 7, 9, 9, 9]),
            (words(&[0x07ff, 0, 0x0900, 1]), ColorType::La16, vec![7, 7, 7, 9, 9, 9]),
            (vec![1, 2, 3, 4, 5, 6], ColorType::Rgb8, vec![1, 2, 3, 4, 5, 6]),
            (vec![1, 2, 3, 0, 4, 5, 6, 255], ColorType::Rgba8, vec![1, 2, 3, 4, 5, 6]),
            (words(&[0x01ff, 0x0200, 0x0380]), ColorType::Rgb16, vec![1, 2, 3]),
            (
                words(&[0x01ff, 0x0200, 0x0380, 0, 0x04ff, 0x0500, 0x0680, 9]),
                ColorType::Rgba16,
                vec![1, 2, 3, 4, 5, 6],
            ),
        ];
        for (samples, color, rgb) in cases {
            assert_eq!(into_rgb(samples, color), Some(rgb), "{color:?}");
        }
        assert_eq!(into_rgb(vec![0; 12], ColorType::Rgb32F), None);
    }
}
