//! Parameters that every wire format carries, as JSON texts: numbers, booleans and lists of texts.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, SeqAccess, Visitor},
};

use super::error::ApiError;
use crate::{
    clip::PromptTemplate,
    engine::{ClassifyOptions, MAX_PROMPTS, MAX_TEXTS},
};

/// The old service's defaults.
const DEFAULT_TOP_K: usize = 3;
const DEFAULT_THRESHOLD: f32 = 0.0;

/// Far beyond every cosine, probability and logit scale, and exact in decimal.
const LARGEST_NUMBER: f64 = 1e9;

/// A classification's options, each as JSON, unless it is absent.
#[derive(Default)]
pub(super) struct OptionTexts<'a> {
    pub(super) top_k: Option<&'a str>,
    pub(super) threshold: Option<&'a str>,
    pub(super) apply_softmax: Option<&'a str>,
    pub(super) logit_scale: Option<&'a str>,
    pub(super) timeout_ms: Option<&'a str>,
}

impl OptionTexts<'_> {
    /// The options for the engine, which checks their ranges.
    ///
    /// # Errors
    /// A value has the wrong type, or a template no placeholder.
    pub(super) fn parse(self, templates: Vec<String>) -> Result<ClassifyOptions, ApiError> {
        let templates = templates
            .iter()
            .map(|template| PromptTemplate::parse(template))
            .collect::<Result<_, _>>()
            .map_err(|error| ApiError::invalid_argument(format!("Invalid 'templates': {error}")))?;
        let top_k: Option<Integer> = value("top_k", self.top_k, "an integer, at least 1")?;
        let threshold = number("threshold", self.threshold, "a number")?;
        Ok(ClassifyOptions {
            // More than there can be prompts is as good as all of them.
            top_k: Some(top_k.map_or(DEFAULT_TOP_K, |k| usize::try_from(k.0).unwrap_or(usize::MAX))),
            threshold: Some(threshold.unwrap_or(DEFAULT_THRESHOLD)),
            templates,
            apply_softmax: value("apply_softmax", self.apply_softmax, "true or false")?,
            logit_scale: number("logit_scale", self.logit_scale, "a positive number")?,
            timeout: timeout(self.timeout_ms)?,
        })
    }
}

/// `timeout_ms`
pub(super) fn timeout(text: Option<&str>) -> Result<Option<Duration>, ApiError> {
    let timeout: Option<Integer> = value("timeout_ms", text, "an integer, at least 1")?;
    Ok(timeout.map(|Integer(milliseconds)| Duration::from_millis(milliseconds)))
}

/// An integer that is not negative. JSON makes no difference between 3 and 3.0.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(try_from = "serde_json::Number")]
pub(super) struct Integer(pub(super) u64);

impl TryFrom<serde_json::Number> for Integer {
    type Error = &'static str;

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an integer within the range")]
    fn try_from(number: serde_json::Number) -> Result<Self, Self::Error> {
        const TWO_TO_THE_64TH: f64 = 18_446_744_073_709_551_616.0;
        let float = || {
            let in_range = |float: &f64| float.fract() == 0.0 && (0.0..TWO_TO_THE_64TH).contains(float);
            number.as_f64().filter(in_range).map(|float| float as u64)
        };
        number.as_u64().or_else(float).map(Self).ok_or("not an integer")
    }
}

/// A number as JSON has them, which are twice as wide as ours. What is too large for us is refused; what is
/// too small to tell from zero is not zero.
fn number(name: &str, text: Option<&str>, expected: &str) -> Result<Option<f32>, ApiError> {
    let Some(number) = value::<f64>(name, text, expected)? else { return Ok(None) };
    if number.abs() > LARGEST_NUMBER {
        return Err(ApiError::invalid_argument(format!(
            "'{name}' must be {expected}, at most {LARGEST_NUMBER}"
        )));
    }
    #[allow(clippy::cast_possible_truncation, reason = "within the range of f32")]
    let narrow = number as f32;
    let vanished = narrow == 0.0 && number != 0.0;
    Ok(Some(if vanished { f32::MIN_POSITIVE.copysign(narrow) } else { narrow }))
}

fn value<T: DeserializeOwned>(name: &str, text: Option<&str>, expected: &str) -> Result<Option<T>, ApiError> {
    text.map(serde_json::from_str)
        .transpose()
        .map_err(|_| ApiError::invalid_argument(format!("'{name}' must be {expected}")))
}

/// A list of texts. However long it is, no more are kept than a request may have.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Texts {
    kept: Vec<String>,
    count: usize,
}

impl Texts {
    pub(super) fn push(&mut self, text: String) {
        self.count += 1;
        if self.kept.len() < MAX_TEXTS {
            self.kept.push(text);
        }
    }

    pub(super) fn append(&mut self, texts: Self) {
        self.count += texts.count - texts.kept.len();
        texts.kept.into_iter().for_each(|text| self.push(text));
    }

    /// The prompts, at least one.
    pub(super) fn into_prompts(self) -> Result<Vec<String>, ApiError> {
        if self.count == 0 {
            return Err(ApiError::invalid_prompts());
        }
        self.limited("prompts", MAX_PROMPTS)
    }

    /// The prompt templates, if any.
    pub(super) fn into_templates(self) -> Result<Vec<String>, ApiError> {
        self.limited("templates", MAX_TEXTS)
    }

    /// Texts to embed, perhaps none.
    pub(super) fn into_texts(self, name: &str) -> Result<Vec<String>, ApiError> {
        self.limited(name, MAX_PROMPTS)
    }

    fn limited(self, name: &str, limit: usize) -> Result<Vec<String>, ApiError> {
        if self.count > limit {
            let message = format!("'{name}' has {} entries, the limit is {limit}", self.count);
            return Err(ApiError::invalid_argument(message));
        }
        Ok(self.kept)
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextsVisitor;

        impl<'de> Visitor<'de> for TextsVisitor {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of strings")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Texts, A::Error> {
                let mut texts = Texts::default();
                while texts.kept.len() < MAX_TEXTS {
                    match array.next_element()? {
                        Some(text) => texts.push(text),
                        None => return Ok(texts),
                    }
                }
                while array.next_element::<IgnoredAny>()?.is_some() {
                    texts.count += 1;
                }
                Ok(texts)
            }
        }

        deserializer.deserialize_seq(TextsVisitor)
    }
}
