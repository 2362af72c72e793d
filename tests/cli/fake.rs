//! An `org.hailo.Clip1` on a bus of its own that answers from a script.

use std::{
    collections::VecDeque,
    fs::File,
    io::Read,
    os::fd::AsFd,
    path::PathBuf,
    sync::{Arc, Mutex, mpsc},
};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use tokio::{runtime::Runtime, sync::watch};
use zbus::{
    Connection, DBusError, DeserializeDict, Fd, SerializeDict, Type, connection, interface,
    message::{Flags, Header},
};

use crate::bus::{Bus, Finished};

const NAME: &str = "org.hailo.Clip1";
const PATH: &str = "/org/hailo/Clip1";

/// What the service was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Call {
    pub(crate) image: Vec<u8>,
    pub(crate) prompts: Vec<String>,
    pub(crate) options: Options,
    /// Whether the picture came in memory that nobody can change.
    pub(crate) sealed: bool,
    /// What an administrator asked for: the method and its argument.
    pub(crate) order: Option<(&'static str, String)>,
    /// Whether polkit may ask a person.
    pub(crate) interactive: bool,
}

/// Options as they came.
#[derive(Clone, Debug, Default, DeserializeDict, Type)]
#[zbus(signature = "a{sv}")]
pub(crate) struct Options {
    pub(crate) top_k: Option<u32>,
    pub(crate) threshold: Option<f64>,
    pub(crate) templates: Option<Vec<String>>,
    pub(crate) apply_softmax: Option<bool>,
    pub(crate) logit_scale: Option<f64>,
    pub(crate) timeout_ms: Option<u32>,
    pub(crate) warnings: Option<bool>,
    pub(crate) explain: Option<bool>,
}

#[derive(Default, SerializeDict, Type)]
#[zbus(signature = "a{sv}")]
struct Details {
    inference_time_ms: f64,
    model: String,
    backend: String,
    image_ms: f64,
    cosines: Option<Vec<f64>>,
    warnings: Option<Vec<(String, String)>>,
    near_duplicates: Option<Vec<(String, String, f64)>>,
    winner: Option<String>,
    runner_up: Option<String>,
    margin_cosine: Option<f64>,
    margin_odds: Option<f64>,
    templates: Option<Vec<(String, String, f64)>>,
}

/// What is said besides of a picture that holds `unclear`: a warning of each sort, and figures.
fn explained(details: Details, image: &[u8], prompts: &[String], options: &Options) -> Details {
    let asked = options.warnings == Some(true) || options.explain == Some(true);
    if !asked || image != b"unclear" {
        return details;
    }
    let warning = |code: &str| (code.to_owned(), format!("{code}: \u{1b} so"));
    Details {
        cosines: Some(prompts.iter().zip(1..).map(|(_, rank)| 0.25 / f64::from(rank)).collect()),
        warnings: Some(["no_clear_winner", "near_duplicates"].map(warning).to_vec()),
        near_duplicates: Some(vec![(prompts[0].clone(), prompts[1].clone(), 0.98)]),
        winner: Some(prompts[0].clone()),
        runner_up: Some(prompts[1].clone()),
        margin_cosine: Some(0.125),
        margin_odds: Some(2.0),
        templates: Some(vec![("{}".to_owned(), prompts[1].clone(), 1.5)]),
        ..details
    }
}

/// The service's refusals.
#[derive(Clone, Debug, DBusError)]
#[zbus(prefix = "org.hailo.Clip1.Error")]
pub(crate) enum Refusal {
    #[zbus(error)]
    Bus(zbus::Error),
    InvalidArgument(String),
    InvalidImage(String),
    TooLarge(String),
    QueueFull(String),
    Timeout(String),
    NotReady(String),
    BackendFailed(String),
    NotAuthorized(String),
    NoSuchModel(String),
    InvalidConfiguration(String),
}

/// What a test does when the service has read a picture.
type WhenRead = Box<dyn FnMut(&Script, &[u8]) + Send>;

/// What test and service share.
pub(crate) struct Script {
    refusals: Mutex<VecDeque<Refusal>>,
    calls: Mutex<mpsc::Sender<Call>>,
    answered: watch::Sender<Vec<Vec<u8>>>,
    state: Mutex<String>,
    model: Mutex<String>,
    digest: Mutex<String>,
    backend: Mutex<String>,
    /// Whether every call is refused as one too many.
    full: Mutex<bool>,
    /// What is called when a picture has been read.
    when_read: Mutex<Option<WhenRead>>,
}

impl Script {
    /// Has the service answer as another model or backend from now on.
    pub(crate) fn become_other(&self, model: &str, backend: &str) {
        model.clone_into(&mut self.model.lock().unwrap());
        backend.clone_into(&mut self.backend.lock().unwrap());
    }

    /// Has its queue be full, or have room again.
    pub(crate) fn set_full(&self, full: bool) {
        *self.full.lock().unwrap() = full;
    }

    /// Changes the state, and tells nobody.
    pub(crate) fn fall_into(&self, state: &str) {
        state.clone_into(&mut self.state.lock().unwrap());
    }
}

/// The service. A picture's bytes say what becomes of it: `broken` is refused, `silent` is never answered,
/// `after X` is answered once X was, `vanish` ends the service; all else is classified.
struct Service(Arc<Script>);

impl Service {
    async fn receive(&self, call: Call, connection: &Connection) -> Result<Vec<u8>, Refusal> {
        let image = call.image.clone();
        self.0.calls.lock().unwrap().send(call).unwrap();
        if !["ready", "degraded"].contains(&self.0.state.lock().unwrap().as_str()) {
            return Err(Refusal::NotReady("the model is being loaded".to_owned()));
        }
        if *self.0.full.lock().unwrap() {
            return Err(Refusal::QueueFull("8 requests wait".to_owned()));
        }
        if let Some(refusal) = self.0.refusals.lock().unwrap().pop_front() {
            return Err(refusal);
        }
        match image.as_slice() {
            b"broken" => return Err(Refusal::InvalidImage("Failed to decode image".to_owned())),
            b"silent" => std::future::pending().await,
            b"vanish" => connection.clone().close().await.unwrap(),
            _ => {}
        }
        if let Some(other) = image.strip_prefix(b"after ") {
            let mut answered = self.0.answered.subscribe();
            answered.wait_for(|answered| answered.iter().any(|image| image == other)).await.unwrap();
        }
        Ok(image)
    }
}

#[interface(name = "org.hailo.Clip1")]
impl Service {
    async fn classify_fd(
        &self,
        image: Fd<'_>,
        prompts: Vec<String>,
        options: Options,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(Vec<(String, f64)>, Details), Refusal> {
        let (image, sealed) = read(&image);
        let softmax = options.apply_softmax != Some(false) && prompts.len() > 1;
        let top_k = options.top_k.map_or(prompts.len(), |top_k| top_k as usize);
        // A picture that names a prompt has it win.
        let mut ranked = prompts.clone();
        ranked.sort_by_key(|prompt| image != prompt.as_bytes());
        let classifications = ranked
            .iter()
            .zip(1..)
            .map(|(text, rank)| {
                (text.clone(), if softmax { 0.5_f64.powi(rank) } else { 0.375 - f64::from(rank) / 8.0 })
            })
            .take(top_k)
            .collect();
        let (picture, asked) = (image.clone(), (prompts.clone(), options.clone()));
        let image =
            self.receive(Call { image, prompts, options, sealed, ..Call::default() }, connection).await?;
        self.0.answered.send_modify(|answered| answered.push(image));
        let details = Details {
            inference_time_ms: 12.5,
            model: "fake".to_owned(),
            backend: "cpu".to_owned(),
            image_ms: 10.0,
            ..Details::default()
        };
        let details = explained(details, &picture, &asked.0, &asked.1);
        Ok((classifications, details))
    }

    async fn embed_image_fd(
        &self,
        image: Fd<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<f64>, Refusal> {
        let (image, sealed) = read(&image);
        if let Some(when_read) = &mut *self.0.when_read.lock().unwrap() {
            when_read(&self.0, &image);
        }
        let image = self.receive(Call { image, sealed, ..Call::default() }, connection).await?;
        self.0.answered.send_modify(|answered| answered.push(image.clone()));
        Ok(embedding(image.len()))
    }

    async fn embed_texts(
        &self,
        texts: Vec<String>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<Vec<f64>>, Refusal> {
        let embeddings = texts.iter().map(|text| embedding(text.len())).collect();
        self.receive(Call { prompts: texts, ..Call::default() }, connection).await?;
        Ok(embeddings)
    }

    #[zbus(property)]
    fn state(&self) -> String {
        self.0.state.lock().unwrap().clone()
    }

    #[zbus(property)]
    fn last_error(&self) -> String {
        match self.state().as_str() {
            "failed" => "model.onnx is damaged".to_owned(),
            _ => String::new(),
        }
    }

    #[zbus(property)]
    fn model(&self) -> String {
        self.0.model.lock().unwrap().clone()
    }

    #[zbus(property)]
    fn model_digest(&self) -> String {
        self.0.digest.lock().unwrap().clone()
    }

    #[zbus(property)]
    fn backend(&self) -> String {
        self.0.backend.lock().unwrap().clone()
    }

    #[zbus(property)]
    fn version(&self) -> &str {
        "1.2.3"
    }

    #[zbus(property)]
    fn precision(&self) -> &str {
        "int8"
    }

    #[zbus(property)]
    fn embedding_dimension(&self) -> u32 {
        3
    }

    #[zbus(property)]
    fn image_size(&self) -> u32 {
        224
    }

    #[zbus(property)]
    fn queue_depth(&self) -> u32 {
        1
    }

    #[zbus(property)]
    fn max_queue_size(&self) -> u32 {
        8
    }
}

/// The second interface of the service.
struct Manager(Service);

impl Manager {
    async fn obey(
        &self,
        method: &'static str,
        argument: &str,
        header: &Header<'_>,
        connection: &Connection,
    ) -> Result<(), Refusal> {
        let interactive = header.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH);
        let image = argument.as_bytes().to_owned();
        let order = Some((method, argument.to_owned()));
        self.0.receive(Call { image, order, interactive, ..Call::default() }, connection).await.map(drop)
    }
}

#[interface(name = "org.hailo.Clip1.Manager")]
impl Manager {
    async fn warmup(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Refusal> {
        self.obey("Warmup", "", &header, connection).await
    }

    async fn reload(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Refusal> {
        self.obey("Reload", "", &header, connection).await
    }

    async fn load_model(
        &self,
        name: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Refusal> {
        self.obey("LoadModel", name, &header, connection).await
    }

    async fn unload_model(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Refusal> {
        self.obey("UnloadModel", "", &header, connection).await
    }
}

/// The embedding of whatever has this length in bytes. A tenth is not exact in f32.
fn embedding(length: usize) -> Vec<f64> {
    vec![length as f64, f64::from(0.1_f32), -0.25]
}

fn read(image: &Fd<'_>) -> (Vec<u8>, bool) {
    let mut file = File::from(image.as_fd().try_clone_to_owned().unwrap());
    let sealed = fcntl(&file, FcntlArg::F_GET_SEALS)
        .is_ok_and(|seals| SealFlag::from_bits_truncate(seals).contains(SealFlag::F_SEAL_WRITE));
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    (bytes, sealed)
}

/// The service on a bus of its own.
pub(crate) struct Fake {
    script: Arc<Script>,
    calls: mpsc::Receiver<Call>,
    connection: Connection,
    runtime: Runtime,
    pub(crate) bus: Bus,
}

impl Fake {
    pub(crate) fn start() -> Self {
        Self::in_state("ready")
    }

    pub(crate) fn in_state(state: &str) -> Self {
        let bus = Bus::start();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (sender, calls) = mpsc::channel();
        let script = Arc::new(Script {
            refusals: Mutex::default(),
            calls: Mutex::new(sender),
            answered: watch::Sender::default(),
            state: Mutex::new(state.to_owned()),
            model: Mutex::new("fake".to_owned()),
            digest: Mutex::default(),
            backend: Mutex::new("cpu".to_owned()),
            full: Mutex::default(),
            when_read: Mutex::default(),
        });
        let service = Service(script.clone());
        let manager = Manager(Service(script.clone()));
        let connection = runtime
            .block_on(async {
                let builder = connection::Builder::address(bus.address.as_str());
                builder.serve_at(PATH, service).serve_at(PATH, manager).name(NAME).build().await
            })
            .unwrap();
        Self { script, calls, connection, runtime, bus }
    }

    /// Has it answer as another model or backend from now on.
    pub(crate) fn become_other(&self, model: &str, backend: &str) {
        self.script.become_other(model, backend);
    }

    /// Has its model have this digest from now on.
    pub(crate) fn set_digest(&self, digest: &str) {
        digest.clone_into(&mut self.script.digest.lock().unwrap());
    }

    /// Has its queue be full, or have room again.
    pub(crate) fn set_full(&self, full: bool) {
        self.script.set_full(full);
    }

    /// Calls this whenever a picture to embed has been read, before the answer.
    pub(crate) fn when_read(&self, tell: impl FnMut(&Script, &[u8]) + Send + 'static) {
        *self.script.when_read.lock().unwrap() = Some(Box::new(tell));
    }

    /// Takes the service off the bus, as a stop does.
    pub(crate) fn leave(&self) {
        assert!(self.runtime.block_on(self.connection.release_name(NAME)).unwrap());
    }

    /// Brings it back.
    pub(crate) fn come_back(&self) {
        self.runtime.block_on(self.connection.request_name(NAME)).unwrap();
    }

    /// Makes it a service without the interface for administrators.
    pub(crate) fn remove_manager(&self) {
        let server = self.connection.object_server();
        // It says whether the object has gone, too.
        let _ = self.runtime.block_on(server.remove::<Manager, _>(PATH)).unwrap();
    }

    /// Lets the next call be refused so.
    pub(crate) fn refuse(&self, refusal: Refusal) {
        self.script.refusals.lock().unwrap().push_back(refusal);
    }

    /// Waits for the next call.
    pub(crate) fn next_call(&self) -> Call {
        self.calls.recv().unwrap()
    }

    /// Calls so far that nobody has looked at.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.try_iter().collect()
    }

    /// Changes the state and tells the bus.
    pub(crate) fn set_state(&self, state: &str) {
        self.script.fall_into(state);
        self.runtime.block_on(async {
            let service = self.connection.object_server().interface::<_, Service>(PATH).await.unwrap();
            service.get().await.state_changed(service.signal_emitter()).await.unwrap();
        });
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        self.bus.run(arguments)
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        self.bus.file(name, content)
    }
}
