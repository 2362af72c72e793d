//! The errors of this facade: a status, a stable code and a sentence.

use std::{borrow::Cow, time::Duration};

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use thiserror::Error;
use utoipa::ToSchema;

use crate::engine::{EngineError, State};

/// An error as the client sees it.
#[derive(Clone, Debug, Error, PartialEq)]
#[error("{message}")]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: Cow<'static, str>,
    retry_after: Option<Duration>,
    /// The parameter that is at fault, for interfaces that tell it apart.
    param: Option<&'static str>,
}

/// An error.
#[derive(Serialize, ToSchema)]
pub(super) struct ErrorBody<'a> {
    /// What failed, for people.
    error: &'a str,
    /// Stable, for programs.
    code: &'static str,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), retry_after: None, param: None }
    }

    fn retry_after(self, delay: Duration) -> Self {
        Self { retry_after: Some(delay), ..self }
    }

    /// Names the parameter that is at fault.
    pub(super) fn about(self, param: &'static str) -> Self {
        Self { param: Some(param), ..self }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    pub(super) fn param(&self) -> Option<&'static str> {
        self.param
    }

    /// A parameter has the wrong type or is out of range; the message names it.
    pub(super) fn invalid_argument(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_argument", message)
    }

    pub(super) fn no_json_body() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_json", "No JSON body")
    }

    pub(super) fn invalid_json(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_json", message)
    }

    pub(super) fn invalid_multipart(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_multipart", message)
    }

    pub(super) fn invalid_image() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_image", "Failed to decode image")
    }

    pub(super) fn invalid_prompts() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_argument", "Missing or invalid 'prompts' array")
    }

    pub(super) fn missing_text() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_argument", "Missing 'text' field")
    }

    pub(super) fn unsupported_media_type(accepted: &'static str) -> Self {
        let message = format!("Content-Type must be {accepted}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    pub(super) fn body_too_large(limit: usize) -> Self {
        let message = format!("The request body is larger than {limit} bytes (server.max_body_mb)");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
    }

    pub(super) fn body_timeout() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", "The request body did not arrive in time")
    }

    pub(super) fn incomplete_body() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "incomplete_body", "The request body is incomplete")
    }

    /// Too many large bodies are being read at this time.
    pub(super) fn busy() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "Too many large requests are being received; try again shortly",
        )
        .retry_after(Duration::from_secs(1))
    }

    /// A request's pictures would have come from two models.
    pub(super) fn model_replaced() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_ready",
            "The model was replaced while the request was served; send it again",
        )
        .retry_after(Duration::from_secs(1))
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "Endpoint not found")
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "Method not allowed; the Allow header lists what is",
        )
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "This service needs a key: send 'Authorization: Bearer KEY'",
        )
    }

    pub(super) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal server error")
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        let message = error.to_string();
        match error {
            EngineError::InvalidArgument(_) => Self::invalid_argument(message),
            EngineError::InvalidImage => Self::invalid_image(),
            EngineError::TooLarge(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "image_too_large", message),
            EngineError::QueueFull { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "queue_full", message)
                    .retry_after(Duration::from_secs(1))
            }
            EngineError::Timeout(_) => Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message),
            EngineError::NotReady { state, .. } => {
                let (code, seconds) = match state {
                    State::Starting | State::Loading => ("loading", 2),
                    State::Ready | State::Degraded => ("not_ready", 2),
                    State::Failed => ("failed", 30),
                    State::Draining => ("draining", 5),
                };
                Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
                    .retry_after(Duration::from_secs(seconds))
            }
            EngineError::NoSuchModel(_) => Self::new(StatusCode::NOT_FOUND, "no_such_model", message),
            EngineError::BackendFailed(_) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "inference_failed", message)
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody { error: &self.message, code: self.code };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(delay) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(delay.as_secs()));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // For routes whose clients read errors in another form.
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_error_has_its_status_and_code() {
        let not_ready = |state| EngineError::NotReady { state, message: "why".into() };
        for (error, status, code, retry) in [
            (EngineError::InvalidArgument("top_k".into()), 400, "invalid_argument", false),
            (EngineError::InvalidImage, 400, "invalid_image", false),
            (EngineError::TooLarge("too large".into()), 413, "image_too_large", false),
            (EngineError::QueueFull { max_queue_size: 1 }, 503, "queue_full", true),
            (EngineError::Timeout(Duration::from_millis(5)), 504, "timeout", false),
            (not_ready(State::Starting), 503, "loading", true),
            (not_ready(State::Loading), 503, "loading", true),
            (not_ready(State::Ready), 503, "not_ready", true),
            (not_ready(State::Degraded), 503, "not_ready", true),
            (not_ready(State::Failed), 503, "failed", true),
            (not_ready(State::Draining), 503, "draining", true),
            (EngineError::NoSuchModel("no model".into()), 404, "no_such_model", false),
            (EngineError::BackendFailed("inference failed".into()), 500, "inference_failed", false),
        ] {
            let message = error.to_string();
            let answer = ApiError::from(error);
            assert_eq!((answer.status.as_u16(), answer.code), (status, code));
            assert_eq!(answer.message, message);
            let response = answer.into_response();
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), retry, "{code}");
        }
    }
}
