//! How much of a large JPEG an encoder needs, and decoding no more than that.
//!
//! libturbojpeg does it, because no decoder in Rust that is well kept scales while it decodes: with a photograph of
//! 12 megapixels it takes half the time of the one that decodes whole pictures here, with one of a megapixel two
//! thirds (`make bench-pictures`). It is C, and reads hostile input. That it is the system's, which its
//! distribution mends, that it is among the most fuzzed of libraries, and that the service's sandbox leaves little
//! to gain, speak for it; who does not want it removes its package. What it does not decode without a
//! complaint is decoded by the other decoder, which alone says what is wrong.

use libturbojpeg::{Fraction, Scaled};

use super::{Fit, ImageSpec};

pub use libturbojpeg::is_available;

/// How much longer than the target a scaled side remains, in halves.
///
/// At these margins the cosine of a photograph's embedding to that of the whole picture is above 0.9995; with less,
/// or with as much at an eighth, which is no more than the mean of each block and hardly faster than a quarter, it
/// is not. At twice the target for all, pictures of a megapixel would not be scaled.
fn margin_in_halves(fraction: Fraction) -> u64 {
    match fraction {
        Fraction::Half | Fraction::Quarter => 3,
        Fraction::Eighth => 4,
    }
}

/// The picture as small as is enough, and what its sides were divided by; none if it is small as it is, or not
/// decoded here.
pub(super) fn reduce(file: &[u8], whole: (u32, u32), spec: &ImageSpec) -> Option<(Scaled, u32)> {
    let fraction = fraction(whole, spec)?;
    let scaled = libturbojpeg::decode(file, whole.0, whole.1, fraction)?;
    Some((scaled, fraction.denominator()))
}

fn fraction((width, height): (u32, u32), spec: &ImageSpec) -> Option<Fraction> {
    // The side that is scaled least.
    let side = match spec.fit {
        Fit::Stretch | Fit::Crop => width.min(height),
        Fit::Pad => width.max(height),
    };
    let enough = |fraction: &Fraction| {
        let scaled_target = u64::from(spec.size) * u64::from(fraction.denominator());
        2 * u64::from(side) >= margin_in_halves(*fraction) * scaled_target
    };
    Fraction::ALL.into_iter().find(enough)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_margin_above_the_target_remains() {
        let spec = |fit| ImageSpec { size: 224, fit };
        for (whole, square, pad) in [
            ((6000, 4000), Some(Fraction::Eighth), Some(Fraction::Eighth)),
            ((4000, 3000), Some(Fraction::Quarter), Some(Fraction::Eighth)),
            ((3000, 4000), Some(Fraction::Quarter), Some(Fraction::Eighth)),
            ((3584, 3583), Some(Fraction::Quarter), Some(Fraction::Eighth)),
            ((1344, 1344), Some(Fraction::Quarter), Some(Fraction::Quarter)),
            ((1152, 864), Some(Fraction::Half), Some(Fraction::Half)),
            ((672, 671), None, Some(Fraction::Half)),
            ((671, 671), None, None),
            ((65_535, 1), None, Some(Fraction::Eighth)),
        ] {
            assert_eq!(fraction(whole, &spec(Fit::Stretch)), square, "{whole:?}");
            assert_eq!(fraction(whole, &spec(Fit::Crop)), square, "{whole:?}");
            assert_eq!(fraction(whole, &spec(Fit::Pad)), pad, "{whole:?}");
        }
    }
}
