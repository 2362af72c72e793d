//! `/metrics`, as Prometheus reads it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use zbus::Connection;

use crate::{
    common::{Daemon, simulator},
    http::{Answer, base64, get, post, request, sample},
};

/// What a device with sensors adds.
const OF_SENSORS: [&str; 2] = ["hailo_clip_device_temperature_celsius", "hailo_clip_device_throttled"];

fn scrape(daemon: &Daemon) -> String {
    let Answer { status, head, body } = get(daemon, "/metrics");
    assert_eq!(status, 200);
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    String::from_utf8(body).unwrap()
}

/// Each series with its value.
fn series(metrics: &str) -> BTreeMap<&str, f64> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect()
}

/// The names in `# TYPE` lines.
fn families(metrics: &str) -> BTreeSet<String> {
    let types = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

fn repository(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// A daemon that has answered through both doors, well and badly.
async fn used() -> Daemon {
    let daemon = Daemon::start();
    let body =
        json!({"image": base64(&sample("red-circle.png")), "prompts": ["a red circle", "a blue star"]});
    for _ in 0..2 {
        assert_eq!(post(&daemon, "/v1/classify", &body).status, 200);
    }
    assert_eq!(post(&daemon, "/v1/embed/image", &json!({"image": "AAAA"})).status, 400);
    for path in ["/a", "/b?c", "/v1/classify/more"] {
        assert_eq!(get(&daemon, path).status, 404);
    }
    assert_eq!(request(&daemon, "PUT", "/v1/classify", "application/json", b"{}").status, 405);
    let bus: Connection =
        zbus::connection::Builder::address(daemon.bus.address.as_str()).build().await.unwrap();
    let name = "org.hailo.Clip1";
    let call = async |method: &str, body: &str| {
        bus.call_method(Some(name), "/org/hailo/Clip1", Some(name), method, &(vec![body],)).await.is_ok()
    };
    assert!(call("EmbedTexts", "a cat").await);
    let picture = b"no picture".as_slice();
    let bad = bus.call_method(Some(name), "/org/hailo/Clip1", Some(name), "EmbedImage", &(picture,)).await;
    assert!(bad.is_err());
    daemon
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_counted() {
    let daemon = used().await;
    let metrics = scrape(&daemon);
    let series = series(&metrics);
    for (name, expected) in [
        (r#"hailo_clip_requests_total{code="200",facade="http",operation="/v1/classify"}"#, 2.0),
        (r#"hailo_clip_requests_total{code="400",facade="http",operation="/v1/embed/image"}"#, 1.0),
        (r#"hailo_clip_requests_total{code="404",facade="http",operation="other"}"#, 3.0),
        (r#"hailo_clip_requests_total{code="405",facade="http",operation="/v1/classify"}"#, 1.0),
        (r#"hailo_clip_requests_total{code="ok",facade="dbus",operation="EmbedTexts"}"#, 1.0),
        (r#"hailo_clip_requests_total{code="InvalidImage",facade="dbus",operation="EmbedImage"}"#, 1.0),
        (r#"hailo_clip_inference_outcomes_total{outcome="answered"}"#, 3.0),
        (r#"hailo_clip_inference_outcomes_total{outcome="rejected"}"#, 2.0),
        (r#"hailo_clip_inference_outcomes_total{outcome="refused"}"#, 0.0),
        ("hailo_clip_inference_requests_total", 5.0),
        (r#"hailo_clip_inference_duration_seconds_count{operation="classify"}"#, 2.0),
        (r#"hailo_clip_stage_duration_seconds_count{stage="image"}"#, 2.0),
        // The second classification had its texts from the cache.
        (r#"hailo_clip_stage_duration_seconds_count{stage="text"}"#, 2.0),
        (r#"hailo_clip_batch_size_sum{encoder="image"}"#, 2.0),
        (r#"hailo_clip_batch_size_sum{encoder="text"}"#, 3.0),
        ("hailo_clip_text_cache_hits_total", 2.0),
        ("hailo_clip_text_cache_misses_total", 3.0),
        ("hailo_clip_queue_depth", 0.0),
        ("hailo_clip_queue_limit", 64.0),
        (r#"hailo_clip_state{state="ready"}"#, 1.0),
        (r#"hailo_clip_state{state="failed"}"#, 0.0),
    ] {
        assert_eq!(series.get(name), Some(&expected), "{name}\n{metrics}");
    }
    assert!(series["process_resident_memory_bytes"] > 1e6);
    let info = metrics.lines().find(|line| line.starts_with("hailo_clip_model_info{")).unwrap();
    assert!(info.contains(r#"model="demo""#) && info.ends_with(" 1"), "{info}");
    let build = format!(r#"hailo_clip_build_info{{version="{}"}}"#, env!("CARGO_PKG_VERSION"));
    assert_eq!(series[build.as_str()], 1.0);
    // The CPU has no sensors here, and not every NPU says whether it is throttled.
    let device = &get(&daemon, "/health").json()["device"];
    assert_eq!(device["temperature_c"].is_null(), simulator::kind_to_test().is_none());
    for (name, key) in OF_SENSORS.into_iter().zip(["temperature_c", "throttled"]) {
        assert_eq!(series.contains_key(name), !device[key].is_null(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_has_nothing_to_say() {
    let daemon = used().await;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed (package prometheus)");
    promtool.stdin.take().unwrap().write_all(scrape(&daemon).as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documentation_lists_what_there_is() {
    let daemon = used().await;
    let documented: BTreeSet<String> = repository("docs/metrics.md")
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split(['`', '{']).next()?.to_owned()))
        .collect();
    let mut there = families(&scrape(&daemon));
    there.extend(OF_SENSORS.map(str::to_owned));
    assert_eq!(documented, there);
}

/// Every metric that the dashboard asks for is one that there is.
#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_asks_for_what_there_is() {
    let daemon = used().await;
    let metrics = scrape(&daemon);
    let mut names: BTreeSet<&str> =
        series(&metrics).into_keys().map(|name| name.split('{').next().unwrap()).collect();
    names.extend(OF_SENSORS);
    let dashboard: Value = serde_json::from_str(&repository("docs/grafana-dashboard.json")).unwrap();
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap();
            let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            for name in words.filter(|word| word.starts_with("hailo_clip_") || word.starts_with("process_")) {
                assert!(names.contains(name), "{name} in {query}");
                asked += 1;
            }
        }
    }
    assert!(asked > 10, "{asked}");
}

/// With keys, metrics need one as everything else that is no sign of life.
#[test]
fn metrics_are_guarded_by_keys() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    fs::write(&file, "secret\n").unwrap();
    let config = format!("server: {{host: 127.0.0.1, port: 0, api_keys_file: {}}}\n", file.display());
    let daemon = Daemon::with_config(&config);
    assert_eq!(get(&daemon, "/metrics").status, 401);
    assert_eq!(get(&daemon, "/ping").status, 200);
    // In the form of the client whose route it is.
    assert_eq!(get(&daemon, "/v1/models").json()["error"]["code"], "invalid_api_key");
    assert!(get(&daemon, "/predict").json()["detail"].is_string());
}
