//! The service as seen over the bus: one method for each request, and every error as a sentence.

use std::{fmt, fs::File, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use futures_util::{StreamExt, stream};
use nix::unistd::{User, getuid};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::{
    sync::OnceCell,
    time::{Instant, sleep, timeout, timeout_at},
};
use zbus::{
    Connection, connection,
    fdo::{self, PropertiesProxy},
};

use super::{
    Exit,
    console::{escape, reason},
    wire::{ClassifyOptions, ClipProxy, ControlProxy, Details, Properties, Reply, ServicePropertiesProxy},
};
use crate::dbus::Bus;

/// The interface, and equally the well-known name.
const INTERFACE: &str = "org.hailo.Clip1";
const PATH: &str = "/org/hailo/Clip1";

/// How long an answer may take where the command line does not say.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The same where a person may have to find a password first, and a model be loaded after that.
pub(super) const MANAGEMENT_TIMEOUT: Duration = Duration::from_secs(300);

/// Pauses before a refused request is sent again: the first, and the longest.
const BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// Prompts with their scores, best first.
pub(super) struct Classified {
    pub(super) classifications: Vec<(String, f32)>,
    pub(super) details: Details,
}

/// Why the service did not answer, for people.
#[derive(Debug, Error)]
pub(super) enum ServiceError {
    #[error("cannot connect to {bus} ({reason}); is D-Bus running? --bus chooses another bus")]
    NoBus { bus: String, reason: String },
    #[error(
        "the service is not running; start it with \"systemctl start hailo-clip\" \
         ({INTERFACE} has no owner on {0})"
    )]
    NotRunning(String),
    #[error("the service did not start ({0}); \"journalctl -u hailo-clip -e\" says why")]
    NotStarted(String),
    #[error("you may not use the service ({0}); members of the group hailo-clip may")]
    Denied(String),
    #[error("you may not manage the service ({0}); root and members of the group hailo-clip may")]
    ManagementDenied(String),
    #[error("the service is not ready: {0}")]
    NotReady(String),
    #[error("the service stopped before it answered; \"journalctl -u hailo-clip -e\" says why")]
    Lost,
    #[error("the service does not understand this command ({0}); are both of the same version?")]
    Incompatible(String),
    #[error("the service refused the request: {0}")]
    InvalidArgument(String),
    #[error("{0}")]
    NoSuchModel(String),
    #[error("{0}")]
    Refused(String),
    #[error("the old configuration stays in force: {0}")]
    InvalidConfiguration(String),
    #[error("not a picture that the service can decode (JPEG, PNG, WebP, GIF, BMP, TIFF)")]
    InvalidImage,
    #[error("too large: {0}")]
    TooLarge(String),
    #[error("the service is busy ({0}); try again later")]
    QueueFull(String),
    #[error("{0}; --timeout gives it more time")]
    Timeout(String),
    #[error("the service failed: {0}; \"journalctl -u hailo-clip -e\" may say more")]
    Failed(String),
}

impl ServiceError {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::InvalidImage | Self::TooLarge(_) => Exit::BadInput,
            Self::NoBus { .. }
            | Self::NotRunning(_)
            | Self::NotStarted(_)
            | Self::Denied(_)
            | Self::ManagementDenied(_)
            | Self::NotReady(_)
            | Self::Lost
            | Self::Incompatible(_) => Exit::Unavailable,
            Self::InvalidArgument(_)
            | Self::NoSuchModel(_)
            | Self::Refused(_)
            | Self::InvalidConfiguration(_)
            | Self::QueueFull(_)
            | Self::Timeout(_)
            | Self::Failed(_) => Exit::Unanswered,
        }
    }

    /// Whether the next picture would fare no better.
    pub(super) fn concerns_all(&self) -> bool {
        self.exit() == Exit::Unavailable || matches!(self, Self::InvalidArgument(_))
    }
}

/// What keeps a user without a name, such as systemd makes for `DynamicUser=`, off a bus: dbus-daemon ends the
/// connection and says nothing.
fn stranger() -> String {
    let user = getuid();
    match User::from_uid(user) {
        Ok(None) => format!(
            ": a bus lets nobody in whom the machine has no name for, and it has none for user {user}; \
             a unit with DynamicUser= needs the package libnss-systemd, or else User="
        ),
        _ => String::new(),
    }
}

/// Digits of a digest that people are shown.
const DIGITS: usize = 8;

/// Whose embeddings they are. Those of different encoders must not be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Encoder {
    pub(super) model: String,
    /// Tells it from another model of that name; empty where an older service or index does not say.
    #[serde(default)]
    pub(super) digest: String,
    pub(super) backend: String,
    pub(super) dimension: u32,
}

impl fmt::Display for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, digest, backend, dimension } = self;
        f.write_str(&escape(model))?;
        if !digest.is_empty() {
            write!(f, " ({})", escape(&digest.chars().take(DIGITS).collect::<String>()))?;
        }
        write!(f, " on {}, {dimension} dimensions", escape(backend))
    }
}

/// A connection to the service, made at the first request and again when the bus was lost.
pub(super) struct Client {
    bus: Bus,
    timeout: Option<Duration>,
    connection: ArcSwap<OnceCell<Connection>>,
}

impl Client {
    /// A client that waits at most `timeout` for each answer, or as long as each sort of request may take.
    pub(super) fn new(bus: Bus, timeout: Option<Duration>) -> Self {
        Self { bus, timeout, connection: ArcSwap::default() }
    }

    /// Ranks `prompts` for the picture in `image`.
    pub(super) async fn classify(
        &self,
        image: &File,
        prompts: &[String],
        options: &ClassifyOptions,
    ) -> Result<Classified, ServiceError> {
        let (classifications, details) = self
            .request(TIMEOUT, async |remaining| {
                let timeout_ms = Some(u32::try_from(remaining.as_millis()).unwrap_or(u32::MAX));
                let options = ClassifyOptions { timeout_ms, ..options.clone() };
                self.clip().await?.classify_fd(image.into(), prompts, &options).await
            })
            .await?;
        let classifications =
            classifications.into_iter().map(|(text, score)| (text, single(score))).collect();
        Ok(Classified { classifications, details })
    }

    /// The embedding of the picture in `image`.
    pub(super) async fn embed_image(&self, image: &File) -> Result<Vec<f32>, ServiceError> {
        let embedding =
            self.request(TIMEOUT, async |_| self.clip().await?.embed_image_fd(image.into()).await).await?;
        Ok(embedding.into_iter().map(single).collect())
    }

    /// The embeddings of `texts`, in order.
    pub(super) async fn embed_texts(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, ServiceError> {
        let embeddings = self.request(TIMEOUT, async |_| self.clip().await?.embed_texts(texts).await).await?;
        if embeddings.len() != texts.len() {
            return Err(ServiceError::Incompatible(format!(
                "{} embeddings for {} texts",
                embeddings.len(),
                texts.len()
            )));
        }
        Ok(embeddings.into_iter().map(|embedding| embedding.into_iter().map(single).collect()).collect())
    }

    /// Name of the service's model.
    pub(super) async fn model(&self) -> Result<String, ServiceError> {
        let properties =
            self.request(TIMEOUT, async |_| self.properties().await?.get_all(INTERFACE).await).await?;
        Ok(properties.model.unwrap_or_default())
    }

    /// Who computes the embeddings. A model that is not loaded yet is waited for.
    pub(super) async fn encoder(&self) -> Result<Encoder, ServiceError> {
        let mut asked = false;
        loop {
            let now =
                self.request(TIMEOUT, async |_| self.properties().await?.get_all(INTERFACE).await).await?;
            let (model, backend) = (now.model.unwrap_or_default(), now.backend.unwrap_or_default());
            let digest = now.model_digest.unwrap_or_default();
            match now.embedding_dimension {
                Some(dimension @ 1..) if !backend.is_empty() => {
                    return Ok(Encoder { model, digest, backend, dimension });
                }
                _ if asked => return Err(ServiceError::Incompatible("no embedding dimension".to_owned())),
                // Whatever the reason, a request makes it load its model.
                _ => self.embed_texts(&["a picture".to_owned()]).await.map(drop)?,
            }
            asked = true;
        }
    }

    /// The bus on which the service is.
    pub(super) fn bus(&self) -> &Bus {
        &self.bus
    }

    /// The service's properties; does not start it.
    pub(super) async fn status(&self) -> Result<Properties, ServiceError> {
        self.request(TIMEOUT, async |_| self.properties().await?.peek_all(INTERFACE).await).await
    }

    /// Takes a model into service; an empty name stands for the configured one.
    pub(super) async fn load_model(&self, name: &str) -> Result<(), ServiceError> {
        self.manage(async || self.control().await?.load_model(name).await).await
    }

    /// Has the model's memory and the device released.
    pub(super) async fn unload_model(&self) -> Result<(), ServiceError> {
        self.manage(async || self.control().await?.unload_model().await).await
    }

    /// Has the configuration file read again.
    pub(super) async fn reload(&self) -> Result<(), ServiceError> {
        self.manage(async || self.control().await?.reload().await).await
    }

    /// Has both encoders run, once the model is loaded.
    pub(super) async fn warm_up(&self) -> Result<(), ServiceError> {
        self.request(MANAGEMENT_TIMEOUT, async |_| self.control().await?.warmup().await)
            .await
            .map_err(of_management)
    }

    /// Sends a request of an administrator, once: a "no" from a person is an answer.
    async fn manage(&self, send: impl AsyncFn() -> Result<(), Reply>) -> Result<(), ServiceError> {
        let limit = self.timeout.unwrap_or(MANAGEMENT_TIMEOUT);
        timeout(limit, send())
            .await
            .map_err(|_| no_answer_within(limit))?
            .map_err(|reply| of_management(self.explain(reply)))
    }

    /// Sends a request until it is answered, refused for good, or out of time. A service that loads its model
    /// is waited for; one with a full queue is asked again. The request is told how much time remains.
    /// `limit` holds where the command line has none.
    async fn request<T>(
        &self,
        limit: Duration,
        send: impl AsyncFn(Duration) -> Result<T, Reply>,
    ) -> Result<T, ServiceError> {
        let limit = self.timeout.unwrap_or(limit);
        let deadline = Instant::now() + limit;
        let mut pause = BACKOFF;
        loop {
            let remaining = deadline.saturating_duration_since(Instant::now());
            let Ok(result) = timeout_at(deadline, send(remaining)).await else {
                return Err(no_answer_within(limit));
            };
            let error = match result {
                Ok(answer) => return Ok(answer),
                Err(reply) => self.explain(reply),
            };
            match error {
                ServiceError::NotReady(_) => self.until_serving(deadline, limit).await?,
                ServiceError::QueueFull(_) => {}
                error => return Err(error),
            }
            if Instant::now() + pause >= deadline {
                return Err(error);
            }
            sleep(pause).await;
            pause = (2 * pause).min(LONGEST_BACKOFF);
        }
    }

    /// Waits while the model is being loaded.
    async fn until_serving(&self, deadline: Instant, limit: Duration) -> Result<(), ServiceError> {
        timeout_at(deadline, self.wait_for_state())
            .await
            .unwrap_or_else(|_| {
                Err(Reply::NotReady(format!("it still loads its model after {limit:?}; try again shortly")))
            })
            .map_err(|reply| self.explain(reply))
    }

    async fn wait_for_state(&self) -> Result<(), Reply> {
        let signals = PropertiesProxy::new(&self.connection().await?, INTERFACE, PATH).await?;
        // Listening starts before the first look, so that no change falls between.
        let mut changes = stream::select(
            signals.receive_properties_changed().await?.map(drop),
            signals.inner().receive_owner_changed().await?.map(drop),
        );
        let properties = self.properties().await?;
        loop {
            let now = properties.get_all(INTERFACE).await?;
            match now.state.as_str() {
                "ready" | "degraded" => return Ok(()),
                "starting" | "loading" => changes.next().await,
                state => {
                    let error = now.last_error.filter(|error| !error.is_empty());
                    return Err(Reply::NotReady(
                        error.unwrap_or_else(|| format!("its state is \"{state}\"")),
                    ));
                }
            };
        }
    }

    /// How long to wait: as the command line says, else `limit`.
    pub(super) fn limit(&self, limit: Duration) -> Duration {
        self.timeout.unwrap_or(limit)
    }

    async fn clip(&self) -> zbus::Result<ClipProxy<'static>> {
        ClipProxy::new(&self.connection().await?).await
    }

    async fn control(&self) -> zbus::Result<ControlProxy<'static>> {
        ControlProxy::new(&self.connection().await?).await
    }

    async fn properties(&self) -> zbus::Result<ServicePropertiesProxy<'static>> {
        ServicePropertiesProxy::new(&self.connection().await?).await
    }

    pub(super) async fn connection(&self) -> zbus::Result<Connection> {
        let connection = self.connection.load_full();
        connection
            .get_or_try_init(|| {
                match &self.bus {
                    Bus::System => connection::Builder::system(),
                    Bus::Session => connection::Builder::session(),
                    Bus::Address(address) => connection::Builder::address(address.clone()),
                }
                .build()
            })
            .await
            .cloned()
    }

    fn connected(&self) -> bool {
        self.connection.load().initialized()
    }

    /// The one place where a reply becomes a sentence.
    pub(super) fn explain(&self, reply: Reply) -> ServiceError {
        match reply {
            Reply::InvalidArgument(text) => ServiceError::InvalidArgument(escape(&text)),
            Reply::NoSuchModel(text) => ServiceError::NoSuchModel(escape(&text)),
            Reply::Refused(text) => ServiceError::Refused(escape(&text)),
            Reply::InvalidConfiguration(text) => {
                ServiceError::InvalidConfiguration(text.lines().map(escape).collect::<Vec<_>>().join("\n"))
            }
            Reply::InvalidImage(_) => ServiceError::InvalidImage,
            Reply::TooLarge(text) => ServiceError::TooLarge(escape(&text)),
            Reply::QueueFull(text) => ServiceError::QueueFull(escape(&text)),
            Reply::Timeout(text) => ServiceError::Timeout(escape(&text)),
            Reply::NotReady(text) => ServiceError::NotReady(escape(&text)),
            Reply::BackendFailed(text) => ServiceError::Failed(escape(&text)),
            Reply::NotAuthorized(text) => ServiceError::Denied(escape(&text)),
            Reply::Bus(zbus::Error::FDO(error)) => self.explain_bus(*error),
            Reply::Bus(zbus::Error::InputOutput(_)) if self.connected() => {
                // The bus has gone; the next request finds the one that follows it.
                self.connection.store(Arc::default());
                ServiceError::Lost
            }
            Reply::Bus(error) if self.connected() => ServiceError::Incompatible(error.to_string()),
            Reply::Bus(error) => {
                let reason = match error {
                    zbus::Error::Connection(error, _) | zbus::Error::InputOutput(error) => reason(&error),
                    error => error.to_string(),
                };
                ServiceError::NoBus { bus: self.bus.to_string(), reason: format!("{reason}{}", stranger()) }
            }
        }
    }

    /// The bus's own errors. Which there are is up to the bus, so the rest is told as it comes.
    fn explain_bus(&self, error: fdo::Error) -> ServiceError {
        use fdo::Error as E;
        match error {
            E::ServiceUnknown(_) | E::NameHasNoOwner(_) => ServiceError::NotRunning(self.bus.to_string()),
            E::AccessDenied(_) | E::AuthFailed(_) | E::InteractiveAuthorizationRequired(_) => {
                ServiceError::Denied(format!("{} says no", self.bus))
            }
            E::NoReply(_) | E::Disconnected(_) => ServiceError::Lost,
            E::UnknownMethod(text)
            | E::UnknownObject(text)
            | E::UnknownInterface(text)
            | E::UnknownProperty(text)
            | E::InvalidArgs(text)
            | E::InvalidSignature(text) => ServiceError::Incompatible(escape(&text)),
            E::TimedOut(text)
            | E::SpawnExecFailed(text)
            | E::SpawnForkFailed(text)
            | E::SpawnChildExited(text)
            | E::SpawnChildSignaled(text)
            | E::SpawnFailed(text)
            | E::SpawnFailedToSetup(text)
            | E::SpawnConfigInvalid(text)
            | E::SpawnServiceNotValid(text)
            | E::SpawnServiceNotFound(text)
            | E::SpawnPermissionsInvalid(text)
            | E::SpawnFileInvalid(text)
            | E::SpawnNoMemory(text) => ServiceError::NotStarted(escape(&text)),
            E::ZBus(error) => ServiceError::Incompatible(error.to_string()),
            error => ServiceError::Failed(escape(&error.to_string())),
        }
    }
}

pub(super) fn no_answer_within(limit: Duration) -> ServiceError {
    ServiceError::Timeout(format!("no answer within {limit:?}"))
}

/// The error of a request that only administrators may send.
pub(super) fn of_management(error: ServiceError) -> ServiceError {
    match error {
        ServiceError::Denied(reason) => ServiceError::ManagementDenied(reason),
        error => error,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the service computes in f32; D-Bus has doubles alone")]
fn single(value: f64) -> f32 {
    value as f32
}
