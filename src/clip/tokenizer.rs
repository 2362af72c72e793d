//! CLIP's tokenizer.
use thiserror::Error;

/// Token ids of one text: start-of-text, the text, end-of-text; at most the context length, never padded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens(Box<[u32]>);

impl Tokens {
    /// The ids.
    #[must_use]
    pub fn ids(&self) -> &[u32] {
        &self.0
    }
}

/// CLIP's byte-level BPE.
#[derive(Debug)]
pub struct Tokenizer {}

/// Why a tokenizer cannot be used.
#[derive(Debug, Error)]
pub enum TokenizerError {}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// Not a CLIP tokenizer.
    pub fn from_json(_json: &[u8], _context_length: usize) -> Result<Self, TokenizerError> {
        todo!()
    }

    /// The tokens of `text`.
    ///
    /// # Errors
    /// TODO
    pub fn encode(&self, _text: &str) -> Result<Tokens, TokenizerError> {
        todo!()
    }
}
