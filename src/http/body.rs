//! Request bodies under limits: size, time, and the memory of all bodies together.

use std::{sync::Arc, time::Duration};

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use http_body_util::BodyExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};

use super::error::ApiError;

/// Memory for bodies that are being received, shared by all connections.
#[derive(Clone)]
pub(super) struct BodyBudget {
    permits: Arc<Semaphore>,
    capacity: usize,
}

/// What one body may take.
#[derive(Clone, Copy)]
pub(super) struct BodyLimits {
    /// Largest body in bytes.
    pub(super) max_bytes: usize,
    /// Longest wait for memory.
    pub(super) wait: Duration,
    /// Longest time from the first byte to the last.
    pub(super) receive: Duration,
}

impl BodyBudget {
    /// One permit stands for so many bytes.
    const UNIT: usize = 1024;

    pub(super) fn new(bytes: usize) -> Self {
        let capacity = bytes.div_ceil(Self::UNIT).min(Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(capacity)), capacity }
    }

    /// Waits for its turn to hold `bytes`, first come, first served.
    async fn reserve(&self, bytes: usize) -> OwnedSemaphorePermit {
        // A body larger than everything (the limit was raised since) has to be alone.
        let permits = bytes.div_ceil(Self::UNIT).min(self.capacity);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        Arc::clone(&self.permits).acquire_many_owned(permits).await.expect("the semaphore is never closed")
    }
}

/// A body that is being received; nothing is read before its declared size has been accepted.
pub(super) struct BodyReader {
    body: Body,
    remaining: usize,
    limits: BodyLimits,
    deadline: Instant,
    reservation: OwnedSemaphorePermit,
}

/// A received body. The memory counts against the budget until this is dropped.
pub(super) struct ReceivedBody {
    bytes: Bytes,
    _reservation: OwnedSemaphorePermit,
}

impl BodyReader {
    /// Accepts the body's declared size and waits for the memory; a body of unknown size may need all
    /// that is allowed.
    ///
    /// # Errors
    /// The declared size is over the limit, or memory did not become free in time.
    pub(super) async fn open(body: Body, limits: BodyLimits, budget: &BodyBudget) -> Result<Self, ApiError> {
        let size = body.size_hint();
        let max_bytes = u64::try_from(limits.max_bytes).unwrap_or(u64::MAX);
        if size.lower() > max_bytes {
            return Err(ApiError::body_too_large(limits.max_bytes));
        }
        let expected = size.exact().and_then(|size| usize::try_from(size).ok()).unwrap_or(limits.max_bytes);
        let reservation =
            timeout(limits.wait, budget.reserve(expected)).await.map_err(|_| ApiError::busy())?;
        let deadline = Instant::now() + limits.receive;
        Ok(Self { body, remaining: limits.max_bytes, limits, deadline, reservation })
    }

    /// Receives everything.
    ///
    /// # Errors
    /// Too large, too slow, or cut off.
    pub(super) async fn read_to_end(mut self) -> Result<ReceivedBody, ApiError> {
        let declared = self.body.size_hint().exact().and_then(|size| usize::try_from(size).ok());
        let mut bytes = BytesMut::with_capacity(declared.unwrap_or_default());
        while let Some(chunk) = self.chunk().await? {
            if bytes.is_empty() && self.body.is_end_stream() {
                return Ok(ReceivedBody { bytes: chunk, _reservation: self.reservation });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(ReceivedBody { bytes: bytes.freeze(), _reservation: self.reservation })
    }

    /// The body piece by piece, under the same limits.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<Bytes, ApiError>> + Send + 'static {
        stream::try_unfold(self, |mut reader| async move {
            Ok(reader.chunk().await?.map(|chunk| (chunk, reader)))
        })
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            let frame =
                timeout_at(self.deadline, self.body.frame()).await.map_err(|_| ApiError::body_timeout())?;
            let Some(frame) = frame else { return Ok(None) };
            // Trailers are skipped.
            let Ok(data) = frame.map_err(|_| ApiError::incomplete_body())?.into_data() else { continue };
            self.remaining = self
                .remaining
                .checked_sub(data.len())
                .ok_or(ApiError::body_too_large(self.limits.max_bytes))?;
            return Ok(Some(data));
        }
    }
}

impl ReceivedBody {
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Gives the bytes away, and their share of the budget back: the engine has limits of its own.
    pub(super) fn into_bytes(self) -> Bytes {
        self.bytes
    }
}
