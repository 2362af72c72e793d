//! Immich's machine-learning interface, as far as it is CLIP: `POST /predict` and `GET /ping`.
//!
//! An answer other than 2xx makes Immich take the whole server for unhealthy and fail the job, so a request
//! waits where others are refused. Faces and text in pictures are not recognised here.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::{sync::Semaphore, time::timeout};
use utoipa::ToSchema;

use super::{
    error::ApiError,
    form::Form,
    payload,
    router::Facade,
    timing::{ServerTiming, server_timing},
};
use crate::{
    clip::Embedding,
    engine::{self, EmbedOptions, EngineError, Timings},
};

/// Requests whose bodies are held at a time. More wait unread, so that waiting costs no memory.
pub(super) const MOST_AT_A_TIME: usize = 8;

/// An embedded picture or text.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Prediction {
    /// A JSON array of numbers, as a string.
    clip: String,
    /// Height of the decoded picture in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    image_height: Option<u32>,
    /// Width of the decoded picture in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    image_width: Option<u32>,
}

/// A picture or a text, as the entries say.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the form, which is read part by part")]
pub(super) struct PredictForm {
    /// JSON: `{"clip":{"visual":{"modelName":"ViT-B-32__openai"}}}`, or `textual`.
    #[schema(format = "entries")]
    entries: String,
    /// The picture's file, for a visual entry.
    #[schema(value_type = Option<String>, format = Binary, nullable = false)]
    image: Option<String>,
    /// The text, for a textual entry.
    #[schema(nullable = false)]
    text: Option<String>,
}

/// An error in Immich's form.
#[derive(Serialize, ToSchema)]
pub(super) struct ImmichError {
    /// What failed, for people.
    detail: String,
}

/// What the entries ask for.
#[derive(Debug, PartialEq)]
struct Task {
    encoder: Encoder,
    model: String,
}

#[derive(Debug, PartialEq)]
enum Encoder {
    Visual,
    Textual,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    model_name: String,
}

/// Immich asks whether the service lives.
#[utoipa::path(get, path = "/ping", tag = "immich", responses(
    (status = 200, description = "The process answers.", body = String, content_type = "text/plain", example = "pong"),
))]
pub(super) async fn ping() -> &'static str {
    "pong"
}

/// Embeds a picture or a text for Immich.
#[utoipa::path(post, path = "/predict", tag = "immich",
    request_body(content = PredictForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, description = "The embedding.", body = Prediction),
        (status = "4XX", description = "The request cannot be served.", body = ImmichError),
        (status = "5XX", description = "The service cannot serve now.", body = ImmichError),
    ))]
pub(super) async fn predict(State(facade): State<Facade>, request: Request) -> Result<Response, ApiError> {
    let limit = facade.options().request_timeout;
    let slot = timeout(limit, facade.predictions.acquire()).await;
    let _slot = slot.map_err(|_| ApiError::busy())?;
    let mut form = payload::receive_form(&facade, request).await?;
    let Task { encoder, model } = task(form.value("entries"))?;
    let options = EmbedOptions { model: Some(model), wait_for_place: true, ..EmbedOptions::default() };
    match encoder {
        Encoder::Visual => visual(&facade, &mut form, &options).await,
        Encoder::Textual => textual(&facade, &form, &options).await,
    }
}

async fn visual(facade: &Facade, form: &mut Form, options: &EmbedOptions) -> Result<Response, ApiError> {
    let Ok(image) = form.take_image() else {
        return Err(bad_request("a visual entry needs a picture in the part 'image'"));
    };
    let embedded = facade.engine.embed_image_with(image, options).await.map_err(engine_error)?;
    let answer = Prediction {
        clip: array(&embedded.embedding)?,
        image_height: Some(embedded.height),
        image_width: Some(embedded.width),
    };
    Ok(answered(&embedded.timings, answer))
}

async fn textual(facade: &Facade, form: &Form, options: &EmbedOptions) -> Result<Response, ApiError> {
    let Some(text) = form.value("text") else {
        return Err(bad_request("a textual entry needs a text in the part 'text'"));
    };
    let embedded =
        facade.engine.embed_texts_with(vec![text.to_owned()], options).await.map_err(engine_error)?;
    // The engine gives one embedding for each text.
    let embedding = embedded.embeddings.first().ok_or_else(ApiError::internal)?;
    Ok(answered(
        &embedded.timings,
        Prediction { clip: array(embedding)?, image_height: None, image_width: None },
    ))
}

fn answered(timings: &Timings, answer: Prediction) -> Response {
    let timing: ServerTiming = server_timing(timings);
    (timing, Json(answer)).into_response()
}

/// Immich stores the vector as it comes: the text of a JSON array.
fn array(embedding: &Embedding) -> Result<String, ApiError> {
    serde_json::to_string(embedding.as_slice()).map_err(|_| ApiError::internal())
}

/// The one task that the entries name.
fn task(entries: Option<&str>) -> Result<Task, ApiError> {
    let invalid = || {
        unprocessable(
            r#"the part 'entries' must be JSON such as {"clip":{"visual":{"modelName":"ViT-B-32__openai"}}}"#,
        )
    };
    let tasks: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(entries.ok_or_else(invalid)?).map_err(|_| invalid())?;
    if let Some(other) = tasks.keys().find(|task| *task != "clip") {
        let other: String = other.chars().take(40).collect();
        return Err(unprocessable(format!("the task {other:?} is not served here, only \"clip\"")));
    }
    let clip = tasks.get("clip").ok_or_else(invalid)?;
    let encoders: BTreeMap<String, Entry> = serde_json::from_str(clip.get()).map_err(|_| invalid())?;
    let mut encoders = encoders.into_iter();
    let (Some((encoder, entry)), None) = (encoders.next(), encoders.next()) else {
        return Err(unprocessable("'entries' must have either \"visual\" or \"textual\""));
    };
    let encoder = match encoder.as_str() {
        "visual" => Encoder::Visual,
        "textual" => Encoder::Textual,
        _ => return Err(invalid()),
    };
    Ok(Task { encoder, model: entry.model_name })
}

fn bad_request(message: &'static str) -> ApiError {
    ApiError::invalid_argument(message)
}

fn unprocessable(message: impl Into<std::borrow::Cow<'static, str>>) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_entries", message)
}

/// As everywhere, but for what Immich's own server has other statuses.
fn engine_error(error: EngineError) -> ApiError {
    match &error {
        EngineError::NoSuchModel(message) => unprocessable(message.clone()),
        EngineError::NotReady { state: engine::State::Failed, message } => {
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", message.clone())
        }
        _ => error.into(),
    }
}

/// An error as Immich reads it.
pub(super) fn error_body(error: &ApiError) -> ImmichError {
    ImmichError { detail: error.to_string() }
}

/// Permits for requests whose bodies are held.
pub(super) fn slots() -> Semaphore {
    Semaphore::new(MOST_AT_A_TIME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_name_one_task() {
        let visual = r#"{"clip":{"visual":{"modelName":"ViT-B-32__openai","options":{}}}}"#;
        assert_eq!(
            task(Some(visual)).unwrap(),
            Task { encoder: Encoder::Visual, model: "ViT-B-32__openai".into() }
        );
        for (wrong, says) in [
            ("", "must be JSON"),
            ("[]", "must be JSON"),
            ("{}", "must be JSON"),
            (r#"{"clip":{}}"#, "either"),
            (r#"{"clip":{"visual":{}}}"#, "must be JSON"),
            (r#"{"clip":{"audio":{"modelName":"x"}}}"#, "must be JSON"),
            (r#"{"clip":{"visual":{"modelName":"x"},"textual":{"modelName":"x"}}}"#, "either"),
            (r#"{"facial-recognition":{"detection":{"modelName":"buffalo_l"}}}"#, "\"facial-recognition\""),
            (r#"{"clip":{"visual":{"modelName":"x"}},"ocr":{}}"#, "\"ocr\""),
        ] {
            let error = task(Some(wrong)).unwrap_err().to_string();
            assert!(error.contains(says), "{wrong}: {error}");
        }
        assert!(task(None).is_err());
    }
}
