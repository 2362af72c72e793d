//! Limits on what a caller may ask for, the same for every facade.

use std::time::Duration;

use super::{ClassifyOptions, EngineError};

/// Most prompts of one classification, and most texts of one embedding request.
pub const MAX_PROMPTS: usize = 1000;

/// Most texts that one classification may encode: prompts × templates.
pub const MAX_TEXTS: usize = 5000;

/// Longest prompt or text in bytes. CLIP reads 77 tokens; far beyond them nothing counts.
pub const MAX_TEXT_BYTES: usize = 10_000;

/// Checks a classification's arguments.
pub(super) fn classify(prompts: &[String], options: &ClassifyOptions) -> Result<(), EngineError> {
    count("prompts", prompts)?;
    let texts = prompts.len() * options.templates.len().max(1);
    if texts > MAX_TEXTS {
        return invalid(format!("prompts × templates gives {texts} texts, the limit is {MAX_TEXTS}"));
    }
    if options.top_k == Some(0) {
        return invalid("top_k must be at least 1".into());
    }
    if options.threshold.is_some_and(|threshold| !threshold.is_finite()) {
        return invalid("threshold must be a finite number".into());
    }
    if options.logit_scale.is_some_and(|scale| !(scale.is_finite() && scale > 0.0)) {
        return invalid("logit_scale must be a positive, finite number".into());
    }
    timeout(options.timeout)
}

/// Checks a deadline.
pub(super) fn timeout(timeout: Option<Duration>) -> Result<(), EngineError> {
    if timeout.is_some_and(|timeout| timeout.is_zero()) {
        return invalid("timeout_ms must be at least 1".into());
    }
    Ok(())
}

/// Checks the texts of an embedding request.
pub(super) fn texts(texts: &[String]) -> Result<(), EngineError> {
    count("texts", texts)
}

fn count(what: &str, texts: &[String]) -> Result<(), EngineError> {
    if texts.is_empty() {
        return invalid(format!("{what} must not be empty"));
    }
    if texts.len() > MAX_PROMPTS {
        return invalid(format!("{} {what} were sent, the limit is {MAX_PROMPTS}", texts.len()));
    }
    match texts.iter().position(|text| text.len() > MAX_TEXT_BYTES) {
        None => Ok(()),
        Some(index) => invalid(format!(
            "number {} of the {what} has {} bytes, the limit is {MAX_TEXT_BYTES}",
            index + 1,
            texts[index].len()
        )),
    }
}

fn invalid(message: String) -> Result<(), EngineError> {
    Err(EngineError::InvalidArgument(message))
}
