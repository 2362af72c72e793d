//! Decodes JPEGs to a half, a quarter or an eighth of their size with the system's libturbojpeg.
//!
//! A JPEG stores blocks of 8 × 8 pixels as frequencies. Computing fewer pixels of each block scales the picture
//! with a good filter, and saves most of what follows the entropy coding.
//!
//! The library is loaded at run time by its soname: programs are built without it and run without it, and it is
//! the one that the distribution mends. It stays loaded. Its interface of version 2 is used, which 3 still has.
//! Deliberately not here: pictures in their whole size, CMYK, and damaged files. For these [`decode`] gives
//! nothing, and another decoder has to find out.

use std::{
    ffi::{c_int, c_ulong, c_void},
    ptr::NonNull,
    sync::OnceLock,
};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

const SONAME: &str = "libturbojpeg.so.0";

/// Pixels of three bytes: red, green, blue.
const TJPF_RGB: c_int = 0;
/// The last of the colour spaces that are turned into RGB: RGB, YCbCr, gray.
const TJCS_GRAY: c_int = 2;
/// What the library could mend, it must not: it fills gaps with gray.
const TJFLAG_STOPONWARNING: c_int = 1 << 13;
/// Progressive pictures of more than 500 scans are refused: each costs a walk over the whole picture.
const TJFLAG_LIMITSCANS: c_int = 1 << 15;

/// How much smaller the picture becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fraction {
    /// 1/2 of width and height.
    Half,
    /// 1/4.
    Quarter,
    /// 1/8.
    Eighth,
}

impl Fraction {
    /// All, the smallest first.
    pub const ALL: [Self; 3] = [Self::Eighth, Self::Quarter, Self::Half];

    /// So many pixels become one, on each side.
    #[must_use]
    pub fn denominator(self) -> u32 {
        match self {
            Self::Half => 2,
            Self::Quarter => 4,
            Self::Eighth => 8,
        }
    }
}

/// A picture as its file stores it, not turned upright.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scaled {
    /// In pixels: that of the file divided by the denominator, rounded up.
    pub width: u32,
    /// In pixels, as the width.
    pub height: u32,
    /// `height` × `width` × 3 bytes: rows of RGB triples.
    pub rgb: Vec<u8>,
}

/// Whether the system has the library. The first call loads it.
#[must_use]
pub fn is_available() -> bool {
    api().is_some()
}

/// Decodes a JPEG of `width` × `height` pixels to a fraction of that.
///
/// The library takes up to 6 bytes for each pixel of the file where it is progressive, little otherwise.
///
/// None if the library is not there, the file has another size or a kind of colour that is no RGB, or is damaged
/// in any way.
#[must_use]
pub fn decode(file: &[u8], width: u32, height: u32, fraction: Fraction) -> Option<Scaled> {
    let mut decompressor = Decompressor::new(api()?)?;
    if decompressor.size(file)? != (width, height) {
        return None;
    }
    let (width, height) = (width.div_ceil(fraction.denominator()), height.div_ceil(fraction.denominator()));
    let length = usize::try_from(width).ok()?.checked_mul(3)?.checked_mul(usize::try_from(height).ok()?)?;
    let mut rgb = vec![0; length];
    decompressor.decode(file, width, height, &mut rgb)?;
    Some(Scaled { width, height, rgb })
}

struct Api {
    init: unsafe extern "C" fn() -> *mut c_void,
    header: unsafe extern "C" fn(
        *mut c_void,
        *const u8,
        c_ulong,
        *mut c_int,
        *mut c_int,
        *mut c_int,
        *mut c_int,
    ) -> c_int,
    #[allow(clippy::type_complexity, reason = "C's arguments")]
    decompress: unsafe extern "C" fn(
        *mut c_void,
        *const u8,
        c_ulong,
        *mut u8,
        c_int,
        c_int,
        c_int,
        c_int,
        c_int,
    ) -> c_int,
    destroy: unsafe extern "C" fn(*mut c_void) -> c_int,
}

fn api() -> Option<&'static Api> {
    static API: OnceLock<Option<Api>> = OnceLock::new();
    API.get_or_init(load).as_ref()
}

fn load() -> Option<Api> {
    // SAFETY: libturbojpeg does nothing when it is loaded, and is searched for as any library of this program is.
    let library = unsafe { Library::open(Some(SONAME), RTLD_NOW | RTLD_LOCAL) }.ok()?;
    // SAFETY: the types are those of turbojpeg.h, which this soname stands for.
    let api = unsafe {
        Api {
            init: *library.get(b"tjInitDecompress\0").ok()?,
            header: *library.get(b"tjDecompressHeader3\0").ok()?,
            decompress: *library.get(b"tjDecompress2\0").ok()?,
            destroy: *library.get(b"tjDestroy\0").ok()?,
        }
    };
    // Its functions live as long as the process.
    std::mem::forget(library);
    Some(api)
}

/// The library's state for one picture; it has none besides.
struct Decompressor {
    api: &'static Api,
    handle: NonNull<c_void>,
}

impl Decompressor {
    fn new(api: &'static Api) -> Option<Self> {
        // SAFETY: takes nothing, and gives null or a handle that is ours.
        let handle = NonNull::new(unsafe { (api.init)() })?;
        Some(Self { api, handle })
    }

    /// Width and height as the header has them, if the colours can become RGB.
    fn size(&mut self, file: &[u8]) -> Option<(u32, u32)> {
        let length = c_ulong::try_from(file.len()).ok()?;
        let (mut width, mut height, mut subsampling, mut colors) = (0, 0, 0, c_int::MAX);
        // SAFETY: the handle lives; the library reads `length` bytes of the file, and writes four numbers.
        let status = unsafe {
            (self.api.header)(
                self.handle.as_ptr(),
                file.as_ptr(),
                length,
                &raw mut width,
                &raw mut height,
                &raw mut subsampling,
                &raw mut colors,
            )
        };
        if status != 0 || colors > TJCS_GRAY {
            return None;
        }
        Some((u32::try_from(width).ok()?, u32::try_from(height).ok()?))
    }

    /// Fills `rgb` with a picture that is scaled to at most `width` × `height`.
    fn decode(&mut self, file: &[u8], width: u32, height: u32, rgb: &mut [u8]) -> Option<()> {
        let length = c_ulong::try_from(file.len()).ok()?;
        let (width, height) = (c_int::try_from(width).ok()?, c_int::try_from(height).ok()?);
        let row = width.checked_mul(3)?;
        assert!(usize::try_from(row).ok()?.checked_mul(usize::try_from(height).ok()?)? <= rgb.len());
        // SAFETY: the handle lives; the library reads `length` bytes of the file, chooses the largest scale at
        // which the picture has no more than `width` × `height` pixels, and writes as many rows of `row` bytes
        // at most, which `rgb` has room for.
        let status = unsafe {
            (self.api.decompress)(
                self.handle.as_ptr(),
                file.as_ptr(),
                length,
                rgb.as_mut_ptr(),
                width,
                row,
                height,
                TJPF_RGB,
                TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS,
            )
        };
        (status == 0).then_some(())
    }
}

impl Drop for Decompressor {
    fn drop(&mut self) {
        // SAFETY: the handle lives, and is used no more.
        unsafe { (self.api.destroy)(self.handle.as_ptr()) };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use image::{ImageBuffer, Luma, Pixel, Rgb, codecs::jpeg::JpegEncoder};

    use super::*;

    fn jpeg<P>(width: u32, height: u32, pixel: impl Fn(u32, u32) -> P) -> Vec<u8>
    where
        P: Pixel<Subpixel = u8> + image::PixelWithColorType,
    {
        let mut file = Vec::new();
        let picture = ImageBuffer::from_fn(width, height, pixel);
        picture.write_with_encoder(JpegEncoder::new_with_quality(&mut file, 95)).unwrap();
        file
    }

    #[test]
    fn the_library_is_there() {
        assert!(is_available(), "Debian's package libturbojpeg0 is not installed");
    }

    #[test]
    fn scales_to_each_fraction() {
        // Left half red, right half blue; no multiple of a block.
        let file = jpeg(203, 101, |x, _| if x < 104 { Rgb([250, 0, 0]) } else { Rgb([0, 0, 250]) });
        for (fraction, width, height) in
            [(Fraction::Half, 102, 51), (Fraction::Quarter, 51, 26), (Fraction::Eighth, 26, 13)]
        {
            let scaled = decode(&file, 203, 101, fraction).unwrap();
            assert_eq!((scaled.width, scaled.height), (width, height));
            let pixels = scaled.rgb.as_chunks::<3>().0;
            assert_eq!(pixels.len(), (width * height) as usize);
            let (first, last) = (pixels[0], pixels[pixels.len() - 1]);
            assert!(first[0] > 235 && first[2] < 20, "{fraction:?} {first:?}");
            assert!(last[2] > 235 && last[0] < 20, "{fraction:?} {last:?}");
        }
    }

    #[test]
    fn gray_becomes_rgb() {
        let file = jpeg(64, 64, |_, _| Luma([77]));
        let scaled = decode(&file, 64, 64, Fraction::Half).unwrap();
        assert!(scaled.rgb.iter().all(|value| value.abs_diff(77) < 2));
    }

    #[test]
    fn other_sizes_and_damage_give_nothing() {
        let file = jpeg(64, 48, |x, y| Rgb([x as u8, y as u8, (x * y) as u8]));
        assert!(decode(&file, 64, 48, Fraction::Half).is_some());
        assert_eq!(decode(&file, 48, 64, Fraction::Half), None);
        for cut in [0, 2, 20, file.len() / 2, file.len() - 40] {
            assert_eq!(decode(&file[..cut], 64, 48, Fraction::Half), None, "cut at {cut}");
        }
        let mut damaged = file.clone();
        // A marker in the middle of the compressed data.
        let middle = file.len() - 100;
        damaged[middle..middle + 2].copy_from_slice(&[0xff, 0xd7]);
        assert_eq!(decode(&damaged, 64, 48, Fraction::Half), None);
        assert_eq!(decode(b"no picture", 64, 48, Fraction::Half), None);
    }
}
