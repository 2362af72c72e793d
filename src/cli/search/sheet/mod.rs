//! Results as a contact sheet.

mod page;
mod picture;

use std::{ffi::OsStr, io::Write, path::Path};

use image::RgbImage;

use super::{Found, Hit, thumbnail::thumbnails};
use crate::cli::{
    Failure,
    console::{Console, escape, reason},
    output,
    progress::Progress,
};

/// Most thumbnails on a sheet.
const MOST: usize = 500;

#[derive(Clone, Copy)]
pub(super) enum Format {
    Html,
    Png,
}

/// By the file's ending.
pub(super) fn format(file: &Path) -> Result<Format, Failure> {
    match file.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase).as_deref() {
        Some("html" | "htm") => Ok(Format::Html),
        Some("png") => Ok(Format::Png),
        _ => Err(Failure::Usage("a contact sheet is FILE.html or FILE.png".to_owned())),
    }
}

/// One query with its pictures; a thumbnail that could not be made is missing.
struct Part {
    query: String,
    pictures: Vec<(Hit, Option<RgbImage>)>,
}

pub(super) async fn write(file: &Path, found: Vec<Found>, console: &mut Console) -> Result<(), Failure> {
    let format = format(file)?;
    let total: usize = found.iter().map(|found| found.hits.len()).sum();
    if total > MOST {
        return Err(Failure::Usage(format!("{total} pictures are too many for a sheet; at most {MOST}")));
    }
    let side = match format {
        Format::Html => page::SIDE,
        Format::Png => picture::SIDE,
    };
    let drawing = tokio::task::spawn_blocking(move || {
        let progress = Progress::new("drawing", total);
        let hits: Vec<&Hit> = found.iter().flat_map(|found| &found.hits).collect();
        let mut made = thumbnails(&hits, side, &progress).into_iter();
        let mut parts = Vec::new();
        for Found { query, hits } in found {
            let pictures = hits.into_iter().map(|hit| (hit, made.next().flatten())).collect();
            parts.push(Part { query, pictures });
        }
        match format {
            Format::Html => (page::draw(&parts).into_bytes(), true),
            Format::Png => picture::draw(&parts),
        }
    });
    let name = escape(&file.display().to_string());
    let (bytes, captioned) =
        drawing.await.map_err(|error| Failure::Input(format!("cannot draw {name}: {error}")))?;
    output::write(file, |file| file.write_all(&bytes))
        .map_err(|error| Failure::Input(format!("cannot write {name}: {}", reason(&error))))?;
    if !captioned {
        console.complain(
            "the sheet has no captions, since no font was found; \"apt install fonts-dejavu-core\" brings one",
        );
    }
    Ok(())
}
