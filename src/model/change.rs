//! Changing what is installed: what may go wrong, and how far a change is.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use thiserror::Error;

use super::BundleError;

/// Why models could not be changed, and what to do. The text is for people and names no folder.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ChangeError {
    /// A bundle that is there is not in order.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Neither installed nor in the catalogue.
    #[error("there is no model {name} in the catalogue; \"hailo-clip model list\" shows what there is")]
    NotInCatalog {
        /// The name that was asked for.
        name: String,
    },
    /// The catalogue has it, and says why it cannot be used.
    #[error("model {name} cannot be pulled: {reason}")]
    Incomplete {
        /// The model.
        name: String,
        /// What is missing.
        reason: String,
    },
    /// The catalogue cannot be read.
    #[error("the catalogue of models cannot be used: {0}")]
    Catalog(String),
    /// The name is taken.
    #[error("model {0} is installed already; remove it first, or choose another name")]
    Exists(String),
    /// It answers requests.
    #[error("model {0} is in service; take another one into service first (hailo-clip model use NAME)")]
    InService(String),
    /// It belongs to the package.
    #[error("model {0} belongs to the package hailo-clip and goes with it; nothing was removed")]
    Packaged(String),
    /// Another change of the same model is under way.
    #[error("model {0} is being changed already; wait for that, or cancel it")]
    Busy(String),
    /// The disk is too full.
    #[error(
        "not enough disk space: {} are needed with {} kept free, and {} are free; make room and try again",
        megabytes(*.needed), megabytes(*.reserve), megabytes(*.free)
    )]
    NoSpace {
        /// Bytes still to be written.
        needed: u64,
        /// Bytes that are to stay free.
        reserve: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The server cannot be reached, or breaks off again and again.
    #[error("cannot fetch {file} from {host}: {reason}; what has come is kept, try again later")]
    Unreachable {
        /// The file.
        file: String,
        /// The server.
        host: String,
        /// What happened.
        reason: String,
    },
    /// The server refuses.
    #[error("{host} does not give {file} (HTTP status {status}); the model may have moved, see its source")]
    Refused {
        /// The file.
        file: String,
        /// The server.
        host: String,
        /// HTTP status.
        status: u16,
    },
    /// The server has another file under that address.
    #[error(
        "{file} from {host} has {found} bytes instead of {expected}: it is not the file that was expected; \
         nothing was installed"
    )]
    WrongSize {
        /// The file.
        file: String,
        /// The server.
        host: String,
        /// Bytes that it has.
        found: u64,
        /// Bytes that it should have.
        expected: u64,
    },
    /// The content is another one.
    #[error(
        "{file} from {host} is not the file that was expected (its SHA-256 is {found} instead of {expected}); \
         nothing was installed"
    )]
    WrongDigest {
        /// The file.
        file: String,
        /// The server.
        host: String,
        /// What came.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// An address that must not be used.
    #[error("the catalogue's address of {0} is not https")]
    Insecure(String),
    /// The files leave something open.
    #[error("the files do not say {what}; give it with the option {option}")]
    MissingOption {
        /// Name of the option, such as `size`.
        option: String,
        /// What it says, for people.
        what: String,
    },
    /// The files or options make no bundle.
    #[error("{0}")]
    Unsuitable(String),
    /// The state directory does not take it.
    #[error("the models' folder cannot be changed: {0}")]
    Storage(String),
    /// Somebody asked for it to stop.
    #[error("cancelled; nothing was changed")]
    Cancelled,
}

impl From<io::Error> for ChangeError {
    fn from(error: io::Error) -> Self {
        Self::Storage(match error.kind() {
            io::ErrorKind::StorageFull => "the disk is full".to_owned(),
            io::ErrorKind::QuotaExceeded => "the quota is used up".to_owned(),
            kind => kind.to_string(),
        })
    }
}

/// A size for people.
#[must_use]
pub fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000))
}

/// Follows a long change, and can end it. Clones share it.
#[derive(Clone)]
pub struct Watch {
    report: Arc<dyn Fn(u64, u64) + Send + Sync>,
    cancelled: Arc<AtomicBool>,
}

impl Watch {
    /// `report` is told bytes done and bytes in all, often.
    pub fn new(report: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        Self { report: Arc::new(report), cancelled: Arc::default() }
    }

    /// Asks the change to end; it does within a moment.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether [`cancel`](Self::cancel) was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Says how far it is.
    ///
    /// # Errors
    /// It is to end.
    pub fn at(&self, done: u64, total: u64) -> Result<(), ChangeError> {
        (self.report)(done, total);
        if self.is_cancelled() { Err(ChangeError::Cancelled) } else { Ok(()) }
    }
}

impl Default for Watch {
    /// Nobody watches.
    fn default() -> Self {
        Self::new(|_, _| {})
    }
}
