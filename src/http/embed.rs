//! `POST /v1/embed/image` and `POST /v1/embed/text`

use std::time::Duration;

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    error::{ApiError, ErrorBody},
    json::{JsonFields, numbers},
    payload::{self, Payload},
    router::Facade,
    timing::server_timing,
};
use crate::{clip::Embedding, engine::Timings};

/// A picture.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the body, which is read field by field")]
pub(super) struct ImageBody {
    /// The picture's file in base64, or a data URI.
    #[schema(format = "picture")]
    image: String,
    /// Shortens the configured deadline, never extends it.
    #[schema(minimum = 1, maximum = 18_446_744_073_709_551_615_u64)]
    timeout_ms: Option<u64>,
}

/// A text.
#[derive(ToSchema)]
#[allow(dead_code, reason = "as above")]
pub(super) struct TextBody {
    text: String,
    /// Shortens the configured deadline, never extends it.
    #[schema(minimum = 1, maximum = 18_446_744_073_709_551_615_u64)]
    timeout_ms: Option<u64>,
}

/// An embedding.
#[derive(Serialize, ToSchema)]
pub(super) struct Embedded<'a> {
    /// L2-normalised.
    embedding: &'a [f32],
    /// Its components.
    dimension: usize,
    /// Name of the model that answered.
    model: &'a str,
}

/// Embeds a picture.
///
/// Beside JSON, a form (`multipart/form-data`) with the picture's file in `image`, or the file alone as the body.
#[utoipa::path(post, path = "/v1/embed/image", tag = "clip",
    request_body = ImageBody,
    responses(
        (status = 200, description = "The embedding.", body = Embedded),
        (status = "4XX", description = "The request cannot be served.", body = ErrorBody),
        (status = "5XX", description = "The service cannot serve now.", body = ErrorBody),
    ))]
pub(super) async fn image(State(facade): State<Facade>, request: Request) -> Result<Response, ApiError> {
    let (image, timeout) = match Payload::receive(&facade, request).await? {
        Payload::Json(body) => payload::decode_json(body, image_from_json).await?,
        Payload::Form(mut form) => (form.take_image()?, form.timeout()?),
    };
    let embedded = facade.engine.embed_image(image, timeout).await?;
    Ok(answer(&embedded.embedding, &embedded.model, &embedded.timings))
}

/// Embeds a text.
#[utoipa::path(post, path = "/v1/embed/text", tag = "clip",
    request_body = TextBody,
    responses(
        (status = 200, description = "The embedding.", body = Embedded),
        (status = "4XX", description = "The request cannot be served.", body = ErrorBody),
        (status = "5XX", description = "The service cannot serve now.", body = ErrorBody),
    ))]
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
    let answer = Embedded { embedding: embedding.as_slice(), dimension: embedding.dimension(), model };
    (server_timing(timings), numbers(&answer, embedding.dimension())).into_response()
}
