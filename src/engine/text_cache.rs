//! Text embeddings that were computed before, and those that are being computed.
//!
//! A text that several requests ask for at the same time is encoded once. Whoever asks first gets a
//! [`Claim`], which goes to the device thread with the text; everybody else waits for its result.
//! Texts are known by their digests, so that what is kept is bounded however long they are.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{FutureExt, future::Shared, future::WeakShared};
use lru::LruCache;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::device::Encoded;
use crate::clip::Embedding;

/// The future result of a text that is being encoded; an error means that it was given up.
pub(super) type Pending = Shared<oneshot::Receiver<Encoded>>;

/// SHA-256 of a text.
pub(super) type TextDigest = [u8; 32];

/// Text embeddings of one model.
pub(super) struct TextCache {
    texts: Mutex<Texts>,
}

struct Texts {
    /// `None` if nothing is to be kept.
    ready: Option<LruCache<TextDigest, Embedding>>,
    /// Weak, so that a text nobody waits for any more is seen to be abandoned.
    running: HashMap<TextDigest, WeakShared<oneshot::Receiver<Encoded>>>,
    /// How many were added since the start.
    added: u64,
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
    text: Box<str>,
    digest: TextDigest,
    result: oneshot::Sender<Encoded>,
}

impl TextCache {
    /// A cache of at most `entries` embeddings; 0 keeps none and still shares what is running.
    pub(super) fn new(entries: usize) -> Arc<Self> {
        let ready = NonZeroUsize::new(entries).map(LruCache::new);
        Arc::new(Self { texts: Mutex::new(Texts { ready, running: HashMap::new(), added: 0 }) })
    }

    /// Looks `text` up, claiming it if nobody has it.
    pub(super) fn lookup(self: &Arc<Self>, text: &str) -> Lookup {
        let digest = Sha256::digest(text).into();
        let mut texts = self.lock();
        if let Some(embedding) = texts.ready.as_mut().and_then(|ready| ready.get(&digest)) {
            return Lookup::Ready(embedding.clone());
        }
        if let Some(pending) = texts.running.get(&digest).and_then(WeakShared::upgrade) {
            return Lookup::Running(pending);
        }
        let (result, receiver) = oneshot::channel();
        let pending = receiver.shared();
        if let Some(weak) = pending.downgrade() {
            texts.running.insert(digest, weak);
        }
        Lookup::Missing(pending, Claim { cache: Arc::clone(self), text: text.into(), digest, result })
    }

    /// Embeddings that are kept.
    pub(super) fn len(&self) -> usize {
        self.lock().ready.as_ref().map_or(0, LruCache::len)
    }

    /// How many were added since the start: the same number means the same embeddings.
    pub(super) fn added(&self) -> u64 {
        self.lock().added
    }

    /// The embeddings that were used last, at most so many, the latest first.
    pub(super) fn latest(&self, most: usize) -> Vec<(TextDigest, Embedding)> {
        let texts = self.lock();
        let ready = texts.ready.iter().flatten();
        ready.take(most).map(|(digest, embedding)| (*digest, embedding.clone())).collect()
    }

    /// Takes in what [`latest`](Self::latest) gave.
    pub(super) fn restore(&self, latest: Vec<(TextDigest, Embedding)>) {
        if let Some(ready) = &mut self.lock().ready {
            let most = ready.cap().get();
            for (digest, embedding) in latest.into_iter().take(most).rev() {
                ready.put(digest, embedding);
            }
        }
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
        if let Ok(done) = &encoded {
            let mut texts = self.cache.lock();
            if let Some(ready) = &mut texts.ready {
                ready.put(self.digest, done.embedding.clone());
                texts.added += 1;
            }
        }
        let (closed, _) = oneshot::channel();
        // Nobody may be waiting any more: the embedding is kept all the same.
        let _ = std::mem::replace(&mut self.result, closed).send(encoded);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.cache.lock().running.remove(&self.digest);
    }
}
