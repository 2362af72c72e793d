//! CLIP's tokenizer: text to the token ids that a text encoder takes.
//!
//! The vocabulary and its merges come from the model's `tokenizer.json`; what happens to a text before
//! them is OpenAI's, in [`text_cleaning`]. Other tokenizers (`WordPiece`, `SentencePiece`) are not here.

mod text_cleaning;

use thiserror::Error;
use tokenizers::{ModelWrapper, NormalizerWrapper, pre_tokenizers::byte_level::ByteLevel};

/// Token ids of one text: start-of-text, the text, end-of-text; at most the context length, never padded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
pub struct Tokenizer {
    bpe: tokenizers::Tokenizer,
    start: u32,
    end: u32,
    context_length: usize,
}

/// Why a tokenizer, or a text, cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TokenizerError {
    /// The file is no `tokenizer.json`.
    #[error("not a tokenizer.json: {0}")]
    Malformed(String),
    /// The file describes some other kind of tokenizer.
    #[error("not a CLIP tokenizer: {0}")]
    NotClip(&'static str),
    /// No text at all fits.
    #[error("a context length of {0} leaves no room for a text")]
    ContextLength(usize),
    /// The text is longer than any prompt could be.
    #[error("the text is {length} bytes long, the limit is {}", Tokenizer::MAX_TEXT_BYTES)]
    TextTooLong {
        /// Its length in bytes of UTF-8.
        length: usize,
    },
    /// The tokenizer failed on a text.
    #[error("the text cannot be tokenized: {0}")]
    Failed(String),
}

impl Tokenizer {
    /// The longest text that is accepted, in bytes of UTF-8.
    ///
    /// A context of 77 tokens holds some 300 characters; the rest would be cut off anyway. The limit keeps
    /// a hostile text from taking more than milliseconds.
    pub const MAX_TEXT_BYTES: usize = 16 * 1024;

    /// Reads a `tokenizer.json` for a text encoder that takes `context_length` tokens (77 for CLIP).
    ///
    /// # Errors
    /// Not a `tokenizer.json`, not CLIP's kind of tokenizer, or a context too short for any text.
    pub fn from_json(json: &[u8], context_length: usize) -> Result<Self, TokenizerError> {
        let mut bpe = tokenizers::Tokenizer::from_bytes(json)
            .map_err(|error| TokenizerError::Malformed(error.to_string()))?;
        check_byte_level(bpe.get_model())?;
        // The file's own padding and truncation say nothing about our context; its normalizer is an
        // approximation of the cleaning that happens here.
        bpe.with_padding(None).with_normalizer(None::<NormalizerWrapper>);
        bpe.with_truncation(None).map_err(|error| TokenizerError::Malformed(error.to_string()))?;
        // "<|endoftext|>" in a text is plain text.
        bpe.set_encode_special_tokens(true);

        let empty =
            bpe.encode_fast("", true).map_err(|error| TokenizerError::Malformed(error.to_string()))?;
        let &[start, end] = empty.get_ids() else {
            return Err(TokenizerError::NotClip(
                "it does not enclose texts in start-of-text and end-of-text",
            ));
        };
        if context_length < 3 {
            return Err(TokenizerError::ContextLength(context_length));
        }
        Ok(Self { bpe, start, end, context_length })
    }

    /// The tokens of `text`, which is cut off where it exceeds the context length.
    ///
    /// # Errors
    /// The text is longer than [`Self::MAX_TEXT_BYTES`].
    pub fn encode(&self, text: &str) -> Result<Tokens, TokenizerError> {
        if text.len() > Self::MAX_TEXT_BYTES {
            return Err(TokenizerError::TextTooLong { length: text.len() });
        }
        let room = self.context_length - 2;
        let clean = text_cleaning::clean(text);
        // Words are tokenized independently, each to one token at least: no later word can be in the context.
        let words = leading_words(&clean, room);
        let encoding =
            self.bpe.encode_fast(words, false).map_err(|error| TokenizerError::Failed(error.to_string()))?;
        let ids = encoding.get_ids();
        let ids = &ids[..ids.len().min(room)];
        Ok(Tokens([&[self.start], ids, &[self.end]].concat().into()))
    }
}

/// With all 256 bytes in the vocabulary, inside and at the end of a word, every text has tokens.
fn check_byte_level(model: &ModelWrapper) -> Result<(), TokenizerError> {
    let ModelWrapper::BPE(bpe) = model else {
        return Err(TokenizerError::NotClip("its model is not BPE"));
    };
    let Some(suffix) = &bpe.end_of_word_suffix else {
        return Err(TokenizerError::NotClip("its words have no end-of-word suffix"));
    };
    let vocabulary = bpe.get_vocab();
    let complete = ByteLevel::alphabet().iter().all(|byte| {
        vocabulary.contains_key(&byte.to_string()) && vocabulary.contains_key(&format!("{byte}{suffix}"))
    });
    if complete { Ok(()) } else { Err(TokenizerError::NotClip("its vocabulary lacks bytes")) }
}

/// The first `count` words of a text whose words are separated by single spaces.
fn leading_words(text: &str, count: usize) -> &str {
    match text.match_indices(' ').nth(count - 1) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}
