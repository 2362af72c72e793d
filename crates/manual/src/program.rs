//! The page of a program: one for all its subcommands, each with a section of its own.

use clap::Command;
use clap_mangen::Man;
use roff::{Roff, roman};

use crate::page;

/// The page from the name to what `--help` says last.
pub(crate) fn page(command: Command, section: &str) -> String {
    let mut command = command.disable_help_subcommand(true).subcommand_value_name("COMMAND");
    command.build();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut text = page::head(command.get_name(), section, &about).to_roff();
    let name = command.get_name().to_owned();
    text += &described(&command, "SH", false);
    for path in subcommands(&command, &name) {
        text += &path;
    }
    text += &last(&command, "SH");
    text
}

/// The sections of all subcommands that do something.
fn subcommands(command: &Command, name: &str) -> Vec<String> {
    let mut sections = Vec::new();
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        let name = format!("{name} {}", subcommand.get_name());
        if subcommand.has_subcommands() {
            sections.extend(subcommands(subcommand, &name));
            continue;
        }
        let mut heading = Roff::new();
        heading.control("SH", [name.to_uppercase().as_str()]);
        sections.push(heading.to_roff() + &described(subcommand, "SS", true) + &last(subcommand, "SS"));
    }
    sections
}

/// Synopsis, description and options, below headings of the given kind. Options that all subcommands have
/// are told with the program alone.
fn described(command: &Command, heading: &str, is_subcommand: bool) -> String {
    let command = command.clone().mut_args(|argument| {
        let common = argument.is_global_set() || argument.get_id() == "help";
        let hidden = argument.is_hide_set() || (is_subcommand && common);
        argument.hide(hidden)
    });
    let has_options = command.get_arguments().any(|argument| !argument.is_hide_set());
    let man = Man::new(command);
    let mut page = Vec::new();
    let written =
        man.render_synopsis_section(&mut page).and_then(|()| man.render_description_section(&mut page));
    let written =
        written.and_then(|()| if has_options { man.render_options_section(&mut page) } else { Ok(()) });
    written.expect("memory can be written to");
    let page = String::from_utf8(page).expect("help is text");
    page.replace(".SH ", &format!(".{heading} "))
}

/// What `--help` says last: blocks that begin with a line such as `Examples:`, indented below.
fn last(command: &Command, heading: &str) -> String {
    let mut page = Roff::new();
    let Some(text) = command.get_after_help().map(ToString::to_string) else { return String::new() };
    let mut columns = false;
    for line in text.lines() {
        match (line.strip_suffix(':'), line.strip_prefix("  ")) {
            (Some(title), None) => {
                end(&mut page, &mut columns);
                let title = if heading == "SH" { title.to_uppercase() } else { title.to_owned() };
                page.control(heading, [title.as_str()]);
                columns = matches!(title.to_ascii_lowercase().as_str(), "examples" | "exit codes");
                if columns {
                    page.control("nf", []);
                }
            }
            (_, Some(line)) => {
                page.text([roman(line)]);
            }
            _ if line.is_empty() => {}
            _ => {
                end(&mut page, &mut columns);
                page.control("PP", []);
                page.text([roman(line)]);
            }
        }
    }
    end(&mut page, &mut columns);
    page.to_roff()
}

/// Ends lines that stand as they are.
fn end(page: &mut Roff, columns: &mut bool) {
    if std::mem::take(columns) {
        page.control("fi", []);
    }
}
