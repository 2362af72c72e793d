//! What OpenAI's CLIP does to a text before it is tokenized: ftfy's `fix_text`, Python's `html.unescape`
//! twice, white space collapsed, lower case.
//!
//! Known to differ from the Python: mojibake of windows-1257 (Baltic) stays as it is, and entities that are
//! escaped three times over are resolved even in a text with a literal `<`.

/// Repairs mis-decoded text, resolves HTML entities, collapses white space, lowers case.
pub(super) fn clean(text: &str) -> String {
    let fixed = plsfix::fix_text(&without_terminal_escapes(text), None);
    // Twice, as OpenAI does it: captions from the web come escaped twice.
    let once = htmlize::unescape(fixed);
    let mut text = htmlize::unescape(once).into_owned();
    // Python drops references to control characters, `&#1;`, where HTML5 keeps them.
    text.retain(|c| !c.is_ascii_control() || c.is_ascii_whitespace());
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

/// Strips colours and other "ANSI" sequences, ESC `[` digits and semicolons, letter. ftfy does so, plsfix tries in vain.
fn without_terminal_escapes(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut stripped = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        match rest.strip_prefix(|c: char| c.is_ascii_alphabetic()) {
            Some(text) => stripped.push_str(text),
            None => stripped.extend(["\x1b[", part]),
        }
    }
    stripped
}
