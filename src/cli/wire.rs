//! The interface as it is on the bus: its methods, its dictionaries and its errors.

use zbus::{DBusError, DeserializeDict, Fd, SerializeDict, Type, proxy};

/// Options of `ClassifyFd`; what is `None` is left to the service.
#[derive(Clone, Debug, Default, SerializeDict, Type)]
#[zbus(signature = "a{sv}")]
pub(super) struct ClassifyOptions {
    pub(super) top_k: Option<u32>,
    pub(super) threshold: Option<f64>,
    pub(super) templates: Option<Vec<String>>,
    pub(super) apply_softmax: Option<bool>,
    pub(super) logit_scale: Option<f64>,
    pub(super) timeout_ms: Option<u32>,
    pub(super) warnings: Option<bool>,
    pub(super) explain: Option<bool>,
}

/// Details of a classification; those that nobody asked for are `None`.
#[derive(Debug, Default, DeserializeDict, Type)]
#[zbus(signature = "a{sv}")]
pub(super) struct Details {
    pub(super) inference_time_ms: f64,
    pub(super) model: String,
    pub(super) backend: String,
    /// One for each classification.
    pub(super) cosines: Option<Vec<f64>>,
    /// Code and sentence.
    pub(super) warnings: Option<Vec<(String, String)>>,
    /// Two prompts and the cosine between them.
    pub(super) near_duplicates: Option<Vec<(String, String, f64)>>,
    pub(super) winner: Option<String>,
    pub(super) runner_up: Option<String>,
    pub(super) margin_cosine: Option<f64>,
    pub(super) margin_odds: Option<f64>,
    /// Template, the prompt that it puts first, and its odds.
    pub(super) templates: Option<Vec<(String, String, f64)>>,
}

/// The service's properties. One that an older service lacks is `None`.
#[derive(Debug, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", rename_all = "PascalCase")]
pub(super) struct Properties {
    pub(super) state: String,
    pub(super) version: Option<String>,
    pub(super) model: Option<String>,
    pub(super) model_digest: Option<String>,
    pub(super) precision: Option<String>,
    pub(super) backend: Option<String>,
    pub(super) device: Option<String>,
    pub(super) device_architecture: Option<String>,
    pub(super) firmware_version: Option<String>,
    pub(super) library_version: Option<String>,
    pub(super) driver_version: Option<String>,
    pub(super) device_temperature: Option<f64>,
    pub(super) device_throttled: Option<bool>,
    pub(super) embedding_dimension: Option<u32>,
    pub(super) image_size: Option<u32>,
    pub(super) idle: Option<bool>,
    pub(super) queue_depth: Option<u32>,
    pub(super) max_queue_size: Option<u32>,
    pub(super) last_error: Option<String>,
}

#[proxy(
    interface = "org.hailo.Clip1",
    default_service = "org.hailo.Clip1",
    default_path = "/org/hailo/Clip1"
)]
pub(super) trait Clip {
    fn classify_fd(
        &self,
        image: Fd<'_>,
        prompts: &[String],
        options: &ClassifyOptions,
    ) -> Result<(Vec<(String, f64)>, Details), Reply>;
    fn embed_image_fd(&self, image: Fd<'_>) -> Result<Vec<f64>, Reply>;
    fn embed_texts(&self, texts: &[String]) -> Result<Vec<Vec<f64>>, Reply>;
}

/// The service in the hands of an administrator. Polkit may ask the person at the terminal or the desktop.
#[proxy(
    interface = "org.hailo.Clip1.Manager",
    default_service = "org.hailo.Clip1",
    default_path = "/org/hailo/Clip1"
)]
pub(super) trait Control {
    #[zbus(allow_interactive_auth)]
    fn warmup(&self) -> Result<(), Reply>;
    #[zbus(allow_interactive_auth, no_autostart)]
    fn reload(&self) -> Result<(), Reply>;
    #[zbus(allow_interactive_auth)]
    fn load_model(&self, name: &str) -> Result<(), Reply>;
    #[zbus(allow_interactive_auth, no_autostart)]
    fn unload_model(&self) -> Result<(), Reply>;
}

/// `org.freedesktop.DBus.Properties`, once as a question that starts the service and once not.
#[proxy(
    interface = "org.freedesktop.DBus.Properties",
    default_service = "org.hailo.Clip1",
    default_path = "/org/hailo/Clip1"
)]
pub(super) trait ServiceProperties {
    #[zbus(name = "GetAll")]
    fn get_all(&self, interface: &str) -> Result<Properties, Reply>;
    #[zbus(name = "GetAll", no_autostart)]
    fn peek_all(&self, interface: &str) -> Result<Properties, Reply>;
}

/// An error as it comes over the bus.
#[derive(Debug, DBusError)]
#[zbus(prefix = "org.hailo.Clip1.Error")]
pub(super) enum Reply {
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
    Refused(String),
}
