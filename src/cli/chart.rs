//! Bar charts of classifications, for a terminal.

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr;

use super::{client::Classified, console::escape};

const TITLE: Style = Style::new().bold();
const BEST: Style = AnsiColor::Green.on_default();
const OTHER: Style = AnsiColor::Blue.on_default();
const NOTE: Style = Style::new().dimmed();

/// A block of no to seven eighths of a column.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// Columns on the left, between the columns, and of the figures.
const INDENT: usize = 2;
const GAP: usize = 2;
const FIGURE: usize = 7;

/// Beyond this a longer bar says no more.
const LONGEST_BAR: usize = 60;

/// What the scores are, and so how they read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// From 0 to 1, shown as percent.
    Probability,
    /// From −1 to 1, shown as it is; what is negative has no bar.
    Cosine,
}

/// The chart of one picture: its title as it is, a line for each prompt, with its cosine if there are any, and
/// who said so.
pub(super) fn chart(
    title: &str,
    answer: &Classified,
    cosines: Option<&[f64]>,
    scale: Scale,
    width: usize,
) -> String {
    let details = &answer.details;
    let mut chart = format!("{TITLE}{title}{TITLE:#}\n");
    let labels: Vec<String> = answer.classifications.iter().map(|(text, _)| escape(text)).collect();
    let cosine_width = if cosines.is_some() { FIGURE + GAP } else { 0 };
    let room = width.saturating_sub(INDENT + GAP + FIGURE + GAP + cosine_width);
    let label_width = labels.iter().map(|label| label.width()).max().unwrap_or(0).min(room * 2 / 3);
    let bar_width = (room - label_width).min(LONGEST_BAR);

    for (index, (label, (_, score))) in labels.iter().zip(&answer.classifications).enumerate() {
        let label = fit(label, label_width);
        let figure = match scale {
            Scale::Probability => format!("{:.1} %", score * 100.0),
            Scale::Cosine => format!("{score:.4}"),
        };
        let cosine = cosines.and_then(|cosines| cosines.get(index));
        let cosine = cosine.map(|cosine| format!("{NOTE}{cosine:>FIGURE$.4}{NOTE:#}{:GAP$}", ""));
        let style = if index == 0 { BEST } else { OTHER };
        let line = format!(
            "{:INDENT$}{label}{:GAP$}{figure:>FIGURE$}{:GAP$}{}{style}{}{style:#}",
            "",
            "",
            "",
            cosine.unwrap_or_default(),
            bar(*score, bar_width)
        );
        chart.push_str(&line);
        chart.push('\n');
    }
    if labels.is_empty() {
        chart.push_str("  no prompt scored above the threshold\n");
    }
    let (model, backend) = (escape(&details.model), escape(&details.backend));
    chart.push_str(&format!("  {NOTE}{model} on {backend}, {:.1} ms{NOTE:#}\n", details.inference_time_ms));
    chart
}

/// A line of a list: a cosine, a bar from 0 to 1, and a label, whole: it is there to be copied.
pub(super) fn score_line(label: &str, score: f32, prominence: f32, width: usize) -> String {
    let room = width.saturating_sub(INDENT + FIGURE + GAP + GAP);
    let bar_width = (room / 4).min(LONGEST_BAR / 3);
    let line = format!(
        "{:INDENT$}{score:>FIGURE$.4}{:GAP$}{OTHER}{:<bar_width$}{OTHER:#}{:GAP$}{label}",
        "",
        "",
        bar(prominence, bar_width),
        ""
    );
    line + "\n"
}

/// A bar for a score from 0 to 1, to an eighth of a column.
fn bar(score: f32, width: usize) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "from 0 to eight times the width of a terminal"
    )]
    let eighths = (score.clamp(0.0, 1.0) * (8 * width) as f32).round() as usize;
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

/// Pads or shortens a text to exactly so many columns.
fn fit(text: &str, width: usize) -> String {
    let mut fitted = text.to_owned();
    if text.width() > width {
        while fitted.width() + 1 > width && fitted.pop().is_some() {}
        if width > 0 {
            fitted.push('…');
        }
    }
    let padding = width.saturating_sub(fitted.width());
    fitted + &" ".repeat(padding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::wire::Details;

    fn plain(classifications: &[(&str, f32)], scale: Scale, width: usize) -> Vec<String> {
        explained(classifications, None, scale, width)
    }

    fn explained(
        classifications: &[(&str, f32)],
        cosines: Option<&[f64]>,
        scale: Scale,
        width: usize,
    ) -> Vec<String> {
        let answer = Classified {
            classifications: classifications
                .iter()
                .map(|(text, score)| ((*text).to_owned(), *score))
                .collect(),
            details: Details {
                inference_time_ms: 12.34,
                model: "demo".to_owned(),
                backend: "cpu".to_owned(),
                ..Details::default()
            },
        };
        let styled = chart("cat.jpg", &answer, cosines, scale, width);
        anstream::adapter::strip_str(&styled).to_string().lines().map(str::to_owned).collect()
    }

    #[test]
    fn bars_are_drawn_to_an_eighth() {
        assert_eq!(bar(1.0, 3), "███");
        assert_eq!(bar(0.5, 3), "█▌");
        assert_eq!(bar(0.0, 3), "");
        assert_eq!(bar(-0.2, 3), "");
        assert_eq!(bar(7.0 / 8.0 / 3.0, 3), "▉");
        assert_eq!(bar(f32::NAN, 3), "");
    }

    #[test]
    fn figures_line_up_in_every_script() {
        let chart = plain(
            &[("a cat", 0.5), ("猫の写真", 0.25), ("👩‍🚀 in space", 0.125), ("naïve cafe\u{301}", 0.125)],
            Scale::Probability,
            60,
        );
        let figures: Vec<usize> =
            chart[1..5].iter().map(|line| line[..line.find('%').unwrap()].width()).collect();
        assert!(figures.iter().all(|column| *column == figures[0]), "{chart:#?}");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [10, 20, 40, 80, 200] {
            let long = "a very long prompt that goes on and on about 猫 and more 猫 and does not end soon";
            let chart = plain(&[(long, 1.0), ("short", 0.0)], Scale::Probability, width);
            let widest = chart[1..3].iter().map(|line| line.trim_end().width()).max().unwrap();
            assert!(widest <= width.max(INDENT + GAP + FIGURE), "{width}: {chart:#?}");
        }
    }

    #[test]
    fn cosines_are_not_percent() {
        let chart = plain(&[("a cat", 0.2512), ("a dog", -0.05)], Scale::Cosine, 80);
        assert!(chart[1].contains(" 0.2512  ██"), "{chart:#?}");
        assert!(chart[2].ends_with("-0.0500  "), "{chart:#?}");
    }

    #[test]
    fn cosines_stand_beside_probabilities() {
        let chart =
            explained(&[("a cat", 0.9), ("a dog", 0.1)], Some(&[0.2712, -0.05]), Scale::Probability, 60);
        assert!(chart[1].starts_with("  a cat   90.0 %   0.2712  ███"), "{chart:#?}");
        assert!(chart[2].starts_with("  a dog   10.0 %  -0.0500  █"), "{chart:#?}");
        assert!(chart[1].width() <= 60, "{chart:#?}");
    }

    #[test]
    fn an_empty_answer_says_why() {
        assert_eq!(
            plain(&[], Scale::Probability, 80),
            ["cat.jpg", "  no prompt scored above the threshold", "  demo on cpu, 12.3 ms"]
        );
    }

    #[test]
    fn prompts_cannot_move_the_cursor() {
        let chart = plain(&[("a\x1b[2Jcat", 1.0)], Scale::Probability, 80);
        assert!(chart[1].contains(r"a\u{1b}[2Jcat"), "{chart:#?}");
    }
}
