//! Scaling to the encoder's square, in the arithmetic of torchvision and Pillow.

use std::error::Error;

use fast_image_resize::{
    FilterType, IntoImageView, PixelType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef},
    pixels::U16x3,
};

use super::{
    Fit, ImageError, ImageSpec, Pixels, Stored,
    turn::{self, Part, Turn},
};

/// Most pixels after the first of two scaling passes, where that enlarges the picture.
const MAX_PIXELS_BETWEEN: u64 = 1 << 22;

/// A part of the square, in pixels of the square.
struct Target {
    left: usize,
    top: usize,
    width: u32,
    height: u32,
}

pub(super) fn fit(picture: &Stored, spec: &ImageSpec) -> Result<Pixels, ImageError> {
    let size = spec.size;
    let turn = Turn::from(picture.orientation);
    // As if the whole picture were upright: what is odd by a pixel must not depend on how it is stored.
    let sides = turn.sides(picture.whole);
    let (source, target) = match spec.fit {
        Fit::Stretch => (whole(sides), whole((size, size))),
        Fit::Crop => (centre(sides, size), whole((size, size))),
        Fit::Pad => (whole(sides), inscribed(sides, size)),
    };
    let source = reduced(turn.stored(source, picture.whole), picture.denominator);
    let target = pixels(turn.stored(target, (size, size)));
    let first = if turn.swap { Pass::Columns } else { Pass::Rows };
    let scaled = scale(picture, &source, &target, first).map_err(|_| ImageError::Undecodable)?;
    let square = on_black(scaled, &target, size);
    turn::upright(square, size, picture.orientation)
        .and_then(|rgb| Pixels::from_rgb(size, rgb))
        .ok_or(ImageError::Undecodable)
}

fn whole((width, height): (u32, u32)) -> Part {
    Part { left: 0.0, top: 0.0, width: f64::from(width), height: f64::from(height) }
}

/// The same part of a picture whose sides were divided.
fn reduced(part: Part, denominator: u32) -> Part {
    let divided = |length: f64| length / f64::from(denominator);
    Part {
        left: divided(part.left),
        top: divided(part.top),
        width: divided(part.width),
        height: divided(part.height),
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole numbers within the square")]
fn pixels(part: Part) -> Target {
    Target {
        left: part.left as usize,
        top: part.top as usize,
        width: part.width as u32,
        height: part.height as u32,
    }
}

/// What `Resize(size)` and `CenterCrop(size)` leave of the picture. Scaling this part alone gives the same
/// pixels as scaling everything and cutting, and needs no memory for a very long, very narrow picture.
fn centre((width, height): (u32, u32), size: u32) -> Part {
    let short = width.min(height);
    let axis = |side: u32| {
        // torchvision truncates the scaled length, and rounds the offset to even.
        let scaled = u64::from(size) * u64::from(side) / u64::from(short);
        #[allow(clippy::cast_precision_loss, reason = "at most 2^53: a side has 32 bits, targets are small")]
        let scaled = scaled as f64;
        let scale = f64::from(side) / scaled;
        let offset = ((scaled - f64::from(size)) / 2.0).round_ties_even();
        (offset * scale, f64::from(size) * scale)
    };
    let (left, width) = axis(width);
    let (top, height) = axis(height);
    Part { left, top, width, height }
}

/// The part of the square that `ImageOps.pad` fills with the picture.
fn inscribed((width, height): (u32, u32), size: u32) -> Part {
    let long = width.max(height);
    let axis = |side: u32| {
        let scaled = (f64::from(side) / f64::from(long) * f64::from(size)).round_ties_even().max(1.0);
        (((f64::from(size) - scaled) * 0.5).round_ties_even(), scaled)
    };
    let (left, width) = axis(width);
    let (top, height) = axis(height);
    Part { left, top, width, height }
}

/// The square, black where the target is not.
fn on_black(scaled: Image<'static>, target: &Target, size: u32) -> Vec<u8> {
    if (target.width, target.height) == (size, size) {
        return scaled.into_vec();
    }
    let (row, filled) = (size as usize * 3, target.width as usize * 3);
    let mut square = vec![0; row * size as usize];
    let rows = square.chunks_exact_mut(row).skip(target.top);
    for (square_row, scaled_row) in rows.zip(scaled.buffer().chunks_exact(filled)) {
        square_row[target.left * 3..][..filled].copy_from_slice(scaled_row);
    }
    square
}

/// One of the two passes of scaling.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// Each row is scaled: the width changes.
    Rows,
    /// Each column is scaled: the height changes.
    Columns,
}

/// Values are rounded and clamped between the two passes, so their order shows. Pillow's is rows first, which are
/// the columns of a picture that is stored on its side; the other order is left to pictures so long and narrow that
/// what is between the passes would need more memory than the picture.
fn scale(
    picture: &Stored,
    source: &Part,
    target: &Target,
    first: Pass,
) -> Result<Image<'static>, Box<dyn Error>> {
    let after = |pass| match pass {
        Pass::Rows => (target.width, picture.height),
        Pass::Columns => (picture.width, target.height),
    };
    let enlarges = |pass| match pass {
        Pass::Rows => target.width > picture.width,
        Pass::Columns => target.height > picture.height,
    };
    let (width, height) = after(first);
    let too_large = enlarges(first) && u64::from(width) * u64::from(height) > MAX_PIXELS_BETWEEN;
    let first = match first {
        Pass::Rows if too_large => Pass::Columns,
        Pass::Columns if too_large => Pass::Rows,
        first => first,
    };

    let (width, height) = after(first);
    let all_rows = Part { top: 0.0, height: f64::from(picture.height), ..*source };
    let all_columns = Part { left: 0.0, width: f64::from(picture.width), ..*source };
    let part = if first == Pass::Rows { all_rows } else { all_columns };
    let between = if enlarges(first) {
        enlarge(picture, &part, width, height)?
    } else {
        let whole = ImageRef::new(picture.width, picture.height, &picture.rgb, PixelType::U8x3)?;
        pass(&whole, &part, width, height)?
    };
    let rest = match first {
        Pass::Rows => Part { left: 0.0, width: f64::from(target.width), ..*source },
        Pass::Columns => Part { top: 0.0, height: f64::from(target.height), ..*source },
    };
    pass(&between, &rest, target.width, target.height)
}

/// The first pass with 16 bits: the resizer's weights for 8 bits are too coarse where single pixels weigh
/// nearly 1, and the second pass would double the error.
fn enlarge(
    picture: &Stored,
    source: &Part,
    width: u32,
    height: u32,
) -> Result<Image<'static>, Box<dyn Error>> {
    let (triples, _) = picture.rgb.as_chunks::<3>();
    let deep: Vec<_> =
        triples.iter().map(|rgb| U16x3::new(rgb.map(|value| u16::from(value) * 257))).collect();
    let deep = ImageRef::from_pixels(picture.width, picture.height, &deep)?;
    let large = pass(&deep, source, width, height)?;
    let pixels = large.typed_image::<U16x3>().ok_or("other pixels than asked for")?;
    #[allow(clippy::cast_possible_truncation, reason = "65535 / 257 is 255")]
    let rgb =
        pixels.pixels().iter().flat_map(|pixel| pixel.0.map(|value| ((u32::from(value) + 128) / 257) as u8));
    Ok(Image::from_vec_u8(width, height, rgb.collect(), PixelType::U8x3)?)
}

fn pass(
    from: &impl IntoImageView,
    source: &Part,
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
