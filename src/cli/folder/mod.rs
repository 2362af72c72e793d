//! The embeddings of a folder's pictures, kept from one run to the next.
//!
//! `index` is the file in the user's cache directory, `plan` compares it with the folder, `update` asks the
//! service for what is missing. Deliberately not here: what the embeddings are for.

mod index;
mod place;
mod plan;
mod update;

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use clap::Args;

use self::index::{Index, Outcome};
pub(super) use self::update::update;
use super::{
    batch::IN_FLIGHT,
    client::Encoder,
    console::{Console, escape},
};

/// How a folder is brought up to date.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Requests in flight; the service takes 16 of each caller.
    #[arg(long, value_name = "N", default_value_t = IN_FLIGHT, value_parser = jobs)]
    jobs: usize,
    /// Embed all pictures of the folder again, also those that have not changed.
    #[arg(long)]
    reindex: bool,
}

fn jobs(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=16).contains(number));
    number.ok_or_else(|| "not a number from 1 to 16".to_owned())
}

/// What tells one content of a file from the next, as long as nobody turns back its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stamp {
    pub(super) size: u64,
    /// Seconds and nanoseconds of the last modification.
    pub(super) seconds: i64,
    pub(super) nanoseconds: u32,
    inode: u64,
}

impl Stamp {
    pub(super) fn new(metadata: &Metadata) -> Self {
        Self {
            size: metadata.len(),
            seconds: metadata.mtime(),
            nanoseconds: u32::try_from(metadata.mtime_nsec()).unwrap_or(0),
            inode: metadata.ino(),
        }
    }

    /// Of the file that is there now, behind a symbolic link as well.
    pub(super) fn of(path: &Path) -> std::io::Result<Self> {
        path.metadata().map(|metadata| Self::new(&metadata))
    }
}

/// A picture with its embedding.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    /// Below the folder.
    pub(super) path: &'a Path,
    pub(super) stamp: Stamp,
    pub(super) embedding: &'a [f32],
}

/// A folder that is up to date.
pub(super) struct Folder {
    /// As it was named.
    root: PathBuf,
    recursive: bool,
    index: Index,
    /// What has no embedding, by path, and why.
    failures: Vec<(PathBuf, String)>,
}

impl Folder {
    /// Whose embeddings they are.
    pub(super) fn encoder(&self) -> &Encoder {
        self.index.encoder()
    }

    /// As it was named.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The pictures with an embedding, by path.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.index.entries().filter(|(path, _)| plan::is_within(path, self.recursive)).filter_map(
            |(path, entry)| match &entry.outcome {
                Outcome::Embedding(embedding) => Some(Row { path, stamp: entry.stamp, embedding }),
                Outcome::Refused(_) => None,
            },
        )
    }

    /// Names what has no embedding; tells whether there is any.
    pub(super) fn complain(&self, console: &mut Console) -> bool {
        for (path, problem) in &self.failures {
            console.complain(format!("{}: {problem}", escape(&path.display().to_string())));
        }
        !self.failures.is_empty()
    }
}
