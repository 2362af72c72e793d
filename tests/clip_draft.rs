//! Pictures decoded no larger than an encoder needs, against the same in their whole size.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test fails by panicking")]

use std::{env, fs, io::Cursor, path::Path};

use hailo_clip::{
    backend::{Backend, CpuOptions, Encoders},
    clip::{Draft, Fit, ImageError, ImageLimits, ImageSpec, Picture, Pixels},
    model::Bundle,
};
use image::{RgbImage, codecs::jpeg::JpegEncoder, imageops};
use proptest::prelude::*;

const LIMITS: ImageLimits = ImageLimits { max_pixels: 16_000_000 };
const FITS: [Fit; 3] = [Fit::Stretch, Fit::Crop, Fit::Pad];
const PHOTOGRAPHS: [&str; 4] = ["astronaut.png", "cat.jpg", "coffee_portrait.jpg", "rocket_exif6.jpg"];

/// What the embedding of a draft must have with that of the whole picture.
const MINIMUM_COSINE: f32 = 0.9995;

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/preprocess").join(name)).unwrap()
}

fn photograph(name: &str) -> RgbImage {
    let picture = Picture::decode(&fixture(name), &LIMITS).unwrap();
    RgbImage::from_raw(picture.width(), picture.height(), picture.as_bytes().to_vec()).unwrap()
}

/// Photographs beside each other, in their own resolution.
fn mosaic(width: u32, height: u32) -> RgbImage {
    let tiles = PHOTOGRAPHS.map(photograph);
    let mut whole = RgbImage::new(width, height);
    for (row, y) in (0..height).step_by(300).enumerate() {
        for (column, x) in (0..width).step_by(400).enumerate() {
            let tile = &tiles[(row * 3 + column) % tiles.len()];
            imageops::replace(&mut whole, tile, x.into(), y.into());
        }
    }
    whole
}

fn jpeg(picture: &RgbImage) -> Vec<u8> {
    let mut file = Vec::new();
    picture.write_with_encoder(JpegEncoder::new_with_quality(&mut file, 90)).unwrap();
    file
}

/// The file with an EXIF header that says how to turn it upright.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut file = jpeg[..2].to_vec();
    file.extend(b"\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0");
    file.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    file.extend(&jpeg[2..]);
    file
}

fn spec(size: u32, fit: Fit) -> ImageSpec {
    ImageSpec { size, fit }
}

/// The draft's pixels and those of the whole picture.
fn both(file: &[u8], spec: &ImageSpec) -> (Draft, Pixels, Pixels) {
    let draft = Draft::decode(file, &LIMITS, spec).unwrap();
    let picture = Picture::decode(file, &LIMITS).unwrap();
    assert_eq!((draft.width(), draft.height()), (picture.width(), picture.height()));
    let pixels = draft.fit().unwrap();
    (draft, pixels, picture.fit(spec).unwrap())
}

/// Largest and mean absolute difference.
fn difference(ours: &Pixels, theirs: &Pixels) -> (u8, f64) {
    let each = || ours.as_bytes().iter().zip(theirs.as_bytes()).map(|(a, b)| a.abs_diff(*b));
    (each().max().unwrap(), each().map(f64::from).sum::<f64>() / ours.as_bytes().len() as f64)
}

#[test]
fn large_jpegs_are_reduced_and_look_the_same() {
    for (width, height, size, denominator) in
        [(1152, 864, 224, 2), (864, 1153, 224, 2), (1152, 864, 128, 4), (864, 1153, 48, 8)]
    {
        let file = jpeg(&mosaic(width, height));
        for fit in FITS {
            let (draft, ours, theirs) = both(&file, &spec(size, fit));
            let (max, mean) = difference(&ours, &theirs);
            eprintln!("{width} × {height} to {size}, {fit:?}: largest difference {max}, mean {mean:.3}");
            // The padded square needs its longer side alone.
            assert!(draft.denominator() == denominator || fit == Fit::Pad, "{}", draft.denominator());
            assert!(mean < 1.5, "{width} × {height} {fit:?}: {max}, {mean}");
        }
    }
}

#[test]
fn small_and_other_pictures_are_decoded_whole() {
    for name in PHOTOGRAPHS {
        for fit in FITS {
            let (draft, ours, theirs) = both(&fixture(name), &spec(224, fit));
            assert_eq!(draft.denominator(), 1, "{name}");
            assert!(difference(&ours, &theirs).0 <= 1, "{name} {fit:?}");
        }
    }
}

#[test]
fn every_orientation_is_turned_upright() {
    // Sides of which the crop's offset is odd, for every margin.
    for (size, sides) in [(32, (61, 40)), (40, (201, 120)), (32, (9, 300))] {
        let upright = imageops::crop_imm(&photograph("astronaut.png"), 90, 20, sides.0, sides.1).to_image();
        let file = jpeg(&upright);
        for orientation in 1..=8 {
            for fit in FITS {
                let file = with_orientation(&file, orientation);
                let (draft, ours, theirs) = both(&file, &spec(size, fit));
                let (max, mean) = difference(&ours, &theirs);
                // What is decoded whole is the same but for rounding; what is not is as near as anywhere.
                let limit = if draft.denominator() == 1 { 1 } else { 40 };
                assert!(
                    max <= limit && mean < 1.5,
                    "{sides:?} orientation {orientation} {fit:?} 1/{}: {max}, {mean}",
                    draft.denominator()
                );
            }
        }
    }
}

#[test]
fn formats_that_are_not_reduced_are_read_as_ever() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/preprocess/formats");
    let mut reduced = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".npy") {
            continue;
        }
        let (draft, ours, theirs) = both(&fs::read(&path).unwrap(), &spec(8, Fit::Stretch));
        let (max, mean) = difference(&ours, &theirs);
        assert!(if draft.denominator() == 1 { max <= 1 } else { mean < 4.0 }, "{name}: {max}, {mean}");
        if draft.denominator() > 1 {
            reduced.push(name);
        }
    }
    reduced.sort();
    // CMYK and YCCK are not.
    assert_eq!(reduced, ["baseline.jpg", "exif6.jpg", "gray.jpg", "progressive.jpg"]);
}

#[test]
fn limits_are_for_the_whole_picture() {
    let file = jpeg(&mosaic(1152, 864));
    let limit = |max_pixels| Draft::decode(&file, &ImageLimits { max_pixels }, &spec(224, Fit::Crop)).err();
    assert_eq!(limit(1152 * 864), None);
    assert_eq!(
        limit(1152 * 864 - 1),
        Some(ImageError::TooLarge { pixels: 1152 * 864, max_pixels: 1152 * 864 - 1 })
    );
}

#[test]
fn truncated_jpegs_are_refused() {
    let file = jpeg(&mosaic(1152, 864));
    for end in [0, 2, 300, file.len() / 2, file.len() - 2] {
        let truncated = Draft::decode(&file[..end], &LIMITS, &spec(224, Fit::Crop)).err();
        assert_eq!(truncated, Some(ImageError::Undecodable), "cut at {end} of {}", file.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Damage that was forgiven is forgiven still, and what is found then is the same picture.
    #[test]
    fn damage_is_judged_as_ever(
        name in prop::sample::select(&["baseline.jpg", "progressive.jpg", "gray.jpg", "exif6.jpg"][..]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut file = fixture(&format!("formats/{name}"));
        for (at, byte) in damage {
            let at = at.index(file.len());
            file[at] = byte;
        }
        let draft = Draft::decode(&file, &LIMITS, &spec(8, Fit::Stretch));
        match Picture::decode(&file, &LIMITS) {
            Ok(picture) => {
                let draft = draft.unwrap();
                prop_assert_eq!((draft.width(), draft.height()), (picture.width(), picture.height()));
                draft.fit().unwrap();
            }
            // Some that one decoder gives up the other reads, without a complaint.
            Err(error) => if let Err(other) = draft { prop_assert_eq!(other, error) },
        }
    }
}

/// Photographs of these sizes, and those of the fixtures as they are.
fn photographs(sizes: &[(u32, u32)]) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> =
        PHOTOGRAPHS.iter().map(|name| ((*name).to_owned(), fixture(name))).collect();
    for &(width, height) in sizes {
        files.push((format!("mosaic, {width} × {height}"), jpeg(&mosaic(width, height))));
    }
    files
}

fn assert_embeddings_agree(bundle: &Path, sizes: &[(u32, u32)]) {
    let bundle = Bundle::open(bundle).unwrap();
    let encoders = Encoders::on_cpu(&bundle, CpuOptions::default()).unwrap();
    let spec = spec(bundle.image.size, bundle.image.fit);
    let mut reduced = 0;
    for (name, file) in photographs(sizes) {
        let (draft, ours, theirs) = both(&file, &spec);
        let [ours, theirs] =
            [ours, theirs].map(|pixels| encoders.embed_images(&[&pixels]).unwrap().remove(0));
        let cosine = ours.cosine(&theirs).unwrap();
        println!("{}: {name} at 1/{}: cosine {cosine:.6}", bundle.name, draft.denominator());
        assert!(cosine >= MINIMUM_COSINE, "{name}: {cosine}");
        reduced += usize::from(draft.denominator() > 1);
    }
    assert_eq!(reduced, sizes.len(), "is Debian's package libturbojpeg0 installed?");
}

#[test]
fn embeddings_agree_with_those_of_whole_pictures() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo");
    assert_embeddings_agree(&demo, &[(1280, 720), (1345, 1345)]);
}

#[test]
#[ignore = "needs the network that `make vit-b32` exports"]
fn embeddings_of_a_vit_b_32_agree_with_those_of_whole_pictures() {
    let folder = env::var_os("HAILO_CLIP_VIT_B32").expect("needs the network that `make vit-b32` exports");
    // The margin of each fraction at its narrowest, and what cameras give.
    let sizes = [(673, 673), (1280, 720), (1345, 1345), (4000, 3000), (3585, 3585)];
    assert_embeddings_agree(Path::new(&folder), &sizes);
}

/// A PNG is not reduced, but turned after scaling like any other.
#[test]
fn long_pictures_on_their_side_need_little_memory() {
    let picture = RgbImage::from_pixel(60_000, 2, image::Rgb([10, 200, 30]));
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
    let mut file = png.into_inner();
    // An eXIf chunk behind the header: turned by 90 degrees.
    let mut chunk = b"eXIfII*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    let mut checksum = flate2::Crc::new();
    checksum.update(&chunk);
    chunk.extend(checksum.sum().to_be_bytes());
    file.splice(33..33, [&26_u32.to_be_bytes()[..], &chunk].concat());
    for fit in FITS {
        let (draft, ours, theirs) = both(&file, &spec(224, fit));
        assert_eq!((draft.width(), draft.height()), (2, 60_000));
        assert!(difference(&ours, &theirs).0 <= 1, "{fit:?}");
    }
}
