//! Settings as the program uses them: every value checked, in units of the type system.
use std::{net::IpAddr, path::PathBuf, time::Duration};

use crate::clip::Fit;

/// Everything that the configuration file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The HTTP server.
    pub server: Server,
    /// Model and inference.
    pub clip: Clip,
    /// Cache of text embeddings.
    pub text_cache: TextCache,
    /// Queue, threads, deadlines.
    pub performance: Performance,
    /// Limits that systemd enforces.
    pub resource_limits: ResourceLimits,
    /// Logging.
    pub logging: Logging,
}

/// `server`
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Address to listen on.
    pub host: IpAddr,
    /// Port to listen on.
    pub port: u16,
    /// Largest request body in bytes.
    pub max_body_bytes: usize,
    /// Largest width × height of a picture.
    pub max_image_pixels: u64,
    /// Bearer keys, one a line; none: everybody may ask.
    pub api_keys_file: Option<PathBuf>,
    /// Further names under which clients may address the server (`Host`).
    pub allowed_hosts: Vec<String>,
}

/// `clip`
#[derive(Clone, Debug, PartialEq)]
pub struct Clip {
    /// Name of the model bundle.
    pub model: String,
    /// Where to infer.
    pub backend: BackendChoice,
    /// Indices of the Hailo devices to use.
    pub devices: Vec<u32>,
    /// How pictures are brought to the encoder's square; none: as the bundle says.
    pub fit: Option<Fit>,
    /// Most pictures or prompts that run as one batch.
    pub batch_size: usize,
    /// Longest time that one batch may take.
    pub device_timeout: Duration,
    /// Softmax over the prompts unless a request says otherwise.
    pub apply_softmax: bool,
    /// Factor on the cosine; none: as the bundle says.
    pub logit_scale: Option<f32>,
    /// Keep the CPU's weights in a second, faster layout.
    pub prepack_weights: bool,
}

/// `clip.backend`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendChoice {
    /// The NPU where there is one, else the CPU.
    Auto,
    /// The NPU alone.
    Hailo,
    /// The CPU alone.
    Cpu,
}

/// `text_embedding`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextCache {
    /// Keep text embeddings.
    pub enabled: bool,
    /// At most so many.
    pub max_entries: usize,
}

/// `performance`
#[derive(Clone, Debug, PartialEq)]
pub struct Performance {
    /// Threads that decode and pre-process pictures.
    pub worker_threads: usize,
    /// Threads of the CPU backend; none: the cores and the cgroup's quota decide.
    pub inference_threads: Option<usize>,
    /// Most requests that are accepted at a time.
    pub max_queue_size: usize,
    /// Longest time from accepting a request to its answer.
    pub request_timeout: Duration,
    /// Inferences to run before the service is ready; zero: none.
    pub warmup_iterations: u32,
    /// Release the backend after so much idleness; none: never.
    pub idle_unload: Option<Duration>,
}

/// `resource_limits`, enforced by systemd.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceLimits {
    /// `MemoryMax=`.
    pub memory_max: String,
    /// `CPUQuota=`.
    pub cpu_quota: String,
}

/// `logging`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logging {
    /// The least severe level that is logged.
    pub level: LogLevel,
    /// How records are written when not to the journal.
    pub format: LogFormat,
}

/// `logging.level`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// `logging.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Readable lines.
    Text,
    /// One JSON object a line.
    Json,
}
