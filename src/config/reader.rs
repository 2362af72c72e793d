//! Values by key, taken with a type and a range; everything else is an error with a place.

use std::{collections::BTreeMap, fmt::Display, ops::RangeInclusive};

use serde_saphyr::Spanned;

use super::tree::{Node, Value, quoted};
use crate::yaml::Position;

/// Every key that a configuration file may have.
pub const KEYS: &[&str] = &[
    "server.host",
    "server.port",
    "server.debug",
    "server.max_body_mb",
    "server.max_image_megapixels",
    "server.api_keys_file",
    "server.allowed_hosts",
    "clip.model",
    "clip.backend",
    "clip.device",
    "clip.fit",
    "clip.embedding_dimension",
    "clip.image_size",
    "clip.batch_size",
    "clip.device_timeout_ms",
    "clip.apply_softmax",
    "clip.logit_scale",
    "clip.prepack_weights",
    "text_embedding.mode",
    "text_embedding.cache_enabled",
    "text_embedding.cache_max_entries",
    "text_embedding.cache_persist",
    "performance.worker_threads",
    "performance.inference_threads",
    "performance.max_queue_size",
    "performance.request_timeout",
    "performance.warmup_enabled",
    "performance.warmup_iterations",
    "performance.idle_unload_seconds",
    "resource_limits.memory_max",
    "resource_limits.cpu_quota",
    "logging.level",
    "logging.format",
];

/// A place and what is to say about it.
pub(super) type Remark = (Option<Position>, String);

/// The file's values, by key, and what has been found about them so far.
pub(super) struct Reader {
    values: BTreeMap<&'static str, Node>,
    errors: Vec<Remark>,
    notices: Vec<Remark>,
}

impl Reader {
    /// Sorts the values of a whole file by key. A key or section without a value counts as absent.
    pub(super) fn new(root: Value) -> Self {
        let mut reader = Self { values: BTreeMap::new(), errors: Vec::new(), notices: Vec::new() };
        match root {
            Value::Null => {}
            Value::Map(sections) => reader.sections(sections),
            other => {
                let found = other.describe();
                reader.errors.push((
                    Some(Position { line: 1, column: 1 }),
                    format!("expected sections of keys such as 'server:', found {found}"),
                ));
            }
        }
        reader
    }

    fn sections(&mut self, sections: Vec<(Spanned<String>, Node)>) {
        let mut seen = BTreeMap::new();
        for (name, node) in sections {
            if !section_names().any(|known| known == name.value) {
                self.errors.push((position(&name), unknown_section(&name.value)));
                continue;
            }
            if let Some(first) = seen.insert(name.value.clone(), name.referenced.line()) {
                self.errors.push((position(&name), duplicate("section", &name.value, first)));
                continue;
            }
            match node.value {
                Value::Null => {}
                Value::Map(entries) => self.entries(&name.value, entries),
                ref other => {
                    let message =
                        format!("{} must be a section of keys, not {}", name.value, other.describe());
                    self.errors.push((position(&node), message));
                }
            }
        }
    }

    fn entries(&mut self, section: &str, entries: Vec<(Spanned<String>, Node)>) {
        let mut seen = BTreeMap::new();
        for (name, node) in entries {
            let path = format!("{section}.{}", name.value);
            let Some(&key) = KEYS.iter().find(|&&known| known == path) else {
                self.errors.push((position(&name), unknown_key(section, &name.value)));
                continue;
            };
            if let Some(first) = seen.insert(key, name.referenced.line()) {
                self.errors.push((position(&name), duplicate("key", key, first)));
                continue;
            }
            if node.value != Value::Null {
                self.values.insert(key, node);
            }
        }
    }

    /// Errors and notices, in the file's order.
    pub(super) fn finish(mut self) -> (Vec<Remark>, Vec<Remark>) {
        debug_assert!(self.values.is_empty(), "keys that nobody reads: {:?}", self.values.keys());
        self.errors.sort();
        self.notices.sort();
        (self.errors, self.notices)
    }

    /// The value of `key`, if the file has one.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Node> {
        debug_assert!(KEYS.contains(&key), "{key} is missing in the table of keys");
        self.values.remove(key)
    }

    /// Lets `auto` stand for no value.
    pub(super) fn accept_auto(&mut self, key: &'static str) {
        if matches!(self.values.get(key), Some(Spanned { value: Value::Text(text), .. }) if is(text, "auto"))
        {
            self.values.remove(key);
        }
    }

    /// Records that the value at `node` is wrong.
    pub(super) fn error<T>(&mut self, node: &Spanned<T>, message: String) {
        self.errors.push((position(node), message));
    }

    /// Records that the value at `node` does not do what its author may expect.
    pub(super) fn notice<T>(&mut self, node: &Spanned<T>, message: &str) {
        self.notices.push((position(node), message.to_owned()));
    }

    fn wrong_type(&mut self, key: &str, node: &Node, expected: &str) {
        self.error(node, format!("{key} must be {expected}, not {}", node.value.describe()));
    }

    /// `true` or `false`, in any of YAML's spellings.
    pub(super) fn boolean(&mut self, key: &'static str) -> Option<Spanned<bool>> {
        let node = self.take(key)?;
        let value = match &node.value {
            Value::Bool(value) => Some(*value),
            Value::Text(text) if ["true", "yes", "on"].iter().any(|word| is(text, word)) => Some(true),
            Value::Text(text) if ["false", "no", "off"].iter().any(|word| is(text, word)) => Some(false),
            _ => None,
        };
        if value.is_none() {
            self.wrong_type(key, &node, "true or false");
        }
        Some(replace(&node, value?))
    }

    /// A whole number within `range`.
    pub(super) fn integer<T>(&mut self, key: &'static str, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i128> + PartialOrd + Display,
    {
        let node = self.take(key)?;
        self.integer_at(key, &node, &range)
    }

    /// A whole number within `range`, at `node`.
    pub(super) fn integer_at<T>(&mut self, key: &str, node: &Node, range: &RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i128> + PartialOrd + Display,
    {
        let value = match &node.value {
            Value::Integer(value) => Some(*value),
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        let Some(value) = value else {
            let (low, high) = (range.start(), range.end());
            self.wrong_type(key, node, &format!("a whole number, {low} to {high}"));
            return None;
        };
        let in_range = T::try_from(value).ok().filter(|value| range.contains(value));
        if in_range.is_none() {
            self.out_of_range(key, node, &value, range);
        }
        in_range
    }

    /// A number within `range`.
    pub(super) fn number(&mut self, key: &'static str, range: &RangeInclusive<f64>) -> Option<f64> {
        let node = self.take(key)?;
        let value = match &node.value {
            Value::Integer(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        let Some(value) = value else {
            self.wrong_type(key, &node, &format!("a number, {} to {}", range.start(), range.end()));
            return None;
        };
        if !range.contains(&value) {
            self.out_of_range(key, &node, &value, range);
            return None;
        }
        Some(value)
    }

    fn out_of_range<T: Display>(
        &mut self,
        key: &str,
        node: &Node,
        value: &dyn Display,
        range: &RangeInclusive<T>,
    ) {
        self.error(node, format!("{key} is {value}; it must be {} to {}", range.start(), range.end()));
    }

    /// Any text.
    pub(super) fn text(&mut self, key: &'static str) -> Option<Spanned<String>> {
        let node = self.take(key)?;
        self.text_at(key, &node)
    }

    /// Any text, at `node`.
    pub(super) fn text_at(&mut self, key: &str, node: &Node) -> Option<Spanned<String>> {
        if let Value::Text(text) = &node.value {
            return Some(replace(node, text.clone()));
        }
        let quotes = match node.value {
            Value::List(_) | Value::Map(_) => "text",
            _ => "text (put it in quotes)",
        };
        self.wrong_type(key, node, quotes);
        None
    }

    /// One of a few words, in upper or lower case.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Option<Spanned<T>> {
        let node = self.take(key)?;
        let chosen = match &node.value {
            Value::Text(text) => choices.iter().find(|(word, _)| is(text, word)),
            _ => None,
        };
        if chosen.is_none() {
            let words: Vec<&str> = choices.iter().map(|&(word, _)| word).collect();
            self.wrong_type(key, &node, &format!("one of {}", words.join(", ")));
        }
        Some(replace(&node, chosen?.1))
    }
}

fn is(text: &str, word: &str) -> bool {
    text.trim().eq_ignore_ascii_case(word)
}

fn position<T>(node: &Spanned<T>) -> Option<Position> {
    Position::of(node.referenced)
}

fn replace<T, U>(node: &Spanned<T>, value: U) -> Spanned<U> {
    Spanned::new(value, node.referenced, node.defined)
}

fn section_names() -> impl Iterator<Item = &'static str> {
    let mut names: Vec<&str> = KEYS.iter().map(|key| split(key).0).collect();
    names.dedup();
    names.into_iter()
}

/// Section and name of a known key.
fn split(key: &'static str) -> (&'static str, &'static str) {
    key.split_once('.').unwrap_or((key, ""))
}

fn duplicate(what: &str, name: &str, first: u64) -> String {
    format!("{what} {name} was given on line {first} already; keep one of the two")
}

fn unknown_section(name: &str) -> String {
    let sections: Vec<&str> = section_names().collect();
    // A key on the top level, outside its section, is as likely as a misspelt section.
    let nearest = nearest(name, sections.iter().map(|&section| (section, section)))
        .or_else(|| nearest(name, KEYS.iter().map(|&key| (split(key).1, key))));
    match nearest {
        Some(known) => format!("unknown section {}; did you mean {known}?", shown(name)),
        None => format!("unknown section {}; there are {}", shown(name), sections.join(", ")),
    }
}

fn unknown_key(section: &str, name: &str) -> String {
    let here = || KEYS.iter().copied().filter(|key| split(key).0 == section);
    let nearest = nearest(name, here().map(|key| (split(key).1, key)))
        .or_else(|| nearest(name, KEYS.iter().map(|&key| (split(key).1, key))));
    match nearest {
        Some(known) => format!("unknown key {section}.{}; did you mean {known}?", shown(name)),
        None => {
            let names: Vec<&str> = here().map(|key| split(key).1).collect();
            format!("unknown key {section}.{}; {section} has {}", shown(name), names.join(", "))
        }
    }
}

/// The candidate whose word is nearest to `name`, if one is near at all.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = (&'a str, &'a str)>) -> Option<&'a str> {
    const NEAR: f64 = 0.6;
    if name.len() > 64 {
        return None;
    }
    let name = name.to_ascii_lowercase().replace('-', "_");
    candidates
        .map(|(word, candidate)| (strsim::normalized_damerau_levenshtein(&name, word), candidate))
        .filter(|&(similarity, _)| similarity >= NEAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// A key as it is, or quoted where it could garble the line.
fn shown(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if !name.is_empty() && name.len() <= 64 && name.bytes().all(plain) {
        name.to_owned()
    } else {
        quoted(name)
    }
}
