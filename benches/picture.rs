//! Decoding and pre-processing alone, for `pictures.py`, which alternates between this and Pillow.
//!
//! `picture BUNDLE…` writes one JSON line with what the processor offers, then one for each line that it reads:
//! `{"file": "a.jpg", "way": "draft"}` decodes a picture as the service does, `"way": "whole"` as it does without
//! libturbojpeg, both with the seconds of processor time and of the clock that each stage took;
//! `{"rate": ["a.jpg"], "way": "draft", "seconds": 2}` tells how many a second all cores do, and `{"agree": "a.jpg"}`
//! the cosine between the embeddings of both ways, for each bundle.

use std::{
    collections::BTreeMap,
    env, fs,
    hint::black_box,
    io::{self, BufRead, Write},
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use hailo_clip::{
    backend::{Backend, CpuOptions, Encoders},
    clip::{Draft, Fit, ImageLimits, ImageSpec, Picture, Pixels, image::reduces_jpegs},
    model::Bundle,
};
use nix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

const LIMITS: ImageLimits = ImageLimits { max_pixels: 64_000_000 };
const SPEC: ImageSpec = ImageSpec { size: 224, fit: Fit::Stretch };

fn main() -> Result<(), Failure> {
    // Cargo adds `--bench`.
    let folders = env::args().skip(1).filter(|argument| argument != "--bench");
    let mut bundles = Vec::new();
    for folder in folders {
        let bundle = Bundle::open(Path::new(&folder))?;
        let encoders = Encoders::on_cpu(&bundle, CpuOptions::default())?;
        bundles.push((bundle, encoders));
    }
    let extensions = format!("{:?}", fast_image_resize::Resizer::new().cpu_extensions());
    answer(&json!({ "libturbojpeg": reduces_jpegs(), "resizer": extensions }))?;
    for line in io::stdin().lock().lines() {
        let reply = match serde_json::from_str(&line?)? {
            Command::Once { file, way } => once(&fs::read(file)?, way)?,
            Command::Rate { rate, way, seconds } => {
                let files = rate.iter().map(fs::read).collect::<Result<Vec<_>, _>>()?;
                json!({ "per_second": per_second(&files, way, Duration::from_secs_f64(seconds)) })
            }
            Command::Agreement { agree } => agreement(&fs::read(agree)?, &bundles)?,
        };
        answer(&reply)?;
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Command {
    Once { file: String, way: Way },
    Rate { rate: Vec<String>, way: Way, seconds: f64 },
    Agreement { agree: String },
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    Draft,
    Whole,
}

fn answer(reply: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{reply}")?;
    out.flush()
}

fn once(file: &[u8], way: Way) -> Result<Value, Failure> {
    let start = Reading::now()?;
    let (decoded, pixels, denominator) = match way {
        Way::Draft => {
            let draft = Draft::decode(file, &LIMITS, &SPEC)?;
            (Reading::now()?, draft.fit()?, draft.denominator())
        }
        Way::Whole => {
            let picture = Picture::decode(file, &LIMITS)?;
            (Reading::now()?, picture.fit(&SPEC)?, 1)
        }
    };
    let fitted = Reading::now()?;
    let mut planes = vec![0.0; 3 * 224 * 224];
    let normalizing = Reading::now()?;
    pixels.normalize_into(&[0.5; 3], &[0.25; 3], &mut planes);
    black_box(&planes);
    Ok(json!({
        "decode": decoded.since(&start),
        "fit": fitted.since(&decoded),
        "normalize": Reading::now()?.since(&normalizing),
        "denominator": denominator,
    }))
}

/// Both clocks at a moment.
struct Reading {
    processor: Duration,
    clock: Instant,
}

impl Reading {
    fn now() -> Result<Self, Failure> {
        Ok(Self { processor: clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into(), clock: Instant::now() })
    }

    fn since(&self, earlier: &Self) -> Value {
        json!({
            "processor": (self.processor - earlier.processor).as_secs_f64(),
            "clock": (self.clock - earlier.clock).as_secs_f64(),
        })
    }
}

fn pixels(file: &[u8], way: Way) -> Pixels {
    let pixels = match way {
        Way::Draft => Draft::decode(file, &LIMITS, &SPEC).and_then(|draft| draft.fit()),
        Way::Whole => Picture::decode(file, &LIMITS).and_then(|picture| picture.fit(&SPEC)),
    };
    pixels.expect("it is a picture")
}

fn per_second(files: &[Vec<u8>], way: Way, length: Duration) -> f64 {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let (started, done) = (Instant::now(), AtomicUsize::new(0));
    thread::scope(|scope| {
        for core in 0..cores {
            let done = &done;
            scope.spawn(move || {
                for file in files.iter().cycle().skip(core) {
                    black_box(pixels(file, way));
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

fn agreement(file: &[u8], bundles: &[(Bundle, Encoders)]) -> Result<Value, Failure> {
    let mut cosines = BTreeMap::new();
    for (bundle, encoders) in bundles {
        let spec = ImageSpec { size: bundle.image.size, fit: bundle.image.fit };
        let draft = Draft::decode(file, &LIMITS, &spec)?.fit()?;
        let whole = Picture::decode(file, &LIMITS)?.fit(&spec)?;
        let embeddings = encoders.embed_images(&[&draft, &whole])?;
        cosines.insert(bundle.name.clone(), embeddings[0].cosine(&embeddings[1])?);
    }
    Ok(json!({ "cosines": cosines }))
}
