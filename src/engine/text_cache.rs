//! Text embeddings that were computed before, and those that are being computed.
//!
//! A text that several requests ask for at the same time is encoded once. Whoever asks first gets a
//! [`Claim`], which goes to the device thread with the text; everybody else waits for its result.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{FutureExt, future::Shared, future::WeakShared};
use lru::LruCache;
use tokio::sync::oneshot;

use super::device::Encoded;
use crate::clip::Embedding;

/// The future result of a text that is being encoded; an error means that it was given up.
pub(super) type Pending = Shared<oneshot::Receiver<Encoded>>;

/// Text embeddings of one model.
pub(super) struct TextCache {
    texts: Mutex<Texts>,
}

struct Texts {
    /// `None` if nothing is to be kept.
    ready: Option<LruCache<Arc<str>, Embedding>>,
    /// Weak, so that a text nobody waits for any more is seen to be abandoned.
    running: HashMap<Arc<str>, WeakShared<oneshot::Receiver<Encoded>>>,
}

/// What the cache knows of a text.
pub(super) enum Lookup {
    /// It is here.
    Ready(Embedding),
    /// Somebody is on it.
    Running(Pending),
    /// The caller is to encode it.
    Missing(Pending, Claim),
}

/// The duty to encode a text. Dropping it unfulfilled lets the next caller claim the text.
pub(super) struct Claim {
    cache: Arc<TextCache>,
    text: Arc<str>,
    result: oneshot::Sender<Encoded>,
}

impl TextCache {
    /// A cache of at most `entries` embeddings; 0 keeps none and still shares what is running.
    pub(super) fn new(entries: usize) -> Arc<Self> {
        let ready = NonZeroUsize::new(entries).map(LruCache::new);
        Arc::new(Self { texts: Mutex::new(Texts { ready, running: HashMap::new() }) })
    }

    /// Looks `text` up, claiming it if nobody has it.
    pub(super) fn lookup(self: &Arc<Self>, text: &str) -> Lookup {
        let mut texts = self.lock();
        if let Some(embedding) = texts.ready.as_mut().and_then(|ready| ready.get(text)) {
            return Lookup::Ready(embedding.clone());
        }
        if let Some(pending) = texts.running.get(text).and_then(WeakShared::upgrade) {
            return Lookup::Running(pending);
        }
        let (result, receiver) = oneshot::channel();
        let pending = receiver.shared();
        let text: Arc<str> = text.into();
        if let Some(weak) = pending.downgrade() {
            texts.running.insert(Arc::clone(&text), weak);
        }
        Lookup::Missing(pending, Claim { cache: Arc::clone(self), text, result })
    }

    fn lock(&self) -> MutexGuard<'_, Texts> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// The text to encode.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether everybody who waited has gone.
    pub(super) fn is_abandoned(&self) -> bool {
        self.result.is_closed()
    }

    /// Keeps the embedding, if it is one, and hands the result to all who wait.
    pub(super) fn fulfil(mut self, encoded: Encoded) {
        if let Ok(done) = &encoded
            && let Some(ready) = &mut self.cache.lock().ready
        {
            ready.put(Arc::clone(&self.text), done.embedding.clone());
        }
        let (closed, _) = oneshot::channel();
        // Nobody may be waiting any more: the embedding is kept all the same.
        let _ = std::mem::replace(&mut self.result, closed).send(encoded);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.cache.lock().running.remove(&self.text);
    }
}
