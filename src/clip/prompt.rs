//! Prompt templates, from which prompt ensembles are made.

use std::fmt;

use thiserror::Error;

/// A sentence with one placeholder `{}`, such as `a photo of a {}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptTemplate {
    before: String,
    after: String,
}

/// A template without its placeholder, or with several.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a prompt template contains the placeholder {{}} exactly once, as in \"a photo of a {{}}\"")]
pub struct PromptTemplateError;

impl PromptTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// The placeholder `{}` does not occur exactly once.
    pub fn parse(template: &str) -> Result<Self, PromptTemplateError> {
        match template.split_once("{}") {
            Some((before, after)) if !after.contains("{}") => {
                Ok(Self { before: before.to_owned(), after: after.to_owned() })
            }
            _ => Err(PromptTemplateError),
        }
    }

    /// The template with `prompt` in its place.
    #[must_use]
    pub fn fill(&self, prompt: &str) -> String {
        [&self.before, prompt, &self.after].concat()
    }
}

impl fmt::Display for PromptTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{}}{}", self.before, self.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_the_placeholder() {
        let template = PromptTemplate::parse("a photo of a {}, blurred").unwrap();
        assert_eq!(template.fill("cat {}"), "a photo of a cat {}, blurred");
        assert_eq!(template.to_string(), "a photo of a {}, blurred");
    }

    #[test]
    fn demands_exactly_one_placeholder() {
        for bad in ["", "a photo", "{} and {}", "{ }"] {
            assert_eq!(PromptTemplate::parse(bad), Err(PromptTemplateError), "{bad:?}");
        }
    }
}
