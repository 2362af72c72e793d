//! `GET /metrics`, in Prometheus's text format.
//!
//! What is counted, the engine's statistics keep; what is so now is asked here, for each answer anew.

use axum::{
    extract::State,
    http::{HeaderName, header},
    response::{IntoResponse, Response},
};
use prometheus::{
    Gauge, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder, core::Collector, proto::MetricFamily,
};

use super::{error::ApiError, router::Facade};
use crate::engine;

const CONTENT_TYPE: [(HeaderName, &str); 1] =
    [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];

/// Metrics of the service, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "service", responses(
    (status = 200, description = "Prometheus's text format.", body = String, content_type = "text/plain"),
    (status = "4XX", description = "The request cannot be served.", body = super::error::ErrorBody),
))]
pub(super) async fn metrics(State(facade): State<Facade>) -> Result<Response, ApiError> {
    let internal = |error: prometheus::Error| {
        tracing::error!("cannot write the metrics: {error}");
        ApiError::internal()
    };
    let mut families = facade.engine.statistics().gather();
    families.extend(current(&facade).map_err(internal)?);
    let text = TextEncoder::new().encode_to_string(&families).map_err(internal)?;
    Ok((CONTENT_TYPE, text).into_response())
}

/// What holds at this moment.
fn current(facade: &Facade) -> prometheus::Result<Vec<MetricFamily>> {
    let engine = &facade.engine;
    let registry = Registry::new();
    add_process(&registry)?;
    add(
        &registry,
        info("hailo_clip_build_info", "The service itself.", &[("version", env!("CARGO_PKG_VERSION"))])?,
    )?;
    for (name, help, value) in [
        ("hailo_clip_queue_depth", "Requests accepted and not yet answered.", engine.queue_depth()),
        (
            "hailo_clip_queue_limit",
            "Most requests that are accepted at a time (performance.max_queue_size).",
            engine.max_queue_size(),
        ),
        ("hailo_clip_text_cache_entries", "Texts whose embedding is kept.", engine.texts_kept()),
        ("hailo_clip_jobs_waiting", "Pictures and texts that wait for an encoder.", engine.jobs_waiting()),
    ] {
        let gauge = IntGauge::new(name, help)?;
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        add(&registry, gauge)?;
    }
    let engine::Status { state, loaded, backend, idle, .. } = engine.status().borrow().clone();
    let states = IntGaugeVec::new(
        Opts::new("hailo_clip_state", "1 for the state that the service is in, 0 for all others."),
        &["state"],
    )?;
    for known in engine::State::ALL {
        states.with_label_values(&[known.as_str()]).set(i64::from(known == state));
    }
    add(&registry, states)?;
    if let (Some(model), Some(backend)) = (&loaded, &backend) {
        let labels = [
            ("model", model.name.as_str()),
            ("backend", backend.kind.as_str()),
            ("precision", &model.precision),
            ("dimension", &model.embedding_dimension.to_string()),
            ("image_size", &model.image_size.to_string()),
        ];
        add(&registry, info("hailo_clip_model_info", "The model in service.", &labels)?)?;
        let npu = backend.npu.as_ref();
        let labels = [
            ("device", backend.device.as_str()),
            ("architecture", npu.map_or("", |npu| &npu.architecture)),
            ("firmware", npu.map_or("", |npu| &npu.firmware)),
            ("library", npu.map_or("", |npu| &npu.library)),
            ("driver", npu.and_then(|npu| npu.driver.as_deref()).unwrap_or_default()),
        ];
        add(&registry, info("hailo_clip_device_info", "Where the model runs.", &labels)?)?;
    }
    let gauge = IntGauge::new("hailo_clip_idle", "1 while the model is unloaded until the next request.")?;
    gauge.set(idle.into());
    add(&registry, gauge)?;
    let health = engine.health().unwrap_or_default();
    if let Some(temperature) = health.temperature {
        let gauge =
            Gauge::new("hailo_clip_device_temperature_celsius", "Temperature of the hottest device.")?;
        gauge.set(temperature.into());
        add(&registry, gauge)?;
    }
    if let Some(throttled) = health.throttled {
        let gauge = IntGauge::new(
            "hailo_clip_device_throttled",
            "1 while a device runs slower to protect itself from heat or current.",
        )?;
        gauge.set(throttled.into());
        add(&registry, gauge)?;
    }
    Ok(registry.gather())
}

/// Memory, CPU time, threads and descriptors of the process, under the names that all programs use.
fn add_process(registry: &Registry) -> prometheus::Result<()> {
    add(registry, prometheus::process_collector::ProcessCollector::for_self())
}

/// A gauge of 1 whose labels are what it tells.
fn info(name: &str, help: &str, labels: &[(&str, &str)]) -> prometheus::Result<IntGaugeVec> {
    let (names, values): (Vec<_>, Vec<_>) = labels.iter().copied().unzip();
    let info = IntGaugeVec::new(Opts::new(name, help), &names)?;
    info.with_label_values(&values).set(1);
    Ok(info)
}

fn add(registry: &Registry, collector: impl Collector + 'static) -> prometheus::Result<()> {
    registry.register(Box::new(collector))
}
