//! Pictures that come into a folder or change in it.
//!
//! The kernel says when it is worth looking; besides, the folder is looked at once in an interval, since nobody
//! tells of what another machine writes to a network share. A picture counts once it has stopped growing.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::source::SourceError;
use crate::cli::{console::reason, folder::Stamp, pictures::walk};

/// A file that has not changed for so long is whole.
const SETTLING: Duration = Duration::from_millis(200);

/// A folder with what was seen in it.
pub(super) struct Watched {
    root: PathBuf,
    seen: Option<HashMap<PathBuf, Stamp>>,
    /// Pictures to be given, oldest first.
    waiting: VecDeque<PathBuf>,
    notices: Option<Notices>,
}

/// What the kernel tells. Its end ends the telling.
struct Notices {
    events: mpsc::Receiver<()>,
    _watcher: RecommendedWatcher,
}

impl Notices {
    /// None where the kernel cannot tell, or no longer.
    fn of(root: &Path) -> Option<Self> {
        // One that waits stands for all.
        let (sender, events) = mpsc::channel(1);
        let tell = move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| {
                !matches!(event.kind, notify::EventKind::Access(access)
                if !matches!(access, notify::event::AccessKind::Close(notify::event::AccessMode::Write)))
            }) {
                let _ = sender.try_send(());
            }
        };
        let mut watcher = notify::recommended_watcher(tell).ok()?;
        watcher.watch(root, RecursiveMode::Recursive).ok()?;
        Some(Self { events, _watcher: watcher })
    }
}

impl Watched {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, seen: None, waiting: VecDeque::new(), notices: None }
    }

    /// Waits for the next picture; at first, the newest that is there.
    pub(super) async fn next(&mut self, interval: Duration) -> Result<File, SourceError> {
        loop {
            while let Some(path) = self.waiting.pop_front() {
                // What has gone meanwhile is no picture any more.
                match File::open(&path) {
                    Ok(file) => return Ok(file),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => return Err(SourceError(reason(&error))),
                }
            }
            // Before the look, so that nothing falls between.
            if self.notices.is_none() {
                self.notices = Notices::of(&self.root);
            }
            let first = self.seen.is_none();
            self.look().await?;
            if first && self.waiting.len() > 1 {
                self.waiting.drain(..self.waiting.len() - 1);
            }
            if self.waiting.is_empty() {
                self.wait(interval).await;
            }
        }
    }

    /// Until the kernel tells of something, and at most for an interval.
    async fn wait(&mut self, interval: Duration) {
        let Some(notices) = &mut self.notices else { return sleep(interval).await };
        if let Ok(None) = timeout(interval, notices.events.recv()).await {
            self.notices = None;
        }
    }

    /// Finds what is new or has changed, and has it wait once it is whole.
    async fn look(&mut self) -> Result<(), SourceError> {
        let mut now = scan(&self.root).await.inspect_err(|_| self.notices = None)?;
        loop {
            let seen = self.seen.get_or_insert_default();
            if now.iter().all(|(path, stamp)| seen.get(path) == Some(stamp)) {
                *seen = now;
                return Ok(());
            }
            sleep(SETTLING).await;
            let later = scan(&self.root).await?;
            let whole = |path: &PathBuf, stamp: &Stamp| later.get(path) == Some(stamp) && stamp.size > 0;
            let mut fresh: Vec<(PathBuf, Stamp)> = now
                .into_iter()
                .filter(|(path, stamp)| seen.get(path) != Some(stamp) && whole(path, stamp))
                .collect();
            fresh.sort_by(|(a, x), (b, y)| (x.seconds, x.nanoseconds, a).cmp(&(y.seconds, y.nanoseconds, b)));
            for (path, stamp) in fresh {
                seen.insert(path.clone(), stamp);
                self.waiting.push_back(path);
            }
            seen.retain(|path, _| later.contains_key(path));
            if !self.waiting.is_empty() {
                return Ok(());
            }
            // Something is still being written, or empty.
            now = later;
            now.retain(|_, stamp| stamp.size > 0);
        }
    }
}

async fn scan(root: &Path) -> Result<HashMap<PathBuf, Stamp>, SourceError> {
    let root = root.to_owned();
    let scanning = tokio::task::spawn_blocking(move || {
        let mut found = HashMap::new();
        for picture in walk(&root, true) {
            match picture {
                Ok(path) => found.extend(Stamp::of(&path).ok().map(|stamp| (path, stamp))),
                // A part that cannot be read is no reason to miss the rest.
                Err(unlisted) if unlisted.path == root => return Err(SourceError(unlisted.problem)),
                Err(_) => {}
            }
        }
        Ok(found)
    });
    scanning.await.unwrap_or_else(|error| Err(SourceError(error.to_string())))
}
