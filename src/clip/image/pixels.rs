//! The pixels an image encoder takes.

/// A square RGB picture as image encoders take it: height × width × channel, 8 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    size: u32,
    rgb: Vec<u8>,
}

impl Pixels {
    /// Takes rows of RGB triples; `None` unless there are `size` × `size` × 3 bytes, and at least one pixel.
    #[must_use]
    pub fn from_rgb(size: u32, rgb: Vec<u8>) -> Option<Self> {
        let expected = (size as usize).checked_mul(size as usize)?.checked_mul(3)?;
        (size > 0 && rgb.len() == expected).then_some(Self { size, rgb })
    }

    /// A black square with sides of `size` pixels, at least one.
    #[must_use]
    pub fn black(size: u32) -> Self {
        let size = size.max(1);
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

    /// Writes `(value / 255 − mean) / std` of each channel, as three planes (channel × height × width).
    ///
    /// # Panics
    /// `out` is not 3 × `size` × `size` long.
    pub fn normalize_into(&self, mean: &[f32; 3], std: &[f32; 3], out: &mut [f32]) {
        let side = self.size as usize;
        let plane = side * side;
        assert_eq!(out.len(), 3 * plane, "out holds 3 planes");
        let (red, rest) = out.split_at_mut(plane);
        let (green, blue) = rest.split_at_mut(plane);
        // value × scale + offset, the same with one multiplication.
        let scale = std.map(|std| 1.0 / (255.0 * std));
        let offset = [0, 1, 2].map(|channel| -mean[channel] / std[channel]);
        let (pixels, _) = self.rgb.as_chunks::<3>();
        for (((pixel, red), green), blue) in pixels.iter().zip(red).zip(green).zip(blue) {
            *red = f32::from(pixel[0]) * scale[0] + offset[0];
            *green = f32::from(pixel[1]) * scale[1] + offset[1];
            *blue = f32::from(pixel[2]) * scale[2] + offset[2];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_squares_only() {
        assert!(Pixels::from_rgb(2, vec![0; 12]).is_some());
        for (size, length) in [(0, 0), (1, 2), (2, 11), (2, 13), (u32::MAX, 3)] {
            assert_eq!(Pixels::from_rgb(size, vec![0; length]), None, "{size} {length}");
        }
    }

    #[test]
    fn normalizes_to_planes() {
        let pixels = Pixels::from_rgb(2, vec![0, 51, 255, 255, 0, 51, 51, 255, 0, 0, 0, 0]).unwrap();
        let mut planes = [f32::NAN; 12];
        pixels.normalize_into(&[0.5, 0.0, 0.2], &[0.5, 1.0, 0.1], &mut planes);
        let expected = [-1.0, 1.0, -0.6, -1.0, 0.2, 0.0, 1.0, 0.0, 8.0, 0.0, -2.0, -2.0];
        for (value, expected) in planes.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-5, "{planes:?}");
        }
    }
}
