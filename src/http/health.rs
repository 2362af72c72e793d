//! Health, for people, monitoring and load balancers. Answers from the engine's last word; never waits.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    error::{ApiError, ErrorBody},
    router::Facade,
};
use crate::engine::{self, EngineError};

/// The state of the service.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// `healthy`, `starting`, `unhealthy` or `draining`
    status: &'static str,
    service: &'static str,
    model_loaded: bool,
    model: String,
    /// `fp32`, `fp16` or `int8`; `null` while no model is loaded.
    precision: Option<String>,
    runtime_mode: &'static str,
    backend: Option<&'static str>,
    /// The NPU, where one is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    device: Option<Device>,
    /// Whether the model was unloaded until the next request, which waits until it is loaded again.
    idle: bool,
    /// The device, for people; `null` while no model is loaded.
    device_name: Option<String>,
    /// Requests that are accepted and not yet answered, and how many there may be.
    queue_depth: usize,
    max_queue_size: usize,
    /// What a request may measure.
    max_body_bytes: usize,
    max_image_pixels: u64,
    version: &'static str,
    uptime_s: u64,
    /// Why the service is degraded or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<String>,
}

/// An NPU and its software.
#[derive(Serialize, ToSchema)]
pub(super) struct Device {
    architecture: String,
    firmware: String,
    library: String,
    driver: Option<String>,
    temperature_c: Option<f32>,
    throttled: Option<bool>,
}

/// A sign of life.
#[derive(Serialize, ToSchema)]
pub(super) struct Check {
    status: &'static str,
}

/// The state of the service and its model.
#[utoipa::path(get, path = "/health", tag = "service", responses(
    (status = 200, description = "Requests are served, or will be once the model is loaded.", body = Health),
    (status = 503, description = "Requests are not served.", body = Health),
    (status = "4XX", description = "The request cannot be served.", body = ErrorBody),
))]
pub(super) async fn health(State(facade): State<Facade>) -> Response {
    let engine::Status { state, model, loaded, backend, idle, error } =
        facade.engine.status().borrow().clone();
    let (code, status) = match state {
        engine::State::Starting | engine::State::Loading => (StatusCode::OK, "starting"),
        engine::State::Ready | engine::State::Degraded => (StatusCode::OK, "healthy"),
        engine::State::Failed => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy"),
        engine::State::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
    };
    let health = facade.engine.health().unwrap_or_default();
    let npu = backend.as_ref().and_then(|backend| backend.npu.clone());
    let device = npu.map(|npu| Device {
        architecture: npu.architecture,
        firmware: npu.firmware,
        library: npu.library,
        driver: npu.driver,
        temperature_c: health.temperature,
        throttled: health.throttled,
    });
    let body = Health {
        status,
        service: "hailo-clip",
        model_loaded: loaded.is_some(),
        precision: loaded.as_ref().map(|loaded| loaded.precision.clone()),
        model: loaded.map_or(model, |loaded| loaded.name),
        runtime_mode: if state == engine::State::Degraded { "degraded" } else { "real" },
        backend: backend.as_ref().map(|backend| backend.kind.as_str()),
        device,
        idle,
        device_name: backend.map(|backend| backend.device),
        queue_depth: facade.engine.queue_depth(),
        max_queue_size: facade.engine.max_queue_size(),
        max_body_bytes: facade.options().max_body_bytes,
        max_image_pixels: facade.engine.settings().server.max_image_pixels,
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: facade.started.elapsed().as_secs(),
        error,
    };
    (code, Json(body)).into_response()
}

/// The process answers.
#[utoipa::path(get, path = "/health/live", tag = "service", responses(
    (status = 200, description = "It does.", body = Check),
    (status = "4XX", description = "The request cannot be served.", body = ErrorBody),
))]
pub(super) async fn live() -> impl IntoResponse {
    Json(Check { status: "alive" })
}

/// A request would be served.
#[utoipa::path(get, path = "/health/ready", tag = "service", responses(
    (status = 200, description = "It would.", body = Check),
    (status = 503, description = "It would not.", body = ErrorBody),
    (status = "4XX", description = "The request cannot be served.", body = ErrorBody),
))]
pub(super) async fn ready(State(facade): State<Facade>) -> Result<impl IntoResponse, ApiError> {
    let status = facade.engine.status().borrow().clone();
    if status.state.serves() {
        return Ok(Json(Check { status: "ready" }));
    }
    let message = match status.error {
        Some(error) => error,
        None => format!("the service is {}", status.state.as_str()),
    };
    Err(EngineError::NotReady { state: status.state, message }.into())
}
