//! The D-Bus facade: `org.hailo.Clip1` at `/org/hailo/Clip1`.
//!
//! It decodes a call, makes one call of the engine, and encodes the answer. Around that it keeps
//! the manners of the bus: typed errors, change signals, a limit for each caller, and no work for
//! callers that have left. Deliberately not here: authorisation and the management of models.

mod callers;
mod connect;
mod error;
mod fd;
mod interface;
mod options;
mod properties;

use std::{sync::Arc, time::Duration};

use thiserror::Error as ThisError;
use tokio::task::JoinSet;
use tracing::debug;
use zbus::{
    Connection,
    fdo::{self, RequestNameFlags},
    object_server::SignalEmitter,
};

use self::{callers::Callers, interface::Clip1, properties::StatusProperties};
pub use self::{
    connect::{Bus, BusAddressError, ConnectError, connect},
    error::Error,
};
use crate::engine::Engine;

/// The name that the service owns.
pub const NAME: &str = "org.hailo.Clip1";
/// The service's only object.
pub const PATH: &str = "/org/hailo/Clip1";

/// What one caller may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest picture, and the most text of one call, in bytes.
    pub max_body_bytes: usize,
    /// Most calls of one caller that may be in flight.
    pub max_calls_per_caller: usize,
    /// Longest time for reading a picture from a descriptor.
    pub request_timeout: Duration,
}

impl Limits {
    /// Enough for every sane client, too little for filling the engine's queue alone.
    pub const DEFAULT_MAX_CALLS_PER_CALLER: usize = 16;
}

/// Why the facade cannot be offered on the bus. The text is for people.
#[derive(Debug, ThisError)]
pub enum ServeError {
    /// Another connection owns the name.
    #[error("the D-Bus name {NAME} is already taken; is another hailo-clipd running on this bus?")]
    NameTaken,
    /// The bus policy refuses the name.
    #[error(
        "this user may not own the D-Bus name {NAME}; install the bus policy dbus/{NAME}.conf, or run \
         the service as the user that it names"
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

/// Serves `engine` on `connection`, then takes the name.
///
/// The facade must have the only handle of the connection, or [`Facade::stop`] waits for the others.
///
/// # Errors
/// The name is not to be had, or the connection is lost.
pub async fn serve(connection: Connection, engine: Engine, limits: Limits) -> Result<Facade, ServeError> {
    let callers = Arc::new(Callers::new(limits.max_calls_per_caller));
    let departures = callers::departures(&connection).await?;
    let mut status = engine.status();
    let announced = StatusProperties::from(&*status.borrow_and_update());
    let emitter = SignalEmitter::new(&connection, PATH)?.into_owned();

    connection.object_server().at(PATH, Clip1::new(engine, limits, Arc::clone(&callers))).await?;

    let mut tasks = JoinSet::new();
    tasks.spawn(callers::follow(departures, callers));
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

    /// Gives up the name, so that no further calls come, and returns when those in flight are answered.
    pub async fn stop(mut self) {
        if let Err(error) = self.connection.release_name(NAME).await {
            debug!(%error, "the D-Bus name could not be released");
        }
        self.tasks.shutdown().await;
        self.connection.graceful_shutdown().await;
    }
}
