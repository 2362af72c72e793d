//! Decoding and scaling against Pillow.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use hailo_clip::clip::{Fit, ImageError, ImageLimits, ImageSpec, Picture};
use ndarray::{Array3, ArrayView3};
use proptest::prelude::*;

const LIMITS: ImageLimits = ImageLimits { max_pixels: 1 << 20 };

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/preprocess").join(name)).unwrap()
}

/// Reads NumPy's format as far as `np.save` writes it for a C-ordered uint8 array of three axes.
fn npy(name: &str) -> Array3<u8> {
    let file = fixture(name);
    let data = 10 + usize::from(u16::from_le_bytes([file[8], file[9]]));
    let header = std::str::from_utf8(&file[10..data]).unwrap();
    assert!(header.contains("'|u1'") && header.contains("'fortran_order': False"), "{header}");
    let shape = header.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0;
    let sides: Vec<usize> = shape.split(", ").map(|side| side.parse().unwrap()).collect();
    Array3::from_shape_vec((sides[0], sides[1], sides[2]), file[data..].to_vec()).unwrap()
}

fn decode(name: &str) -> Picture {
    Picture::decode(&fixture(name), &LIMITS).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn array(picture: &Picture) -> ArrayView3<'_, u8> {
    let shape = (picture.height() as usize, picture.width() as usize, 3);
    ArrayView3::from_shape(shape, picture.as_bytes()).unwrap()
}

/// Largest and mean absolute difference.
fn difference(name: &str, ours: ArrayView3<u8>, theirs: ArrayView3<u8>) -> (u8, f64) {
    assert_eq!(ours.shape(), theirs.shape(), "{name}");
    let each = || ours.iter().zip(theirs).map(|(a, b)| a.abs_diff(*b));
    (each().max().unwrap(), each().map(f64::from).sum::<f64>() / ours.len() as f64)
}

#[test]
fn scales_as_pillow_does() {
    let pictures = ["astronaut.png", "astronaut_rgba.png", "tiny.png"];
    let photographs = ["cat.jpg", "cat_gray.jpg", "coffee_portrait.jpg", "rocket_exif6.jpg"];
    for name in pictures.iter().chain(&photographs) {
        for (fit, suffix) in [(Fit::Stretch, "stretch"), (Fit::Crop, "crop"), (Fit::Pad, "pad")] {
            let pixels = decode(name).fit(&ImageSpec { size: 224, fit }).unwrap();
            let ours = ArrayView3::from_shape((224, 224, 3), pixels.as_bytes()).unwrap();
            let (max, mean) = difference(name, ours, npy(&format!("{name}.{suffix}.npy")).view());
            eprintln!("{name} {suffix}: largest difference {max}, mean {mean:.3}");
            // JPEG decoders differ among themselves, PNG decoders do not.
            assert!(
                if name.ends_with(".png") { max <= 1 } else { mean <= 1.0 },
                "{name} {suffix}: {max}, {mean}"
            );
        }
    }
}

#[test]
fn decodes_every_format_as_pillow_does() {
    for name in FORMATS {
        let (max, mean) = difference(
            name,
            array(&decode(&format!("formats/{name}"))),
            npy(&format!("formats/{name}.npy")).view(),
        );
        eprintln!("{name}: largest difference {max}, mean {mean:.3}");
        let lossy = name.ends_with(".jpg") || *name == "lossy.webp";
        assert!(if lossy { mean <= 1.5 } else { max == 0 }, "{name}: {max}, {mean}");
    }
}

#[test]
fn fits_pictures_of_extreme_shape() {
    let line = |width, height| {
        let gray = image::GrayImage::from_pixel(width, height, image::Luma([200]));
        let mut png = std::io::Cursor::new(Vec::new());
        gray.write_to(&mut png, image::ImageFormat::Png).unwrap();
        Picture::decode(png.get_ref(), &LIMITS).unwrap()
    };
    for picture in [line(1, 1), line(1, 9_000), line(9_000, 1), line(3, 30_000), line(223, 225)] {
        for fit in [Fit::Stretch, Fit::Crop, Fit::Pad] {
            for size in [32, 224, 500] {
                let pixels = picture.fit(&ImageSpec { size, fit }).unwrap();
                assert_eq!(pixels.as_bytes().len(), (size * size * 3) as usize);
                let gray =
                    pixels.as_bytes().iter().all(|&value| value == 200 || (fit == Fit::Pad && value == 0));
                assert!(gray, "{} × {} {fit:?} {size}", picture.width(), picture.height());
            }
        }
    }
    assert!(line(1, 1).fit(&ImageSpec { size: 0, fit: Fit::Stretch }).is_err());
}

#[test]
fn refuses_truncated_files() {
    for name in FORMATS {
        let file = fixture(&format!("formats/{name}"));
        // What follows the first frame of an animation is not read.
        let part = if name.starts_with("animated") { 4 } else { 10 };
        for end in [0, 1, 8, 20, file.len() / part, file.len() * 3 / part / 2] {
            let truncated = Picture::decode(&file[..end], &LIMITS).err();
            assert_eq!(truncated, Some(ImageError::Undecodable), "{name} cut at {end} of {}", file.len());
        }
    }
}

#[test]
fn refuses_what_is_no_picture() {
    for file in [&b""[..], b"\0", b"hello", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\xff\xd8\xff\xd9"]
    {
        assert_eq!(Picture::decode(file, &LIMITS).err(), Some(ImageError::Undecodable));
    }
}

#[test]
fn checks_the_header_against_the_limit() {
    for name in FORMATS {
        let file = fixture(&format!("formats/{name}"));
        assert!(Picture::decode(&file, &ImageLimits { max_pixels: 48 * 32 }).is_ok(), "{name}");
        assert_eq!(
            Picture::decode(&file, &ImageLimits { max_pixels: 48 * 32 - 1 }).err(),
            Some(ImageError::TooLarge { pixels: 48 * 32, max_pixels: 48 * 32 - 1 }),
            "{name}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic(file in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = Picture::decode(&file, &LIMITS);
    }

    #[test]
    fn no_damage_panics(
        name in prop::sample::select(FORMATS),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        end in any::<prop::sample::Index>(),
    ) {
        let mut file = fixture(&format!("formats/{name}"));
        for (at, byte) in damage {
            // Most of what matters is in the header.
            let at = at.index(file.len());
            file[if byte % 2 == 0 { at } else { at % 128 }] = byte;
        }
        if let Ok(picture) = Picture::decode(&file, &LIMITS) {
            prop_assert!(u64::from(picture.width()) * u64::from(picture.height()) <= LIMITS.max_pixels);
        }
        let _ = Picture::decode(&file[..end.index(file.len())], &LIMITS);
    }
}

const FORMATS: &[&str] = &[
    "alpha.webp",
    "animated.gif",
    "animated.png",
    "animated.webp",
    "baseline.jpg",
    "bilevel.png",
    "bilevel.tif",
    "cmyk.jpg",
    "cmyk.tif",
    "cmyk_adobe.jpg",
    "exif6.jpg",
    "exif6.png",
    "exif6.tif",
    "exif6.webp",
    "gray.gif",
    "gray.jpg",
    "gray.png",
    "gray.tif",
    "gray16.png",
    "gray16.tif",
    "gray_alpha.png",
    "lossless.webp",
    "lossy.webp",
    "palette.bmp",
    "palette.gif",
    "palette.png",
    "progressive.jpg",
    "rgb.bmp",
    "rgb.tif",
    "rgb16.png",
    "rgb_deflate.tif",
    "rgb_lzw.tif",
    "rgba16.png",
    "transparent_palette.png",
    "ycck_adobe.jpg",
];
