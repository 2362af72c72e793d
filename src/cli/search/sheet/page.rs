//! A contact sheet as a web page of one file: thumbnails inside, nothing loaded, no script.

use std::{fmt::Write, io::Cursor, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use image::{ExtendedColorType, codecs::jpeg::JpegEncoder};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::Part;

/// Longest side of a thumbnail.
pub(super) const SIDE: u32 = 320;
const QUALITY: u8 = 80;

/// What a path in a URL keeps as it is.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const HEAD: &str = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Search results</title>
<style>
:root { color-scheme: light dark }
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5rem }
h2 { font-size: 1.2rem; margin: 1.5rem 0 .5rem }
ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); gap: 1rem; list-style: none; padding: 0; margin: 0 }
figure { margin: 0 }
img, .none { display: block; width: 100%; aspect-ratio: 4 / 3; object-fit: contain; background: #8882; border-radius: 4px }
.none { display: grid; place-items: center }
figcaption { overflow-wrap: anywhere; margin-top: .3rem }
meter { width: 100%; height: .6rem }
</style>
</head>
<body>
"#;

pub(super) fn draw(parts: &[Part]) -> String {
    let mut page = HEAD.to_owned();
    for Part { query, pictures } in parts {
        let _ = writeln!(page, "<h2>{}</h2>\n<ol>", text(query));
        for ((hit, thumbnail), rank) in pictures.iter().zip(1..) {
            let path = text(&hit.path.display().to_string());
            let image = match thumbnail.as_ref().and_then(jpeg) {
                Some(data) => format!("<img src=\"data:image/jpeg;base64,{data}\" alt=\"{path}\">"),
                None => "<div class=\"none\">not readable</div>".to_owned(),
            };
            let _ = writeln!(
                page,
                "<li><figure><a href=\"{}\">{image}</a><figcaption>{rank}. {:.4} {path}\
                 <meter value=\"{:.3}\">{:.0} %</meter></figcaption></figure></li>",
                address(&hit.path),
                hit.score,
                hit.prominence,
                hit.prominence * 100.0
            );
        }
        page.push_str("</ol>\n");
    }
    page + "</body>\n</html>\n"
}

fn jpeg(thumbnail: &image::RgbImage) -> Option<String> {
    let mut file = Cursor::new(Vec::new());
    let (width, height) = thumbnail.dimensions();
    let mut encoder = JpegEncoder::new_with_quality(&mut file, QUALITY);
    encoder.encode(thumbnail, width, height, ExtendedColorType::Rgb8).ok()?;
    Some(BASE64_STANDARD.encode(file.into_inner()))
}

/// Of a file on this machine.
fn address(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    format!("file://{}", percent_encode(path.as_os_str().as_encoded_bytes(), KEPT))
}

fn text(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut safe, c| {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
        safe
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::search::Hit;

    #[test]
    fn names_cannot_leave_their_place() {
        let hit = Hit { path: "/a/<b>\" onload=\"x&y.png".into(), score: 0.5, prominence: 1.0 };
        let part = Part { query: "<script>".to_owned(), pictures: vec![(hit, None)] };
        let page = draw(&[part]);
        assert!(page.contains("<h2>&lt;script&gt;</h2>"), "{page}");
        assert!(page.contains("/a/&lt;b&gt;&quot; onload=&quot;x&amp;y.png"), "{page}");
        assert!(page.contains("file:///a/%3Cb%3E%22%20onload%3D%22x%26y.png\""), "{page}");
        assert!(page.contains("not readable"));
    }
}
