//! `hailo-clip.yaml(5)`, from the comments of the packaged file.

use roff::{bold, roman};

use crate::page;

/// The page up to its last key.
pub(crate) fn page(file: &str) -> String {
    let mut page = page::head("hailo-clip.yaml", "5", "configuration of the hailo-clip service");
    page.control("SH", ["SYNOPSIS"]);
    page.text([roman("/etc/hailo/hailo-clip.yaml")]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman(
        "A YAML file of sections with keys. All are optional: a key that is missing or empty has its default, \
         and so has every key if the file is missing. A file with a mistake (an unknown key is one) never \
         starts the service and never replaces a running configuration.",
    )]);
    let mut comment: Vec<&str> = Vec::new();
    let mut in_file_head = true;
    for line in file.lines() {
        let indented = line.starts_with("  ");
        let line = line.trim();
        let (commented, text) = match line.strip_prefix('#') {
            Some(text) => (true, text.strip_prefix(' ').unwrap_or(text)),
            None => (false, line),
        };
        if let Some((key, default)) = key(text).filter(|_| indented || !commented) {
            in_file_head = false;
            if indented {
                let default = match default {
                    _ if commented => "",
                    "" => "(default: empty)",
                    default => &format!("(default: {default})"),
                };
                page::entry(&mut page, [bold(key), roman(format!(" {default}"))]);
            } else {
                page.control("SH", [format!("SECTION {key}").as_str()]);
            }
            page::prose(&mut page, comment.drain(..).map(without_old_name));
        } else if commented && !in_file_head {
            comment.push(text);
        } else if line.is_empty() && in_file_head {
            // What the file says about itself is said above.
            in_file_head = false;
        }
    }
    page.to_roff()
}

/// What the file says of a key of the replaced service, without the key.
fn without_old_name(line: &str) -> &str {
    line.strip_prefix("Was: ").and_then(|line| line.split_once(". ")).map_or(line, |(_, rest)| rest)
}

/// A line such as `port: 5000`.
fn key(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.split_once(':')?;
    let name = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    // In "Was: debug", "true or false: ..." and other prose something else stands before the colon.
    (name && value.split_whitespace().count() <= 1).then_some((key, value.trim()))
}
