//! Several pictures of one request, embedded.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::error::ApiError;
use crate::{
    clip::Embedding,
    engine::{EmbedOptions, Engine, Timings},
};

/// Pictures of one request that are worked on at a time.
const AT_A_TIME: usize = 4;

/// The embeddings, in order.
pub(super) struct Embedded {
    pub(super) embeddings: Vec<Embedding>,
    pub(super) model: Arc<str>,
    /// Of the picture that took longest.
    pub(super) timings: Timings,
}

/// A full queue refuses the first picture; once that is in, the others wait for their places.
///
/// # Errors
/// As the engine's, for any of the pictures; none is given.
pub(super) async fn embed(
    engine: &Engine,
    first: Bytes,
    others: impl Iterator<Item = Bytes>,
    options: &EmbedOptions,
) -> Result<Embedded, ApiError> {
    let first = engine.embed_image_with(first, options).await?;
    let patient = &EmbedOptions { wait_for_place: true, ..options.clone() };
    let others = stream::iter(others.map(|image| engine.embed_image_with(image, patient)));
    let others: Vec<_> = others.buffered(AT_A_TIME).try_collect().await?;
    if others.iter().any(|image| image.model != first.model) {
        // Replaced on the way, by one that answers to the same name.
        return Err(ApiError::model_replaced());
    }
    let timings = others.iter().map(|image| image.timings).fold(first.timings, |slowest, timings| {
        if timings.total > slowest.total { timings } else { slowest }
    });
    let model = Arc::clone(&first.model);
    let embeddings = [first].into_iter().chain(others).map(|image| image.embedding).collect();
    Ok(Embedded { embeddings, model, timings })
}
