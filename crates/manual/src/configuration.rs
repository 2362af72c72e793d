//! `hailo-clip.yaml(5)` and `docs/configuration.md`, from the comments of the packaged file.

use std::fmt::Write;

use roff::{bold, roman};

use crate::page;

/// Keys whose change a reload does not put in force.
const RESTART: [&str; 5] = [
    "server.host",
    "server.port",
    "resource_limits.memory_max",
    "resource_limits.cpu_quota",
    "logging.format",
];
/// Keys and sections whose change has a reload load the model again, beside the old one.
const MODEL: [&str; 4] =
    ["clip.", "text_embedding.", "performance.inference_threads", "performance.idle_unload_seconds"];
/// Keys that count when a model is next loaded.
const NEXT_LOAD: [&str; 2] = ["performance.warmup_enabled", "performance.warmup_iterations"];
/// Keys of the replaced service that have no effect of their own.
const NONE: [&str; 1] = ["text_embedding.mode"];

/// A section or a key, with the comment above it.
struct Entry<'a> {
    section: &'a str,
    /// None: the section itself.
    key: Option<Key<'a>>,
    comment: Vec<&'a str>,
}

struct Key<'a> {
    name: &'a str,
    /// None: there is none, and the file has the key behind a `#`.
    default: Option<&'a str>,
}

fn entries(file: &str) -> Vec<Entry<'_>> {
    let mut entries = Vec::new();
    let mut section = "";
    let mut comment: Vec<&str> = Vec::new();
    let mut in_file_head = true;
    for line in file.lines() {
        let indented = line.starts_with("  ");
        let line = line.trim();
        let (commented, text) = match line.strip_prefix('#') {
            Some(text) => (true, text.strip_prefix(' ').unwrap_or(text)),
            None => (false, line),
        };
        if let Some((name, default)) = key(text).filter(|_| indented || !commented) {
            in_file_head = false;
            if !indented {
                section = name;
            }
            let key = indented.then_some(Key { name, default: (!commented).then_some(default) });
            let comment = comment.drain(..).map(without_old_name).collect();
            entries.push(Entry { section, key, comment });
        } else if commented && !in_file_head {
            comment.push(text);
        } else if line.is_empty() && in_file_head {
            // What the file says about itself is said in the page's own words.
            in_file_head = false;
        }
    }
    entries
}

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
    for Entry { section, key, comment } in entries(file) {
        match key {
            Some(Key { name, default }) => {
                let default = match default {
                    None => "",
                    Some("") => "(default: empty)",
                    Some(default) => &format!("(default: {default})"),
                };
                page::entry(&mut page, [bold(name), roman(format!(" {default}"))]);
            }
            None => {
                page.control("SH", [format!("SECTION {section}").as_str()]);
            }
        }
        page::prose(&mut page, comment.into_iter());
    }
    page.to_roff()
}

/// `docs/configuration.md`: `head`, which a person wrote, and a table for each section.
pub(crate) fn markdown(head: &str, file: &str) -> String {
    let mut page = head.to_owned();
    for Entry { section, key, comment } in entries(file) {
        let comment = comment.join(" ");
        let written = match key {
            None => write!(
                page,
                "\n## {section}\n\n{comment}\n\n| key | default | takes effect | what |\n|---|---|---|---|\n"
            ),
            Some(Key { name, default }) => {
                let default = match default {
                    None => "none",
                    Some("") => "empty",
                    Some(default) => &format!("`{default}`"),
                };
                let effect = effect(&format!("{section}.{name}"));
                writeln!(page, "| `{name}` | {default} | {effect} | {} |", comment.replace('|', "\\|"))
            }
        };
        written.expect("memory can be written to");
    }
    page
}

/// What puts a change of the key in force.
fn effect(key: &str) -> &'static str {
    if NONE.contains(&key) {
        "never"
    } else if RESTART.contains(&key) {
        "restart"
    } else if NEXT_LOAD.contains(&key) {
        "next load"
    } else if MODEL.iter().any(|model| key.starts_with(model)) {
        "reload, loads"
    } else {
        "reload"
    }
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
