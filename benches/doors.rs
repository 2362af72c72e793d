//! One compiled client for both doors of a running service, for the report: what a request takes over
//! HTTP and over D-Bus, without the time that a client in Python adds.
//!
//! `doors BUS HTTP PICTURE` connects to both and writes one JSON line for it, then one for each line that
//! it reads: `{"http": 3}` posts the bare picture three times, `{"json": 3}` the same in base64,
//! `{"dbus": 3}` calls `ClassifyFd`; the answer has the seconds of each.

use std::{
    collections::HashMap,
    env, fs,
    io::{self, BufRead, Write},
    time::Instant,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use zbus::{Connection, Fd, Variant, connection};

mod clients;

use clients::{Failure, Http};

const NAME: &str = "org.hailo.Clip1";
/// Those of pictures.py.
const PROMPTS: [&str; 10] = [
    "a photo of a cat",
    "a photo of a dog",
    "an empty shelf",
    "a stocked shelf",
    "a person riding a bicycle",
    "the night sky with a full moon",
    "sunrise over the sea",
    "a snowy mountain",
    "a house with a red roof",
    "a tree in a green field",
];

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Command {
    Http(usize),
    Json(usize),
    Dbus(usize),
}

fn main() -> Result<(), Failure> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [bus, address, file] = arguments.as_slice() else {
        return Err("usage: doors BUS HTTP PICTURE, as the report calls it".into());
    };
    let started = Instant::now();
    let picture = fs::read(file)?;
    let body = serde_json::to_vec(&json!({ "image": STANDARD.encode(&picture), "prompts": PROMPTS }))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let connection = runtime.block_on(async { connection::Builder::address(bus.as_str()).build().await })?;
    let descriptor = fs::File::open(file)?;
    answer(&json!({ "seconds": started.elapsed().as_secs_f64() }))?;

    for line in io::stdin().lock().lines() {
        let seconds = match serde_json::from_str(&line?)? {
            // The service closes connections that were idle for long: each command has its own.
            Command::Http(count) => {
                let mut client = Http::connect(address, &PROMPTS)?;
                timed(count, || client.classify(&picture).map(drop))?
            }
            Command::Json(count) => {
                let mut client = Http::open(address, "/v1/classify", "application/json")?;
                timed(count, || client.classify(&body).map(drop))?
            }
            Command::Dbus(count) => timed(count, || over_dbus(&runtime, &connection, &descriptor))?,
        };
        answer(&json!({ "seconds": seconds }))?;
    }
    Ok(())
}

fn over_dbus(runtime: &Runtime, connection: &Connection, picture: &fs::File) -> Result<(), Failure> {
    let options = HashMap::<&str, Variant<'_>>::new();
    let arguments = (Fd::from(picture), &PROMPTS[..], options);
    runtime.block_on(connection.call_method(
        Some(NAME),
        "/org/hailo/Clip1",
        Some(NAME),
        "ClassifyFd",
        &arguments,
    ))?;
    Ok(())
}

/// Seconds of each of so many runs.
fn timed(count: usize, mut work: impl FnMut() -> Result<(), Failure>) -> Result<Vec<f64>, Failure> {
    (0..count)
        .map(|_| {
            let started = Instant::now();
            work()?;
            Ok(started.elapsed().as_secs_f64())
        })
        .collect()
}

fn answer(reply: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{reply}")?;
    out.flush()
}
