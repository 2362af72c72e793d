//! What there is to do so that an index says what is in its folder.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use super::{
    Stamp,
    index::{Entry, Index, Outcome},
};
use crate::cli::{console::reason, pictures::walk};

/// The differences between a folder and its index. Paths are below the folder.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// New or changed: the service is to be asked.
    pub(super) ask: Vec<PathBuf>,
    /// Known by another name that is no longer there.
    pub(super) moved: Vec<(PathBuf, Entry)>,
    /// No longer there.
    pub(super) gone: Vec<PathBuf>,
    /// Refused before, and unchanged since.
    pub(super) refused: Vec<(PathBuf, String)>,
    /// What could not be looked at.
    pub(super) unlisted: Vec<(PathBuf, String)>,
    /// Pictures that are there.
    pub(super) found: usize,
}

/// Whether a path below a folder belongs to what is looked at.
pub(super) fn is_within(path: &Path, recursive: bool) -> bool {
    recursive || path.components().count() == 1
}

/// Compares. `root` is the folder.
pub(super) fn plan(root: &Path, recursive: bool, index: &Index) -> Plan {
    let mut plan = Plan::default();
    let mut found = Vec::new();
    let mut here = HashSet::new();
    for picture in walk(root, recursive) {
        let (path, stamp) = match picture {
            Ok(path) => {
                let stamp = Stamp::of(&path).map_err(|error| reason(&error));
                (path, stamp)
            }
            Err(unlisted) => (unlisted.path, Err(unlisted.problem)),
        };
        let below = path.strip_prefix(root).unwrap_or(&path).to_owned();
        match stamp {
            Ok(stamp) => {
                here.insert(below.clone());
                found.push((below, stamp));
            }
            Err(problem) => plan.unlisted.push((below, problem)),
        }
    }
    plan.found = found.len();

    // What is in a part that cannot be looked into may well be there.
    let is_hidden = |path: &Path| plan.unlisted.iter().any(|(unlisted, _)| path.starts_with(unlisted));
    let gone: Vec<(&Path, &Entry)> = index
        .entries()
        .filter(|(path, _)| is_within(path, recursive) && !here.contains(*path) && !is_hidden(path))
        .collect();
    let by_stamp: HashMap<Stamp, &Entry> = gone.iter().map(|(_, entry)| (entry.stamp, *entry)).collect();
    for (path, stamp) in found {
        match (index.get(&path), by_stamp.get(&stamp)) {
            (Some(entry), _) if entry.stamp == stamp => {
                if let Outcome::Refused(reason) = &entry.outcome {
                    plan.refused.push((path, reason.clone()));
                }
            }
            (_, Some(entry)) => {
                if let Outcome::Refused(reason) = &entry.outcome {
                    plan.refused.push((path.clone(), reason.clone()));
                }
                plan.moved.push((path, (*entry).clone()));
            }
            _ => plan.ask.push(path),
        }
    }
    plan.gone = gone.into_iter().map(|(path, _)| path.to_owned()).collect();
    plan
}
