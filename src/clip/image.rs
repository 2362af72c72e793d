//! Image pre-processing: from the bytes of a picture file to the pixels an image encoder takes.

use thiserror::Error;

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
    /// Largest width × height, checked against the header before anything is decoded.
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
}

/// A decoded picture: RGB, 8 bits, upright.
#[derive(Clone, Debug)]
pub struct Picture {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

/// A square RGB picture as image encoders take it: height × width × channel, 8 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    size: u32,
    rgb: Vec<u8>,
}

impl Picture {
    /// Decodes a picture file and turns it upright.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn decode(_file: &[u8], _limits: &ImageLimits) -> Result<Self, ImageError> {
        todo!()
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

    /// Scales the picture to the encoder's square.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn fit(&self, _spec: &ImageSpec) -> Result<Pixels, ImageError> {
        todo!()
    }
}

impl Pixels {
    /// A black square, to warm an encoder up with.
    #[must_use]
    pub fn black(size: u32) -> Self {
        Self { size, rgb: vec![0; size as usize * size as usize * 3] }
    }

    /// Side of the square, in pixels.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size
    }

    /// `size` × `size` × 3 bytes: rows of RGB triples.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.rgb
    }
}
