//! Which path leads where, and what applies to every request.

use std::{ops::Deref, sync::Arc, time::Instant};

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::sync::{Semaphore, watch};
use tower_http::catch_panic::CatchPanicLayer;

use super::{
    Choose, Options,
    body::{BodyBudget, BodyLimits},
    classify, embed,
    error::ApiError,
    health, immich, llama_cpp, metrics, models, openai, openapi, page, security, use_model,
};
use crate::engine::Engine;

/// What every handler needs; each request clones it several times.
#[derive(Clone)]
pub(super) struct Facade(Arc<Parts>);

#[derive(Clone)]
pub(super) struct Parts {
    pub(super) engine: Engine,
    pub(super) budget: BodyBudget,
    /// Of Immich's requests, those whose bodies are held.
    pub(super) predictions: Arc<Semaphore>,
    pub(super) started: Instant,
    pub(super) choose: Option<Choose>,
    options: watch::Receiver<Arc<Options>>,
}

impl Deref for Facade {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Facade {
    pub(super) fn new(engine: Engine, options: watch::Receiver<Arc<Options>>) -> Self {
        const LEAST_BUDGET: usize = 64 << 20;
        const LARGEST_BODIES_AT_A_TIME: usize = 4;
        let budget = options.borrow().max_body_bytes.saturating_mul(LARGEST_BODIES_AT_A_TIME);
        Self(Arc::new(Parts {
            engine,
            budget: BodyBudget::new(budget.max(LEAST_BUDGET)),
            predictions: Arc::new(immich::slots()),
            started: Instant::now(),
            choose: None,
            options,
        }))
    }

    /// The same facade, which has `choose` record the models that its clients choose.
    pub(super) fn recording(&self, choose: Choose) -> Self {
        Self(Arc::new(Parts { choose: Some(choose), ..Parts::clone(self) }))
    }

    /// The options in force.
    pub(super) fn options(&self) -> Arc<Options> {
        Arc::clone(&self.options.borrow())
    }

    pub(super) fn body_limits(&self) -> BodyLimits {
        let options = self.options();
        BodyLimits {
            max_bytes: options.max_body_bytes,
            wait: options.request_timeout,
            receive: options.connections.body_timeout,
        }
    }
}

pub(super) fn router(facade: Facade) -> Router {
    let open = Router::new()
        .route("/health", get(health::health))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/ping", get(immich::ping))
        .route("/", get(page::root))
        .route("/page.css", get(page::css))
        .route("/page.js", get(page::js))
        .route("/service.js", get(page::service_js))
        .route("/page.svg", get(page::svg));
    let guarded = Router::new()
        .route("/openapi.json", get(openapi::openapi))
        .route("/metrics", get(metrics::metrics))
        .route("/predict", post(immich::predict))
        .route("/embeddings", post(llama_cpp::embeddings))
        .route("/props", get(llama_cpp::props))
        .route("/v1/embeddings", post(openai::embeddings))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{model}", get(models::show))
        .route("/v1/classify", post(classify::classify))
        .route("/v1/embed/image", post(embed::image))
        .route("/v1/embed/text", post(embed::text))
        .route("/v1/models/use", post(use_model::use_model))
        .route_layer(middleware::from_fn_with_state(facade.clone(), security::check_key));
    let endpoints = open
        .merge(guarded)
        .fallback(|| async { ApiError::not_found() })
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() });
    with_layers(endpoints, facade)
}

/// Puts around all endpoints what applies to every request.
fn with_layers(endpoints: Router<Facade>, facade: Facade) -> Router {
    endpoints
        .layer(middleware::from_fn_with_state(facade.clone(), security::check_source))
        .layer(CatchPanicLayer::custom(|_| ApiError::internal().into_response()))
        .layer(middleware::from_fn_with_state(facade.clone(), finish))
        .with_state(facade)
}

/// Whether an answer with this status may have been given before the body was read.
fn is_refusal_of_body(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::SERVICE_UNAVAILABLE
    )
}

/// An error's body, where clients of the route expect another form than ours.
fn foreign_error_body(route: &str, error: &ApiError) -> Option<Body> {
    let body = match route {
        "/embeddings" | "/props" => serde_json::to_vec(&llama_cpp::error_body(error)),
        "/predict" => serde_json::to_vec(&immich::error_body(error)),
        "/v1/embeddings" | "/v1/models" | "/v1/models/{model}" => {
            serde_json::to_vec(&openai::error_body(error))
        }
        _ => return None,
    };
    body.ok().map(Body::from)
}

/// Headers of every answer, its count, and a line in the log.
async fn finish(State(facade): State<Facade>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    // What is no path of ours has one name for all of it.
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("other", MatchedPath::as_str);
    let logged = tracing::enabled!(tracing::Level::DEBUG)
        .then(|| (request.method().clone(), request.uri().path().to_owned()));
    let has_body = !request.body().is_end_stream();
    let mut response = next.run(request).await;
    if let Some(error) = response.extensions_mut().remove()
        && let Some(body) = foreign_error_body(route, &error)
    {
        *response.body_mut() = body;
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    let unread = has_body && is_refusal_of_body(response.status());
    let headers = response.headers_mut();
    if unread {
        // The connection cannot be used again: what comes next on it is that body.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    facade.engine.statistics().count_answer("http", route, response.status().as_str());
    if let Some((method, path)) = logged {
        let (status, elapsed) = (response.status().as_u16(), started.elapsed());
        tracing::debug!(%method, path, status, ?elapsed, "answered");
    }
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::{backend::BackendError, config::Settings};

    #[tokio::test]
    async fn a_panic_is_an_answer_without_details() {
        let settings = Arc::new(Settings::default());
        let options = watch::Sender::new(Arc::new(Options::new(&settings, Vec::new(), String::new())));
        let no_model = Arc::new(|_: &Settings| Err(BackendError::Unavailable(String::new())));
        let facade = Facade::new(Engine::start(settings, no_model).unwrap(), options.subscribe());
        let endpoints =
            Router::new().route("/", get(|| async { panic!("secret, as this test wants it") as () }));

        let request = Request::builder().uri("/").body(Body::empty()).unwrap();
        let response = with_layers(endpoints, facade).oneshot(request).await.unwrap();
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, r#"{"error":"Internal server error","code":"internal"}"#);
    }
}
