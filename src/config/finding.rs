//! What there is to say about a configuration file.

use std::fmt;

use thiserror::Error;

use crate::yaml::Position;

/// One remark, an error or a notice, shown as `FILE:LINE:COLUMN: what, and what to do`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, as the caller named it.
    pub file: String,
    /// Where in the file, if one place is to blame.
    pub position: Option<Position>,
    /// What it is and what to do, on one line, without the place.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(Position { line, column }) => write!(f, "{}:{line}:{column}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

/// Everything that is wrong with a configuration file, in the file's order; shown one a line.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}", lines(.0))]
pub struct ConfigErrors(pub Vec<Finding>);

fn lines(findings: &[Finding]) -> String {
    const MOST: usize = 20;
    let mut lines: Vec<String> = findings.iter().take(MOST).map(ToString::to_string).collect();
    if findings.len() > MOST {
        lines.push(format!("and {} more", findings.len() - MOST));
    }
    lines.join("\n")
}
