//! How this program is a client of web servers: whom it trusts, and what it calls itself.
//!
//! Deliberately not here: how patient it is, and what it asks for.

use std::sync::Arc;

use ureq::tls::{RootCerts, TlsConfig};

/// The name that servers are told.
pub(crate) const USER_AGENT: &str = concat!("hailo-clip/", env!("CARGO_PKG_VERSION"));

/// Whose certificates are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Of those that the system trusts.
    System,
    /// Of anybody.
    Anybody,
}

/// TLS as a client.
pub(crate) fn tls(trust: Trust) -> TlsConfig {
    TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .disable_verification(trust == Trust::Anybody)
        .build()
}
