//! Where pictures come from.

use std::{fs::File, sync::Arc, time::Duration};

use thiserror::Error;

use super::{command::Words, folder::Watched, snapshot::Snapshot};

/// Largest picture that a camera may send.
pub(super) const MAX_BYTES: usize = 64 << 20;

/// Why there is no picture, for people.
#[derive(Debug, Error, PartialEq)]
#[error("{0}")]
pub(super) struct SourceError(pub(super) String);

/// A picture.
pub(super) enum Sample {
    File(File),
    Bytes(Vec<u8>),
}

pub(super) enum Source {
    Folder(Watched),
    Snapshot(Arc<Snapshot>),
    Command { command: Words, timeout: Duration },
}

impl Source {
    /// The next picture. May be dropped at any time.
    pub(super) async fn next(&mut self, interval: Duration) -> Result<Sample, SourceError> {
        match self {
            Self::Folder(folder) => folder.next(interval).await.map(Sample::File),
            Self::Command { command, timeout } => command.picture(*timeout).await.map(Sample::Bytes),
            Self::Snapshot(snapshot) => {
                let snapshot = Arc::clone(snapshot);
                let fetching = tokio::task::spawn_blocking(move || snapshot.fetch());
                let fetched = fetching.await.unwrap_or_else(|error| Err(SourceError(error.to_string())));
                fetched.map(Sample::Bytes)
            }
        }
    }

    /// Whether it has a picture whenever it is asked.
    pub(super) fn is_asked(&self) -> bool {
        !matches!(self, Self::Folder(_))
    }
}
