//! `POST /v1/embed/image` and `POST /v1/embed/text`

use std::time::Duration;

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Serialize;

use super::{
    error::ApiError,
    json::JsonFields,
    payload::{self, Payload},
    router::Facade,
    timing::server_timing,
};
use crate::{clip::Embedding, engine::Timings};

#[derive(Serialize)]
struct Answer<'a> {
    /// L2-normalised.
    embedding: &'a [f32],
    dimension: usize,
    model: &'a str,
}

/// Embeds a picture.
pub(super) async fn image(State(facade): State<Facade>, request: Request) -> Result<Response, ApiError> {
    let (image, timeout) = match Payload::receive(&facade, request).await? {
        Payload::Json(body) => payload::decode_json(body, image_from_json).await?,
        Payload::Form(mut form) => (form.take_image()?, form.timeout()?),
    };
    let embedded = facade.engine.embed_image(image, timeout).await?;
    Ok(answer(&embedded.embedding, &embedded.model, &embedded.timings))
}

/// Embeds a text.
pub(super) async fn text(State(facade): State<Facade>, request: Request) -> Result<Response, ApiError> {
    let body = payload::receive_json(&facade, request).await?;
    let (text, timeout) = payload::decode_json(body, text_from_json).await?;
    let embedded = facade.engine.embed_texts(vec![text], timeout).await?;
    // The engine gives one embedding for each text.
    let embedding = embedded.embeddings.first().ok_or_else(ApiError::internal)?;
    Ok(answer(embedding, &embedded.model, &embedded.timings))
}

fn image_from_json(fields: Option<JsonFields>) -> Result<(Bytes, Option<Duration>), ApiError> {
    let fields = fields.ok_or_else(ApiError::no_json_body)?;
    Ok((fields.image()?, fields.timeout()?))
}

fn text_from_json(fields: Option<JsonFields>) -> Result<(String, Option<Duration>), ApiError> {
    let fields = fields.ok_or_else(ApiError::missing_text)?;
    Ok((fields.text()?, fields.timeout()?))
}

fn answer(embedding: &Embedding, model: &str, timings: &Timings) -> Response {
    let answer = Answer { embedding: embedding.as_slice(), dimension: embedding.dimension(), model };
    (server_timing(timings), Json(answer)).into_response()
}
