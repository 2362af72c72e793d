//! An encoder that tests can hold, fail and watch, and an engine around it.

use std::{
    io::Cursor,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use bytes::Bytes;
use hailo_clip::{
    backend::{Backend, BackendError, BackendKind, Concurrency, Degraded, Description},
    clip::{Embedding, Fit, ImageSpec, Pixels, Tokenizer, Tokens},
    config::{BackendChoice, Settings},
    engine::{
        Classified, ClassifyOptions, ClassifyRequest, Engine, EngineError, LoadedModel, Loader, ModelInfo,
    },
};

/// What the encoder is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Batch {
    Images(usize),
    Texts(usize),
}

/// How the encoder answers one batch.
pub(crate) enum Verdict {
    Encode,
    Fail,
    Panic,
    Lose,
    TimeOut,
    Interrupt,
}

/// The test's end of the encoder: it announces each batch and waits for a verdict.
pub(crate) struct Control {
    batches: mpsc::Receiver<Batch>,
    verdicts: mpsc::Sender<Verdict>,
}

impl Control {
    /// Waits for the next batch without letting it go on.
    pub(crate) fn next(&self) -> Batch {
        self.batches.recv_timeout(Duration::from_secs(20)).expect("the encoder is given a batch")
    }

    pub(crate) fn say(&self, verdict: Verdict) {
        self.verdicts.send(verdict).unwrap();
    }

    pub(crate) fn expect(&self, batch: Batch) {
        assert_eq!(self.next(), batch);
        self.say(Verdict::Encode);
    }

    /// The batches that came since.
    pub(crate) fn seen(&self) -> Vec<Batch> {
        self.batches.try_iter().collect()
    }

    pub(crate) fn expect_nothing(&self) {
        assert!(matches!(self.batches.try_recv(), Err(mpsc::TryRecvError::Empty)));
    }
}

#[derive(Clone)]
struct Wires {
    announce: mpsc::Sender<Batch>,
    verdicts: Arc<Mutex<mpsc::Receiver<Verdict>>>,
}

struct HeldEncoder {
    wires: Wires,
    description: Description,
    hardware: Arc<Hardware>,
}

impl Drop for HeldEncoder {
    fn drop(&mut self) {
        self.hardware.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl HeldEncoder {
    fn open(wires: Wires, description: Description, hardware: Arc<Hardware>) -> Self {
        let open = hardware.open.fetch_add(1, Ordering::SeqCst) + 1;
        hardware.most_open.fetch_max(open, Ordering::SeqCst);
        Self { wires, description, hardware }
    }

    fn wait(&self, batch: Batch) -> Result<(), BackendError> {
        self.wires.announce.send(batch).unwrap();
        let verdicts = self.wires.verdicts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let verdict = verdicts.recv().unwrap();
        drop(verdicts);
        match verdict {
            Verdict::Encode => Ok(()),
            Verdict::Fail => Err(BackendError::Inference("out of order".into())),
            Verdict::Panic => panic!("the encoder panics, as this test wants it to"),
            Verdict::Lose => Err(BackendError::Lost("the device is gone".into())),
            Verdict::TimeOut => Err(BackendError::TimedOut(Duration::from_millis(7))),
            Verdict::Interrupt => Err(BackendError::Interrupted),
        }
    }
}

impl Backend for HeldEncoder {
    fn description(&self) -> &Description {
        &self.description
    }

    fn concurrency(&self) -> Concurrency {
        self.hardware.concurrency
    }

    fn embed_images(&self, batch: &[&Pixels]) -> Result<Vec<Embedding>, BackendError> {
        self.wait(Batch::Images(batch.len()))?;
        batch
            .iter()
            .map(|pixels| {
                Ok(Embedding::normalize(
                    &pixels.as_bytes()[..3].iter().map(|&c| f32::from(c) + 1.0).collect::<Vec<_>>(),
                )?)
            })
            .collect()
    }

    fn embed_texts(&self, batch: &[&Tokens]) -> Result<Vec<Embedding>, BackendError> {
        self.wait(Batch::Texts(batch.len()))?;
        let colour = |tokens: &&Tokens| match tokens.ids()[1] {
            736 => [1.0, 0.0, 0.0],
            1901 => [0.0, 1.0, 0.0],
            _ => [0.0, 0.0, 1.0],
        };
        batch.iter().map(|tokens| Ok(Embedding::normalize(&colour(tokens))?)).collect()
    }
}

const TOKENIZER: &[u8] = include_bytes!("../fixtures/clip-tokenizer/tokenizer.json");

/// Loaded in a hundredth of the time; of the model `small`, where loading is what a test is about.
const SMALL_TOKENIZER: &[u8] = include_bytes!("../../models/demo/tokenizer.json");

/// What a loader's machine has.
pub(crate) struct Hardware {
    /// Whether there is an NPU now.
    pub(crate) npu: AtomicBool,
    /// How many batches the NPU takes.
    pub(crate) concurrency: Concurrency,
    /// Loads so far, the vain ones included.
    pub(crate) loads: AtomicUsize,
    /// Encoders that are open, and the most that ever were.
    open: AtomicUsize,
    pub(crate) most_open: AtomicUsize,
}

/// A loader of models whose name is the configured one; `broken` cannot be loaded. The NPU, where
/// there is one, is the same encoder.
pub(crate) fn loader_on(hardware: Arc<Hardware>) -> (Loader, Control) {
    let (announce, batches) = mpsc::channel();
    let (verdicts, heard) = mpsc::channel();
    let wires = Wires { announce, verdicts: Arc::new(Mutex::new(heard)) };
    let loader: Loader = Arc::new(move |settings| {
        hardware.loads.fetch_add(1, Ordering::SeqCst);
        if settings.clip.model == "broken" {
            return Err(BackendError::Unavailable("model broken is damaged".into()));
        }
        if settings.clip.model == "absent" {
            return Err(BackendError::NoSuchModel("model absent is not installed".into()));
        }
        let npu = hardware.npu.load(Ordering::SeqCst);
        let kind = match (settings.clip.backend, npu) {
            (BackendChoice::Cpu, _) | (BackendChoice::Auto, false) => BackendKind::Cpu,
            (_, true) => BackendKind::Hailo,
            (BackendChoice::Hailo, false) => return Err(BackendError::NoDevice("no device".into())),
        };
        let tokenizer = if settings.clip.model == "small" { SMALL_TOKENIZER } else { TOKENIZER };
        let degraded = settings.clip.backend == BackendChoice::Auto && kind == BackendKind::Cpu;
        Ok(LoadedModel {
            info: ModelInfo {
                name: settings.clip.model.clone(),
                aliases: vec![format!("{}__alias", settings.clip.model)],
                embedding_dimension: 3,
                image_size: 16,
                logit_scale: 100.0,
                precision: "fp32".into(),
                digest: format!("digest of {}", settings.clip.model),
            },
            image: ImageSpec { size: 16, fit: Fit::Stretch },
            tokenizer: Tokenizer::from_json(tokenizer, 77).unwrap(),
            logit_bias: None,
            text_digest: None,
            backend: Box::new(HeldEncoder::open(
                wires.clone(),
                Description { kind, device: "a held encoder".into(), npu: None },
                Arc::clone(&hardware),
            )),
            degraded: degraded.then(|| Degraded { reason: "no device; on the CPU".into(), may_pass: true }),
        })
    });
    (loader, Control { batches, verdicts })
}

/// A machine with an NPU that takes so many batches.
pub(crate) fn with_npu(concurrency: Concurrency) -> Arc<Hardware> {
    Arc::new(Hardware {
        npu: AtomicBool::new(true),
        concurrency,
        loads: AtomicUsize::new(0),
        open: AtomicUsize::new(0),
        most_open: AtomicUsize::new(0),
    })
}

/// An engine on this hardware, with its model loaded.
pub(crate) async fn ready_on(
    hardware: &Arc<Hardware>,
    change: impl FnOnce(&mut Settings),
) -> (Engine, Control) {
    let (loader, control) = loader_on(Arc::clone(hardware));
    let engine = Engine::start(settings(change), loader).unwrap();
    engine.load().await.unwrap();
    (engine, control)
}

/// The plain case: one batch after the other, and nothing is ever lost.
pub(crate) fn loader() -> (Loader, Control, Arc<Hardware>) {
    let hardware = with_npu(Concurrency::SERIAL);
    let (loader, control) = loader_on(Arc::clone(&hardware));
    (loader, control, hardware)
}

pub(crate) fn settings(change: impl FnOnce(&mut Settings)) -> Arc<Settings> {
    let mut settings = Settings::default();
    change(&mut settings);
    Arc::new(settings)
}

pub(crate) async fn ready(change: impl FnOnce(&mut Settings)) -> (Engine, Control, Arc<Hardware>) {
    let hardware = with_npu(Concurrency::SERIAL);
    let (engine, control) = ready_on(&hardware, change).await;
    (engine, control, hardware)
}

pub(crate) fn picture(rgb: [u8; 3]) -> Bytes {
    let mut png = Cursor::new(Vec::new());
    image::RgbImage::from_pixel(20, 10, image::Rgb(rgb)).write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner().into()
}

pub(crate) fn classify(prompts: &[&str]) -> ClassifyRequest {
    ClassifyRequest {
        image: picture([200, 0, 0]),
        prompts: prompts.iter().map(|&prompt| prompt.into()).collect(),
        options: ClassifyOptions::default(),
    }
}

pub(crate) type Answer<T> = tokio::task::JoinHandle<Result<T, EngineError>>;

pub(crate) fn embed(engine: &Engine, rgb: [u8; 3]) -> Answer<hailo_clip::engine::EmbeddedImage> {
    let engine = engine.clone();
    tokio::spawn(async move { engine.embed_image(picture(rgb), None).await })
}

pub(crate) fn embed_text(engine: &Engine, text: &str) -> Answer<hailo_clip::engine::EmbeddedTexts> {
    let (engine, text) = (engine.clone(), text.to_owned());
    tokio::spawn(async move { engine.embed_texts(vec![text], None).await })
}

pub(crate) fn spawn_classify(engine: &Engine, request: ClassifyRequest) -> Answer<Classified> {
    let engine = engine.clone();
    tokio::spawn(async move { engine.classify(request).await })
}

/// Runs the blocking `Control` calls off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    control: Control,
    f: impl FnOnce(&Control) -> T + Send + 'static,
) -> (Control, T) {
    tokio::task::spawn_blocking(move || {
        let value = f(&control);
        (control, value)
    })
    .await
    .unwrap()
}

/// Waits until so many requests are in flight.
pub(crate) async fn in_flight(engine: &Engine, count: usize) {
    while engine.queue_depth() != count {
        tokio::task::yield_now().await;
    }
}

/// Waits until so many jobs are in the device's queue.
pub(crate) async fn waiting(engine: &Engine, count: usize) {
    while engine.jobs_waiting() != count {
        tokio::task::yield_now().await;
    }
}
