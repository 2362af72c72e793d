//! Privileges that the service never needs.

use caps::{CapSet, CapsHashSet};
use thiserror::Error;

/// Why the process has privileges still.
#[derive(Debug, Error)]
pub(super) enum PrivilegesError {
    #[error(transparent)]
    Refused(#[from] caps::errors::CapsError),
    #[error("the {0:?} capabilities are not empty")]
    Left(CapSet),
}

const SETS: [CapSet; 4] = [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted];

/// Gives up every capability, whoever started the process, and looks whether that worked.
///
/// # Errors
/// The kernel refuses, which it does in no known case.
pub(super) fn drop_capabilities() -> Result<(), PrivilegesError> {
    for set in SETS {
        if !caps::read(None, set)?.is_empty() {
            caps::set(None, set, &CapsHashSet::new())?;
        }
    }
    for set in SETS {
        if !caps::read(None, set)?.is_empty() {
            return Err(PrivilegesError::Left(set));
        }
    }
    Ok(())
}
