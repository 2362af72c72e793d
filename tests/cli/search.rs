//! `hailo-clip search`. The fake's embeddings depend on lengths: what has the query's length fits best.

use std::{fs, process::Stdio};

use image::{Rgb, RgbImage};

use crate::{bus::Finished, fake::Fake};

fn folder() -> Fake {
    let fake = Fake::start();
    fake.file("photos/1.jpg", "1");
    fake.file("photos/4.jpg", "4444");
    fake.file("photos/sub/9.jpg", "999999999");
    fake
}

#[test]
fn the_best_pictures_come_first() {
    let fake = folder();
    let out = fake.run(&["search", "photos", "four", "--top", "2"]).success();
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!((lines[0][0], lines[0][1], lines[0][2]), ("photos/4.jpg", "1.000000", "four"));
    assert_eq!((lines.len(), lines[1][0]), (2, "photos/sub/9.jpg"));
    fake.calls();
    fake.run(&["search", "photos", "four"]).success();
    assert_eq!(fake.calls().len(), 1, "the folder is indexed, the text alone is asked for");
}

#[test]
fn several_queries_and_pictures_are_searched_for() {
    let fake = folder();
    fake.file("like.jpg", "xxxxxxxxx");
    let arguments = ["search", "photos", "1", "four", "--image", "like.jpg", "--top", "1", "--json"];
    let out = fake.run(&arguments).success();
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found: Vec<_> = lines.iter().map(|line| (line["query"].as_str(), line["path"].as_str())).collect();
    assert_eq!(
        found,
        [
            (Some("1"), Some("photos/1.jpg")),
            (Some("four"), Some("photos/4.jpg")),
            (Some("like.jpg"), Some("photos/sub/9.jpg")),
        ]
    );
    assert_eq!((&lines[0]["rank"], &lines[0]["model"]), (&1.into(), &"fake".into()));
}

#[test]
fn paths_for_xargs_are_bytes() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let fake = folder();
    let name = OsStr::from_bytes(b"photos/\xff\n.jpg");
    fs::write(fake.bus.folder.path().join(name), "55555").unwrap();
    let mut command = fake.bus.command(&["search", "photos", "fives", "-0", "-n", "1"]);
    assert_eq!(command.output().unwrap().stdout, b"photos/\xff\n.jpg\0");
}

#[test]
fn scores_can_be_too_low() {
    let fake = folder();
    assert_eq!(fake.run(&["search", "photos", "four", "--min-score", "1.1"]).success(), "");
}

#[test]
fn mistakes_are_told_before_the_folder_is_indexed() {
    let fake = folder();
    fake.run(&["search", "photos"]).failure(2);
    let err = fake.run(&["search", "photos", "a cat", "--sheet", "x.gif"]).failure(2);
    assert!(err.contains("FILE.html or FILE.png"), "{err}");
    let err = fake.run(&["search", "missing", "a cat"]).failure(1);
    assert_eq!(err, "hailo-clip: missing: no such folder\n");
    fake.file("broken.jpg", "broken");
    let err = fake.run(&["search", "photos", "--image", "broken.jpg"]).failure(1);
    assert!(err.starts_with("hailo-clip: broken.jpg: not a picture"), "{err}");
    assert_eq!(fake.calls().len(), 1);
}

#[test]
fn what_cannot_be_read_is_listed_after_the_results() {
    let fake = folder();
    fake.file("photos/b.jpg", "broken");
    let finished = fake.run(&["search", "photos", "four"]);
    assert_eq!(finished.out.lines().count(), 3);
    assert!(finished.failure(1).starts_with("hailo-clip: photos/b.jpg: not a picture"));
}

/// A red picture whose camera was turned by a quarter, so that it is 60 × 120 and not 120 × 60.
fn turned() -> Vec<u8> {
    let mut jpeg = std::io::Cursor::new(Vec::new());
    let red = RgbImage::from_pixel(120, 60, Rgb([250, 0, 0]));
    red.write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    let jpeg = jpeg.into_inner();
    // Exif with the one entry orientation = 6.
    let exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, exif, &jpeg[2..]].concat()
}

#[test]
fn a_contact_sheet_is_one_page_with_everything_in_it() {
    let fake = folder();
    fake.file("photos/turned.jpg", turned());
    let arguments = ["search", "photos", "<b>", "-n", "4", "--sheet", "sheet.html"];
    assert_eq!(fake.run(&arguments).success(), "");
    let page = fs::read_to_string(fake.bus.folder.path().join("sheet.html")).unwrap();
    assert!(page.contains("<h2>&lt;b&gt;</h2>") && page.contains("not readable"), "{page}");
    let (_, data) = page.split_once("data:image/jpeg;base64,").unwrap();
    let data = data.split('"').next().unwrap();
    let thumbnail = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, data).unwrap();
    let thumbnail = image::load_from_memory(&thumbnail).unwrap();
    assert_eq!((thumbnail.width(), thumbnail.height()), (60, 120));
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("<script"));
}

#[test]
fn a_contact_sheet_is_a_picture() {
    let fake = folder();
    fake.file("photos/turned.jpg", turned());
    let arguments = ["search", "photos", "a long query", "--sheet", "sheet.png"];
    let finished = fake.run(&arguments);
    assert_eq!(finished.code, Some(0), "{}", finished.err);
    let sheet = image::open(fake.bus.folder.path().join("sheet.png")).unwrap().to_rgb8();
    let red = sheet.pixels().filter(|pixel| pixel[0] > 200 && pixel[1] < 60).count();
    assert!((60 * 110..=60 * 130).contains(&red), "{red}");
}

#[test]
fn the_picture_to_resemble_comes_from_a_pipe_as_well() {
    let fake = folder();
    let mut command = fake.bus.command(&["search", "photos", "--image", "-", "-n", "1"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"1234").unwrap();
    let out = Finished::from(child.wait_with_output().unwrap()).success();
    assert!(out.starts_with("photos/4.jpg\t1.000000\t-\n"), "{out}");
}
