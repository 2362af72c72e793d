//! Where log records go: to the journal with their fields, or to stderr as lines.

use std::io::IsTerminal;

use tracing_subscriber::{
    EnvFilter, Registry,
    filter::LevelFilter,
    fmt,
    layer::{Layer, SubscriberExt},
    reload,
    util::SubscriberInitExt,
};

use crate::config::{LogFormat, LogLevel, Logging};

/// Changes the level while the service runs.
pub(super) struct LogLevelHandle(reload::Handle<EnvFilter, Registry>);

impl LogLevelHandle {
    pub(super) fn set(&self, level: LogLevel) {
        // It can only fail once the subscriber is gone, and then nobody logs.
        let _ = self.0.reload(filter(level));
    }
}

/// Starts logging. Call once.
pub(super) fn init(logging: Logging) -> LogLevelHandle {
    let (filter, handle) = reload::Layer::new(filter(logging.level));
    let sink = match journal() {
        Some(journal) => journal,
        None => match logging.format {
            LogFormat::Text => {
                let colours = std::io::stderr().is_terminal();
                fmt::layer().with_writer(std::io::stderr).with_ansi(colours).with_target(false).boxed()
            }
            LogFormat::Json => fmt::layer().json().with_writer(std::io::stderr).boxed(),
        },
    };
    tracing_subscriber::registry().with(filter).with(sink).init();
    LogLevelHandle(handle)
}

/// Logs panics as one line each. Their messages may quote what a caller sent, so they are told when
/// debugging alone.
pub(super) fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        tracing::error!(thread, place, "internal error: please report it");
        tracing::debug!(message = panic.payload_as_str(), "internal error");
    }));
}

/// The journal, if stderr is connected to it.
fn journal<S>() -> Option<Box<dyn Layer<S> + Send + Sync>>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let connected = libsystemd::logging::connected_to_journal();
    let layer = connected.then(tracing_journald::layer)?.ok()?;
    Some(layer.with_field_prefix(Some("HAILO_CLIP".into())).boxed())
}

/// Our own records from `level` on; those of libraries only if something is wrong, or when debugging.
fn filter(level: LogLevel) -> EnvFilter {
    let (ours, libraries) = match level {
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::WARN),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::WARN),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::INFO),
        LogLevel::Trace => (LevelFilter::TRACE, LevelFilter::DEBUG),
    };
    EnvFilter::new(format!("{libraries},hailo_clip={ours}"))
}
