//! The domain: what CLIP is, without any machinery around it.
//!
//! Here are the tokenizer, image pre-processing, embeddings, scores and their quality. Deliberately not here:
//! files, threads, async, clocks, wire formats and the networks themselves.

pub mod embedding;
pub mod image;
pub mod prompt;
pub mod quality;
pub mod score;
pub mod tokenizer;

pub use embedding::{Embedding, EmbeddingError};
pub use image::{Draft, Fit, ImageError, ImageLimits, ImageSpec, Picture, Pixels};
pub use prompt::{PromptTemplate, PromptTemplateError};
pub use score::{Classification, ScoreError, Scoring, Selection, classify};
pub use tokenizer::{Tokenizer, TokenizerError, Tokens};
