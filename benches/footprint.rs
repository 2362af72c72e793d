//! Start-up and memory with CLIP ViT-B/32 on the CPU: `make bench-footprint`. One JSON line each.
//!
//! Start-up: from the start of the process to READY, for the first time (the model is tried in a child) and
//! again, beside reading the weights from the page cache and, where `make bench` has fetched it, what ONNX
//! Runtime takes to open the two networks. Memory: the most that is anonymous under a thousand mixed requests
//! of 16 clients, what is left after them, and before and after the model is unloaded for idleness.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};

#[path = "../tests/common/mod.rs"]
mod common;

use common::Daemon;

const CLIENTS: usize = 16;
const STARTS: usize = 5;
const CONFIG: &str = "clip: {model: vit-b-32, backend: cpu}\n";

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let requests = env::var("HAILO_CLIP_BENCH_REQUESTS").map_or(Ok(1000), |text| text.parse())?;
    let bundle = PathBuf::from(
        env::var("HAILO_CLIP_VIT_B32")
            .map_err(|_| "HAILO_CLIP_VIT_B32 is not set; use make bench-footprint")?,
    );
    let models = bundle.parent().ok_or("the bundle lies in no folder")?;
    println!("{}", start_up(&bundle, models)?);
    println!("{}", memory(&bundle, models, requests)?);
    println!("{}", idle(models)?);
    Ok(())
}

/// Seconds of the clock, and of the processor: the latter hardly depend on what else the machine does.
#[derive(Clone, Copy)]
struct Cost {
    clock: f64,
    processor: f64,
}

fn start_up(bundle: &Path, models: &Path) -> Result<Value, Failure> {
    let state = tempfile::tempdir()?;
    let start = || -> Result<Cost, Failure> {
        let daemon = Daemon::with_state(CONFIG, models, state.path(), &[]);
        let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.process.id()))?;
        let (_, fields) = stat.rsplit_once(')').ok_or("no name in stat")?;
        // Its own time and that of its children, in hundredths of a second.
        let ticks: f64 =
            fields.split_whitespace().skip(11).take(4).map(str::parse::<f64>).sum::<Result<_, _>>()?;
        Ok(Cost { clock: daemon.ready_after.as_secs_f64(), processor: ticks / 100.0 })
    };
    read_all(bundle)?;
    let first = start()?;
    let (mut again, mut reading, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STARTS {
        again.push(start()?);
        let (clock, processor) = (Instant::now(), own_time()?);
        read_all(bundle)?;
        reading.push(Cost { clock: clock.elapsed().as_secs_f64(), processor: own_time()? - processor });
        bare.extend(onnx_runtime(bundle)?);
    }
    let (again, reading) = (median(&again), median(&reading));
    let show = |cost: Cost| json!({"s": cost.clock, "cpu_s": cost.processor});
    let mut shown = json!({
        "what": "start", "first": show(first), "again": show(again), "reading_weights": show(reading),
    });
    if !bare.is_empty() {
        let bare = median(&bare);
        let limit = Cost { clock: reading.clock + bare.clock, processor: reading.processor + bare.processor };
        shown["reading_and_onnx_runtime"] = show(limit);
        shown["ratio"] = json!({"s": again.clock / limit.clock, "cpu_s": again.processor / limit.processor});
    }
    Ok(shown)
}

fn own_time() -> Result<f64, Failure> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

fn read_all(bundle: &Path) -> Result<u64, Failure> {
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    for entry in fs::read_dir(bundle)? {
        let path = entry?.path();
        if path.is_file() {
            let mut file = fs::File::open(path)?;
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    read => bytes += read as u64,
                }
            }
        }
    }
    Ok(bytes)
}

/// What opening both networks costs ONNX Runtime, if it is there.
fn onnx_runtime(bundle: &Path) -> Result<Option<Cost>, Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/bench/python/bin/python");
    if !python.exists() {
        return Ok(None);
    }
    let mut worker = Command::new(python)
        .arg(root.join("benches/peers/onnxruntime_worker.py"))
        .arg(bundle)
        .arg(thread::available_parallelism()?.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(worker.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    drop(worker.stdin.take());
    worker.wait()?;
    let said: Value = serde_json::from_str(&line)?;
    Ok(said["seconds"]
        .as_f64()
        .zip(said["cpu_seconds"].as_f64())
        .map(|(clock, processor)| Cost { clock, processor }))
}

fn memory(bundle: &Path, models: &Path, requests: usize) -> Result<Value, Failure> {
    let daemon = Daemon::with_models(CONFIG, models);
    let loaded = daemon.anonymous_memory();
    let picture = jpeg(1152, 868)?;
    let (next, done, peak) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicU64::new(loaded));
    thread::scope(|scope| -> Result<(), Failure> {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(daemon.anonymous_memory(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(20));
            }
        });
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| -> Result<(), Failure> {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= requests {
                            return Ok(());
                        }
                        ask(&daemon, number, &picture)?;
                    }
                })
            })
            .collect();
        let asked: Result<Vec<()>, Failure> =
            clients.into_iter().map(|client| client.join().expect("clients do not panic")).collect();
        done.store(true, Ordering::Relaxed);
        asked.map(drop)
    })?;
    let mib = |kib: u64| kib / 1024;
    Ok(json!({
        "what": "memory", "requests": requests, "weights_mib": read_all(bundle)? >> 20,
        "anonymous_loaded_mib": mib(loaded), "anonymous_peak_mib": mib(peak.into_inner()),
        "anonymous_after_mib": mib(daemon.anonymous_memory()), "resident_peak_mib": mib(daemon.peak_memory()),
    }))
}

/// Texts old and new, pictures as a file and in a classification.
fn ask(daemon: &Daemon, number: usize, picture: &[u8]) -> Result<(), Failure> {
    match number % 4 {
        0 => {
            let prompts: String =
                (0..10).map(|prompt| format!("&prompts=prompt+{prompt}+of+{}", number / 40)).collect();
            post(daemon, &format!("/v1/classify?top_k=3{prompts}"), "image/jpeg", picture)
        }
        1 => post(daemon, "/v1/embed/image", "image/jpeg", picture),
        2 => post(daemon, "/v1/embed/text", "application/json", br#"{"text":"a photo of a cat"}"#),
        _ => {
            let body = json!({ "text": format!("photograph number {number}, of nothing in particular") });
            post(daemon, "/v1/embed/text", "application/json", body.to_string().as_bytes())
        }
    }
}

fn idle(models: &Path) -> Result<Value, Failure> {
    let daemon = Daemon::with_models(&format!("{CONFIG}performance: {{idle_unload_seconds: 2}}\n"), models);
    let picture = jpeg(1152, 868)?;
    post(&daemon, "/v1/embed/image", "image/jpeg", &picture)?;
    post(&daemon, "/v1/embed/text", "application/json", br#"{"text":"a cat"}"#)?;
    let resident = || -> Result<u64, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", daemon.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? / 1024)
    };
    let loaded = (resident()?, daemon.anonymous_memory() / 1024);
    while !daemon.log().contains("released the backend") {
        thread::sleep(Duration::from_millis(50));
    }
    // Free memory goes back to the system every ten seconds.
    thread::sleep(Duration::from_secs(11));
    let unloaded = (resident()?, daemon.anonymous_memory() / 1024);
    let began = Instant::now();
    post(&daemon, "/v1/embed/image", "image/jpeg", &picture)?;
    let first = began.elapsed();
    let began = Instant::now();
    post(&daemon, "/v1/embed/image", "image/jpeg", &picture)?;
    Ok(json!({
        "what": "idle", "resident_loaded_mib": loaded.0, "anonymous_loaded_mib": loaded.1,
        "resident_unloaded_mib": unloaded.0, "anonymous_unloaded_mib": unloaded.1,
        "first_request_s": first.as_secs_f64(), "next_request_s": began.elapsed().as_secs_f64(),
    }))
}

fn post(daemon: &Daemon, path: &str, content_type: &str, body: &[u8]) -> Result<(), Failure> {
    let mut stream = TcpStream::connect(&daemon.http)?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    if answer.starts_with(b"HTTP/1.1 200 ") {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&answer).into_owned().into())
    }
}

fn jpeg(width: u32, height: u32) -> Result<Vec<u8>, Failure> {
    let wave = |x: u32, by: f32| (((x as f32 / by).sin() + 1.0) * 120.0) as u8;
    let picture = image::RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([wave(x, 31.0), wave(y, 47.0), wave(x + y, 9.0)])
    });
    let mut bytes = Vec::new();
    picture.write_with_encoder(image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 88))?;
    Ok(bytes)
}

fn median(costs: &[Cost]) -> Cost {
    let middle = |of: fn(&Cost) -> f64| {
        let mut values: Vec<f64> = costs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Cost { clock: middle(|cost| cost.clock), processor: middle(|cost| cost.processor) }
}
