//! `GET /` for programs: what there is.

use axum::{Json, response::IntoResponse};
use serde::Serialize;

#[derive(Serialize)]
struct Index {
    service: &'static str,
    version: &'static str,
    endpoints: [Endpoint; 7],
}

#[derive(Serialize)]
struct Endpoint {
    method: &'static str,
    path: &'static str,
    description: &'static str,
}

pub(super) async fn index() -> impl IntoResponse {
    let endpoint = |method, path, description| Endpoint { method, path, description };
    Json(Index {
        service: "hailo-clip",
        version: env!("CARGO_PKG_VERSION"),
        endpoints: [
            endpoint("GET", "/health", "state of the service and its model"),
            endpoint("GET", "/health/live", "200 while the process answers"),
            endpoint("GET", "/health/ready", "200 while requests are served"),
            endpoint("POST", "/v1/classify", "ranks text prompts by how well they describe an image"),
            endpoint("POST", "/v1/embed/image", "embedding of an image"),
            endpoint("POST", "/v1/embed/text", "embedding of a text"),
            endpoint("POST", "/v1/models/use", "takes another model into service, with a key that manages"),
        ],
    })
}
