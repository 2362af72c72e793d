//! What becomes of a model's text embeddings when it is loaded anew: on a reload, after a restart.
//!
//! They are kept for as long as nothing changes that decides them, which a digest tells.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::Duration,
};

use tracing::{info, warn};

use super::{
    Engine, Shared,
    text_cache::TextCache,
    text_file::{TextFile, TextFileError},
};
use crate::config;

/// Between two looks whether there is something new to write.
const INTERVAL: Duration = Duration::from_secs(300);

/// The text embeddings of the model in service, and the file for them.
#[derive(Default)]
pub(super) struct KeptTexts {
    file: OnceLock<TextFile>,
    /// One writes at a time.
    writing: Mutex<()>,
    current: Mutex<Option<Current>>,
}

struct Current {
    /// Digest of all that decides the embeddings.
    model: [u8; 32],
    dimension: usize,
    cache: Arc<TextCache>,
    persist: bool,
    /// [`TextCache::added`] as it was when the file was last written or read.
    written: u64,
    /// That the file cannot be written is said once.
    warned: bool,
}

impl KeptTexts {
    /// A cache for a model that is put in service, with what is known of it. Reads the file.
    pub(super) fn adopt(
        &self,
        model: Option<[u8; 32]>,
        dimension: usize,
        settings: config::TextCache,
    ) -> Arc<TextCache> {
        let entries = if settings.enabled { settings.max_entries } else { 0 };
        let cache = TextCache::new(entries);
        let persist = settings.enabled && settings.persist;
        let mut current = self.lock();
        let Some(model) = model else {
            *current = None;
            return cache;
        };
        let mut written = None;
        match current.as_ref().filter(|current| current.model == model) {
            Some(current) => cache.restore(current.cache.latest(entries)),
            None if persist => {
                cache.restore(self.read(&model, dimension));
                written = Some(cache.added());
            }
            None => {}
        }
        if !persist && let Some(file) = self.file.get() {
            // Where it cannot be removed, it cannot be written either.
            let _ = file.remove();
        }
        // What came from the old cache is to be written, though nothing was added to the new one.
        let written = written.unwrap_or(u64::MAX);
        *current =
            Some(Current { model, dimension, cache: Arc::clone(&cache), persist, written, warned: false });
        cache
    }

    fn read(&self, model: &[u8; 32], dimension: usize) -> Vec<([u8; 32], crate::clip::Embedding)> {
        let Some(file) = self.file.get() else { return Vec::new() };
        match file.read(model, dimension) {
            Ok(embeddings) => {
                info!(count = embeddings.len(), "text embeddings taken over");
                embeddings
            }
            Err(TextFileError::Absent) => Vec::new(),
            Err(error @ TextFileError::OtherModel) => {
                info!("text embeddings of before cannot be taken over: {error}");
                Vec::new()
            }
            Err(error @ (TextFileError::Damaged | TextFileError::System(_))) => {
                warn!("text embeddings of before cannot be taken over, and are computed again: {error}");
                Vec::new()
            }
        }
    }

    /// Writes the file if there is something new. Blocks on the disk.
    pub(super) fn save(&self) {
        let Some(file) = self.file.get() else { return };
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (model, dimension, added, latest) = {
            let current = self.lock();
            let Some(current) = current.as_ref().filter(|current| current.persist) else { return };
            let added = current.cache.added();
            if current.written == added || current.cache.len() == 0 {
                return;
            }
            let most = TextFile::capacity(current.dimension);
            (current.model, current.dimension, added, current.cache.latest(most))
        };
        let written = file.write(&model, dimension, &latest);
        let mut current = self.lock();
        // Another model may have come meanwhile; the next time, its embeddings replace these.
        let Some(current) = current.as_mut().filter(|current| current.model == model) else { return };
        match written {
            Ok(()) => (current.written, current.warned) = (added, false),
            Err(error) => {
                if !current.warned {
                    warn!("text embeddings cannot be kept over a restart: {}", error.kind());
                }
                // Not again before there is something new.
                (current.written, current.warned) = (added, true);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Keeps text embeddings in `folder` over a restart, from the next load on.
    pub fn keep_texts_in(&self, folder: &Path) {
        // Only the first folder counts; there is one daemon.
        let _ = self.shared.texts.file.set(TextFile::new(folder));
    }

    /// Writes the text embeddings that are new, at most for so long.
    pub async fn save_texts(&self, limit: Duration) {
        let shared = Arc::clone(&self.shared);
        let saved = tokio::task::spawn_blocking(move || shared.texts.save());
        // A disk that hangs keeps nobody from stopping; what it does not take is computed again.
        let _ = tokio::time::timeout(limit, saved).await;
    }
}

/// Saves from time to time, as long as the engine lives.
pub(super) async fn save_now_and_then(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(shared) = shared.upgrade() else { return };
        Engine { shared }.save_texts(INTERVAL).await;
    }
}
