//! Each key's meaning: its type, its range, and where its value goes.

use std::{net::IpAddr, path::Path, time::Duration};

use serde_saphyr::Spanned;

use super::{
    BackendChoice, Clip, LogFormat, LogLevel, Logging, Performance, ResourceLimits, Server, Settings,
    TextCache,
    reader::Reader,
    settings::WARMUP_ITERATIONS,
    tree::{Node, Value, quoted},
};
use crate::{clip::Fit, model::is_bundle_name};

/// Most NPUs, and most names of the server, that can be listed.
const LONGEST_LIST: usize = 32;

/// All settings. They are only valid if the reader has found no error.
pub(super) fn settings(reader: &mut Reader) -> Settings {
    let mut settings = Settings::default();
    server(reader, &mut settings.server);
    clip(reader, &mut settings.clip);
    text_embedding(reader, &mut settings.text_cache);
    performance(reader, &mut settings.performance);
    resource_limits(reader, &mut settings.resource_limits);
    logging(reader, &mut settings.logging);
    settings
}

fn server(reader: &mut Reader, server: &mut Server) {
    if let Some(host) = reader.text("server.host") {
        match parse_host(&host.value) {
            Some(address) => server.host = address,
            None => reader.error(
                &host,
                format!(
                    "server.host is {}; it must be an IP address of this machine, localhost, or 0.0.0.0 for all",
                    quoted(&host.value)
                ),
            ),
        }
    }
    set(&mut server.port, reader.integer("server.port", 0..=65535));
    set(&mut server.max_body_bytes, reader.integer("server.max_body_mb", 1..=256).map(|mb: usize| mb << 20));
    set(
        &mut server.max_image_pixels,
        reader.integer("server.max_image_megapixels", 1..=400).map(|megapixels: u64| megapixels * 1_000_000),
    );
    if let Some(path) = reader.text("server.api_keys_file") {
        if Path::new(&path.value).is_absolute() && !path.value.contains(char::is_control) {
            server.api_keys_file = Some(path.value.into());
        } else {
            let message = format!(
                "server.api_keys_file is {}; it must be a whole path, such as /etc/hailo/hailo-clip.keys",
                quoted(&path.value)
            );
            reader.error(&path, message);
        }
    }
    if let Some(node) = reader.take("server.allowed_hosts") {
        server.allowed_hosts = list(reader, "server.allowed_hosts", node, allowed_host);
    }
}

/// `None` if it is no address to listen on.
fn parse_host(host: &str) -> Option<IpAddr> {
    match host.trim() {
        "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
        "*" => Some(IpAddr::from([0, 0, 0, 0])),
        host => host.parse().ok(),
    }
}

fn allowed_host(reader: &mut Reader, node: &Node) -> Option<String> {
    let host = reader.text_at("server.allowed_hosts", node)?.value.to_ascii_lowercase();
    let name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_name = (1..=253).contains(&host.len()) && host.bytes().all(name);
    if is_name || host.parse::<IpAddr>().is_ok() {
        return Some(host);
    }
    let message = format!(
        "server.allowed_hosts has {}; it takes host names and IP addresses, without port",
        quoted(&host)
    );
    reader.error(node, message);
    None
}

fn clip(reader: &mut Reader, clip: &mut Clip) {
    if let Some(model) = reader.text("clip.model") {
        if is_bundle_name(&model.value) {
            clip.model = model.value;
        } else {
            let message = format!(
                "clip.model is {}; a model's name has lower-case letters, digits, '.', '_' and '-'",
                quoted(&model.value)
            );
            reader.error(&model, message);
        }
    }
    let backends =
        [("auto", BackendChoice::Auto), ("hailo", BackendChoice::Hailo), ("cpu", BackendChoice::Cpu)];
    set(&mut clip.backend, value(reader.choice("clip.backend", &backends)));
    if let Some(node) = reader.take("clip.device") {
        let devices = list(reader, "clip.device", node, |reader, item| {
            reader.integer_at("clip.device", item, &(0..=31))
        });
        // Empty: every item was wrong, which has been said.
        if !devices.is_empty() {
            clip.devices = devices;
        }
    }
    reader.accept_auto("clip.fit");
    let fits = [Fit::Stretch, Fit::Crop, Fit::Pad].map(|fit| (fit.as_str(), fit));
    clip.fit = value(reader.choice("clip.fit", &fits));
    clip.expected_embedding_dimension = reader.integer("clip.embedding_dimension", 1..=8192);
    clip.expected_image_size = reader.integer("clip.image_size", 16..=1024);
    set(&mut clip.batch_size, reader.integer("clip.batch_size", 1..=64));
    set(
        &mut clip.device_timeout,
        reader.integer("clip.device_timeout_ms", 100..=600_000).map(Duration::from_millis),
    );
    set(&mut clip.apply_softmax, value(reader.boolean("clip.apply_softmax")));
    reader.accept_auto("clip.logit_scale");
    #[expect(clippy::cast_possible_truncation, reason = "the range fits, and f32 is the scores' precision")]
    let logit_scale = reader.number("clip.logit_scale", &(0.01..=1000.0)).map(|scale| scale as f32);
    clip.logit_scale = logit_scale;
    reader.accept_auto("clip.prepack_weights");
    clip.prepack_weights = value(reader.boolean("clip.prepack_weights"));
}

fn text_embedding(reader: &mut Reader, cache: &mut TextCache) {
    let modes = [("ondemand", true), ("precomputed", false)];
    if let Some(on_demand) = reader.choice("text_embedding.mode", &modes)
        && !on_demand.value
    {
        reader.notice(
            &on_demand,
            "text_embedding.mode has no effect: texts are always embedded on demand and cached; remove the key",
        );
    }
    set(&mut cache.enabled, value(reader.boolean("text_embedding.cache_enabled")));
    set(&mut cache.max_entries, reader.integer("text_embedding.cache_max_entries", 1..=1_000_000));
    set(&mut cache.persist, value(reader.boolean("text_embedding.cache_persist")));
}

fn performance(reader: &mut Reader, performance: &mut Performance) {
    reader.accept_auto("performance.worker_threads");
    performance.worker_threads = reader.integer("performance.worker_threads", 1..=64);
    reader.accept_auto("performance.inference_threads");
    performance.inference_threads = reader.integer("performance.inference_threads", 1..=256);
    set(&mut performance.max_queue_size, reader.integer("performance.max_queue_size", 1..=4096));
    set(
        &mut performance.request_timeout,
        reader.number("performance.request_timeout", &(0.1..=3600.0)).map(Duration::from_secs_f64),
    );
    let warm_up = value(reader.boolean("performance.warmup_enabled")).unwrap_or(false);
    let iterations = reader.integer("performance.warmup_iterations", 0..=100);
    if warm_up {
        performance.warmup_iterations = iterations.unwrap_or(WARMUP_ITERATIONS);
    }
    performance.idle_unload = reader
        .integer("performance.idle_unload_seconds", 0..=604_800)
        .filter(|&seconds| seconds > 0)
        .map(Duration::from_secs);
}

fn resource_limits(reader: &mut Reader, limits: &mut ResourceLimits) {
    if let Some(node) = reader.take("resource_limits.memory_max") {
        match scalar_text(&node.value).as_deref().and_then(memory_max) {
            Some(limit) => limits.memory_max = limit,
            None => {
                let message = format!(
                    "resource_limits.memory_max must be a size of at least 128M such as 3G, a share of the \
                     memory such as 50%, or infinity, not {}",
                    node.value.describe()
                );
                reader.error(&node, message);
            }
        }
    }
    reader.accept_auto("resource_limits.cpu_quota");
    if let Some(node) = reader.take("resource_limits.cpu_quota") {
        match scalar_text(&node.value).as_deref().and_then(cpu_quota) {
            Some(quota) => limits.cpu_quota = Some(quota),
            None => {
                let message = format!(
                    "resource_limits.cpu_quota must be auto, or a whole percentage of one core, 5% to 10000%, \
                     such as 80% or 400%, not {}",
                    node.value.describe()
                );
                reader.error(&node, message);
            }
        }
    }
}

fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.trim().to_owned()),
        Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The form that systemd reads, or nothing: the value ends up in a unit file.
fn memory_max(text: &str) -> Option<String> {
    const LEAST: u64 = 128 << 20;
    if text.eq_ignore_ascii_case("infinity") {
        return Some("infinity".to_owned());
    }
    if let Some(percent) = text.strip_suffix('%') {
        let percent = digits(percent).filter(|percent| (1..=100).contains(percent))?;
        return Some(format!("{percent}%"));
    }
    let (number, unit) = match text.char_indices().last()? {
        (end, unit) if unit.is_ascii_alphabetic() => (&text[..end], Some(unit.to_ascii_uppercase())),
        _ => (text, None),
    };
    let shift = match unit {
        None => 0,
        Some('K') => 10,
        Some('M') => 20,
        Some('G') => 30,
        Some('T') => 40,
        Some(_) => return None,
    };
    let number = digits(number)?;
    let bytes = number.checked_mul(1 << shift)?;
    (bytes >= LEAST).then(|| unit.map_or_else(|| number.to_string(), |unit| format!("{number}{unit}")))
}

/// The form that systemd reads, or nothing: the value ends up in a unit file.
fn cpu_quota(text: &str) -> Option<String> {
    let percent = digits(text.strip_suffix('%')?).filter(|percent| (5..=10_000).contains(percent))?;
    Some(format!("{percent}%"))
}

/// A number of digits alone; `parse` would take a sign, too.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn logging(reader: &mut Reader, logging: &mut Logging) {
    let levels = [
        ("error", LogLevel::Error),
        ("warning", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
        ("warn", LogLevel::Warn),
        ("critical", LogLevel::Error),
    ];
    set(&mut logging.level, value(reader.choice("logging.level", &levels)));
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    set(&mut logging.format, value(reader.choice("logging.format", &formats)));
    if let Some(debug) = reader.boolean("server.debug")
        && debug.value
    {
        if logging.level != LogLevel::Trace {
            logging.level = LogLevel::Debug;
        }
        reader.notice(
            &debug,
            "server.debug only sets logging.level to debug; remove it and write 'level: debug' below 'logging:'",
        );
    }
}

/// The items of a list, or the one value that stands for a list of one; none twice.
fn list<T: PartialEq>(
    reader: &mut Reader,
    key: &str,
    node: Node,
    item: impl Fn(&mut Reader, &Node) -> Option<T>,
) -> Vec<T> {
    let nodes = match node.value {
        Value::List(ref nodes) if nodes.len() > LONGEST_LIST => {
            let message = format!("{key} has {} entries; it takes up to {LONGEST_LIST}", nodes.len());
            reader.error(&node, message);
            return Vec::new();
        }
        Value::List(nodes) => nodes,
        _ => vec![node],
    };
    let mut items = Vec::new();
    for node in nodes {
        match item(reader, &node) {
            Some(item) if items.contains(&item) => {
                reader.error(&node, format!("{key} has the same entry twice; remove one"));
            }
            Some(item) => items.push(item),
            None => {}
        }
    }
    items
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

fn value<T>(located: Option<Spanned<T>>) -> Option<T> {
    located.map(|located| located.value)
}
