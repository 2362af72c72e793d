//! The CPU backend alone, for `bench.py` and `models/int8/compare.py`, which alternate between this and ONNX Runtime.
//!
//! `cpu_backend BUNDLE THREADS PREPACK` (true, false, auto) opens the bundle and writes one JSON line for it, then one for
//! each line that it reads: `{"images": 8}` and `{"texts": ["a cat"]}` run a batch, `"memory"` tells what
//! is resident. `{"embed_images": "FILE.npy"}`, with pictures as uint8 `[N, S, S, 3]`, and `{"embed_texts": ["a cat"]}`
//! answer with the embeddings.

use std::{
    env, fs,
    io::{self, BufRead, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use hailo_clip::{
    backend::{Backend, CpuOptions, Encoders},
    clip::{Embedding, Pixels, Tokenizer, Tokens},
    model::Bundle,
};
use serde::Deserialize;
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [folder, threads, prepack] = arguments.as_slice() else {
        return Err("usage: cpu_backend BUNDLE THREADS PREPACK, as bench.py calls it".into());
    };
    let folder = Path::new(folder);
    let bundle = Bundle::open(folder)?;
    let started = Instant::now();
    let prepack_weights = if prepack == "auto" { None } else { Some(prepack.parse()?) };
    let options = CpuOptions { threads: Some(threads.parse()?), prepack_weights };
    let backend = Encoders::on_cpu(&bundle, options)?;
    answer(&json!({ "seconds": started.elapsed().as_secs_f64() }))?;

    let picture = noise(bundle.image.size)?;
    let tokenizer = Tokenizer::from_json(&fs::read(&bundle.tokenizer.path)?, bundle.context_length)?;
    for line in io::stdin().lock().lines() {
        let reply = match serde_json::from_str(&line?)? {
            Command::Images(count) => {
                let batch = vec![&picture; count];
                let started = Instant::now();
                backend.embed_images(&batch)?;
                json!({ "seconds": started.elapsed().as_secs_f64() })
            }
            Command::Texts(texts) => {
                let started = Instant::now();
                let tokens: Vec<Tokens> =
                    texts.iter().map(|text| tokenizer.encode(text)).collect::<Result<_, _>>()?;
                backend.embed_texts(&tokens.iter().collect::<Vec<_>>())?;
                json!({ "seconds": started.elapsed().as_secs_f64() })
            }
            Command::EmbedImages(file) => {
                let pixels = pixels(&file, bundle.image.size)?;
                embeddings(&backend.embed_images(&pixels.iter().collect::<Vec<_>>())?)
            }
            Command::EmbedTexts(texts) => {
                let tokens: Vec<Tokens> =
                    texts.iter().map(|text| tokenizer.encode(text)).collect::<Result<_, _>>()?;
                embeddings(&backend.embed_texts(&tokens.iter().collect::<Vec<_>>())?)
            }
            Command::Memory => memory()?,
        };
        answer(&reply)?;
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Command {
    Images(usize),
    Texts(Vec<String>),
    EmbedImages(PathBuf),
    EmbedTexts(Vec<String>),
    Memory,
}

fn answer(reply: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{reply}")?;
    out.flush()
}

fn embeddings(embeddings: &[Embedding]) -> Value {
    embeddings.iter().map(Embedding::as_slice).collect()
}

/// What a picture shows makes no difference to how long it takes.
fn noise(size: u32) -> Result<Pixels, Failure> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let rgb = (0..3 * size * size).map(|_| next()).collect();
    Pixels::from_rgb(size, rgb).ok_or_else(|| "the model takes no pictures".into())
}

fn pixels(path: &Path, size: u32) -> Result<Vec<Pixels>, Failure> {
    let file = fs::read(path)?;
    let header = 10 + usize::from(u16::from_le_bytes([file[8], file[9]]));
    let length = size as usize * size as usize * 3;
    file[header..]
        .chunks_exact(length)
        .map(|rgb| Pixels::from_rgb(size, rgb.to_vec()).ok_or_else(|| "not pictures of this model".into()))
        .collect()
}

/// Resident memory in kB: the process's own, and that of mapped files, which the kernel may reclaim.
fn memory() -> io::Result<Value> {
    let status = fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| -> Option<u64> {
        status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
    };
    Ok(json!({ "peak": field("VmHWM:"), "anonymous": field("RssAnon:"), "files": field("RssFile:") }))
}
