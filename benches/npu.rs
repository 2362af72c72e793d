//! How much of an NPU's own rate the service delivers: `make bench-npu`.
//!
//! The device is simulated and keeps the vendor's times for CLIP ViT-B/32 without using the processor;
//! all else is the real thing: decoding, batching, HTTP, D-Bus. Clients send distinct pictures of a
//! megapixel with ten prompts, each its next one when it has the answer to the last. Beside it stands
//! what the processor could decode and pre-process if it did nothing else, measured before and after;
//! and, last, the same with thumbnails, which the processor decodes far faster than any device takes
//! them: whatever is missing there is the service's own.

use std::{
    collections::HashMap,
    env, fs,
    io::{Cursor, Write},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hailo_clip::clip::{Draft, Fit, ImageLimits, ImageSpec};
use serde_json::json;
use zbus::{Fd, Variant, connection};

mod clients;
#[path = "../tests/common/mod.rs"]
mod common;

use clients::{Failure, Http};
use common::{
    Daemon,
    simulator::{HAILO_8, HAILO_10H, Kind, Machine},
};

/// Pictures a second that the vendor tells, at batch 1 and at batch 8, for CLIP ViT-B/32's image encoder.
const RATES: [(Kind, f64, f64); 2] = [(HAILO_10H, 72.0, 335.0), (HAILO_8, 34.0, 187.0)];
const PROMPTS: [&str; 10] = [
    "a cat",
    "a dog",
    "an empty shelf",
    "a stocked shelf",
    "a person",
    "a bicycle",
    "the night sky",
    "a house",
    "a tree",
    "a cup of coffee",
];
const CLIENTS: [usize; 3] = [1, 4, 16];
const MEGAPIXEL: (u32, u32) = (1152, 868);
const THUMBNAIL: (u32, u32) = (160, 120);
const PICTURES: usize = 48;
const NAME: &str = "org.hailo.Clip1";

/// What one run of a load gave.
struct Load {
    per_second: f64,
    /// Of all requests, sorted.
    latencies: Vec<Duration>,
    /// What the service says of decoding and pre-processing; HTTP alone.
    decoding: Vec<Duration>,
}

impl Load {
    fn median(&self) -> Duration {
        self.latencies[self.latencies.len() / 2]
    }
}

fn main() -> Result<(), Failure> {
    let seconds: f64 = env::var("HAILO_CLIP_BENCH_SECONDS").map_or(Ok(6.0), |text| text.parse())?;
    let length = Duration::from_secs_f64(seconds);
    let models = PathBuf::from(
        env::var("HAILO_CLIP_NPU_MODELS")
            .map_err(|_| "HAILO_CLIP_NPU_MODELS is not set; use make bench-npu")?,
    );
    let pictures: Vec<Vec<u8>> = (0..PICTURES).map(|index| jpeg(index, MEGAPIXEL)).collect();
    let thumbnails: Vec<Vec<u8>> = (0..PICTURES).map(|index| jpeg(index, THUMBNAIL)).collect();
    let cores = thread::available_parallelism()?.get();
    let size = pictures.iter().map(Vec::len).sum::<usize>() / PICTURES / 1024;
    println!(
        "{cores} cores; {PICTURES} JPEGs of a megapixel, {size} KiB on average; {seconds} s for each figure\n"
    );
    println!(
        "{:<11}{:<12}{:>8}{:>11}{:>12}{:>11}{:>11}{:>12}{:>10}",
        "device",
        "door",
        "clients",
        "answers/s",
        "of device",
        "of CPU",
        "median ms",
        "mean batch",
        "added ms"
    );
    let mut rows = Vec::new();
    for (kind, one, eight) in RATES {
        let machine = Machine::new(kind);
        machine.set("mode", "timed");
        machine.set("image_us", &format!("{:.0} {:.0}", 1e6 / one, 8e6 / eight));
        machine.set("gather_us", "0");
        let config = format!(
            "clip: {{model: vit-b-32, backend: hailo, batch_size: 8}}\nperformance: {{worker_threads: {cores}}}\n"
        );
        let daemon = Daemon::on_with_models(machine, &config, &models);
        warm_up(&daemon, &pictures)?;
        for door in ["HTTP", "D-Bus"] {
            let loads = CLIENTS.map(|clients| (clients, "", &pictures)).into_iter();
            for (clients, what, pictures) in loads.chain([(16, "small", &thumbnails)]) {
                let before = decoding_limit(pictures, cores, length / 3);
                let batches = counters(&daemon);
                let (load, anonymous) = with_memory(&daemon, || match door {
                    "HTTP" => over_http(&daemon, pictures, clients, length),
                    _ => over_dbus(&daemon, pictures, clients, length),
                });
                let load = load?;
                let after = counters(&daemon);
                let limit = f64::midpoint(before, decoding_limit(pictures, cores, length / 3));
                let mean_batch = (after.0 - batches.0) as f64 / (after.1 - batches.1).max(1) as f64;
                // A lone client cannot fill a batch: its device answers one picture at a time.
                let device = if clients == 1 { one } else { eight };
                println!(
                    "{:<11}{:<12}{clients:>8}{:>11.1}{:>10.1} %{:>9.1} %{:>11.1}{:>12.1}{:>10}",
                    kind.name,
                    format!("{door} {what}"),
                    load.per_second,
                    100.0 * load.per_second / device,
                    100.0 * load.per_second / limit,
                    milliseconds(load.median()),
                    mean_batch,
                    added(&load, one).map_or_else(String::new, |added| format!("{added:.2}")),
                );
                rows.push(json!({
                    "device": kind.name, "door": format!("{door} {what}").trim(), "clients": clients,
                    "per_second": load.per_second, "device_rate": device, "limit": limit,
                    "median_ms": milliseconds(load.median()), "mean_batch": mean_batch,
                    "anonymous_kb": anonymous,
                }));
            }
        }
        println!(
            "{:<11}its own rate: {one} a second at batch 1, {eight} at batch 8; the processor's limit, decoding \
             and pre-processing alone: {:.1}\n",
            kind.name,
            decoding_limit(&pictures, cores, length)
        );
    }
    println!(
        "of device: of the device's own rate (at batch 1 for one client, at batch 8 for more); of CPU: of what the \
         processor could\ndecode and pre-process if it did nothing else, neither serving nor asking; added ms: what one \
         request takes beyond decoding,\npre-processing and the device"
    );
    if let Some(file) = env::var_os("HAILO_CLIP_BENCH_JSON") {
        fs::write(file, serde_json::to_vec_pretty(&rows)?)?;
    }
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// What the service adds to a lone request, in milliseconds.
fn added(load: &Load, device_rate: f64) -> Option<f64> {
    let mut added: Vec<f64> = load
        .latencies
        .iter()
        .zip(&load.decoding)
        .map(|(latency, decoding)| milliseconds(*latency) - milliseconds(*decoding) - 1e3 / device_rate)
        .collect();
    added.sort_by(f64::total_cmp);
    added.get(added.len() / 2).copied()
}

/// A picture like a photograph: shapes at every scale, and grain.
fn jpeg(index: usize, (width, height): (u32, u32)) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32.wrapping_mul(u32::try_from(index).unwrap_or(0) + 1);
    let phase = index as f32;
    let picture = image::RgbImage::from_fn(width, height, |x, y| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let grain = (state >> 28) as f32 - 8.0;
        let wave = |scale: f32, turn: f32| {
            ((x as f32 / scale + turn).sin() + (y as f32 / scale - turn).cos()) * 30.0
        };
        let value = |turn: f32| {
            (128.0 + wave(190.0, phase + turn) + wave(31.0, turn - phase) + grain).clamp(0.0, 255.0)
        };
        image::Rgb([value(0.0) as u8, value(1.0) as u8, value(2.0) as u8])
    });
    let mut bytes = Cursor::new(Vec::new());
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 88);
    picture.write_with_encoder(encoder).expect("a picture in memory can be encoded");
    bytes.into_inner()
}

/// Pictures a second that the processor decodes and pre-processes if it does nothing else.
fn decoding_limit(pictures: &[Vec<u8>], cores: usize, length: Duration) -> f64 {
    let (started, done) = (Instant::now(), AtomicUsize::new(0));
    thread::scope(|scope| {
        for core in 0..cores {
            let done = &done;
            scope.spawn(move || {
                let limits = ImageLimits { max_pixels: 64_000_000 };
                let spec = ImageSpec { size: 224, fit: Fit::Stretch };
                for picture in pictures.iter().cycle().skip(core * 7) {
                    let decoded = Draft::decode(picture, &limits, &spec).expect("it is a JPEG");
                    std::hint::black_box(decoded.fit().expect("it fits"));
                    done.fetch_add(1, Ordering::Relaxed);
                    if started.elapsed() > length {
                        break;
                    }
                }
            });
        }
    });
    done.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
}

/// Frames and batches that the device has run.
fn counters(daemon: &Daemon) -> (u64, u64) {
    let text = daemon.machine.as_ref().map(Machine::stats).unwrap_or_default();
    let count = |name: &str| {
        text.lines()
            .filter_map(|line| line.split_once(' '))
            .find(|(key, _)| *key == name)
            .and_then(|(_, value)| value.trim().parse().ok())
            .unwrap_or(0)
    };
    (count("frames"), count("batches"))
}

/// Runs a load, and tells the most anonymous memory that the service held meanwhile, in KiB.
fn with_memory<T>(daemon: &Daemon, load: impl FnOnce() -> T) -> (T, u64) {
    let (ended, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    let result = thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                peak.fetch_max(daemon.anonymous_memory(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(20));
            }
        });
        let result = load();
        ended.store(true, Ordering::Relaxed);
        result
    });
    (result, peak.into_inner())
}

fn warm_up(daemon: &Daemon, pictures: &[Vec<u8>]) -> Result<(), Failure> {
    let mut client = Http::connect(&daemon.http, &PROMPTS)?;
    pictures.iter().take(4).try_for_each(|picture| client.classify(picture).map(drop))
}

fn over_http(
    daemon: &Daemon,
    pictures: &[Vec<u8>],
    clients: usize,
    length: Duration,
) -> Result<Load, Failure> {
    let started = Instant::now();
    let run = |client: usize| -> Result<Vec<(Duration, Duration)>, Failure> {
        let mut connection = Http::connect(&daemon.http, &PROMPTS)?;
        let mut times = Vec::new();
        for picture in pictures.iter().cycle().skip(client * 3) {
            let asked = Instant::now();
            let decoding = connection.classify(picture)?;
            times.push((asked.elapsed(), decoding));
            if started.elapsed() > length {
                break;
            }
        }
        Ok(times)
    };
    let times = thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|client| scope.spawn(move || run(client))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("clients do not panic"))
            .collect::<Result<Vec<_>, _>>()
    })?;
    let elapsed = started.elapsed().as_secs_f64();
    let mut times: Vec<_> = times.into_iter().flatten().collect();
    times.sort_unstable();
    let (latencies, decoding): (Vec<_>, Vec<_>) = times.into_iter().unzip();
    Ok(Load { per_second: latencies.len() as f64 / elapsed, latencies, decoding })
}

fn over_dbus(
    daemon: &Daemon,
    pictures: &[Vec<u8>],
    clients: usize,
    length: Duration,
) -> Result<Load, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let files: Arc<Vec<fs::File>> =
        Arc::new(pictures.iter().map(|picture| memory_file(picture)).collect::<Result<_, _>>()?);
    let started = Instant::now();
    let run = |client: usize, address: String, files: Arc<Vec<fs::File>>| async move {
        let connection = connection::Builder::address(address.as_str()).build().await?;
        let mut latencies = Vec::new();
        for index in client * 3.. {
            let file = &files[index % files.len()];
            let options = HashMap::<&str, Variant<'_>>::new();
            let asked = Instant::now();
            connection
                .call_method(
                    Some(NAME),
                    "/org/hailo/Clip1",
                    Some(NAME),
                    "ClassifyFd",
                    &(Fd::from(file), &PROMPTS[..], options),
                )
                .await?;
            latencies.push(asked.elapsed());
            if started.elapsed() > length {
                break;
            }
        }
        Ok::<_, Failure>(latencies)
    };
    let latencies = runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for client in 0..clients {
            tasks.spawn(run(client, daemon.bus.address.clone(), Arc::clone(&files)));
        }
        let mut all = Vec::new();
        while let Some(latencies) = tasks.join_next().await {
            all.extend(latencies??);
        }
        Ok::<_, Failure>(all)
    })?;
    let elapsed = started.elapsed().as_secs_f64();
    let mut latencies = latencies;
    latencies.sort_unstable();
    Ok(Load { per_second: latencies.len() as f64 / elapsed, latencies, decoding: Vec::new() })
}

fn memory_file(content: &[u8]) -> Result<fs::File, Failure> {
    let mut file =
        fs::File::from(nix::sys::memfd::memfd_create("picture", nix::sys::memfd::MFdFlags::MFD_CLOEXEC)?);
    file.write_all(content)?;
    Ok(file)
}
