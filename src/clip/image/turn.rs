//! From upright to stored: a picture is scaled as its file stores it, and its small square turned upright then.

use image::{DynamicImage, RgbImage, metadata::Orientation};

/// How stored pixels become upright ones: they are mirrored, then rows and columns are swapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) swap: bool,
    mirror_x: bool,
    mirror_y: bool,
}

/// A part of a picture: where it begins, and its sides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl From<Orientation> for Turn {
    fn from(orientation: Orientation) -> Self {
        let (swap, mirror_x, mirror_y) = match orientation {
            Orientation::NoTransforms => (false, false, false),
            Orientation::FlipHorizontal => (false, true, false),
            Orientation::FlipVertical => (false, false, true),
            Orientation::Rotate180 => (false, true, true),
            Orientation::Rotate90 => (true, false, true),
            Orientation::Rotate270 => (true, true, false),
            Orientation::Rotate90FlipH => (true, false, false),
            Orientation::Rotate270FlipH => (true, true, true),
        };
        Self { swap, mirror_x, mirror_y }
    }
}

impl Turn {
    /// Width and height of the one, from those of the other.
    pub(super) fn sides(self, (width, height): (u32, u32)) -> (u32, u32) {
        if self.swap { (height, width) } else { (width, height) }
    }

    /// Where a part of the upright picture is stored, in one of `width` × `height` pixels.
    pub(super) fn stored(self, upright: Part, (width, height): (u32, u32)) -> Part {
        let Part { left, top, width: across, height: down } = upright;
        let mut part = upright;
        if self.swap {
            part = Part { left: top, top: left, width: down, height: across };
        }
        // A rounding error must not reach over the edge.
        if self.mirror_x {
            part.left = (f64::from(width) - part.left - part.width).max(0.0);
        }
        if self.mirror_y {
            part.top = (f64::from(height) - part.top - part.height).max(0.0);
        }
        part
    }
}

/// Turns a square of `size` × `size` RGB triples upright.
pub(super) fn upright(rgb: Vec<u8>, size: u32, orientation: Orientation) -> Option<Vec<u8>> {
    if orientation == Orientation::NoTransforms {
        return Some(rgb);
    }
    let mut square = DynamicImage::ImageRgb8(RgbImage::from_raw(size, size, rgb)?);
    square.apply_orientation(orientation);
    Some(square.into_rgb8().into_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One pixel of an upright picture of 3 × 2 is where turning the stored picture brings it.
    #[test]
    fn finds_what_the_image_crate_turns() {
        for exif in 1..=8 {
            let orientation = Orientation::from_exif(exif).unwrap();
            let turn = Turn::from(orientation);
            let (width, height) = turn.sides((3, 2));
            let stored = RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 0]));
            let mut upright = DynamicImage::ImageRgb8(stored);
            upright.apply_orientation(orientation);
            let upright = upright.into_rgb8();
            for (x, y, pixel) in upright.enumerate_pixels() {
                let part = Part { left: f64::from(x), top: f64::from(y), width: 1.0, height: 1.0 };
                let found = turn.stored(part, (width, height));
                assert_eq!((found.left, found.top), (f64::from(pixel[0]), f64::from(pixel[1])), "{exif}");
            }
        }
    }
}
