//! Who may ask: bearer keys, and a fence against web pages of other origins.
//!
//! The service has no cookies and sends no CORS headers. What is left for a hostile page in a browser
//! of the local network is DNS rebinding, against which the `Host` is checked, and form posts, against
//! which the `Origin` is.

use std::net::IpAddr;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, Uri, header, uri::Authority},
    middleware::Next,
    response::Response,
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{error::ApiError, router::Facade};

/// A bearer key, kept as its SHA-256 alone.
#[derive(Clone)]
pub struct ApiKey {
    digest: [u8; 32],
    manages: bool,
}

impl ApiKey {
    /// A key as the client sends it.
    #[must_use]
    pub fn new(key: &str) -> Self {
        Self { digest: Sha256::digest(key).into(), manages: false }
    }

    /// A key that may also change what the service runs.
    #[must_use]
    pub fn managing(key: &str) -> Self {
        Self { manages: true, ..Self::new(key) }
    }

    /// The keys of a key file: one a line, after the word `manage` and white space if it manages; empty lines
    /// and lines that begin with `#` are skipped.
    #[must_use]
    pub fn parse_file(text: &str) -> Vec<Self> {
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| match line.split_once(char::is_whitespace) {
                Some(("manage", key)) => Self::managing(key.trim_start()),
                _ => Self::new(line),
            })
            .collect()
    }

    /// Compares in constant time.
    fn matches(&self, other: &Self) -> bool {
        self.digest.ct_eq(&other.digest).into()
    }
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// Refuses requests that come under a foreign name or from a foreign web page.
pub(super) async fn check_source(
    State(facade): State<Facade>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let options = facade.options();
    if !hosts(&request).all(|host| host_allowed(host, &options.hostname, &options.allowed_hosts)) {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "host_not_allowed",
            "The service is not known under this host name; add it to server.allowed_hosts",
        ));
    }
    if !request.method().is_safe() && is_cross_origin(request.headers()) {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "cross_origin",
            "Web pages of other origins may not use this service",
        ));
    }
    Ok(next.run(request).await)
}

/// Demands a key, if the service has any.
pub(super) async fn check_key(
    State(facade): State<Facade>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    authorize(&facade, request.headers())?;
    Ok(next.run(request).await)
}

/// Whether the client may ask: it has a key, or the service wants none.
///
/// # Errors
/// A key is missing or unknown.
pub(super) fn authorize(facade: &Facade, headers: &HeaderMap) -> Result<(), ApiError> {
    let options = facade.options();
    if options.api_keys.is_empty() || sent_key(&options.api_keys, headers).is_some() {
        return Ok(());
    }
    Err(ApiError::unauthorized())
}

/// Whether the client may change what the service runs.
///
/// # Errors
/// It has no key that manages, or there is none.
pub(super) fn authorize_management(facade: &Facade, headers: &HeaderMap) -> Result<(), ApiError> {
    if sent_key(&facade.options().api_keys, headers).is_some_and(|key| key.manages) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "not_authorized",
        "Only an API key that manages may do this: a line 'manage KEY' in the file of server.api_keys_file",
    ))
}

/// The service's key that the client sent.
fn sent_key<'a>(keys: &'a [ApiKey], headers: &HeaderMap) -> Option<&'a ApiKey> {
    let sent = ApiKey::new(bearer_key(headers)?);
    // All are compared, so that the time does not tell which.
    keys.iter().fold(None, |known, key| if key.matches(&sent) { Some(key) } else { known })
}

fn bearer_key(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
}

/// Every name under which the request addresses the service; a header that is not text counts as "".
fn hosts(request: &Request) -> impl Iterator<Item = &str> {
    let from_uri = request.uri().authority().map(Authority::as_str);
    let from_headers =
        request.headers().get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or_default());
    from_uri.into_iter().chain(from_headers)
}

/// Whether a name can only be ours. An attacker may point a public name at this machine, but neither an
/// address nor a name of the local network.
fn host_allowed(authority: &str, hostname: &str, allowed: &[String]) -> bool {
    let Ok(authority) = authority.parse::<Authority>() else { return false };
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if address.parse::<IpAddr>().is_ok() {
        return true;
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    const LOCAL_SUFFIXES: [&str; 5] = [".localhost", ".local", ".lan", ".home.arpa", ".internal"];
    !host.is_empty()
        && (!host.contains('.')
            || LOCAL_SUFFIXES.iter().any(|suffix| host.ends_with(suffix))
            || host.eq_ignore_ascii_case(hostname)
            || allowed.iter().any(|name| host.eq_ignore_ascii_case(name)))
}

/// Whether a browser sent this for a page of another origin. Other clients send neither header.
fn is_cross_origin(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site != "same-origin" && site != "none";
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    match (origin.as_ref().and_then(Uri::authority), host) {
        (Some(origin), Some(host)) => !origin.as_str().eq_ignore_ascii_case(host),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_can_only_be_ours_are_allowed() {
        let allowed = ["Clip.example.org".to_owned()];
        for host in [
            "127.0.0.1:5000",
            "192.168.1.7",
            "[::1]:5000",
            "[fe80::1]",
            "localhost",
            "LOCALHOST:80",
            "localhost.",
            "app.localhost:3000",
            "raspberrypi:5000",
            "raspberrypi.local",
            "pi.lan",
            "pi.home.arpa",
            "pi.corp.internal",
            "pi.example.net",
            "clip.example.org:5000",
        ] {
            assert!(host_allowed(host, "pi.example.net", &allowed), "{host}");
        }
    }

    #[test]
    fn other_names_are_not() {
        for host in [
            "",
            "evil.example",
            "evil.example:5000",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evillocal.com",
            "a b",
            ".",
            "user@evil.example",
            "[::1",
        ] {
            assert!(!host_allowed(host, "pi", &[]), "{host:?}");
        }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|&(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn only_pages_of_other_origins_are_cross_origin() {
        let host = ("host", "pi.local:5000");
        for same in [
            headers(&[host]),
            headers(&[host, ("sec-fetch-site", "same-origin")]),
            headers(&[host, ("sec-fetch-site", "none")]),
            headers(&[host, ("origin", "http://pi.local:5000")]),
            // Behind a proxy that renames the host, the browser's own word counts.
            headers(&[host, ("sec-fetch-site", "same-origin"), ("origin", "https://clip.example")]),
        ] {
            assert!(!is_cross_origin(&same), "{same:?}");
        }
        for cross in [
            headers(&[host, ("sec-fetch-site", "cross-site")]),
            headers(&[host, ("sec-fetch-site", "same-site")]),
            headers(&[host, ("origin", "http://evil.example")]),
            headers(&[host, ("origin", "http://pi.local:8080")]),
            headers(&[host, ("origin", "null")]),
            headers(&[("origin", "http://pi.local:5000")]),
        ] {
            assert!(is_cross_origin(&cross), "{cross:?}");
        }
    }

    #[test]
    fn keys_are_read_a_line_at_a_time_and_never_shown() {
        let keys = ApiKey::parse_file("# for the camera\nfirst-key\n\n  second-key  \n");
        assert_eq!(keys.len(), 2);
        assert!(keys[1].matches(&ApiKey::new("second-key")));
        assert!(!keys[1].matches(&ApiKey::new("first-key")));
        assert_eq!(format!("{:?}", keys[0]), "ApiKey(…)");
    }

    #[test]
    fn a_key_manages_if_its_line_says_so() {
        let keys = ApiKey::parse_file("plain\nmanage \t admin\nmanage\nmanager key\n");
        let manages: Vec<bool> = keys.iter().map(|key| key.manages).collect();
        assert_eq!(manages, [false, true, false, false]);
        assert!(keys[1].matches(&ApiKey::new("admin")) && keys[2].matches(&ApiKey::new("manage")));
    }

    #[test]
    fn the_bearer_scheme_is_case_insensitive() {
        assert_eq!(bearer_key(&headers(&[("authorization", "bearer k")])), Some("k"));
        assert_eq!(bearer_key(&headers(&[("authorization", "Basic k")])), None);
        assert_eq!(bearer_key(&headers(&[])), None);
    }
}
