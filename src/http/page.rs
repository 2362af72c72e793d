//! `GET /`: the web page for browsers, and the list of endpoints for everybody else.
//!
//! The page is a few files of this program. It loads nothing from elsewhere, and its policy allows
//! nothing else; it needs no key, for it holds nothing, and asks the person for one when the service does.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};

use super::{error::ApiError, index, router::Facade, security};

const HTML: &str = include_str!("page/page.html");
const CSS: &str = include_str!("page/page.css");
const JS: &str = include_str!("page/page.js");
const SERVICE_JS: &str = include_str!("page/service.js");
const SVG: &str = include_str!("page/page.svg");

/// Scripts and styles of this origin alone, none inline; pictures that the person chose are `blob:`.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const PERMISSIONS: &str =
    "camera=(self), microphone=(), geolocation=(), display-capture=(), usb=(), payment=()";

/// `GET /`
pub(super) async fn root(State(facade): State<Facade>, headers: HeaderMap) -> Result<Response, ApiError> {
    if wants_html(&headers) {
        let mut page = file(&headers, "text/html; charset=utf-8", HTML);
        page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        page.headers_mut().insert("permissions-policy", HeaderValue::from_static(PERMISSIONS));
        page.headers_mut().insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        page.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
        return Ok(page);
    }
    security::authorize(&facade, &headers)?;
    Ok(index::index().await.into_response())
}

/// `GET /page.css`
pub(super) async fn css(headers: HeaderMap) -> Response {
    file(&headers, "text/css; charset=utf-8", CSS)
}

/// `GET /page.js`
pub(super) async fn js(headers: HeaderMap) -> Response {
    file(&headers, "text/javascript; charset=utf-8", JS)
}

/// `GET /service.js`
pub(super) async fn service_js(headers: HeaderMap) -> Response {
    file(&headers, "text/javascript; charset=utf-8", SERVICE_JS)
}

/// `GET /page.svg`
pub(super) async fn svg(headers: HeaderMap) -> Response {
    file(&headers, "image/svg+xml", SVG)
}

/// Whether the client names HTML among what it accepts, as browsers do and programs do not.
fn wants_html(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok()).any(|accept| {
        accept
            .split(',')
            .any(|kind| kind.split(';').next().is_some_and(|k| k.trim().eq_ignore_ascii_case("text/html")))
    })
}

/// The file, or word that the client's copy is the same. Copies are kept, and asked about every time, so that
/// an upgrade of the service is seen at once.
fn file(headers: &HeaderMap, content_type: &'static str, content: &'static str) -> Response {
    let digest = Sha256::digest(content);
    let tag: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{tag}\"");
    let is_known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|known| known.to_str().ok())
        .is_some_and(|known| known.split(',').any(|k| k.trim().trim_start_matches("W/") == tag));
    let common = [
        (header::ETAG, HeaderValue::try_from(tag).expect("hexadecimal digits are ASCII")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
    ];
    if is_known {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    (common, content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(accept: &'static str) -> HeaderMap {
        [(header::ACCEPT, HeaderValue::from_static(accept))].into_iter().collect()
    }

    #[test]
    fn browsers_are_told_from_programs() {
        assert!(wants_html(&accepting("text/html,application/xhtml+xml,*/*;q=0.8")));
        assert!(wants_html(&accepting("application/json, Text/HTML;q=0.5")));
        for program in ["*/*", "application/json", "text/*", "text/htmlx"] {
            assert!(!wants_html(&accepting(program)), "{program}");
        }
        assert!(!wants_html(&HeaderMap::new()));
    }

    #[test]
    fn the_page_has_nothing_inline_and_nothing_from_elsewhere() {
        assert!(!HTML.contains(" style=") && !HTML.contains("<style"));
        assert!(!HTML.contains(" onclick=") && HTML.matches("<script").count() == 1);
        for content in [HTML, CSS, JS, SERVICE_JS] {
            assert!(!content.contains("http://") && !content.contains("https://"));
        }
    }
}
