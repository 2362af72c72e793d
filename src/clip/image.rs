//! Image pre-processing: from the bytes of a picture file to the pixels an image encoder takes.
//!
//! `decode` reads JPEG, PNG, WebP, GIF (the first frame), BMP and TIFF, `color` reduces them to RGB of
//! 8 bits, `fit` scales them as Pillow does, `pixels` hands them to an encoder. Colour profiles are not applied, as
//! CLIP's own pre-processing does not apply them.

mod color;
mod decode;
mod fit;
mod pixels;

use thiserror::Error;

pub use self::pixels::Pixels;

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

/// A decoded picture: RGB, 8 bits, upright.
#[derive(Clone, Debug)]
pub struct Picture {
    width: u32,
    height: u32,
    /// `height` × `width` × 3 bytes: rows of RGB triples.
    rgb: Vec<u8>,
}

impl Picture {
    /// Decodes a picture file and turns it upright.
    ///
    /// The format is told from the content. Transparency is dropped, not blended, as Pillow's
    /// `convert("RGB")` does it.
    ///
    /// # Errors
    /// Not a picture, a damaged or truncated one, or one that exceeds the limits.
    pub fn decode(file: &[u8], limits: &ImageLimits) -> Result<Self, ImageError> {
        let image = decode::decode(file, limits)?;
        Ok(Self { width: image.width(), height: image.height(), rgb: image.into_raw() })
    }

    /// Width in pixels, after turning upright.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, after turning upright.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// `height` × `width` × 3 bytes: rows of RGB triples.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.rgb
    }

    /// Scales the picture to the encoder's square: bicubic with antialiasing, as Pillow does it.
    ///
    /// # Errors
    /// The target size is zero.
    pub fn fit(&self, spec: &ImageSpec) -> Result<Pixels, ImageError> {
        fit::fit(self, spec)
    }
}
