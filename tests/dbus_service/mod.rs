//! The D-Bus facade on a private bus, over an engine whose encoder can be held.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of this")]

use std::{
    collections::HashMap,
    io::Cursor,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hailo_clip::{
    backend::{Backend, BackendError, BackendKind, Description},
    clip::{Embedding, Fit, ImageSpec, Pixels, Tokenizer, Tokens},
    config::Settings,
    dbus::{self, Facade, Limits, ReloadRequest, ServeError},
    engine::{Engine, LoadedModel, Loader, ModelInfo},
    model::{ChangeError, Watch},
};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use zbus::{Connection, Message, OwnedVariant, Type, Variant, proxy::MethodFlags, wire::DynamicType};

use crate::common::{Bus, PATIENCE};

/// What `Classify` gives.
pub type Classified = (Vec<(String, f64)>, HashMap<String, OwnedVariant>);
/// What `Classify` takes besides the picture and the prompts.
pub type Options<'a> = HashMap<&'a str, Variant<'a>>;

/// Awaits what must happen soon.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it happens")
}

/// How the encoder takes its batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    Open,
    Closed,
    Broken,
}

/// An encoder of colours in three dimensions, for the words red and green, else blue. Pictures wait
/// at the gate.
struct ColourEncoder {
    gate: watch::Receiver<Gate>,
    counts: Arc<Counts>,
    red: Tokens,
    green: Tokens,
    description: Description,
}

#[derive(Default)]
struct Counts {
    /// Pictures that were given to an encoder.
    pictures: AtomicUsize,
    /// Texts that were given to an encoder.
    texts: AtomicUsize,
    /// Models whose loading has begun.
    loads: AtomicUsize,
    /// Encoders that are held.
    encoders: AtomicUsize,
}

impl Drop for ColourEncoder {
    fn drop(&mut self) {
        self.counts.encoders.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Backend for ColourEncoder {
    fn description(&self) -> &Description {
        &self.description
    }

    fn embed_images(&self, batch: &[&Pixels]) -> Result<Vec<Embedding>, BackendError> {
        self.counts.pictures.fetch_add(batch.len(), Ordering::SeqCst);
        pass(&self.gate);
        if *self.gate.borrow() == Gate::Broken {
            return Err(BackendError::Inference("the encoder is out of order".into()));
        }
        batch
            .iter()
            .map(|pixels| {
                let colour: Vec<f32> = pixels.as_bytes()[..3].iter().map(|&c| f32::from(c) + 1.0).collect();
                Ok(Embedding::normalize(&colour)?)
            })
            .collect()
    }

    fn embed_texts(&self, batch: &[&Tokens]) -> Result<Vec<Embedding>, BackendError> {
        self.counts.texts.fetch_add(batch.len(), Ordering::SeqCst);
        let colour = |tokens: &&Tokens| match tokens {
            tokens if **tokens == self.red => [1.0, 0.0, 0.0],
            tokens if **tokens == self.green => [0.0, 1.0, 0.0],
            _ => [0.0, 0.0, 1.0],
        };
        batch.iter().map(|tokens| Ok(Embedding::normalize(&colour(tokens))?)).collect()
    }
}

/// Waits while the gate is closed.
fn pass(gate: &watch::Receiver<Gate>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // The gate is gone only when the test is over.
    let _ = runtime.block_on(gate.clone().wait_for(|gate| *gate != Gate::Closed));
}

/// The facade and everything around it.
pub struct Service {
    pub facade: Facade,
    pub engine: Engine,
    pub gate: watch::Sender<Gate>,
    pub bus: Bus,
    /// Where requests for a reload of the configuration arrive.
    pub reloads: mpsc::Receiver<ReloadRequest>,
    counts: Arc<Counts>,
}

impl Service {
    /// With a loaded model and the default settings.
    pub async fn start() -> Self {
        Self::with(|_| {}, Limits::default()).await
    }

    /// With a loaded model, changed settings and limits.
    pub async fn with(change: impl FnOnce(&mut Settings), limits: Limits) -> Self {
        let service = Self::without_model(change, limits).await;
        service.engine.load().await.unwrap();
        service
    }

    /// With a loaded model, on a given bus.
    pub async fn on(bus: Bus) -> Self {
        let service = Self::unloaded(bus, |_| {}, Limits::default()).await;
        service.engine.load().await.unwrap();
        service
    }

    /// With no model loaded yet.
    pub async fn without_model(change: impl FnOnce(&mut Settings), limits: Limits) -> Self {
        Self::unloaded(Bus::start(), change, limits).await
    }

    /// On a given bus, with no model loaded yet.
    pub async fn unloaded(bus: Bus, change: impl FnOnce(&mut Settings), limits: Limits) -> Self {
        let mut settings = Settings::default();
        // No test may pass because a forgotten request came to its deadline.
        settings.performance.request_timeout = 10 * PATIENCE;
        change(&mut settings);
        let (gate, at_gate) = watch::channel(Gate::Open);
        let counts = Arc::new(Counts::default());
        let engine = Engine::start(Arc::new(settings), loader(at_gate, Arc::clone(&counts))).unwrap();
        let (requests, reloads) = mpsc::channel(1);
        let address = bus.address.parse().unwrap();
        let facade = dbus::serve(&address, engine.clone(), limits, requests, no_models()).await.unwrap();
        Self { facade, engine, gate, bus, reloads, counts }
    }

    /// A client with a connection of its own.
    pub async fn client(&self) -> Client {
        Client(connect(&self.bus).await)
    }

    pub fn close_gate(&self) {
        self.gate.send_replace(Gate::Closed);
    }

    pub fn open_gate(&self) {
        self.gate.send_replace(Gate::Open);
    }

    /// Pictures that the encoder was given so far.
    pub fn pictures(&self) -> usize {
        self.counts.pictures.load(Ordering::SeqCst)
    }

    /// Texts that the encoder was given so far.
    pub fn texts(&self) -> usize {
        self.counts.texts.load(Ordering::SeqCst)
    }

    /// Models whose loading has begun so far.
    pub fn loads(&self) -> usize {
        self.counts.loads.load(Ordering::SeqCst)
    }

    /// Encoders that are held.
    pub fn encoders(&self) -> usize {
        self.counts.encoders.load(Ordering::SeqCst)
    }

    /// Waits until so many requests are in flight.
    pub async fn in_flight(&self, count: usize) {
        soon(async {
            while self.engine.queue_depth() != count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Waits until the encoders have been given so many pictures or more.
    pub async fn encoding_at_least(&self, pictures: usize) {
        soon(async {
            while self.pictures() < pictures {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Waits until so many models were begun to load.
    pub async fn loading(&self, loads: usize) {
        soon(async {
            while self.loads() != loads {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Waits until the encoder has been given so many pictures.
    pub async fn encoding(&self, pictures: usize) {
        soon(async {
            while self.pictures() != pictures {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

pub async fn serve(bus: &Bus, engine: &Engine, limits: Limits) -> Result<Facade, ServeError> {
    // Nobody reloads a configuration here.
    let (requests, _) = mpsc::channel(1);
    dbus::serve(&bus.address.parse().unwrap(), engine.clone(), limits, requests, no_models()).await
}

pub async fn connect(bus: &Bus) -> Connection {
    dbus::connect(&bus.address.parse().unwrap()).await.unwrap()
}

/// Every model is installed but `missing`, `broken` does not load, and `slow` waits at the gate.
fn loader(gate: watch::Receiver<Gate>, counts: Arc<Counts>) -> Loader {
    let json = include_bytes!("../fixtures/onnx/tokenizer.json");
    Arc::new(move |settings| {
        counts.loads.fetch_add(1, Ordering::SeqCst);
        match settings.clip.model.as_str() {
            "missing" => return Err(BackendError::NoSuchModel("model missing is not installed".into())),
            "broken" => return Err(BackendError::Unavailable("model broken is damaged".into())),
            "slow" => pass(&gate),
            _ => {}
        }
        counts.encoders.fetch_add(1, Ordering::SeqCst);
        let tokenizer = Tokenizer::from_json(json, 12).unwrap();
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
            logit_bias: None,
            text_digest: None,
            backend: Box::new(ColourEncoder {
                gate: gate.clone(),
                counts: Arc::clone(&counts),
                red: tokenizer.encode("red").unwrap(),
                green: tokenizer.encode("green").unwrap(),
                description: Description {
                    kind: BackendKind::Cpu,
                    device: "a colour encoder".into(),
                    npu: None,
                },
            }),
            tokenizer,
            degraded: None,
        })
    })
}

/// A client of the service.
#[derive(Clone)]
pub struct Client(pub Connection);

impl Client {
    /// Calls a method of the interface.
    pub async fn call<R>(
        &self,
        method: &str,
        arguments: &(impl serde::Serialize + DynamicType),
    ) -> zbus::Result<R>
    where
        R: DeserializeOwned + Type,
    {
        let reply =
            soon(self.0.call_method(Some(dbus::NAME), dbus::PATH, Some(dbus::NAME), method, arguments))
                .await?;
        reply.body().deserialize()
    }

    pub async fn classify(
        &self,
        image: &[u8],
        prompts: &[&str],
        options: Options<'_>,
    ) -> zbus::Result<Classified> {
        self.call("Classify", &(image, prompts, options)).await
    }

    pub async fn embed_image(&self, image: &[u8]) -> zbus::Result<Vec<f64>> {
        self.call("EmbedImage", &(image,)).await
    }

    /// Starts `EmbedImage` without waiting for it.
    pub fn start_embed_image(&self, image: &[u8]) -> tokio::task::JoinHandle<zbus::Result<Vec<f64>>> {
        let (client, image) = (self.clone(), image.to_owned());
        tokio::spawn(async move { client.embed_image(&image).await })
    }

    /// Calls a method of the interface for administrators.
    pub async fn manage(
        &self,
        method: &str,
        arguments: &(impl serde::Serialize + DynamicType),
        flags: impl Into<Option<MethodFlags>>,
    ) -> zbus::Result<()> {
        let interface = zbus::Proxy::new(&self.0, dbus::NAME, dbus::PATH, "org.hailo.Clip1.Manager").await?;
        let flags = flags.into().unwrap_or(MethodFlags::empty());
        soon(interface.call_with_flags(method, flags, arguments)).await.map(Option::unwrap)
    }

    pub async fn property(&self, name: &str) -> zbus::Result<OwnedVariant> {
        self.properties("Get", &(dbus::NAME, name)).await?.body().deserialize()
    }

    pub async fn set_property(&self, name: &str, value: Variant<'_>) -> zbus::Result<()> {
        self.properties("Set", &(dbus::NAME, name, value)).await.map(drop)
    }

    async fn properties(
        &self,
        method: &str,
        arguments: &(impl serde::Serialize + DynamicType),
    ) -> zbus::Result<Message> {
        let interface = "org.freedesktop.DBus.Properties";
        soon(self.0.call_method(Some(dbus::NAME), dbus::PATH, Some(interface), method, arguments)).await
    }
}

/// The error's name without the common prefix, and its text.
pub fn refusal<T: std::fmt::Debug>(answer: zbus::Result<T>) -> (String, String) {
    match answer.expect_err("the call is refused") {
        zbus::Error::MethodError(name, text, _) => {
            let name = name.as_str();
            (name.strip_prefix("org.hailo.Clip1.Error.").unwrap_or(name).to_owned(), text.unwrap_or_default())
        }
        zbus::Error::FDO(error) => {
            let error = &*error as &dyn zbus::DBusError;
            (error.name().to_string(), error.description().unwrap_or_default().to_owned())
        }
        other => panic!("not an answer of the service: {other}"),
    }
}

/// A PNG of one colour.
pub fn picture(rgb: [u8; 3]) -> Vec<u8> {
    let mut png = Cursor::new(Vec::new());
    image::RgbImage::from_pixel(8, 4, image::Rgb(rgb)).write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}

pub const RED: [u8; 3] = [200, 0, 0];
pub const GREEN: [u8; 3] = [0, 200, 0];

pub fn memfd(content: &[u8]) -> std::fs::File {
    use std::io::Write;
    let fd: OwnedFd = memfd_create("picture", MFdFlags::MFD_CLOEXEC).unwrap();
    let mut file = std::fs::File::from(fd);
    file.write_all(content).unwrap();
    file
}

/// Nothing on disk.
fn no_models() -> Arc<dyn dbus::Models> {
    Arc::new(NoModels)
}

struct NoModels;

impl NoModels {
    fn none<T>(name: &str) -> Result<T, ChangeError> {
        Err(ChangeError::NotInCatalog { name: name.to_owned() })
    }
}

impl dbus::Models for NoModels {
    fn list(&self) -> Vec<dbus::ListedModel> {
        Vec::new()
    }

    fn describe(&self, name: &str) -> Result<dbus::ModelDescription, ChangeError> {
        Self::none(name)
    }

    fn pull(&self, name: &str, _: &Watch) -> Result<String, ChangeError> {
        Self::none(name)
    }

    fn import(
        &self,
        name: &str,
        _: HashMap<String, OwnedFd>,
        _: HashMap<String, String>,
        _: &Watch,
    ) -> Result<String, ChangeError> {
        Self::none(name)
    }

    fn verify(&self, name: &str, _: &Watch) -> Result<String, ChangeError> {
        Self::none(name)
    }

    fn remove(&self, name: &str) -> Result<(), ChangeError> {
        Self::none(name)
    }

    fn choose(&self, _: &str) -> Result<(), ChangeError> {
        Ok(())
    }
}
