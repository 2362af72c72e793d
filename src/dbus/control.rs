//! The interface `org.hailo.Clip1.Manager`: the service in the hands of an administrator. Its doc comments
//! are printed by introspection.
//!
//! What was allowed runs to its end, even if the caller has left: a model half changed helps nobody.

use thiserror::Error as ThisError;
use tokio::sync::{mpsc, oneshot};
use zbus::{Connection, interface, message::Header};

use super::{Error, authority::Action, gate::Gate};
use crate::{
    engine::{Engine, EngineError, State},
    model,
};

/// A request to put the configuration file in force, to be answered when that has happened or failed.
pub type ReloadRequest = oneshot::Sender<Result<(), ReloadError>>;

/// Why the old configuration stays in force. The text is for people and names no folder.
#[derive(Clone, Debug, ThisError, PartialEq)]
pub enum ReloadError {
    /// The file, or one that it names, cannot be used.
    #[error("{0}")]
    Configuration(String),
    /// The model that it asks for cannot be loaded.
    #[error(transparent)]
    Model(#[from] EngineError),
}

/// The second interface of the object at [`PATH`](super::PATH).
pub(super) struct Control {
    engine: Engine,
    gate: Gate,
    reload: mpsc::Sender<ReloadRequest>,
}

impl Control {
    pub(super) fn new(engine: Engine, gate: Gate, reload: mpsc::Sender<ReloadRequest>) -> Self {
        Self { engine, gate, reload }
    }

    /// Does `work` if the sender of `call` may manage the service.
    async fn allow<F>(&self, call: &Header<'_>, connection: &Connection, work: F) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let work = async {
            let done = tokio::spawn(work).await;
            done.unwrap_or_else(|_| Err(Error::BackendFailed("the service could not do it".to_owned())))
        };
        self.gate.answer(Action::Manage, call, connection, work).await
    }
}

#[interface(name = "org.hailo.Clip1.Manager")]
impl Control {
    /// Runs both encoders as often as performance.warmup_iterations says, once at least.
    ///
    /// As all of this interface, it needs the polkit action org.hailo.clip1.manage. Polkit may ask a person
    /// if the call has the flag ALLOW_INTERACTIVE_AUTHORIZATION, for up to two minutes.
    async fn warmup(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        let engine = self.engine.clone();
        self.allow(&header, connection, async move { Ok(engine.warm_up().await?) }).await
    }

    /// Reads the configuration file again and puts it in force, as SIGHUP does.
    ///
    /// If it has a mistake, or its model does not load, the old configuration stays and the error says why.
    async fn reload(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        let reload = self.reload.clone();
        let work = async move {
            let stopping = || Error::NotReady("the service is stopping; try again shortly".to_owned());
            let (request, answer) = oneshot::channel();
            reload.send(request).await.map_err(|_| stopping())?;
            answer.await.map_err(|_| stopping())?.map_err(|error| match error {
                ReloadError::Configuration(text) => Error::InvalidConfiguration(text),
                ReloadError::Model(error) => does_not_load(error),
            })
        };
        self.allow(&header, connection, work).await
    }

    /// Takes an installed model into service, loaded beside the old one.
    ///
    /// The old one answers until the new one is there, and stays if that does not load. An empty name
    /// stands for the model that is in service. The configuration file is left as it is: Reload or a restart
    /// goes back to its model.
    async fn load_model(
        &self,
        name: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        let name = if name.is_empty() || model::is_bundle_name(name) {
            Ok(name.to_owned())
        } else {
            let shown: String = name.chars().take(64).collect();
            Err(Error::NoSuchModel(format!("{shown:?} is not a model name")))
        };
        let engine = self.engine.clone();
        let work = async move { engine.load_model(&name?).await.map_err(does_not_load) };
        self.allow(&header, connection, work).await
    }

    /// Releases the model's memory and the device, so that other programs can use it.
    ///
    /// The next request takes them again, and so does LoadModel.
    async fn unload_model(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        let engine = self.engine.clone();
        self.allow(&header, connection, async move { Ok(engine.unload_model().await?) }).await
    }
}

/// The error of a model that was to replace another. The service is as ready as it was before.
fn does_not_load(error: EngineError) -> Error {
    match error {
        EngineError::NotReady { state: State::Failed, message } => Error::BackendFailed(message),
        error => error.into(),
    }
}
