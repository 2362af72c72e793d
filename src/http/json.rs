//! JSON bodies. A picture in them is borrowed until it is decoded.

use std::{borrow::Cow, time::Duration};

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    error::ApiError,
    image_field,
    parameters::{self, OptionTexts, Texts},
};
use crate::engine::ClassifyRequest;

/// The fields of all endpoints, each still JSON, so that an error can name its field. `null` counts as
/// absent; fields that are not known are ignored, for old clients send extras.
#[derive(Deserialize)]
pub(super) struct JsonFields<'a> {
    #[serde(borrow)]
    image: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    prompts: Option<&'a RawValue>,
    #[serde(borrow)]
    templates: Option<&'a RawValue>,
    #[serde(borrow)]
    top_k: Option<&'a RawValue>,
    #[serde(borrow)]
    threshold: Option<&'a RawValue>,
    #[serde(borrow)]
    apply_softmax: Option<&'a RawValue>,
    #[serde(borrow)]
    logit_scale: Option<&'a RawValue>,
    #[serde(borrow)]
    timeout_ms: Option<&'a RawValue>,
    #[serde(borrow)]
    explain: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
}

/// A string, borrowed unless it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> JsonFields<'a> {
    /// As [`object`].
    ///
    /// # Errors
    /// As [`object`].
    pub(super) fn parse(body: &'a [u8]) -> Result<Option<Self>, ApiError> {
        object(body)
    }
    /// A call of `/v1/classify`, checked in the old service's order: picture, prompts, options.
    ///
    /// # Errors
    /// A field is missing or has the wrong type.
    pub(super) fn into_classify_request(self) -> Result<ClassifyRequest, ApiError> {
        let image = self.image()?;
        let prompts =
            self.prompts.map(texts).transpose().map_err(|_| ApiError::invalid_prompts())?.unwrap_or_default();
        let prompts = prompts.into_prompts()?;
        let templates = self.templates.map(texts).transpose().map_err(|_| {
            ApiError::invalid_argument("'templates' must be an array of strings such as \"a photo of a {}\"")
        })?;
        let options = OptionTexts {
            top_k: self.top_k.map(RawValue::get),
            threshold: self.threshold.map(RawValue::get),
            apply_softmax: self.apply_softmax.map(RawValue::get),
            logit_scale: self.logit_scale.map(RawValue::get),
            timeout_ms: self.timeout_ms.map(RawValue::get),
            explain: self.explain.map(RawValue::get),
        };
        let options = options.parse(templates.unwrap_or_default().into_templates()?)?;
        Ok(ClassifyRequest { image, prompts, options })
    }

    /// The picture file's bytes.
    ///
    /// # Errors
    /// Missing, not a string, or not base64.
    pub(super) fn image(&self) -> Result<Bytes, ApiError> {
        let image = self.image.ok_or_else(ApiError::invalid_image)?;
        let Text(image) = serde_json::from_str(image.get()).map_err(|_| ApiError::invalid_image())?;
        image_field::decode(&image)
    }

    /// The text to embed.
    ///
    /// # Errors
    /// Missing, or not a string.
    pub(super) fn text(&self) -> Result<String, ApiError> {
        let text = self.text.ok_or_else(ApiError::missing_text)?;
        serde_json::from_str(text.get()).map_err(|_| ApiError::invalid_argument("'text' must be a string"))
    }

    /// The name of a model.
    ///
    /// # Errors
    /// Missing, empty, or not a string.
    pub(super) fn model(&self) -> Result<String, ApiError> {
        let model: Option<String> = self.model.and_then(|model| serde_json::from_str(model.get()).ok());
        model
            .filter(|model| !model.is_empty())
            .ok_or_else(|| ApiError::invalid_argument("'model' must be the name of an installed model"))
    }

    /// The caller's deadline.
    ///
    /// # Errors
    /// Not an integer.
    pub(super) fn timeout(&self) -> Result<Option<Duration>, ApiError> {
        parameters::timeout(self.timeout_ms.map(RawValue::get))
    }
}

/// An answer that consists of so many numbers and little else. axum's own `Json` would grow its buffer, and
/// copy it, again and again.
pub(super) fn numbers(answer: &impl Serialize, count: usize) -> Response {
    const NUMBER: usize = 14;
    let mut body = Vec::with_capacity(count * NUMBER + 256);
    match serde_json::to_writer(&mut body, answer) {
        Ok(()) => {
            ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
        }
        // Names and finite numbers can always be written.
        Err(_) => ApiError::internal().into_response(),
    }
}

/// Finds the fields of a body; `None` if there is nothing in it, not even in its object.
///
/// # Errors
/// Not UTF-8, not JSON, not an object, or a field twice.
pub(super) fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<Option<T>, ApiError> {
    let body = std::str::from_utf8(body)
        .map_err(|_| ApiError::invalid_json("The JSON body is not valid UTF-8"))?
        .trim_ascii();
    if body.is_empty() || body == "null" || is_empty_object(body) {
        return Ok(None);
    }
    let fields = serde_json::from_str(body).map_err(|error| {
        if error.is_data() && !body.starts_with('{') {
            ApiError::invalid_json("The JSON body must be an object")
        } else {
            // Syntax and duplicate fields: the message holds nothing of the body but its position.
            ApiError::invalid_json(format!("Invalid JSON body: {error}"))
        }
    })?;
    Ok(Some(fields))
}

fn is_empty_object(json: &str) -> bool {
    let inside = json.strip_prefix('{').and_then(|json| json.strip_suffix('}'));
    inside.is_some_and(|inside| inside.trim_ascii().is_empty())
}

fn texts(json: &RawValue) -> Result<Texts, serde_json::Error> {
    serde_json::from_str(json.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_told_from_something() {
        for nothing in ["", " \r\n", "{}", "{ \n }", "null"] {
            assert!(JsonFields::parse(nothing.as_bytes()).unwrap().is_none(), "{nothing:?}");
        }
        for something in ["{\"a\":1}", " {\"image\":null} "] {
            assert!(JsonFields::parse(something.as_bytes()).unwrap().is_some(), "{something:?}");
        }
    }

    #[test]
    fn errors_show_nothing_of_the_body() {
        for body in ["secret", "\"secret\"", "{secret}", "{\"a\":secret}", "[\"secret\"]", "{\"secret\":1"] {
            let error = JsonFields::parse(body.as_bytes()).err().unwrap().to_string();
            assert!(error.contains("JSON body") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_picture_is_borrowed_unless_it_has_escapes() {
        let Text(plain) = serde_json::from_str("\"AAAA\"").unwrap();
        assert!(matches!(plain, Cow::Borrowed("AAAA")));
        let Text(escaped) = serde_json::from_str("\"AA\\/A\"").unwrap();
        assert_eq!(escaped, "AA/A");
    }

    #[test]
    fn a_long_list_is_counted_and_not_kept() {
        let body = format!("{{\"image\":\"AAAA\",\"prompts\":[{}\"\"]}}", "\"\",".repeat(1_000_000));
        let error = JsonFields::parse(body.as_bytes()).unwrap().unwrap().into_classify_request().unwrap_err();
        assert_eq!(error.to_string(), "'prompts' has 1000001 entries, the limit is 1000");
    }
}
