//! What the service costs where nothing is left to infer: `make bench-overhead`.
//!
//! Clients on keep-alive connections embed a text that is in the cache, each its next one when it has the
//! answer to the last. One JSON line for each model: the bundled one, and CLIP ViT-B/32 (answers of 512
//! numbers), if it is there. Requests a second depend on what else the machine does; the processor's time for a
//! request, of the daemon and of the clients, does so far less.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[path = "../tests/common/mod.rs"]
mod common;

use common::Daemon;

const CONNECTIONS: usize = 16;
const ROUNDS: usize = 5;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let seconds: f64 = env::var("HAILO_CLIP_BENCH_SECONDS").map_or(Ok(3.0), |text| text.parse())?;
    measure("demo", &common::models(), Duration::from_secs_f64(seconds))?;
    if let Some(bundle) = env::var_os("HAILO_CLIP_VIT_B32").map(PathBuf::from).filter(|path| path.exists()) {
        let models = bundle.parent().ok_or("the bundle lies in no folder")?;
        measure("vit-b-32", models, Duration::from_secs_f64(seconds))?;
    }
    Ok(())
}

fn measure(model: &str, models: &Path, length: Duration) -> Result<(), Failure> {
    let daemon = Daemon::with_models(&format!("clip: {{model: {model}, backend: cpu}}\n"), models);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // The first ones fill the cache.
    runtime.block_on(load(&daemon.http, length / 5))?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let before = (daemon_time(&daemon)?, own_time()?, Instant::now());
        let latencies = runtime.block_on(load(&daemon.http, length))?;
        let elapsed = before.2.elapsed().as_secs_f64();
        let requests = latencies.len() as f64;
        rounds.push([
            requests / elapsed,
            microseconds(daemon_time(&daemon)? - before.0) / requests,
            microseconds(own_time()? - before.1) / requests,
            microseconds(latencies[latencies.len() / 2]),
            microseconds(latencies[latencies.len() * 99 / 100]),
        ]);
    }
    let median = |column: usize| {
        let mut values: Vec<f64> = rounds.iter().map(|round| round[column]).collect();
        values.sort_by(f64::total_cmp);
        (values[ROUNDS / 2] * 10.0).round() / 10.0
    };
    println!(
        "{}",
        json!({
            "endpoint": "/v1/embed/text", "model": model, "connections": CONNECTIONS,
            "cores": std::thread::available_parallelism()?.get(),
            "requests_per_second": median(0),
            "daemon_cpu_us_per_request": median(1),
            "clients_cpu_us_per_request": median(2),
            "median_us": median(3),
            "p99_us": median(4),
        })
    );
    Ok(())
}

/// The latencies of so much load, sorted.
async fn load(address: &str, length: Duration) -> Result<Vec<Duration>, Failure> {
    let until = Instant::now() + length;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        clients.spawn(client(address.to_owned(), until));
    }
    let mut latencies = Vec::new();
    while let Some(of_one) = clients.join_next().await {
        latencies.extend(of_one??);
    }
    latencies.sort_unstable();
    Ok(latencies)
}

async fn client(address: String, until: Instant) -> Result<Vec<Duration>, Failure> {
    let body = r#"{"text":"a photo of a cat"}"#;
    let request = format!(
        "POST /v1/embed/text HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 64 * 1024];
    let mut latencies = Vec::new();
    loop {
        let asked = Instant::now();
        if asked >= until {
            return Ok(latencies);
        }
        stream.write_all(request.as_bytes()).await?;
        let (mut filled, mut whole) = (0, None);
        while whole.is_none_or(|whole| filled < whole) {
            match stream.read(&mut buffer[filled..]).await? {
                0 => return Err("the service closed the connection".into()),
                read => filled += read,
            }
            if whole.is_none() {
                whole = length(&buffer[..filled])?;
            }
        }
        latencies.push(asked.elapsed());
    }
}

/// The length of a good answer, once its head is there.
fn length(answer: &[u8]) -> Result<Option<usize>, Failure> {
    const NAME: &str = "content-length: ";
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&answer[..end])?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(head.into());
    }
    let at = head.find(NAME).ok_or("an answer without a length")? + NAME.len();
    let digits = head[at..].split('\r').next().unwrap_or_default();
    Ok(Some(end + 4 + digits.parse::<usize>()?))
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Processor time of the daemon, which Linux tells in hundredths of a second.
fn daemon_time(daemon: &Daemon) -> Result<Duration, Failure> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.process.id()))?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in stat")?;
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<_, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

fn own_time() -> Result<Duration, Failure> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let seconds = |time: nix::sys::time::TimeVal| {
        Duration::new(time.tv_sec().unsigned_abs(), 0) + Duration::from_micros(time.tv_usec().unsigned_abs())
    };
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}
