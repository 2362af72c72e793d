//! Scores: from embeddings to a ranking of prompts.
use super::Embedding;
use thiserror::Error;

/// How cosines become scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scoring {
    /// Factor on the cosine, already exponentiated (100.0 for CLIP).
    pub logit_scale: f32,
    /// With a bias (SigLIP), each prompt's score is a sigmoid of its own; without one, a softmax over all prompts.
    pub logit_bias: Option<f32>,
    /// Off: scores are the cosines themselves.
    pub apply_softmax: bool,
}

/// Which of the scored prompts are answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Selection {
    /// At most so many, the best first.
    pub top_k: usize,
    /// Scores below are left out, before `top_k` counts.
    pub threshold: f32,
}

/// One prompt's result. Results are ordered best first; the rank is the position + 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Classification {
    /// Index into the prompts of the request.
    pub prompt: usize,
    /// Softmax or sigmoid probability, or the cosine.
    pub score: f32,
    /// Cosine between image and prompt.
    pub cosine: f32,
}

/// Why scores cannot be computed.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ScoreError {}

/// Ranks the prompts for an image. One prompt alone scores its cosine: a softmax over it says nothing.
///
/// # Errors
/// TODO
pub fn classify(
    _image: &Embedding,
    _prompts: &[Embedding],
    _scoring: &Scoring,
    _selection: &Selection,
) -> Result<Vec<Classification>, ScoreError> {
    todo!()
}
