//! Small pictures for a contact sheet.

use std::{
    fs::File,
    io::Read,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use image::{RgbImage, imageops};

use super::Hit;
use crate::{
    cli::progress::Progress,
    clip::image::{ImageLimits, Picture},
    kernel,
};

/// Largest file that is read.
const MAX_BYTES: u64 = 256 << 20;
/// Largest picture that is decoded.
const LIMITS: ImageLimits = ImageLimits { max_pixels: 200_000_000 };

/// A picture that fits into a square of `side` pixels, upright; none if it cannot be read any more.
fn thumbnail(path: &Path, side: u32) -> Option<RgbImage> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    let picture = Picture::decode(&bytes, &LIMITS).ok()?;
    let image = RgbImage::from_raw(picture.width(), picture.height(), picture.as_bytes().to_vec())?;
    let (width, height) = fit(image.width(), image.height(), side);
    if (width, height) == image.dimensions() {
        return Some(image);
    }
    Some(imageops::thumbnail(&image, width, height))
}

/// The size of a picture in a square; small ones stay as they are.
fn fit(width: u32, height: u32, side: u32) -> (u32, u32) {
    let longest = width.max(height);
    if longest <= side {
        return (width, height);
    }
    let scaled = |length: u32| {
        let length = u64::from(length) * u64::from(side) / u64::from(longest);
        u32::try_from(length).unwrap_or(side).max(1)
    };
    (scaled(width), scaled(height))
}

/// One for each of `hits`, in order, by all cores.
pub(super) fn thumbnails(hits: &[&Hit], side: u32, progress: &Progress) -> Vec<Option<RgbImage>> {
    let next = AtomicUsize::new(0);
    let threads = kernel::processors().min(hits.len().max(1));
    let mut made: Vec<(usize, Option<RgbImage>)> = thread::scope(|scope| {
        let work = || {
            let mut made = Vec::new();
            while let Some((number, hit)) = {
                let number = next.fetch_add(1, Ordering::Relaxed);
                hits.get(number).map(|hit| (number, hit))
            } {
                made.push((number, thumbnail(&hit.path, side)));
                progress.step();
            }
            made
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    made.sort_by_key(|(number, _)| *number);
    made.into_iter().map(|(_, image)| image).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proportions_stay_and_nothing_grows() {
        assert_eq!(fit(4000, 3000, 240), (240, 180));
        assert_eq!(fit(3000, 4000, 240), (180, 240));
        assert_eq!(fit(100, 50, 240), (100, 50));
        assert_eq!(fit(10_000, 1, 240), (240, 1));
    }
}
