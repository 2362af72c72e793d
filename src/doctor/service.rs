//! The daemon as it answers over the bus; it is never started by the question.

use std::{collections::HashMap, time::Duration};

use serde::Serialize;
use tokio::time::timeout;
use zbus::{Connection, DeserializeDict, OwnedVariant, Type, Variant, fdo, proxy};

use crate::dbus;

/// Whether the daemon answers.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Service {
    /// There is no bus to ask it on.
    #[default]
    NoBus,
    /// Nobody has its name.
    NotRunning,
    /// It has its name, and does not answer.
    Silent(String),
    /// It answers.
    Answers(Box<Answers>),
}

/// What a daemon that answers has said.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Answers {
    pub(crate) pid: Option<u32>,
    pub(crate) properties: Properties,
    /// `None`: an older daemon that keeps none.
    pub(crate) statistics: Option<HashMap<String, f64>>,
    /// How the trial request went, if a model is loaded: its time, or why it failed.
    pub(crate) trial: Option<Result<Duration, String>>,
}

/// The daemon's properties; empty texts stand for what it does not know.
#[derive(Clone, Debug, Default, Serialize, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", rename_all = "PascalCase")]
pub(crate) struct Properties {
    pub(crate) state: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) precision: Option<String>,
    pub(crate) backend: Option<String>,
    pub(crate) device: Option<String>,
    pub(crate) device_architecture: Option<String>,
    pub(crate) firmware_version: Option<String>,
    pub(crate) library_version: Option<String>,
    pub(crate) driver_version: Option<String>,
    pub(crate) device_temperature: Option<f64>,
    pub(crate) device_throttled: Option<bool>,
    pub(crate) queue_depth: Option<u32>,
    pub(crate) max_queue_size: Option<u32>,
    pub(crate) last_error: Option<String>,
}

#[proxy(
    interface = "org.hailo.Clip1",
    default_service = "org.hailo.Clip1",
    default_path = "/org/hailo/Clip1"
)]
trait Clip {
    #[zbus(no_autostart)]
    fn statistics(&self) -> zbus::Result<HashMap<String, f64>>;
    #[zbus(no_autostart)]
    fn classify(
        &self,
        image: &[u8],
        prompts: &[&str],
        options: HashMap<&str, Variant<'_>>,
    ) -> zbus::Result<(Vec<(String, f64)>, HashMap<String, OwnedVariant>)>;
}

#[proxy(
    interface = "org.freedesktop.DBus.Properties",
    default_service = "org.hailo.Clip1",
    default_path = "/org/hailo/Clip1"
)]
trait ServiceProperties {
    #[zbus(name = "GetAll", no_autostart)]
    fn peek_all(&self, interface: &str) -> zbus::Result<Properties>;
}

/// Asks the daemon, at most `limit` for each question.
pub(crate) async fn ask(connection: &Connection, limit: Duration) -> Service {
    let pid = match timeout(limit, owner(connection)).await {
        Ok(Ok(pid)) => pid,
        Ok(Err(fdo::Error::NameHasNoOwner(_))) => return Service::NotRunning,
        Ok(Err(error)) => return Service::Silent(one_line(&error.to_string())),
        Err(_) => return Service::Silent(format!("the bus does not answer within {limit:?}")),
    };
    let properties = match timeout(limit, properties(connection)).await {
        Ok(Ok(properties)) => properties,
        Ok(Err(error)) => return Service::Silent(one_line(&error.to_string())),
        Err(_) => return Service::Silent(format!("it does not answer within {limit:?}")),
    };
    let statistics = timeout(limit, statistics(connection)).await.ok().and_then(Result::ok);
    // A daemon that has released its model for idleness is left in peace.
    let loaded = properties.backend.as_deref().is_some_and(|backend| !backend.is_empty());
    let trial = if loaded { Some(trial(connection, limit).await) } else { None };
    Service::Answers(Box::new(Answers { pid, properties, statistics, trial }))
}

async fn owner(connection: &Connection) -> fdo::Result<Option<u32>> {
    let bus = fdo::DBusProxy::new(connection).await?;
    let name = dbus::NAME.try_into().map_err(|_| fdo::Error::Failed("the name is wrong".into()))?;
    let owner = bus.get_name_owner(name).await?;
    Ok(bus.get_connection_unix_process_id(owner.into_inner().into()).await.ok())
}

async fn properties(connection: &Connection) -> zbus::Result<Properties> {
    ServicePropertiesProxy::new(connection).await?.peek_all(dbus::NAME).await
}

async fn statistics(connection: &Connection) -> zbus::Result<HashMap<String, f64>> {
    ClipProxy::new(connection).await?.statistics().await
}

/// One small picture and two prompts, all the way.
async fn trial(connection: &Connection, limit: Duration) -> Result<Duration, String> {
    let mut png = std::io::Cursor::new(Vec::new());
    let picture = image::RgbImage::from_pixel(32, 32, image::Rgb([220, 30, 30]));
    picture.write_to(&mut png, image::ImageFormat::Png).map_err(|error| error.to_string())?;
    let started = tokio::time::Instant::now();
    let asked = async {
        ClipProxy::new(connection).await?.classify(png.get_ref(), &["red", "blue"], HashMap::new()).await
    };
    match timeout(limit, asked).await {
        Ok(Ok((best, _))) if best.len() == 2 && best.iter().all(|(_, score)| score.is_finite()) => {
            Ok(started.elapsed())
        }
        Ok(Ok(_)) => Err("its answer makes no sense".into()),
        Ok(Err(error)) => Err(one_line(&error.to_string())),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Service {
    pub(crate) fn answers(&self) -> Option<&Answers> {
        match self {
            Self::Answers(answers) => Some(answers),
            _ => None,
        }
    }
}
