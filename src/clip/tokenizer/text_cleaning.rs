//! What OpenAI's CLIP does to a text before it is tokenized.

/// Repairs mis-decoded text, resolves HTML entities, collapses white space, lowers case.
pub(super) fn clean(text: &str) -> String {
    let fixed = plsfix::fix_text(text, None);
    // Twice, as OpenAI does it: web captions come escaped twice.
    let once = htmlize::unescape(fixed);
    let text = htmlize::unescape(once);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").to_lowercase()
}
