//! Privileges that the service never needs.

use caps::{CapSet, CapsHashSet};

/// Gives up every capability, whoever started the process.
///
/// # Errors
/// The kernel refuses, which it does in no known case.
pub(super) fn drop_capabilities() -> Result<(), caps::errors::CapsError> {
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        if !caps::read(None, set)?.is_empty() {
            caps::set(None, set, &CapsHashSet::new())?;
        }
    }
    Ok(())
}
