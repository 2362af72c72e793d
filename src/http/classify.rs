//! `POST /v1/classify`

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{
    error::ApiError,
    explanation::Explanation,
    json::JsonFields,
    payload::{self, Payload},
    router::Facade,
    timing::{milliseconds, server_timing},
};
use crate::engine::ClassifyRequest;

#[derive(Serialize)]
struct Answer<'a> {
    classifications: Vec<Classification>,
    inference_time_ms: f64,
    model: &'a str,
    /// For clients that asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<Explanation>,
}

#[derive(Serialize)]
struct Classification {
    text: String,
    score: f32,
    /// From 1.
    rank: usize,
    /// For clients that asked for an explanation.
    #[serde(skip_serializing_if = "Option::is_none")]
    cosine: Option<f32>,
}

/// Ranks prompts for a picture.
pub(super) async fn classify(State(facade): State<Facade>, request: Request) -> Result<Response, ApiError> {
    let request = match Payload::receive(&facade, request).await? {
        Payload::Json(body) => payload::decode_json(body, from_json).await?,
        Payload::Form(form) => form.into_classify_request()?,
    };
    let classified = facade.engine.classify(request).await?;
    let explained = classified.explanation.is_some();
    let answer = Answer {
        classifications: classified
            .classifications
            .into_iter()
            .zip(1..)
            .map(|(prompt, rank)| Classification {
                text: prompt.text,
                score: prompt.score,
                rank,
                cosine: explained.then_some(prompt.cosine),
            })
            .collect(),
        inference_time_ms: milliseconds(classified.timings.total),
        model: &classified.model,
        explanation: classified.explanation.map(Explanation::from),
    };
    Ok((server_timing(&classified.timings), Json(answer)).into_response())
}

fn from_json(fields: Option<JsonFields>) -> Result<ClassifyRequest, ApiError> {
    fields.ok_or_else(ApiError::no_json_body)?.into_classify_request()
}
