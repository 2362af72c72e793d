//! Settings as a configuration file.

use std::path::Path;

use serde::Serialize;

use super::{BackendChoice, LogFormat, LogLevel, Settings, settings::WARMUP_ITERATIONS};
use crate::clip::Fit;

/// The settings as a configuration file that gives the same settings again.
#[must_use]
pub fn effective_yaml(settings: &Settings) -> String {
    serde_saphyr::to_string(&File::from(settings)).expect("numbers and texts have a YAML form")
}

#[derive(Serialize)]
struct File<'a> {
    server: Server<'a>,
    clip: Clip<'a>,
    text_embedding: TextEmbedding,
    performance: Performance,
    resource_limits: ResourceLimits<'a>,
    logging: Logging,
}

#[derive(Serialize)]
struct Server<'a> {
    host: String,
    port: u16,
    max_body_mb: usize,
    max_image_megapixels: u64,
    api_keys_file: Option<&'a Path>,
    allowed_hosts: &'a [String],
}

#[derive(Serialize)]
struct Clip<'a> {
    model: &'a str,
    backend: &'static str,
    device: &'a [u32],
    fit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding_dimension: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_size: Option<u32>,
    batch_size: usize,
    device_timeout_ms: u128,
    apply_softmax: bool,
    logit_scale: OrAuto<f32>,
    prepack_weights: OrAuto<bool>,
}

#[derive(Serialize)]
struct TextEmbedding {
    cache_enabled: bool,
    cache_max_entries: usize,
    cache_persist: bool,
}

#[derive(Serialize)]
struct Performance {
    worker_threads: OrAuto<usize>,
    inference_threads: OrAuto<usize>,
    max_queue_size: usize,
    request_timeout: f64,
    warmup_enabled: bool,
    warmup_iterations: u32,
    idle_unload_seconds: u64,
}

#[derive(Serialize)]
struct ResourceLimits<'a> {
    memory_max: &'a str,
    cpu_quota: OrAuto<&'a str>,
}

#[derive(Serialize)]
struct Logging {
    level: &'static str,
    format: &'static str,
}

/// A value, or the word for leaving it to the program.
#[derive(Serialize)]
#[serde(untagged)]
enum OrAuto<T> {
    Value(T),
    Auto(&'static str),
}

impl<T> From<Option<T>> for OrAuto<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Auto("auto"), Self::Value)
    }
}

impl<'a> From<&'a Settings> for File<'a> {
    fn from(settings: &'a Settings) -> Self {
        let Settings { server, clip, text_cache, performance, resource_limits, logging } = settings;
        let warm_up = performance.warmup_iterations > 0;
        Self {
            server: Server {
                host: server.host.to_string(),
                port: server.port,
                max_body_mb: server.max_body_bytes >> 20,
                max_image_megapixels: server.max_image_pixels / 1_000_000,
                api_keys_file: server.api_keys_file.as_deref(),
                allowed_hosts: &server.allowed_hosts,
            },
            clip: Clip {
                model: &clip.model,
                backend: match clip.backend {
                    BackendChoice::Auto => "auto",
                    BackendChoice::Hailo => "hailo",
                    BackendChoice::Cpu => "cpu",
                },
                device: &clip.devices,
                fit: clip.fit.map_or("auto", Fit::as_str),
                embedding_dimension: clip.expected_embedding_dimension,
                image_size: clip.expected_image_size,
                batch_size: clip.batch_size,
                device_timeout_ms: clip.device_timeout.as_millis(),
                apply_softmax: clip.apply_softmax,
                logit_scale: clip.logit_scale.into(),
                prepack_weights: clip.prepack_weights.into(),
            },
            text_embedding: TextEmbedding {
                cache_enabled: text_cache.enabled,
                cache_max_entries: text_cache.max_entries,
                cache_persist: text_cache.persist,
            },
            performance: Performance {
                worker_threads: performance.worker_threads.into(),
                inference_threads: performance.inference_threads.into(),
                max_queue_size: performance.max_queue_size,
                request_timeout: performance.request_timeout.as_secs_f64(),
                warmup_enabled: warm_up,
                warmup_iterations: if warm_up { performance.warmup_iterations } else { WARMUP_ITERATIONS },
                idle_unload_seconds: performance.idle_unload.map_or(0, |idle| idle.as_secs()),
            },
            resource_limits: ResourceLimits {
                memory_max: &resource_limits.memory_max,
                cpu_quota: resource_limits.cpu_quota.as_deref().into(),
            },
            logging: Logging {
                level: match logging.level {
                    LogLevel::Error => "error",
                    LogLevel::Warn => "warning",
                    LogLevel::Info => "info",
                    LogLevel::Debug => "debug",
                    LogLevel::Trace => "trace",
                },
                format: match logging.format {
                    LogFormat::Text => "text",
                    LogFormat::Json => "json",
                },
            },
        }
    }
}
