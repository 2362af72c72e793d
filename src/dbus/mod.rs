//! The D-Bus facade: `org.hailo.Clip1` at `/org/hailo/Clip1`.
//!
//! It decodes a call, makes one call of the engine, and encodes the answer. Around that it keeps
//! the manners of the bus: typed errors, change signals, authorisation by polkit, a limit for each
//! caller, and no work for callers that have left. Deliberately not here: what it takes to install models.

mod authority;
mod callers;
mod connect;
mod control;
mod error;
mod explanation;
mod fd;
mod gate;
mod interface;
mod jobs;
mod models;
mod options;
mod properties;

use std::{sync::Arc, time::Duration};

use thiserror::Error as ThisError;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::debug;
use zbus::{
    Connection,
    fdo::{self, RequestNameFlags},
    object_server::SignalEmitter,
};

use self::{
    authority::{Authority, Patience},
    callers::Callers,
    control::Control,
    gate::Gate,
    interface::Clip1,
};
pub use self::{
    connect::{Bus, BusAddressError, ConnectError, connect},
    control::{ReloadError, ReloadRequest},
    error::Error,
    models::{ListedModel, ModelDescription, ModelPlace, Models},
};
use crate::engine::Engine;

/// The name that the service owns.
pub const NAME: &str = "org.hailo.Clip1";
/// The service's only object.
pub const PATH: &str = "/org/hailo/Clip1";
/// Longest time for calls that have come to be taken up.
const SETTLING: Duration = Duration::from_millis(200);

/// What the facade allows beyond the settings that the engine keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most calls of one caller that may be in flight.
    pub max_calls_per_caller: usize,
    /// How long polkit is waited for if it can answer by itself.
    pub authorization_timeout: Duration,
    /// How long polkit is waited for if the caller allows it to ask a person.
    pub interactive_authorization_timeout: Duration,
}

impl Default for Limits {
    /// Calls: enough for every sane client, too little for filling the engine's queue alone. Time: for a
    /// polkit that has to be started, and for a person who has to find a password.
    fn default() -> Self {
        Self {
            max_calls_per_caller: 16,
            authorization_timeout: Duration::from_secs(5),
            interactive_authorization_timeout: Duration::from_secs(120),
        }
    }
}

/// Why the facade cannot be offered on the bus. The text is for people.
#[derive(Debug, ThisError)]
pub enum ServeError {
    /// There is no bus.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Another connection owns the name.
    #[error("the D-Bus name {NAME} is already taken; is another hailo-clipd running on this bus?")]
    NameTaken,
    /// The bus policy refuses the name.
    #[error(
        "this user may not own the D-Bus name {NAME}; install the bus policy \
         {NAME}.conf, or run the service as the user that it names"
    )]
    NotAllowed,
    /// The bus does not answer as a bus does.
    #[error("the D-Bus connection failed: {0}")]
    Bus(#[from] zbus::Error),
}

/// The served facade; dropping it leaves the bus at once.
#[derive(Debug)]
pub struct Facade {
    connection: Connection,
    tasks: JoinSet<()>,
}

/// Serves `engine` on `bus`: first the object, then the name that leads callers to it. Whoever owns the
/// configuration receives what is sent to `reload`; `models` are those on disk.
///
/// # Errors
/// The bus cannot be reached, or refuses the name.
pub async fn serve(
    bus: &Bus,
    engine: Engine,
    limits: Limits,
    reload: mpsc::Sender<ReloadRequest>,
    models: Arc<dyn Models>,
) -> Result<Facade, ServeError> {
    let patience = Patience {
        alone: limits.authorization_timeout,
        with_a_person: limits.interactive_authorization_timeout,
    };
    let callers = Arc::new(Callers::new(limits.max_calls_per_caller));
    let authority = Arc::new(Authority::new(patience));
    let gate =
        Gate { engine: engine.clone(), callers: Arc::clone(&callers), authority: Arc::clone(&authority) };
    let mut status = engine.status();
    let announced = status.borrow_and_update().clone();

    // An object that is added to an existing connection may miss the first calls: zbus begins to
    // listen for them in a task of its own, and only the builder waits for that.
    let connection = connect::builder(bus)
        .serve_at(PATH, Clip1::new(engine.clone(), gate.clone()))
        .serve_at(PATH, Control::new(engine, gate, reload, models))
        .serve_at(PATH, fdo::ObjectManager)
        .build()
        .await
        .map_err(|error| ConnectError::new(bus, error))?;
    let departures = callers::departures(&connection).await?;
    let changes = authority::changes(&connection).await?;
    let emitter = SignalEmitter::new(&connection, PATH)?.into_owned();

    let mut tasks = JoinSet::new();
    tasks.spawn(authority::follow(changes, Arc::clone(&authority)));
    tasks.spawn(callers::follow(departures, move |name| {
        callers.depart(name);
        authority.forget(name);
    }));
    tasks.spawn(properties::announce(status, announced, emitter));

    match connection.request_name_with_flags(NAME, RequestNameFlags::DO_NOT_QUEUE).await {
        Ok(_) => Ok(Facade { connection, tasks }),
        Err(zbus::Error::NameTaken) => Err(ServeError::NameTaken),
        Err(error) if is_access_denied(&error) => Err(ServeError::NotAllowed),
        Err(error) => Err(error.into()),
    }
}

fn is_access_denied(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::FDO(error) if matches!(**error, fdo::Error::AccessDenied(_)))
}

impl Facade {
    /// Returns once the connection to the bus is lost; until then there is nothing to do.
    pub async fn closed(&self) {
        self.connection.closed().await;
    }

    /// Gives up the name: from now on the bus keeps calls for the next instance, and starts it if need be.
    pub async fn give_up_name(&self) {
        if let Err(error) = self.connection.release_name(NAME).await {
            debug!(%error, "the D-Bus name could not be released");
        }
    }

    /// Gives up the name if that was not done before, and returns when all calls that came are answered.
    pub async fn stop(mut self) {
        self.give_up_name().await;
        self.settle().await;
        self.tasks.shutdown().await;
        self.connection.graceful_shutdown().await;
    }

    /// Waits until every call that the bus delivered has been taken up: zbus passes them on from a queue,
    /// which is lost with the connection. A call to ourselves comes last in that queue.
    async fn settle(&self) {
        let Some(name) = self.connection.unique_name().cloned() else { return };
        let peer = Some("org.freedesktop.DBus.Peer");
        let ping = self.connection.call_method(Some(name), "/", peer, "Ping", &());
        if !matches!(timeout(SETTLING, ping).await, Ok(Ok(_))) {
            // A bus with a policy does not let everybody call everybody. The queue is a matter of
            // milliseconds.
            sleep(SETTLING).await;
        }
    }
}
