//! Settings as the program uses them: every value checked, in units of the type system.
use std::{net::IpAddr, path::PathBuf, time::Duration};

use crate::{clip::Fit, kernel};

/// Warm-up iterations where the file asks for a warm-up and says no more.
pub(super) const WARMUP_ITERATIONS: u32 = 3;

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

impl Default for Settings {
    /// What an empty configuration file stands for.
    fn default() -> Self {
        Self {
            server: Server {
                host: IpAddr::from([0, 0, 0, 0]),
                port: 5000,
                max_body_bytes: 16 << 20,
                max_image_pixels: 64_000_000,
                api_keys_file: None,
                allowed_hosts: Vec::new(),
            },
            clip: Clip {
                model: "demo".to_owned(),
                backend: BackendChoice::Auto,
                devices: vec![0],
                fit: None,
                expected_embedding_dimension: None,
                expected_image_size: None,
                batch_size: 8,
                device_timeout: Duration::from_secs(5),
                apply_softmax: true,
                logit_scale: None,
                prepack_weights: None,
            },
            text_cache: TextCache { enabled: true, max_entries: 1000, persist: true },
            performance: Performance {
                worker_threads: None,
                inference_threads: None,
                max_queue_size: 64,
                request_timeout: Duration::from_secs(30),
                warmup_iterations: 0,
                idle_unload: None,
            },
            resource_limits: ResourceLimits { memory_max: "3G".to_owned(), cpu_quota: None },
            logging: Logging { level: LogLevel::Info, format: LogFormat::Text },
        }
    }
}

/// `server`
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Address to listen on; unspecified: all.
    pub host: IpAddr,
    /// Port to listen on.
    pub port: u16,
    /// Largest request body in bytes.
    pub max_body_bytes: usize,
    /// Largest width × height of a picture.
    pub max_image_pixels: u64,
    /// Bearer keys, one a line; none: everybody may ask.
    pub api_keys_file: Option<PathBuf>,
    /// Further names and addresses under which clients may address the server (`Host`), in lower case,
    /// without port.
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
    /// Components of an embedding that the file's author expects; the bundle decides.
    pub expected_embedding_dimension: Option<usize>,
    /// Side of the encoder's square in pixels that the file's author expects; the bundle decides.
    pub expected_image_size: Option<u32>,
    /// Most pictures or prompts that run as one batch.
    pub batch_size: usize,
    /// Longest time that one batch may take.
    pub device_timeout: Duration,
    /// Softmax over the prompts unless a request says otherwise.
    pub apply_softmax: bool,
    /// Factor on the cosine; none: as the bundle says.
    pub logit_scale: Option<f32>,
    /// Keep the CPU's weights in a second, faster layout; none: where it pays and memory allows.
    pub prepack_weights: Option<bool>,
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
    /// Keep them over a restart.
    pub persist: bool,
}

/// `performance`
#[derive(Clone, Debug, PartialEq)]
pub struct Performance {
    /// Threads that decode and pre-process pictures; none: the cores and the cgroup's quota decide.
    pub worker_threads: Option<usize>,
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

impl Performance {
    /// How many pictures are decoded at a time.
    #[must_use]
    pub fn workers(&self) -> usize {
        // Each may hold a large picture: of many processors, some are enough.
        const MOST: usize = 8;
        self.worker_threads.unwrap_or_else(|| kernel::processors().min(MOST))
    }
}

/// `resource_limits`, enforced by systemd.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceLimits {
    /// `MemoryMax=`: bytes, or a number with K, M, G or T, or a percentage, or `infinity`.
    pub memory_max: String,
    /// `CPUQuota=`: a percentage of one core; none: the machine decides.
    pub cpu_quota: Option<String>,
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
