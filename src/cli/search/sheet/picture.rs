//! A contact sheet as a PNG: a grid, and below each picture its rank, score and name.
//!
//! The font is the system's. Without one there are no captions; the order is that of the ranks, row by row.

use std::{fs, io::Cursor};

use ab_glyph::{Font, FontVec, PxScale, ScaleFont, point};
use image::{ImageFormat, Rgb, RgbImage, imageops};

use super::Part;

/// Longest side of a thumbnail.
pub(super) const SIDE: u32 = 240;
const GAP: u32 = 12;
const LINE: u32 = 18;
const TEXT_SIZE: f32 = 15.0;
const TITLE: u32 = 30;
const TITLE_SIZE: f32 = 20.0;
const MOST_COLUMNS: u32 = 6;

const PAPER: Rgb<u8> = Rgb([250, 250, 250]);
const EMPTY: Rgb<u8> = Rgb([225, 225, 225]);
const INK: Rgb<u8> = Rgb([30, 30, 30]);

/// Fonts of Debian's packages, with the widest choice of scripts first.
const FONTS: [&str; 5] = [
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/truetype/freefont/FreeSans.ttf",
    "/usr/share/fonts/truetype/noto/NotoSans-Regular.ttf",
    "/usr/share/fonts/truetype/liberation/LiberationSans-Regular.ttf",
    "/usr/share/fonts/truetype/liberation2/LiberationSans-Regular.ttf",
];

/// The file's bytes, and whether it has captions.
pub(super) fn draw(parts: &[Part]) -> (Vec<u8>, bool) {
    let font = FONTS.iter().find_map(|path| FontVec::try_from_vec(fs::read(path).ok()?).ok());
    let image = paint(parts, font.as_ref());
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, ImageFormat::Png).expect("memory takes what is written");
    (file.into_inner(), font.is_some())
}

fn paint(parts: &[Part], font: Option<&FontVec>) -> RgbImage {
    let longest = parts.iter().map(count).max().unwrap_or(0);
    let columns = longest.isqrt().max(1).saturating_add(u32::from(longest > 3)).clamp(1, MOST_COLUMNS);
    let (cell_width, cell_height) = (SIDE + GAP, SIDE + GAP + if font.is_some() { 2 * LINE } else { 0 });
    let title = if font.is_some() { TITLE } else { 0 };
    let height: u32 = parts.iter().map(|part| title + count(part).div_ceil(columns) * cell_height).sum();
    let mut sheet = RgbImage::from_pixel(GAP + columns * cell_width, GAP + height.max(1), PAPER);

    let mut top = GAP;
    for part in parts {
        if let Some(font) = font {
            let width = columns * cell_width - GAP;
            write(&mut sheet, font, TITLE_SIZE, &part.query, GAP, top, width);
        }
        top += title;
        for ((hit, thumbnail), place) in part.pictures.iter().zip(0..) {
            let (x, y) = (GAP + place % columns * cell_width, top + place / columns * cell_height);
            match thumbnail {
                Some(thumbnail) => {
                    let left = x + (SIDE - thumbnail.width()) / 2;
                    let above = y + (SIDE - thumbnail.height()) / 2;
                    imageops::replace(&mut sheet, thumbnail, left.into(), above.into());
                }
                None => {
                    let empty = RgbImage::from_pixel(SIDE, SIDE, EMPTY);
                    imageops::replace(&mut sheet, &empty, x.into(), y.into());
                }
            }
            if let Some(font) = font {
                let name = hit.path.file_name().unwrap_or_default().to_string_lossy();
                let rank = format!("{}. {:.4}", place + 1, hit.score);
                write(&mut sheet, font, TEXT_SIZE, &rank, x, y + SIDE + 2, SIDE);
                write(&mut sheet, font, TEXT_SIZE, &name, x, y + SIDE + 2 + LINE, SIDE);
            }
        }
        top += count(part).div_ceil(columns) * cell_height;
    }
    sheet
}

fn count(part: &Part) -> u32 {
    u32::try_from(part.pictures.len()).unwrap_or(u32::MAX)
}

/// Draws a line of text, cut off where `width` ends.
fn write(sheet: &mut RgbImage, font: &FontVec, size: f32, text: &str, x: u32, y: u32, width: u32) {
    #![expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "positions in a picture of a few thousand pixels; what is outside of it is not drawn"
    )]
    let font = font.as_scaled(PxScale::from(size));
    let (mut pen, end) = (x as f32, (x + width) as f32);
    let mut last = None;
    for character in text.chars().filter(|character| !character.is_control()) {
        let id = font.glyph_id(character);
        pen += last.map_or(0.0, |last| font.kern(last, id));
        if pen + font.h_advance(id) > end {
            break;
        }
        let glyph = id.with_scale_and_position(size, point(pen, y as f32 + font.ascent()));
        if let Some(outline) = font.outline_glyph(glyph) {
            let bounds = outline.px_bounds();
            outline.draw(|dx, dy, coverage| {
                let (px, py) = (bounds.min.x + dx as f32, bounds.min.y + dy as f32);
                if px >= 0.0
                    && py >= 0.0
                    && let Some(pixel) = sheet.get_pixel_mut_checked(px as u32, py as u32)
                {
                    for (channel, ink) in pixel.0.iter_mut().zip(INK.0) {
                        let mixed = f32::from(*channel) * (1.0 - coverage) + f32::from(ink) * coverage;
                        *channel = mixed.round() as u8;
                    }
                }
            });
        }
        pen += font.h_advance(id);
        last = Some(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::search::Hit;

    fn part(names: &[&str]) -> Part {
        let red = RgbImage::from_pixel(120, SIDE, Rgb([255, 0, 0]));
        let hit = |name: &&str| Hit { path: (*name).into(), score: 0.25, prominence: 1.0 };
        let pictures = names.iter().map(|name| (hit(name), Some(red.clone()))).collect();
        Part { query: "a red wall".to_owned(), pictures }
    }

    #[test]
    fn pictures_stand_in_a_grid_in_the_order_of_their_ranks() {
        let sheet = paint(&[part(&["a"; 5])], None);
        assert_eq!(sheet.dimensions(), (GAP + 3 * (SIDE + GAP), GAP + 2 * (SIDE + GAP)));
        let middle = |column: u32, row: u32| {
            let at = |place: u32| GAP + place * (SIDE + GAP) + SIDE / 2;
            *sheet.get_pixel(at(column), at(row))
        };
        assert_eq!(middle(0, 0), Rgb([255, 0, 0]));
        assert_eq!(middle(1, 1), Rgb([255, 0, 0]));
        assert_eq!(middle(2, 1), PAPER);
    }

    #[test]
    fn nothing_found_is_a_sheet_as_well() {
        let (bytes, _) = draw(&[]);
        assert!(image::load_from_memory(&bytes).is_ok());
    }
}
