//! Where the command writes: results to standard output, the rest to standard error.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Stdout, Write},
};

use anstream::AutoStream;
use clap::ColorChoice;
use nix::errno::Errno;
use serde::Serialize;
use terminal_size::{Width, terminal_size_of};

/// Fewer requests than this are over before a progress line could be read.
const PROGRESS_FROM: usize = 8;

/// Columns where the terminal does not say.
const DEFAULT_WIDTH: usize = 80;

/// The two standard streams, and what is at their other ends.
pub(super) struct Console {
    /// Drops the styles where they are not wanted.
    out: AutoStream<Stdout>,
    terminal: bool,
    shows_progress: bool,
    progress_shown: bool,
}

impl Console {
    pub(super) fn new(color: ColorChoice) -> Self {
        let color = match color {
            ColorChoice::Auto => anstream::ColorChoice::Auto,
            ColorChoice::Always => anstream::ColorChoice::Always,
            ColorChoice::Never => anstream::ColorChoice::Never,
        };
        let terminal = io::stdout().is_terminal();
        Self {
            out: AutoStream::new(io::stdout(), color),
            terminal,
            // In a terminal the results themselves show how far it is.
            shows_progress: !terminal && io::stderr().is_terminal(),
            progress_shown: false,
        }
    }

    /// Whether a person reads the results as they come.
    pub(super) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Columns of the terminal.
    pub(super) fn width(&self) -> usize {
        terminal_size_of(io::stdout()).map_or(DEFAULT_WIDTH, |(Width(columns), _)| columns.into())
    }

    /// Writes results, which may hold ANSI styles.
    pub(super) fn print(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Writes one line to standard error. That nobody can read it is no reason to stop.
    pub(super) fn complain(&mut self, message: impl Display) {
        self.clear_progress();
        let _ = writeln!(io::stderr(), "hailo-clip: {message}");
    }

    /// Says how far a long job is, if a person watches.
    pub(super) fn progress(&mut self, done: usize, total: usize) {
        if !self.shows_progress || total < PROGRESS_FROM {
            return;
        }
        if done == total {
            self.clear_progress();
        } else {
            let _ = write!(io::stderr(), "\r{done} of {total} ");
            self.progress_shown = true;
        }
    }

    fn clear_progress(&mut self) {
        if self.progress_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
            self.progress_shown = false;
        }
    }
}

/// Makes text from outside safe for one field of a line: what could move the cursor, end the field or turn
/// the direction of writing is escaped as in Rust (`\t`, `\u{1b}`), and so is the backslash.
pub(super) fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        if c == '\\' || c.is_control() || turns_direction(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
        escaped
    })
}

/// Bidirectional embeddings, overrides and isolates, which reach beyond their field.
fn turns_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A value as one line of JSON.
pub(super) fn json_line(value: &impl Serialize) -> String {
    let mut line = serde_json::to_string(value).expect("plain structs of texts and numbers serialise");
    line.push('\n');
    line
}

/// What the system says about a failed operation, without Rust's "(os error 2)".
pub(super) fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_a_terminal_or_a_field_would_act_upon() {
        assert_eq!(escape("a\tb\nc\x1b[31m\\"), r"a\tb\nc\u{1b}[31m\\");
        assert_eq!(escape("\u{9b}31m \u{202e}gpj.exe"), r"\u{9b}31m \u{202e}gpj.exe");
    }

    #[test]
    fn leaves_other_scripts_alone() {
        for text in ["naïve café", "eine Straße", "猫の写真", "صورة قطة", "👩‍🚀"] {
            assert_eq!(escape(text), text);
        }
    }

    #[test]
    fn reasons_carry_no_number() {
        assert_eq!(reason(&io::Error::from_raw_os_error(2)), "No such file or directory");
    }
}
