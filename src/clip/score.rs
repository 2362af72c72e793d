//! Scores: from embeddings to a ranking of prompts.

use thiserror::Error;

use super::{Embedding, EmbeddingError};

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
    /// Scores below are left out, before `top_k` counts; [`f32::NEG_INFINITY`] leaves out none.
    pub threshold: f32,
}

/// One prompt's result. Results are ordered best first; the rank is the position + 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Classification {
    /// Index into the prompts of the request.
    pub prompt: usize,
    /// Softmax or sigmoid probability, or the cosine. Never NaN.
    pub score: f32,
    /// Cosine between image and prompt.
    pub cosine: f32,
}

/// Why scores cannot be computed.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ScoreError {
    /// Image and prompts come from different models.
    #[error(transparent)]
    Embedding(#[from] EmbeddingError),
    /// The scale is NaN, infinite, zero or negative.
    #[error("the logit scale must be a positive finite number, not {0}")]
    LogitScale(f32),
    /// The bias is NaN or infinite.
    #[error("the logit bias must be a finite number, not {0}")]
    LogitBias(f32),
    /// The threshold is NaN.
    #[error("the threshold must be a number")]
    Threshold,
}

/// Ranks the prompts for an image: best score first, equal scores in the order of the prompts.
///
/// Without a logit bias, one prompt alone scores its cosine: a softmax over it says nothing.
///
/// # Errors
/// Embeddings of different dimensions; a scale, bias or threshold out of its range.
pub fn classify(
    image: &Embedding,
    prompts: &[Embedding],
    scoring: &Scoring,
    selection: &Selection,
) -> Result<Vec<Classification>, ScoreError> {
    if !(scoring.logit_scale.is_finite() && scoring.logit_scale > 0.0) {
        return Err(ScoreError::LogitScale(scoring.logit_scale));
    }
    if let Some(bias) = scoring.logit_bias.filter(|bias| !bias.is_finite()) {
        return Err(ScoreError::LogitBias(bias));
    }
    if selection.threshold.is_nan() {
        return Err(ScoreError::Threshold);
    }

    let cosines = prompts.iter().map(|prompt| image.cosine(prompt)).collect::<Result<Vec<_>, _>>()?;
    let scores = scores(&cosines, scoring);

    let mut ranking: Vec<_> = scores
        .into_iter()
        .zip(cosines)
        .enumerate()
        .map(|(prompt, (score, cosine))| Classification { prompt, score, cosine })
        .filter(|result| result.score >= selection.threshold)
        .collect();
    // The sort is stable, which keeps equal scores in the order of the prompts.
    ranking.sort_by(|a, b| b.score.total_cmp(&a.score));
    ranking.truncate(selection.top_k);
    Ok(ranking)
}

fn scores(cosines: &[f32], scoring: &Scoring) -> Vec<f32> {
    // In f64: the product of a cosine and any finite f32 scale, and the difference of two, stay finite.
    let scale = f64::from(scoring.logit_scale);
    match scoring.logit_bias {
        _ if !scoring.apply_softmax => cosines.to_vec(),
        Some(bias) => cosines.iter().map(|&c| sigmoid(scale * f64::from(c) + f64::from(bias))).collect(),
        None if cosines.len() < 2 => cosines.to_vec(),
        None => softmax(&cosines.iter().map(|&c| scale * f64::from(c)).collect::<Vec<_>>()),
    }
}

/// Stable softmax: the largest exponent is 0, so nothing overflows and the sum is at least 1.
#[allow(clippy::cast_possible_truncation, reason = "rounding to f32 is the point")]
fn softmax(logits: &[f64]) -> Vec<f32> {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = logits.iter().map(|logit| (logit - max).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|e| (e / sum) as f32).collect()
}

#[allow(clippy::cast_possible_truncation, reason = "rounding to f32 is the point")]
fn sigmoid(logit: f64) -> f32 {
    (1.0 / (1.0 + (-logit).exp())) as f32
}
