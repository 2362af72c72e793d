//! Scaling to the encoder's square, in the arithmetic of torchvision and Pillow.

use std::error::Error;

use fast_image_resize::{
    FilterType, IntoImageView, PixelType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef},
    pixels::U16x3,
};

use super::{Fit, ImageError, ImageSpec, Picture, Pixels};

/// Most pixels after the first of two scaling passes, where that enlarges the picture.
const MAX_PIXELS_BETWEEN: u64 = 1 << 22;

/// A part of the picture, in pixels of the picture.
struct Source {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

/// A part of the square, in pixels of the square.
struct Target {
    left: usize,
    top: usize,
    width: u32,
    height: u32,
}

pub(super) fn fit(picture: &Picture, spec: &ImageSpec) -> Result<Pixels, ImageError> {
    let size = spec.size;
    let whole_square = Target { left: 0, top: 0, width: size, height: size };
    match spec.fit {
        Fit::Stretch => resize(picture, &whole_picture(picture), &whole_square, size),
        Fit::Crop => resize(picture, &centre(picture, size), &whole_square, size),
        Fit::Pad => resize(picture, &whole_picture(picture), &inscribed(picture, size), size),
    }
}

fn whole_picture(picture: &Picture) -> Source {
    Source { left: 0.0, top: 0.0, width: f64::from(picture.width), height: f64::from(picture.height) }
}

/// What `Resize(size)` and `CenterCrop(size)` leave of the picture. Scaling this part alone gives the same
/// pixels as scaling everything and cutting, and needs no memory for a very long, very narrow picture.
fn centre(picture: &Picture, size: u32) -> Source {
    let short = picture.width.min(picture.height);
    let axis = |side: u32| {
        // torchvision truncates the scaled length, and rounds the offset to even.
        let scaled = u64::from(size) * u64::from(side) / u64::from(short);
        #[allow(clippy::cast_precision_loss, reason = "at most 2^53: a side has 32 bits, targets are small")]
        let scaled = scaled as f64;
        let scale = f64::from(side) / scaled;
        let offset = ((scaled - f64::from(size)) / 2.0).round_ties_even();
        (offset * scale, f64::from(size) * scale)
    };
    let (left, width) = axis(picture.width);
    let (top, height) = axis(picture.height);
    Source { left, top, width, height }
}

/// The part of the square that `ImageOps.pad` fills with the picture.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the size")]
fn inscribed(picture: &Picture, size: u32) -> Target {
    let long = picture.width.max(picture.height);
    let axis = |side: u32| {
        let scaled = (f64::from(side) / f64::from(long) * f64::from(size)).round_ties_even().max(1.0);
        let offset = ((f64::from(size) - scaled) * 0.5).round_ties_even();
        (offset as usize, scaled as u32)
    };
    let (left, width) = axis(picture.width);
    let (top, height) = axis(picture.height);
    Target { left, top, width, height }
}

fn resize(picture: &Picture, source: &Source, target: &Target, size: u32) -> Result<Pixels, ImageError> {
    let scaled = scale(picture, source, target).map_err(|_| ImageError::Undecodable)?;
    let rgb = if (target.width, target.height) == (size, size) {
        scaled.into_vec()
    } else {
        let (row, filled) = (size as usize * 3, target.width as usize * 3);
        let mut square = vec![0; row * size as usize];
        let rows = square.chunks_exact_mut(row).skip(target.top);
        for (square_row, scaled_row) in rows.zip(scaled.buffer().chunks_exact(filled)) {
            square_row[target.left * 3..][..filled].copy_from_slice(scaled_row);
        }
        square
    };
    Pixels::from_rgb(size, rgb).ok_or(ImageError::Undecodable)
}

fn scale(picture: &Picture, source: &Source, target: &Target) -> Result<Image<'static>, Box<dyn Error>> {
    let whole = ImageRef::new(picture.width, picture.height, &picture.rgb, PixelType::U8x3)?;
    let Source { left, top, width, height } = *source;
    // Values are rounded and clamped between the two passes, so their order shows. Pillow's is rows first; the
    // resizer's own is columns first, which is left to pictures so long and narrow that their scaled rows
    // would need more memory than the picture.
    let between = u64::from(target.width) * u64::from(picture.height);
    if target.width > picture.width && between > MAX_PIXELS_BETWEEN {
        return pass(&whole, source, target.width, target.height);
    }
    let rows = Source { left, top: 0.0, width, height: f64::from(picture.height) };
    let narrow = if target.width > picture.width {
        enlarge_rows(picture, &rows, target.width)?
    } else {
        pass(&whole, &rows, target.width, picture.height)?
    };
    let columns = Source { left: 0.0, top, width: f64::from(target.width), height };
    pass(&narrow, &columns, target.width, target.height)
}

/// The first pass with 16 bits: the resizer's weights for 8 bits are too coarse where single pixels weigh
/// nearly 1, and the second pass would double the error.
fn enlarge_rows(picture: &Picture, source: &Source, width: u32) -> Result<Image<'static>, Box<dyn Error>> {
    let (triples, _) = picture.rgb.as_chunks::<3>();
    let deep: Vec<_> =
        triples.iter().map(|rgb| U16x3::new(rgb.map(|value| u16::from(value) * 257))).collect();
    let deep = ImageRef::from_pixels(picture.width, picture.height, &deep)?;
    let wide = pass(&deep, source, width, picture.height)?;
    let pixels = wide.typed_image::<U16x3>().ok_or("other pixels than asked for")?;
    #[allow(clippy::cast_possible_truncation, reason = "65535 / 257 is 255")]
    let rgb =
        pixels.pixels().iter().flat_map(|pixel| pixel.0.map(|value| ((u32::from(value) + 128) / 257) as u8));
    Ok(Image::from_vec_u8(width, picture.height, rgb.collect(), PixelType::U8x3)?)
}

fn pass(
    from: &impl IntoImageView,
    source: &Source,
    width: u32,
    height: u32,
) -> Result<Image<'static>, Box<dyn Error>> {
    // Pillow's BICUBIC is the cubic with a = −0.5, known as Catmull-Rom.
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom)).crop(
        source.left,
        source.top,
        source.width,
        source.height,
    );
    let mut to = Image::new(width, height, from.pixel_type().ok_or("unknown pixels")?);
    Resizer::new().resize(from, &mut to, &options)?;
    Ok(to)
}
