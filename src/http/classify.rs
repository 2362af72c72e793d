//! `POST /v1/classify`

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    error::{ApiError, ErrorBody},
    json::JsonFields,
    payload::{self, Payload},
    router::Facade,
    timing::{milliseconds, server_timing},
};
use crate::engine::ClassifyRequest;

/// A picture and the prompts to rank for it.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the body, which is read field by field")]
pub(super) struct ClassifyBody {
    /// The picture's file in base64, or a data URI.
    #[schema(format = "picture")]
    image: String,
    #[schema(min_items = 1, max_items = 1000)]
    prompts: Vec<String>,
    /// At most so many results.
    #[schema(minimum = 1, maximum = 18_446_744_073_709_551_615_u64, default = 3)]
    top_k: Option<u64>,
    /// Results below are left out.
    #[schema(default = 0.0, minimum = -1e9, maximum = 1e9)]
    threshold: Option<f64>,
    /// Each prompt becomes the mean over these.
    templates: Option<Vec<Template>>,
    /// Probabilities instead of cosines; as configured if absent.
    apply_softmax: Option<bool>,
    /// Factor on the cosine; the model's own if absent.
    #[schema(exclusive_minimum = 0, maximum = 1e9)]
    logit_scale: Option<f64>,
    /// Shortens the configured deadline, never extends it.
    #[schema(minimum = 1, maximum = 18_446_744_073_709_551_615_u64)]
    timeout_ms: Option<u64>,
}

/// A sentence with the placeholder `{}` in it, once.
#[derive(ToSchema)]
#[schema(format = "template", pattern = r"\{\}", example = "a photo of a {}")]
#[allow(dead_code, reason = "as above")]
pub(super) struct Template(String);

/// The prompts, ranked.
#[derive(Serialize, ToSchema)]
pub(super) struct Classified<'a> {
    /// Best first.
    classifications: Vec<Classification>,
    /// From acceptance to answer.
    inference_time_ms: f64,
    /// Name of the model that answered.
    model: &'a str,
}

/// A prompt and its score.
#[derive(Serialize, ToSchema)]
pub(super) struct Classification {
    /// The prompt.
    text: String,
    /// Probability, or the cosine if there is one prompt alone or softmax is off.
    score: f32,
    /// From 1.
    rank: usize,
}

/// Ranks prompts for a picture.
///
/// Beside JSON, a form (`multipart/form-data`) with the same fields and the picture's file in `image`, or the
/// file alone as the body, with the other fields in the query.
#[utoipa::path(post, path = "/v1/classify", tag = "clip",
    request_body = ClassifyBody,
    responses(
        (status = 200, description = "The best prompts.", body = Classified),
        (status = "4XX", description = "The request cannot be served.", body = ErrorBody),
        (status = "5XX", description = "The service cannot serve now.", body = ErrorBody),
    ))]
pub(super) async fn classify(State(facade): State<Facade>, request: Request) -> Result<Response, ApiError> {
    let request = match Payload::receive(&facade, request).await? {
        Payload::Json(body) => payload::decode_json(body, from_json).await?,
        Payload::Form(form) => form.into_classify_request()?,
    };
    let classified = facade.engine.classify(request).await?;
    let answer = Classified {
        classifications: classified
            .classifications
            .into_iter()
            .zip(1..)
            .map(|(prompt, rank)| Classification { text: prompt.text, score: prompt.score, rank })
            .collect(),
        inference_time_ms: milliseconds(classified.timings.total),
        model: &classified.model,
    };
    Ok((server_timing(&classified.timings), Json(answer)).into_response())
}

fn from_json(fields: Option<JsonFields>) -> Result<ClassifyRequest, ApiError> {
    fields.ok_or_else(ApiError::no_json_body)?.into_classify_request()
}
