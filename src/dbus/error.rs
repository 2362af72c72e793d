//! The errors of `org.hailo.Clip1`.

use zbus::DBusError;

use crate::{
    engine::EngineError,
    model::{BundleError, ChangeError},
};

/// A failed call, on the bus `org.hailo.Clip1.Error.` and the variant's name. The text is for people
/// and names nothing internal.
#[derive(Clone, Debug, DBusError, PartialEq, Eq)]
#[zbus(prefix = "org.hailo.Clip1.Error")]
pub enum Error {
    /// An argument or option has the wrong type or is out of its range.
    InvalidArgument(String),
    /// Not a picture.
    InvalidImage(String),
    /// The picture or the texts exceed a limit.
    TooLarge(String),
    /// The service, or this caller, has as many calls in flight as allowed.
    QueueFull(String),
    /// The deadline passed.
    Timeout(String),
    /// The model is not loaded.
    NotReady(String),
    /// The encoder failed.
    BackendFailed(String),
    /// The caller may not do this.
    NotAuthorized(String),
    /// There is no model of that name.
    NoSuchModel(String),
    /// The configuration file cannot be used.
    InvalidConfiguration(String),
    /// The models cannot be changed like that now: in service, packaged, being changed, no space.
    Refused(String),
}

impl From<ChangeError> for Error {
    fn from(error: ChangeError) -> Self {
        let text = error.to_string();
        match error {
            ChangeError::Bundle(BundleError::NotInstalled { .. } | BundleError::InvalidName(_))
            | ChangeError::NotInCatalog { .. } => Self::NoSuchModel(text),
            ChangeError::MissingOption { .. } | ChangeError::Unsuitable(_) => Self::InvalidArgument(text),
            ChangeError::Bundle(_)
            | ChangeError::Incomplete { .. }
            | ChangeError::Catalog(_)
            | ChangeError::Exists(_)
            | ChangeError::InService(_)
            | ChangeError::Packaged(_)
            | ChangeError::Busy(_)
            | ChangeError::NoSpace { .. }
            | ChangeError::Unreachable { .. }
            | ChangeError::Refused { .. }
            | ChangeError::WrongSize { .. }
            | ChangeError::WrongDigest { .. }
            | ChangeError::Insecure(_)
            | ChangeError::Storage(_)
            | ChangeError::Cancelled => Self::Refused(text),
        }
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        let text = error.to_string();
        match error {
            EngineError::InvalidArgument(_) => Self::InvalidArgument(text),
            EngineError::InvalidImage => Self::InvalidImage(text),
            EngineError::TooLarge(_) => Self::TooLarge(text),
            EngineError::QueueFull { .. } => Self::QueueFull(text),
            EngineError::Timeout(_) => Self::Timeout(text),
            EngineError::NotReady { .. } => Self::NotReady(text),
            EngineError::NoSuchModel(_) => Self::NoSuchModel(text),
            EngineError::BackendFailed(_) => Self::BackendFailed(text),
        }
    }
}

/// A `what` of `bytes` where `max_bytes` are allowed.
pub(super) fn too_large(what: &str, bytes: usize, max_bytes: usize) -> Error {
    Error::TooLarge(format!(
        "the {what} has {bytes} bytes; at most {max_bytes} are allowed (server.max_body_mb)"
    ))
}
