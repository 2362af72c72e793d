//! Image pre-processing: from the bytes of a picture file to the pixels an image encoder takes.
//!
//! `decode` reads JPEG, PNG, WebP, GIF (the first frame), BMP and TIFF, `color` reduces them to RGB of
//! 8 bits, `reduce` says how much of a large JPEG is enough, `fit` scales pictures as Pillow does, `turn` sets them
//! upright, `pixels` hands them to an encoder. Colour profiles are not applied, as CLIP's own pre-processing does
//! not apply them.

mod color;
mod decode;
mod fit;
mod pixels;
mod reduce;
mod turn;

use image::{DynamicImage, RgbImage, metadata::Orientation};
use thiserror::Error;

pub use self::{pixels::Pixels, reduce::is_available as reduces_jpegs};

/// How a picture is brought to the encoder's square.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Both sides are scaled to the target: nothing is lost, proportions change.
    Stretch,
    /// The shorter side is scaled to the target, and the centre cut out.
    Crop,
    /// The longer side is scaled to the target, and the rest is filled with black.
    Pad,
}

impl Fit {
    /// Its name in configuration files and models.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stretch => "stretch",
            Self::Crop => "crop",
            Self::Pad => "pad",
        }
    }
}

/// The geometry that an image encoder expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSpec {
    /// Side of the square, in pixels.
    pub size: u32,
    /// How pictures are brought to it.
    pub fit: Fit,
}

/// What a picture may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageLimits {
    /// Largest width × height, checked against the header before anything is decoded. Decoding takes at most
    /// some ten bytes of memory for each.
    pub max_pixels: u64,
}

/// Why a picture cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ImageError {
    /// Not a picture in a format that is read here, or a damaged one.
    #[error("Failed to decode image")]
    Undecodable,
    /// More pixels than allowed.
    #[error("the picture has {pixels} pixels, the limit is {max_pixels}")]
    TooLarge {
        /// What the header claims.
        pixels: u64,
        /// What is allowed.
        max_pixels: u64,
    },
    /// The file claims a modest size, but decoding it would take more memory than the limit stands for.
    #[error("decoding the picture takes more memory than {max_pixels} pixels may")]
    TooMuchMemory {
        /// What is allowed.
        max_pixels: u64,
    },
}

/// Pixels as a file stores them: RGB, 8 bits.
#[derive(Clone, Debug)]
struct Stored {
    width: u32,
    height: u32,
    /// `height` × `width` × 3 bytes: rows of RGB triples.
    rgb: Vec<u8>,
    /// What turns them upright.
    orientation: Orientation,
    /// Width and height of the file.
    whole: (u32, u32),
    /// So many pixels of the file, on each side, make one of these.
    denominator: u32,
}

/// A decoded picture in its whole size, upright: RGB, 8 bits.
#[derive(Clone, Debug)]
pub struct Picture(Stored);

impl Picture {
    /// Decodes a picture file and turns it upright.
    ///
    /// The format is told from the content. Transparency is dropped, not blended, as Pillow's
    /// `convert("RGB")` does it.
    ///
    /// # Errors
    /// Not a picture, a damaged or truncated one, or one that exceeds the limits.
    pub fn decode(file: &[u8], limits: &ImageLimits) -> Result<Self, ImageError> {
        let Stored { width, height, rgb, orientation, .. } = decode::decode(file, limits, None)?;
        let image = RgbImage::from_raw(width, height, rgb).ok_or(ImageError::Undecodable)?;
        let mut image = DynamicImage::ImageRgb8(image);
        image.apply_orientation(orientation);
        Ok(Self(Stored {
            width: image.width(),
            height: image.height(),
            orientation: Orientation::NoTransforms,
            whole: (image.width(), image.height()),
            rgb: image.into_rgb8().into_raw(),
            denominator: 1,
        }))
    }

    /// Width in pixels, after turning upright.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.0.width
    }

    /// Height in pixels, after turning upright.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.0.height
    }

    /// `height` × `width` × 3 bytes: rows of RGB triples.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0.rgb
    }

    /// Scales the picture to the encoder's square: bicubic with antialiasing, as Pillow does it.
    ///
    /// # Errors
    /// The target size is zero.
    pub fn fit(&self, spec: &ImageSpec) -> Result<Pixels, ImageError> {
        fit::fit(&self.0, spec)
    }
}

/// A picture decoded for one encoder: a JPEG as small as is enough for it, as Pillow's `Image.draft` does it, and
/// turned upright when it is small.
///
/// The embedding's cosine to that of the whole [`Picture`] is 0.9995 or more for photographs.
#[derive(Clone, Debug)]
pub struct Draft {
    stored: Stored,
    spec: ImageSpec,
}

impl Draft {
    /// Decodes a picture file as [`Picture::decode`] does; the limits are for the size that the file has.
    ///
    /// # Errors
    /// As there.
    pub fn decode(file: &[u8], limits: &ImageLimits, spec: &ImageSpec) -> Result<Self, ImageError> {
        Ok(Self { stored: decode::decode(file, limits, Some(spec))?, spec: *spec })
    }

    /// Width of the file's picture in pixels, after turning upright.
    #[must_use]
    pub fn width(&self) -> u32 {
        turn::Turn::from(self.stored.orientation).sides(self.stored.whole).0
    }

    /// Height of the file's picture in pixels, after turning upright.
    #[must_use]
    pub fn height(&self) -> u32 {
        turn::Turn::from(self.stored.orientation).sides(self.stored.whole).1
    }

    /// So many pixels of the file, on each side, became one while it was decoded.
    #[must_use]
    pub fn denominator(&self) -> u32 {
        self.stored.denominator
    }

    /// Scales the picture to the encoder's square: bicubic with antialiasing, as Pillow does it.
    ///
    /// # Errors
    /// The target size is zero.
    pub fn fit(&self) -> Result<Pixels, ImageError> {
        fit::fit(&self.stored, &self.spec)
    }
}
