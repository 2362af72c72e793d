//! Which bus, and the connection to it.

use std::{fmt, str::FromStr};

use thiserror::Error;
use zbus::{Address, Connection, connection::Builder};

/// A message bus, as given by `--bus system|session|ADDRESS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bus {
    /// The system bus.
    System,
    /// The user's session bus.
    Session,
    /// The bus at a D-Bus address such as `unix:path=/run/bus`.
    Address(Address),
}

/// Text that names no bus.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0:?} is no bus; give \"system\", \"session\" or a D-Bus address such as \"unix:path=/run/bus\"")]
pub struct BusAddressError(String);

impl FromStr for Bus {
    type Err = BusAddressError;

    fn from_str(text: &str) -> Result<Self, BusAddressError> {
        match text {
            "system" => Ok(Self::System),
            "session" => Ok(Self::Session),
            address => {
                address.parse().map(Self::Address).map_err(|_: zbus::Error| BusAddressError(text.to_owned()))
            }
        }
    }
}

impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("the system bus"),
            Self::Session => f.write_str("the session bus"),
            Self::Address(address) => write!(f, "the bus at {address}"),
        }
    }
}

/// A bus that cannot be reached.
#[derive(Debug, Error)]
#[error("cannot connect to {bus}: {source}; is the bus running? (--bus names another)")]
pub struct ConnectError {
    bus: Bus,
    source: zbus::Error,
}

impl ConnectError {
    pub(super) fn new(bus: &Bus, source: zbus::Error) -> Self {
        Self { bus: bus.clone(), source }
    }
}

/// Connects to a bus as a client.
///
/// # Errors
/// The bus is not there, or refuses the connection.
pub async fn connect(bus: &Bus) -> Result<Connection, ConnectError> {
    builder(bus).build().await.map_err(|error| ConnectError::new(bus, error))
}

/// A connection to `bus`, to be built.
pub(super) fn builder(bus: &Bus) -> Builder<'static> {
    match bus {
        Bus::System => Builder::system(),
        Bus::Session => Builder::session(),
        Bus::Address(address) => Builder::address(address.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_buses() {
        assert_eq!("system".parse(), Ok(Bus::System));
        assert_eq!("session".parse(), Ok(Bus::Session));
        let bus: Bus = "unix:path=/run/bus".parse().unwrap();
        assert_eq!(bus.to_string(), "the bus at unix:path=/run/bus");
    }

    #[test]
    fn anything_else_is_answered_with_what_is_meant() {
        for bad in ["", "System", "/run/bus", "http://bus"] {
            let error = bad.parse::<Bus>().unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")) && error.contains("unix:path="), "{error}");
        }
    }
}
