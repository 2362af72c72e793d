//! The parts that all pages have.

use roff::{Inline, Roff, bold, roman};

/// The head of a page, and what `apropos` shows.
pub(crate) fn head(name: &str, section: &str, summary: &str) -> Roff {
    let source = concat!("hailo-clip ", env!("CARGO_PKG_VERSION"));
    let manual = match section {
        "1" => "User Commands",
        "5" => "File Formats",
        _ => "System Administration",
    };
    let mut page = Roff::new();
    // No date: the same source always gives the same page.
    page.control("TH", [name, section, " ", source, manual]);
    page.control("SH", ["NAME"]);
    page.text([roman(format!("{name} - {summary}"))]);
    page
}

/// Text whose paragraphs are parted by empty lines. A line that begins with `word: ` begins a paragraph
/// of its own, with that word in bold.
pub(crate) fn prose<'a>(page: &mut Roff, lines: impl Iterator<Item = &'a str>) {
    let mut first = true;
    for line in lines {
        let labelled = label(line);
        if line.is_empty() || (labelled.is_some() && !first) {
            page.control("IP", []);
        }
        match labelled {
            Some((word, rest)) => page.text([bold(word), roman(format!(": {rest}"))]),
            None if line.is_empty() => page,
            None => page.text([roman(line)]),
        };
        first = false;
    }
}

fn label(line: &str) -> Option<(&str, &str)> {
    let (word, rest) = line.split_once(": ")?;
    word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_').then_some((word, rest))
}

/// A heading with what belongs below it, indented.
pub(crate) fn entry(page: &mut Roff, heading: impl Into<Vec<Inline>>) {
    page.control("TP", []);
    page.text(heading);
}
