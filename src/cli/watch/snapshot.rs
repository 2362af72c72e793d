//! Pictures from a URL. Its credentials go to that host alone, and into no message.

use std::{fmt, io, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::percent_decode_str;
use ureq::Agent;

use super::source::{MAX_BYTES, SourceError};
use crate::{
    cli::console::{escape, reason},
    https::{self, Trust},
};

/// A URL that is fetched again and again.
pub(super) struct Snapshot {
    agent: Agent,
    /// Without credentials.
    url: String,
    title: String,
    authorization: Option<String>,
    timeout: Duration,
    insecure: bool,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title)
    }
}

impl Snapshot {
    /// `credentials` count where the URL has none.
    pub(super) fn new(
        url: &str,
        credentials: Option<&str>,
        timeout: Duration,
        insecure: bool,
    ) -> Result<Self, String> {
        let (url, own) = split(url)?;
        url.parse::<ureq::http::Uri>().map_err(|error| format!("the URL is not valid: {error}"))?;
        let credentials = own.or_else(|| credentials.map(|text| text.as_bytes().to_vec()));
        let trust = if insecure { Trust::Anybody } else { Trust::System };
        let agent = Agent::config_builder()
            .tls_config(https::tls(trust))
            .timeout_global(Some(timeout))
            .max_redirects(3)
            .user_agent(https::USER_AGENT)
            .build()
            .new_agent();
        // A query may hold a key as well.
        let title = url.split(['?', '#']).next().unwrap_or_default().to_owned();
        let authorization = credentials.map(|text| format!("Basic {}", BASE64_STANDARD.encode(text)));
        Ok(Self { agent, url, title, authorization, timeout, insecure })
    }

    /// The URL as it may be shown.
    pub(super) fn title(&self) -> &str {
        &self.title
    }

    /// Blocks no longer than the timeout.
    pub(super) fn fetch(&self) -> Result<Vec<u8>, SourceError> {
        self.try_fetch().map_err(|error| SourceError(self.explain(error)))
    }

    fn try_fetch(&self) -> Result<Vec<u8>, ureq::Error> {
        let mut request = self.agent.get(&self.url).header("Accept", "image/*");
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        request.call()?.body_mut().with_config().limit(MAX_BYTES as u64).read_to_vec()
    }

    fn explain(&self, error: ureq::Error) -> String {
        use ureq::Error as E;
        match error {
            E::StatusCode(status @ (401 | 403)) if self.authorization.is_none() => {
                format!("HTTP {status}; it wants credentials, see HAILO_CLIP_WATCH_CREDENTIALS")
            }
            E::StatusCode(status @ (401 | 403)) => format!("HTTP {status}; it refuses the credentials"),
            E::StatusCode(status) => format!("HTTP {status}"),
            E::Timeout(_) => format!("no picture within {:?}", self.timeout),
            E::HostNotFound => "there is no such host".to_owned(),
            E::ConnectionFailed => "cannot connect".to_owned(),
            E::BodyExceedsLimit(_) => format!("more than {} MB", MAX_BYTES >> 20),
            E::TooManyRedirects | E::RedirectFailed => "it leads from one address to the next".to_owned(),
            E::Io(error) if is_of_tls(&error) => self.explain_tls(&error),
            E::Io(error) => match std::error::Error::source(&error).or(error.get_ref().map(|e| e as _)) {
                Some(inner) => escape(&inner.to_string()),
                None => reason(&error),
            },
            E::Tls(what) => format!("TLS: {what}"),
            E::Rustls(error) => self.explain_tls(&error),
            // What else there is names no URL, and the address is not in it.
            error => escape(&error.to_string()).replace(&self.url, &self.title),
        }
    }

    fn explain_tls(&self, error: &impl fmt::Display) -> String {
        let hint = if self.insecure { "" } else { "; --insecure accepts any certificate" };
        format!("TLS: {}{hint}", escape(&error.to_string()))
    }
}

fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

/// A URL without its credentials, and those.
fn split(url: &str) -> Result<(String, Option<Vec<u8>>), String> {
    let (scheme, rest) = url.split_once("://").ok_or("not a URL")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (credentials, host) = match authority.rsplit_once('@') {
        Some((credentials, host)) => (Some(percent_decode_str(credentials).collect()), host),
        None => (None, authority),
    };
    if host.is_empty() {
        return Err("the URL has no host".to_owned());
    }
    Ok((format!("{scheme}://{host}{path}"), credentials))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_no_part_of_what_is_shown() {
        let (url, credentials) = split("http://user:p%40ss@word@camera:8080/a@b?x=1").unwrap();
        assert_eq!(url, "http://camera:8080/a@b?x=1");
        assert_eq!(credentials.as_deref(), Some(&b"user:p@ss@word"[..]));
        let snapshot = Snapshot::new("https://u:secret@camera/snap?key=geheim", None, Duration::MAX, false);
        let snapshot = snapshot.unwrap();
        assert_eq!(format!("{snapshot:?}"), "https://camera/snap");
        assert_eq!(snapshot.authorization.as_deref(), Some("Basic dTpzZWNyZXQ="));
    }

    #[test]
    fn what_is_no_url_is_said_without_it() {
        let error = Snapshot::new("http://u:secret@/", None, Duration::MAX, false).unwrap_err();
        assert!(!error.contains("secret"), "{error}");
        let error = Snapshot::new("http://u:secret@a b/", None, Duration::MAX, false).unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }
}
