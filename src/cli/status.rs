//! `hailo-clip status`.

use clap::Args;
use serde::Serialize;

use super::{
    Exit, Failure,
    client::Client,
    console::{Console, escape, json_line},
    wire::Properties,
};

/// Arguments of `hailo-clip status`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// The answer as `--json` prints it; what the service did not say is null.
#[derive(Serialize)]
struct Line<'a> {
    state: &'a str,
    version: Option<&'a str>,
    model: Option<&'a str>,
    precision: Option<&'a str>,
    backend: Option<&'a str>,
    device: Option<&'a str>,
    device_architecture: Option<&'a str>,
    firmware_version: Option<&'a str>,
    library_version: Option<&'a str>,
    driver_version: Option<&'a str>,
    device_temperature: Option<f64>,
    device_throttled: Option<bool>,
    embedding_dimension: Option<u32>,
    image_size: Option<u32>,
    idle: Option<bool>,
    queue_depth: Option<u32>,
    max_queue_size: Option<u32>,
    last_error: Option<&'a str>,
}

pub(super) async fn run(
    arguments: &Arguments,
    client: &Client,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let properties = client.status().await?;
    let line = Line::from(&properties);
    console.print(&if arguments.json { json_line(&line) } else { table(&line) })?;
    Ok(match line.state {
        "ready" | "degraded" => Exit::Success,
        _ => Exit::Unavailable,
    })
}

impl<'a> From<&'a Properties> for Line<'a> {
    fn from(properties: &'a Properties) -> Self {
        /// D-Bus has no null; an empty text and a zero size stand for it.
        fn said(text: &Option<String>) -> Option<&str> {
            text.as_deref().filter(|text| !text.is_empty())
        }
        // Without an NPU the throttling says nothing.
        let npu = said(&properties.device_architecture);
        Self {
            state: &properties.state,
            version: said(&properties.version),
            model: said(&properties.model),
            precision: said(&properties.precision),
            backend: said(&properties.backend),
            device: said(&properties.device),
            device_architecture: npu,
            firmware_version: said(&properties.firmware_version),
            library_version: said(&properties.library_version),
            driver_version: said(&properties.driver_version),
            device_temperature: properties.device_temperature.filter(|celsius| celsius.is_finite()),
            device_throttled: properties.device_throttled.filter(|_| npu.is_some()),
            embedding_dimension: properties.embedding_dimension.filter(|size| *size > 0),
            image_size: properties.image_size.filter(|size| *size > 0),
            idle: properties.idle,
            queue_depth: properties.queue_depth,
            max_queue_size: properties.max_queue_size,
            last_error: said(&properties.last_error),
        }
    }
}

/// One property on a line; what the service did not say is left out.
fn table(line: &Line<'_>) -> String {
    let queue = line.queue_depth.zip(line.max_queue_size);
    let temperature = line.device_temperature.map(|celsius| {
        let throttled = line.device_throttled == Some(true);
        format!("{celsius:.0} °C{}", if throttled { ", throttled" } else { "" })
    });
    let idle = if line.idle == Some(true) { ", model unloaded until the next request" } else { "" };
    let rows = [
        ("State", Some(format!("{}{idle}", line.state))),
        ("Model", line.model.map(str::to_owned)),
        ("Precision", line.precision.map(str::to_owned)),
        ("Backend", line.backend.map(str::to_owned)),
        ("Device", line.device.map(str::to_owned)),
        ("Firmware", line.firmware_version.map(str::to_owned)),
        ("HailoRT", line.library_version.map(str::to_owned)),
        ("Driver", line.driver_version.map(str::to_owned)),
        ("Temperature", temperature),
        ("Dimension", line.embedding_dimension.map(|size| size.to_string())),
        ("Image size", line.image_size.map(|size| format!("{size} × {size}"))),
        ("Queue", queue.map(|(depth, size)| format!("{depth} of {size}"))),
        ("Last error", line.last_error.map(str::to_owned)),
        ("Version", line.version.map(str::to_owned)),
    ];
    rows.into_iter().filter_map(|(label, value)| Some(format!("{label:<12}{}\n", escape(&value?)))).collect()
}
