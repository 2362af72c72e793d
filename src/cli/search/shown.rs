//! Results as lines.

use std::io::{self, Write};

use serde::Serialize;

use super::Found;
use crate::cli::{
    chart::score_line,
    client::Encoder,
    console::{Console, escape, json_line},
};

/// For whom the lines are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    /// A list for each query, with bars.
    Chart,
    /// Fields with tabs between them.
    Plain,
    Json,
    /// Paths alone, each with a null character behind it.
    Null,
}

impl Shape {
    pub(super) fn of(json: bool, null: bool, console: &Console) -> Self {
        match (json, null) {
            (true, _) => Self::Json,
            (_, true) => Self::Null,
            _ if console.is_terminal() => Self::Chart,
            _ => Self::Plain,
        }
    }
}

/// One line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    query: &'a str,
    rank: usize,
    score: f32,
    path: String,
    model: &'a str,
    backend: &'a str,
}

pub(super) fn show(
    found: &[Found],
    shape: Shape,
    encoder: &Encoder,
    console: &mut Console,
) -> io::Result<()> {
    for (number, Found { query, hits }) in found.iter().enumerate() {
        if shape == Shape::Chart {
            let gap = if number == 0 { "" } else { "\n" };
            console.print(&format!("{gap}{}\n", escape(query)))?;
            if hits.is_empty() {
                console.print("  no picture scored above the threshold\n")?;
            }
        }
        for (hit, rank) in hits.iter().zip(1..) {
            let path = hit.path.display().to_string();
            let line = match shape {
                Shape::Chart => score_line(&escape(&path), hit.score, hit.prominence, console.width()),
                Shape::Plain => format!("{}\t{:.6}\t{}\n", escape(&path), hit.score, escape(query)),
                Shape::Json => {
                    let (score, model, backend) = (hit.score, &*encoder.model, &*encoder.backend);
                    json_line(&Line { query, rank, score, path, model, backend })
                }
                Shape::Null => {
                    print_path(hit.path.as_os_str().as_encoded_bytes())?;
                    continue;
                }
            };
            console.print(&line)?;
        }
    }
    Ok(())
}

/// The bytes as they are: a path need not be UTF-8.
fn print_path(path: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(path)?;
    out.write_all(b"\0")
}
