//! `org.hailo.Clip1(5)`, from the introspection file and its comments.

use roff::{Roff, bold, italic, roman};

use crate::page;

/// The page up to the last member.
pub(crate) fn page(xml: &str) -> String {
    let mut page = page::head("org.hailo.Clip1", "5", "D-Bus interface of the hailo-clip service");
    page.control("SH", ["SYNOPSIS"]);
    for (what, name) in [("Bus", "system"), ("Name", "org.hailo.Clip1"), ("Object", "/org/hailo/Clip1")] {
        page.text([roman(format!("{what}: ")), bold(name)]);
        page.control("br", []);
    }
    let mut comment: Option<Vec<&str>> = None;
    let mut last = Vec::new();
    let mut member: Option<Member> = None;
    for line in xml.lines().map(str::trim) {
        if let Some(lines) = &mut comment {
            if line == "-->" {
                last = comment.take().unwrap_or_default();
            } else {
                lines.push(line);
            }
        } else if line == "<!--" {
            comment = Some(Vec::new());
        } else if line.starts_with("<interface ") {
            page.control("SH", [format!("INTERFACE {}", attribute(line, "name")).as_str()]);
        } else if ["<method ", "<signal ", "<property "].iter().any(|tag| line.starts_with(tag)) {
            let empty = line.ends_with("/>");
            member = Some(Member::new(line, std::mem::take(&mut last)));
            if empty {
                finish(&mut page, &mut member);
            }
        } else if line.starts_with("</") {
            finish(&mut page, &mut member);
        } else if let Some(member) = &mut member {
            member.add(line);
        }
    }
    page.to_roff()
}

/// A method, signal or property.
struct Member<'a> {
    name: &'a str,
    /// Of a property.
    kind: Option<&'a str>,
    arguments: [Vec<String>; 2],
    changes: &'static str,
    comment: Vec<&'a str>,
}

impl<'a> Member<'a> {
    fn new(line: &'a str, comment: Vec<&'a str>) -> Self {
        let kind = line.starts_with("<property ").then(|| attribute(line, "type"));
        let changes = if kind.is_some() { "Changes are signalled." } else { "" };
        Self { name: attribute(line, "name"), kind, arguments: Default::default(), changes, comment }
    }

    fn add(&mut self, line: &str) {
        if line.starts_with("<arg ") {
            let argument = format!("{} {}", attribute(line, "type"), attribute(line, "name"));
            let out = attribute(line, "direction") == "out";
            self.arguments[usize::from(out)].push(argument);
        } else if line.contains("EmitsChangedSignal") {
            self.changes = match attribute(line, "value") {
                "const" => "It never changes.",
                "invalidates" => "That it changed is signalled, without the value.",
                _ => "Changes are not signalled.",
            };
        }
    }
}

fn finish(page: &mut Roff, member: &mut Option<Member>) {
    let Some(Member { name, kind, arguments, changes, comment }) = member.take() else { return };
    let [taken, given] = arguments.map(|arguments| arguments.join(", "));
    match kind {
        Some(kind) => page::entry(page, [bold(name), roman(" "), italic(kind)]),
        None => page::entry(
            page,
            [bold(name), roman("("), italic(taken), roman(") \u{2192} ("), italic(given), roman(")")],
        ),
    }
    page::prose(page, comment.into_iter());
    if !changes.is_empty() {
        page.text([roman(changes)]);
    }
}

/// The value of an attribute; empty if there is none.
fn attribute<'a>(tag: &'a str, name: &str) -> &'a str {
    tag.split_once(&format!(" {name}=\"")).and_then(|(_, rest)| rest.split('"').next()).unwrap_or_default()
}
