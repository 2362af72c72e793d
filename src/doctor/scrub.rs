//! What a report must not tell: users, the machine's name, addresses, keys.

use std::net::IpAddr;

/// Users below this number are the system's, and everybody's are called the same.
const FIRST_PERSON: u32 = 1000;
const NOBODY: u32 = 65534;

/// Replaces what identifies people and machines.
pub(super) struct Scrubber {
    /// Words and what stands for them, the longest first.
    words: Vec<(String, String)>,
}

impl Scrubber {
    /// For the people of `passwd` and a machine of this name.
    pub(super) fn new(passwd: &str, hostname: &str) -> Self {
        let mut words = Vec::new();
        let mut people = 0;
        for line in passwd.lines() {
            let fields: Vec<_> = line.split(':').collect();
            let [name, _, uid, _, full_name, home, ..] = fields[..] else { continue };
            if !uid.parse().is_ok_and(|uid: u32| (FIRST_PERSON..NOBODY).contains(&uid)) {
                continue;
            }
            people += 1;
            words.push((home.to_owned(), format!("/home/USER-{people}")));
            words.push((name.to_owned(), format!("USER-{people}")));
            words.extend(full_name.split(',').next().map(|name| (name.to_owned(), format!("USER-{people}"))));
        }
        words.push((hostname.to_owned(), "HOST".to_owned()));
        words.retain(|(word, _)| {
            word.len() > 1 && !["localhost", "hailo-clip", "hailo", "root"].contains(&word.as_str())
        });
        words.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
        Self { words }
    }

    pub(super) fn scrub(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (word, replacement) in &self.words {
            text = replace_word(&text, word, replacement);
        }
        keys(&addresses(&text))
    }
}

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

/// Replaces `word` where it stands alone.
fn replace_word(text: &str, word: &str, replacement: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let (before, after) = (&rest[..at], &rest[at + word.len()..]);
        replaced.push_str(before);
        let alone =
            !replaced.chars().next_back().is_some_and(in_word) && !after.chars().next().is_some_and(in_word);
        replaced.push_str(if alone { replacement } else { word });
        rest = after;
    }
    replaced + rest
}

/// Replaces addresses, but for loopback and those that stand for all.
fn addresses(text: &str) -> String {
    let of_address = |c: char| c.is_ascii_hexdigit() || c == '.' || c == ':';
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(of_address) {
        replaced.push_str(&rest[..start]);
        let run = &rest[start..];
        let end = run.find(|c: char| !of_address(c)).unwrap_or(run.len());
        let word = &run[..end];
        // "10.0.0.7:5000", "10.0.0.7." and "fe80::1:" are an address and something more.
        let trimmed = word.trim_end_matches(['.', ':']);
        let candidates = [trimmed, trimmed.rsplit_once(':').map_or(trimmed, |(address, _)| address)];
        let address = candidates.iter().find_map(|text| Some((text.len(), text.parse::<IpAddr>().ok()?)));
        let joined = replaced.chars().next_back().is_some_and(in_word)
            || run[end..].chars().next().is_some_and(in_word);
        match address {
            Some((length, address)) if !joined && !address.is_loopback() && !address.is_unspecified() => {
                replaced.push_str(if is_private(address) { "PRIVATE-ADDRESS" } else { "ADDRESS" });
                replaced.push_str(&word[length..]);
            }
            _ => replaced.push_str(word),
        }
        rest = &run[end..];
    }
    replaced + rest
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local(),
    }
}

/// Replaces what follows `Bearer`.
fn keys(text: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("Bearer ") {
        let (before, after) = rest.split_at(at + "Bearer ".len());
        replaced.push_str(before);
        replaced.push_str("KEY");
        rest = after.trim_start_matches(|c: char| !c.is_whitespace() && c != '"');
    }
    replaced + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrub(text: &str) -> String {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nada:x:1000:1000:Ada Lovelace,,,:/home/ada:/bin/bash\n";
        Scrubber::new(passwd, "pi-kitchen").scrub(text)
    }

    #[test]
    fn people_and_the_machine_are_not_named() {
        assert_eq!(scrub("/home/ada/cat.jpg of ada on pi-kitchen"), "/home/USER-1/cat.jpg of USER-1 on HOST");
        assert_eq!(scrub("Ada Lovelace likes Canada and adamant"), "USER-1 likes Canada and adamant");
        assert_eq!(scrub("root and hailo-clip"), "root and hailo-clip");
    }

    #[test]
    fn addresses_are_not_told_and_numbers_stay() {
        assert_eq!(scrub("from 203.0.113.7:4711, 192.168.1.5."), "from ADDRESS:4711, PRIVATE-ADDRESS.");
        assert_eq!(scrub("[2001:db8::1]:80 fe80::1:"), "[ADDRESS]:80 PRIVATE-ADDRESS:");
        for kept in [
            "127.0.0.1:5000 0.0.0.0 ::1",
            "HailoRT 4.23.0 at 12:34:56",
            "libhailort.so.5.2.0",
            "add: cafe",
            "1.2.3.4-1",
        ] {
            assert_eq!(scrub(kept), kept);
        }
    }

    #[test]
    fn keys_are_not_told() {
        assert_eq!(scrub("Authorization: Bearer s3cret!x and more"), "Authorization: Bearer KEY and more");
    }
}
