//! `GET /`: what there is.

use axum::{Json, response::IntoResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::ErrorBody;

/// What there is.
#[derive(Serialize, ToSchema)]
pub(super) struct Index {
    /// By which Immich's users know its own server.
    message: &'static str,
    service: &'static str,
    version: &'static str,
    #[schema(value_type = Vec<Endpoint>)]
    endpoints: [Endpoint; 15],
}

/// An endpoint.
#[derive(Serialize, ToSchema)]
pub(super) struct Endpoint {
    method: &'static str,
    path: &'static str,
    description: &'static str,
}

/// Lists what there is.
#[utoipa::path(get, path = "/", tag = "service", responses(
    (status = 200, description = "The endpoints.", body = Index),
    (status = "4XX", description = "The request cannot be served.", body = ErrorBody),
))]
pub(super) async fn index() -> impl IntoResponse {
    let endpoint = |method, path, description| Endpoint { method, path, description };
    Json(Index {
        message: "Immich ML",
        service: "hailo-clip",
        version: env!("CARGO_PKG_VERSION"),
        endpoints: [
            endpoint("GET", "/health", "state of the service and its model"),
            endpoint("GET", "/health/live", "200 while the process answers"),
            endpoint("GET", "/health/ready", "200 while requests are served"),
            endpoint("POST", "/v1/classify", "ranks text prompts by how well they describe an image"),
            endpoint("POST", "/v1/embed/image", "embedding of an image"),
            endpoint("POST", "/v1/embed/text", "embedding of a text"),
            endpoint("POST", "/v1/embeddings", "embeddings, as OpenAI has them"),
            endpoint("GET", "/v1/models", "installed models, as OpenAI has them"),
            endpoint("GET", "/v1/models/{model}", "one of them"),
            endpoint("POST", "/embeddings", "embeddings, as llama.cpp has them, for Frigate"),
            endpoint("GET", "/props", "what can be asked so"),
            endpoint("POST", "/predict", "embeddings, as Immich has them"),
            endpoint("GET", "/ping", "\"pong\", for Immich"),
            endpoint("GET", "/metrics", "metrics, as Prometheus has them"),
            endpoint("GET", "/openapi.json", "description of all this for programs"),
        ],
    })
}
