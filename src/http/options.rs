//! What the configuration says about this facade.

use std::{path::PathBuf, time::Duration};

use super::ApiKey;
use crate::config::Settings;

/// Settings of the HTTP facade; the running server takes new ones at any time.
#[derive(Clone, Debug)]
pub struct Options {
    /// Largest request body in bytes, as it is sent (a picture in base64 takes a third more).
    pub max_body_bytes: usize,
    /// Longest time that a request waits for memory for its body.
    pub request_timeout: Duration,
    /// Keys of which a client must send one; empty: everybody may ask.
    pub api_keys: Vec<ApiKey>,
    /// Names besides the local ones under which clients may address the service.
    pub allowed_hosts: Vec<String>,
    /// The machine's own name.
    pub hostname: String,
    /// Folders in which models are installed.
    pub models: Vec<PathBuf>,
    /// How long, and how often at a time, a client may hold a connection.
    pub connections: ConnectionLimits,
}

/// Limits on connections.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Most connections that are open at a time; more wait in the listener's backlog.
    pub max_open: usize,
    /// Longest time for a request's head, and for the silence between two requests.
    pub header_timeout: Duration,
    /// Longest time for a request's body.
    pub body_timeout: Duration,
    /// Longest time that a client may take nothing of its answer.
    pub write_timeout: Duration,
    /// How long a client that was refused may go on sending, so that it comes to read the answer.
    pub linger: Duration,
    /// How long the server, once it stops, waits for a last request on a connection that has been silent.
    pub farewell: Duration,
}

impl Options {
    /// The options that follow from the configuration file, the key file and the machine's name.
    #[must_use]
    pub fn new(settings: &Settings, api_keys: Vec<ApiKey>, hostname: String) -> Self {
        Self {
            max_body_bytes: settings.server.max_body_bytes,
            request_timeout: settings.performance.request_timeout,
            api_keys,
            allowed_hosts: settings.server.allowed_hosts.clone(),
            hostname,
            models: Vec::new(),
            connections: ConnectionLimits::default(),
        }
    }
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max_open: 512,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            linger: Duration::from_secs(5),
            farewell: Duration::from_secs(1),
        }
    }
}
