//! Pictures as they are: `multipart/form-data`, or a raw body with the parameters in the query.

use std::time::Duration;

use bytes::Bytes;

use super::{
    body::BodyReader,
    error::ApiError,
    parameters::{self, OptionTexts, Texts},
};
use crate::engine::ClassifyRequest;

/// A picture and named values.
#[derive(Default)]
pub(super) struct Form {
    image: Option<Bytes>,
    values: Vec<(String, String)>,
}

impl Form {
    /// Reads parts until the end: the picture in `image`, everything else as text.
    ///
    /// # Errors
    /// The body is too large, too slow, cut off or malformed.
    pub(super) async fn from_multipart(body: BodyReader, boundary: String) -> Result<Self, ApiError> {
        let mut form = Self::default();
        let mut parts = multer::Multipart::new(body.into_stream(), boundary);
        while let Some(part) = parts.next_field().await.map_err(multipart_error)? {
            let Some(name) = part.name().map(str::to_owned) else { continue };
            let content = part.bytes().await.map_err(multipart_error)?;
            if name == "image" {
                form.image = Some(content);
            } else {
                form.push(name, String::from_utf8(content.into()))?;
            }
        }
        Ok(form)
    }

    /// A raw body, and the values of the query.
    ///
    /// # Errors
    /// The query is not UTF-8.
    pub(super) fn from_raw(image: Bytes, query: Option<&str>) -> Result<Self, ApiError> {
        let form = Self::from_urlencoded(query.unwrap_or_default().as_bytes())?;
        Ok(Self { image: Some(image), ..form })
    }

    /// Values alone.
    ///
    /// # Errors
    /// They are not UTF-8.
    pub(super) fn from_urlencoded(values: &[u8]) -> Result<Self, ApiError> {
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(values) {
            // What was no UTF-8 has been replaced by then.
            let is_utf8 = !value.contains(char::REPLACEMENT_CHARACTER);
            form.push(name.into_owned(), is_utf8.then(|| value.into_owned()).ok_or(()))?;
        }
        Ok(form)
    }

    fn push<E>(&mut self, name: String, value: Result<String, E>) -> Result<(), ApiError> {
        let value =
            value.map_err(|_| ApiError::invalid_argument(format!("{name:?} is not valid UTF-8 text")))?;
        self.values.push((name, value));
        Ok(())
    }

    /// A call of `/v1/classify`, checked in the old service's order: picture, prompts, options.
    ///
    /// # Errors
    /// A value is missing or has the wrong type.
    pub(super) fn into_classify_request(mut self) -> Result<ClassifyRequest, ApiError> {
        let image = self.take_image()?;
        let prompts = self.texts("prompts").into_prompts()?;
        let options = OptionTexts {
            top_k: self.value("top_k"),
            threshold: self.value("threshold"),
            apply_softmax: self.value("apply_softmax"),
            logit_scale: self.value("logit_scale"),
            timeout_ms: self.value("timeout_ms"),
        };
        let options = options.parse(self.texts("templates").into_templates()?)?;
        Ok(ClassifyRequest { image, prompts, options })
    }

    /// The picture file's bytes.
    ///
    /// # Errors
    /// Missing or empty.
    pub(super) fn take_image(&mut self) -> Result<Bytes, ApiError> {
        self.image.take().filter(|image| !image.is_empty()).ok_or_else(ApiError::invalid_image)
    }

    /// The caller's deadline.
    ///
    /// # Errors
    /// Not an integer.
    pub(super) fn timeout(&self) -> Result<Option<Duration>, ApiError> {
        parameters::timeout(self.value("timeout_ms"))
    }

    /// The last value of this name, unless it was left empty.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let (_, value) = self.values.iter().rfind(|(key, _)| key == name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// All values of this name. One that is a JSON array of strings stands for its entries.
    fn texts(&self, name: &str) -> Texts {
        let mut texts = Texts::default();
        for (_, value) in self.values.iter().filter(|(key, _)| key == name) {
            match serde_json::from_str(value) {
                Ok(several) => texts.append(several),
                Err(_) => texts.push(value.clone()),
            }
        }
        texts
    }
}

fn multipart_error(error: multer::Error) -> ApiError {
    match error {
        multer::Error::StreamReadFailed(cause) => match cause.downcast::<ApiError>() {
            Ok(error) => *error,
            Err(_) => ApiError::incomplete_body(),
        },
        malformed => ApiError::invalid_multipart(format!("Invalid multipart body: {malformed}")),
    }
}
