//! The HTTP facade on a real socket, over an engine whose encoder tests can hold and watch.
#![allow(dead_code, reason = "each test program uses a part")]

use std::{
    io::Cursor,
    net::SocketAddr,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hailo_clip::{
    backend::{Backend, BackendError, BackendKind, Degraded, Description},
    clip::{Embedding, Fit, ImageSpec, Pixels, Tokenizer, Tokens},
    config::Settings,
    engine::{Engine, LoadedModel, Loader, ModelInfo},
    http::{ConnectionLimits, Listener, Options, Server},
};
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// Long enough for any machine; tests that pass never wait for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the encoder behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Encode,
    Hold,
    Fail,
}

/// The test's end of the encoder.
#[derive(Clone)]
pub(crate) struct Encoder {
    mode: Arc<(Mutex<Mode>, Condvar)>,
    images: watch::Sender<usize>,
    loads: watch::Sender<usize>,
}

impl Encoder {
    fn new() -> Self {
        Self {
            mode: Arc::new((Mutex::new(Mode::Encode), Condvar::new())),
            images: watch::Sender::new(0),
            loads: watch::Sender::new(0),
        }
    }

    /// Batches of pictures begin and do not end, and so does loading the model `slow`; texts are encoded.
    pub(crate) fn hold(&self) {
        self.set(Mode::Hold);
    }

    /// Batches of pictures fail.
    pub(crate) fn fail(&self) {
        self.set(Mode::Fail);
    }

    /// Batches are encoded, those held as well.
    pub(crate) fn release(&self) {
        self.set(Mode::Encode);
    }

    /// Pictures that have reached the encoder.
    pub(crate) fn images(&self) -> usize {
        *self.images.borrow()
    }

    /// Waits until so many pictures have reached the encoder.
    pub(crate) async fn images_reach(&self, count: usize) {
        let mut images = self.images.subscribe();
        patiently(images.wait_for(|&images| images >= count)).await.unwrap();
    }

    /// Waits until so many models were begun to load.
    pub(crate) async fn loads_reach(&self, count: usize) {
        let mut loads = self.loads.subscribe();
        patiently(loads.wait_for(|&loads| loads >= count)).await.unwrap();
    }

    fn set(&self, mode: Mode) {
        *self.mode.0.lock().unwrap() = mode;
        self.mode.1.notify_all();
    }

    fn encode_images(&self, count: usize) -> Result<(), BackendError> {
        self.images.send_modify(|images| *images += count);
        let mode = self.mode.0.lock().unwrap();
        match *self.mode.1.wait_while(mode, |mode| *mode == Mode::Hold).unwrap() {
            Mode::Fail => Err(BackendError::Inference("out of order".into())),
            Mode::Encode | Mode::Hold => Ok(()),
        }
    }
}

/// Embeds a picture as its colour, and a text as the colour that it begins with.
struct ColourEncoder {
    control: Encoder,
    description: Description,
}

impl Backend for ColourEncoder {
    fn description(&self) -> &Description {
        &self.description
    }

    fn embed_images(&self, batch: &[&Pixels]) -> Result<Vec<Embedding>, BackendError> {
        self.control.encode_images(batch.len())?;
        let colour = |pixels: &&Pixels| {
            let rgb: Vec<f32> = pixels.as_bytes()[..3].iter().map(|&c| f32::from(c) + 1.0).collect();
            Ok(Embedding::normalize(&rgb)?)
        };
        batch.iter().map(colour).collect()
    }

    fn embed_texts(&self, batch: &[&Tokens]) -> Result<Vec<Embedding>, BackendError> {
        let colour = |tokens: &&Tokens| {
            let rgb = match tokens.ids()[1] {
                736 => [1.0, 0.0, 0.0],
                1901 => [0.0, 1.0, 0.0],
                1746 => [0.0, 0.0, 1.0],
                // Everything else is unlike any picture.
                _ => [-1.0, -1.0, -1.0],
            };
            Ok(Embedding::normalize(&rgb)?)
        };
        batch.iter().map(colour).collect()
    }
}

const TOKENIZER: &[u8] = include_bytes!("../fixtures/clip-tokenizer/tokenizer.json");

fn loader(encoder: Encoder) -> Loader {
    Arc::new(move |settings| {
        encoder.loads.send_modify(|loads| *loads += 1);
        match settings.clip.model.as_str() {
            "broken" => return Err(BackendError::Unavailable("model broken is not installed".into())),
            "slow" => encoder.encode_images(0)?,
            _ => {}
        }
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
            tokenizer: Tokenizer::from_json(TOKENIZER, 77).unwrap(),
            logit_bias: None,
            text_digest: None,
            backend: Box::new(ColourEncoder {
                control: encoder.clone(),
                description: Description {
                    kind: BackendKind::Cpu,
                    device: "a colour encoder".into(),
                    npu: None,
                },
            }),
            degraded: (settings.clip.model == "fallback")
                .then(|| Degraded { reason: "no NPU was found".into(), may_pass: false }),
        })
    })
}

/// A running facade.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Engine,
    pub(crate) encoder: Encoder,
    pub(crate) options: watch::Sender<Arc<Options>>,
    /// The model that was recorded last as the one that clients chose.
    pub(crate) chosen: watch::Receiver<Option<String>>,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

impl Service {
    /// Starts with the model loaded.
    pub(crate) async fn ready() -> Self {
        Self::ready_with(|_, _| {}).await
    }

    /// As [`ready`](Self::ready), with other settings and options.
    pub(crate) async fn ready_with(change: impl FnOnce(&mut Settings, &mut Options)) -> Self {
        let service = Self::not_loaded(change).await;
        service.engine.load().await.unwrap();
        service
    }

    /// Starts, but does not begin to load the model.
    pub(crate) async fn not_loaded(change: impl FnOnce(&mut Settings, &mut Options)) -> Self {
        let mut settings = Settings::default();
        settings.performance.warmup_iterations = 0;
        let mut options = Options::new(&settings, Vec::new(), "testhost".into());
        // No test waits for these; one that does says so.
        options.connections = ConnectionLimits {
            header_timeout: PATIENCE,
            body_timeout: PATIENCE,
            write_timeout: PATIENCE,
            linger: PATIENCE,
            ..options.connections
        };
        change(&mut settings, &mut options);
        let encoder = Encoder::new();
        let engine = Engine::start(Arc::new(settings), loader(encoder.clone())).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = watch::Sender::new(Arc::new(options));
        let (choose, chosen) = watch::channel(None);
        let server = Server::new(engine.clone(), options.subscribe()).recording(Arc::new(move |model| {
            choose.send_replace(Some(model.to_owned()));
            Ok(())
        }));
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { server.serve(Listener::Tcp(listener), shutdown).await }
        });
        Self { address, engine, encoder, options, chosen, shutdown, serving }
    }

    /// Tells the server to stop; what it returns ends when the server does.
    pub(crate) fn stop(self) -> JoinHandle<()> {
        self.shutdown.cancel();
        self.serving
    }

    /// Waits until so many requests are in flight.
    pub(crate) async fn in_flight(&self, count: usize) {
        patiently(async {
            while self.engine.queue_depth() != count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// One request on a connection of its own.
    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let (mut sender, connection) = http1::handshake(TokioIo::new(self.connect().await)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request = request.header("host", self.address.to_string());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let response = patiently(sender.send_request(request)).await.unwrap();
        let (head, body) = response.into_parts();
        let body = patiently(body.collect()).await.unwrap().to_bytes();
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], "").await
    }

    pub(crate) async fn post_json(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.request("POST", path, &[("content-type", "application/json")], body).await
    }

    /// The request that must succeed after everything that went before.
    pub(crate) async fn serves(&self) {
        let answer = self.post_json("/v1/classify", classify_body(&["red", "blue"])).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.body["classifications"][0]["text"], "red");
    }
}

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// `null` if there is none.
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Checks an error: its status, its code, and that its text is one line for people.
    #[track_caller]
    pub(crate) fn is_error(&self, status: u16, code: &str) -> &str {
        assert_eq!((self.status, &self.body["code"]), (status, &json!(code)), "{}", self.body);
        let error = self.body["error"].as_str().unwrap();
        assert!(!error.is_empty() && !error.contains('\n'), "{error}");
        error
    }
}

/// Fails instead of hanging.
pub(crate) async fn patiently<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("what the test waits for happens")
}

/// A picture of one colour.
pub(crate) fn picture(rgb: [u8; 3]) -> Bytes {
    let mut png = Cursor::new(Vec::new());
    image::RgbImage::from_pixel(20, 10, image::Rgb(rgb)).write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner().into()
}

/// A red picture in base64.
pub(crate) fn red() -> String {
    STANDARD.encode(picture([200, 0, 0]))
}

/// A classification of a red picture.
pub(crate) fn classify_body(prompts: &[&str]) -> String {
    json!({ "image": red(), "prompts": prompts }).to_string()
}

/// A request's head, as it goes over the wire.
pub(crate) fn head(method: &str, path: &str, headers: &[(&str, String)]) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head + "\r\n"
}

/// A whole JSON request, as it goes over the wire.
pub(crate) fn wire(path: &str, body: &str) -> String {
    let headers =
        [("Content-Type", "application/json".to_owned()), ("Content-Length", body.len().to_string())];
    head("POST", path, &headers) + body
}

pub(crate) async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: impl AsRef<[u8]>) {
    patiently(stream.write_all(bytes.as_ref())).await.unwrap();
}

/// Reads one answer: its status, its head, its body.
pub(crate) async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> (u16, String, Value) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(patiently(stream.read_u8()).await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    patiently(stream.read_exact(&mut body)).await.unwrap();
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    (status, head, body)
}

/// Waits until the server has closed, and gives what it still sent.
pub(crate) async fn read_to_close(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    // A reset is a close as well.
    let _ = patiently(stream.read_to_end(&mut rest)).await;
    rest
}
