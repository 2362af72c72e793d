//! A request's body by its content type.

use axum::{
    extract::Request,
    http::{HeaderMap, StatusCode, header},
};

use super::{
    body::{BodyReader, ReceivedBody},
    error::ApiError,
    form::Form,
    json::JsonFields,
    router::Facade,
};

/// A received request, not yet checked.
pub(super) enum Payload {
    Json(ReceivedBody),
    Form(Form),
}

enum ContentType {
    Json,
    Multipart { boundary: String },
    UrlEncoded,
    Image,
}

impl Payload {
    /// Receives a picture with its parameters, in any of the formats.
    ///
    /// # Errors
    /// The content type is none of ours; the body is too large, too slow, cut off or malformed.
    pub(super) async fn receive(facade: &Facade, request: Request) -> Result<Self, ApiError> {
        let unsupported = || {
            ApiError::unsupported_media_type(
                "application/json, multipart/form-data, image/* or application/octet-stream",
            )
        };
        let content_type = content_type(request.headers())?.ok_or_else(unsupported)?;
        let (head, body) = request.into_parts();
        let body = BodyReader::open(body, facade.body_limits(), &facade.budget).await?;
        Ok(match content_type {
            ContentType::UrlEncoded => return Err(unsupported()),
            ContentType::Json => Self::Json(body.read_to_end().await?),
            ContentType::Multipart { boundary } => Self::Form(Form::from_multipart(body, boundary).await?),
            ContentType::Image => {
                let image = body.read_to_end().await?.into_bytes();
                Self::Form(Form::from_raw(image, head.uri.query())?)
            }
        })
    }
}

/// Receives a body that must be JSON.
///
/// # Errors
/// As [`Payload::receive`].
pub(super) async fn receive_json(facade: &Facade, request: Request) -> Result<ReceivedBody, ApiError> {
    match content_type(request.headers())? {
        Some(ContentType::Json) => {
            let body = BodyReader::open(request.into_body(), facade.body_limits(), &facade.budget).await?;
            body.read_to_end().await
        }
        _ => Err(ApiError::unsupported_media_type("application/json")),
    }
}

/// Receives a form, in either of its encodings.
///
/// # Errors
/// As [`Payload::receive`].
pub(super) async fn receive_form(facade: &Facade, request: Request) -> Result<Form, ApiError> {
    let unsupported =
        || ApiError::unsupported_media_type("multipart/form-data or application/x-www-form-urlencoded");
    let content_type = content_type(request.headers())?.ok_or_else(unsupported)?;
    let body = BodyReader::open(request.into_body(), facade.body_limits(), &facade.budget).await?;
    match content_type {
        ContentType::Multipart { boundary } => Form::from_multipart(body, boundary).await,
        ContentType::UrlEncoded => Form::from_urlencoded(body.read_to_end().await?.as_slice()),
        ContentType::Json | ContentType::Image => Err(unsupported()),
    }
}

/// Decodes a JSON body, a large one on a thread where its base64 delays nobody else. The body is
/// released before the engine is asked.
///
/// # Errors
/// As [`JsonFields::parse`], and what `decode` finds.
pub(super) async fn decode_json<T: Send + 'static>(
    body: ReceivedBody,
    decode: fn(Option<JsonFields>) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    self::decode(body, move |body| decode(JsonFields::parse(body)?)).await
}

/// As [`decode_json`], for a body of any form.
///
/// # Errors
/// What `decode` finds.
pub(super) async fn decode<T: Send + 'static>(
    body: ReceivedBody,
    decode: impl FnOnce(&[u8]) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    const LARGE: usize = 64 * 1024;
    let is_large = body.as_slice().len() > LARGE;
    let decode = move || decode(body.as_slice());
    if is_large {
        tokio::task::spawn_blocking(decode).await.unwrap_or_else(|_| Err(ApiError::internal()))
    } else {
        decode()
    }
}

fn content_type(headers: &HeaderMap) -> Result<Option<ContentType>, ApiError> {
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Compressed bodies are not supported; send the body without Content-Encoding",
        ));
    }
    let Some(content_type) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return Ok(None);
    };
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    Ok(match essence.split_once('/') {
        Some(("application", subtype)) if subtype == "json" || subtype.ends_with("+json") => {
            Some(ContentType::Json)
        }
        Some(("application", "x-www-form-urlencoded")) => Some(ContentType::UrlEncoded),
        Some(("application", "octet-stream") | ("image", _)) => Some(ContentType::Image),
        Some(("multipart", "form-data")) => {
            let boundary = multer::parse_boundary(content_type)
                .map_err(|_| ApiError::invalid_multipart("Content-Type has no valid multipart boundary"))?;
            Some(ContentType::Multipart { boundary })
        }
        _ => None,
    })
}
