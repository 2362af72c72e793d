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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Selection = Selection { top_k: usize::MAX, threshold: f32::NEG_INFINITY };
    const CLIP: Scoring = Scoring { logit_scale: 100.0, logit_bias: None, apply_softmax: true };

    fn embedding(raw: &[f32]) -> Embedding {
        Embedding::normalize(raw).unwrap()
    }

    /// An image along the first axis, and a prompt at each of these cosines to it.
    fn at_cosines(cosines: &[f32]) -> (Embedding, Vec<Embedding>) {
        let prompts = cosines.iter().map(|c| embedding(&[*c, (1.0 - c * c).sqrt()])).collect();
        (embedding(&[1.0, 0.0]), prompts)
    }

    fn ranking(cosines: &[f32], scoring: &Scoring, selection: &Selection) -> Vec<(usize, f32)> {
        let (image, prompts) = at_cosines(cosines);
        let results = classify(&image, &prompts, scoring, selection).unwrap();
        results.iter().map(|result| (result.prompt, result.score)).collect()
    }

    fn assert_close(ours: &[(usize, f32)], expected: &[(usize, f32)]) {
        assert_eq!(ours.len(), expected.len(), "{ours:?}");
        for (ours, expected) in ours.iter().zip(expected) {
            assert!(ours.0 == expected.0 && (ours.1 - expected.1).abs() < 1e-5, "{ours:?} {expected:?}");
        }
    }

    #[test]
    fn softmax_over_several_prompts() {
        // exp(20), exp(22), exp(21) over their sum.
        let expected = [(1, 0.665_241), (2, 0.244_728), (0, 0.090_031)];
        assert_close(&ranking(&[0.20, 0.22, 0.21], &CLIP, &ALL), &expected);
    }

    #[test]
    fn one_prompt_scores_its_cosine() {
        assert_close(&ranking(&[0.25], &CLIP, &ALL), &[(0, 0.25)]);
        assert_eq!(ranking(&[], &CLIP, &ALL), []);
    }

    #[test]
    fn a_bias_makes_each_score_a_sigmoid() {
        let siglip = Scoring { logit_scale: 100.0, logit_bias: Some(-10.0), apply_softmax: true };
        assert_close(&ranking(&[0.1], &siglip, &ALL), &[(0, 0.5)]);
        assert_close(&ranking(&[0.08, 0.12], &siglip, &ALL), &[(1, 0.880_797), (0, 0.119_203)]);
    }

    #[test]
    fn without_softmax_scores_are_cosines() {
        for logit_bias in [None, Some(-10.0)] {
            let scoring = Scoring { apply_softmax: false, logit_bias, ..CLIP };
            assert_close(&ranking(&[-0.5, 0.5], &scoring, &ALL), &[(1, 0.5), (0, -0.5)]);
        }
    }

    #[test]
    fn the_threshold_counts_before_top_k_and_equal_scores_keep_their_order() {
        let cosines = Scoring { apply_softmax: false, ..CLIP };
        let selection = Selection { top_k: 3, threshold: 0.5 };
        let ranked = ranking(&[0.5, 0.6, 0.4, 0.6, 0.6], &cosines, &selection);
        assert_eq!(ranked.iter().map(|(prompt, _)| *prompt).collect::<Vec<_>>(), [1, 3, 4]);
        assert_eq!(ranking(&[0.5, 0.6], &cosines, &Selection { top_k: 0, ..selection }), []);
    }

    #[test]
    fn refuses_what_would_not_be_a_number() {
        let (image, prompts) = at_cosines(&[0.1, 0.2]);
        let error = |scoring, selection| classify(&image, &prompts, &scoring, &selection).unwrap_err();
        for scale in [f32::INFINITY, f32::NEG_INFINITY, 0.0, -1.0] {
            assert_eq!(error(Scoring { logit_scale: scale, ..CLIP }, ALL), ScoreError::LogitScale(scale));
        }
        assert!(matches!(error(Scoring { logit_scale: f32::NAN, ..CLIP }, ALL), ScoreError::LogitScale(_)));
        let bias = Some(f32::INFINITY);
        assert_eq!(error(Scoring { logit_bias: bias, ..CLIP }, ALL), ScoreError::LogitBias(f32::INFINITY));
        assert_eq!(error(CLIP, Selection { threshold: f32::NAN, ..ALL }), ScoreError::Threshold);
        let other_model = embedding(&[1.0, 0.0, 0.0]);
        assert_eq!(
            classify(&image, &[other_model], &CLIP, &ALL),
            Err(EmbeddingError::Dimensions(2, 3).into())
        );
    }

    fn scoring() -> impl Strategy<Value = Scoring> {
        let scale = prop_oneof![0.01..1000.0_f32, Just(f32::MAX), Just(f32::MIN_POSITIVE)];
        let bias = prop::option::of(prop_oneof![-100.0..100.0_f32, Just(f32::MAX), Just(f32::MIN)]);
        (scale, bias, any::<bool>()).prop_map(|(logit_scale, logit_bias, apply_softmax)| Scoring {
            logit_scale,
            logit_bias,
            apply_softmax,
        })
    }

    fn cosines() -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec(prop_oneof![-1.0..=1.0_f32, Just(1.0), Just(-1.0), Just(0.0)], 0..20)
    }

    proptest! {
        #[test]
        fn scores_are_ordered_numbers(cosines in cosines(), scoring in scoring()) {
            let ranked = ranking(&cosines, &scoring, &ALL);
            prop_assert_eq!(ranked.len(), cosines.len());
            prop_assert!(ranked.iter().all(|(_, score)| score.is_finite() && score.abs() <= 1.0));
            prop_assert!(ranked.is_sorted_by(|a, b| a.1 > b.1 || (a.1 == b.1 && a.0 < b.0)));
        }

        #[test]
        fn a_softmax_sums_to_one(
            cosines in prop::collection::vec(-1.0..=1.0_f32, 2..20),
            logit_scale in prop_oneof![0.01..1000.0_f32, Just(f32::MAX)],
        ) {
            let ranked = ranking(&cosines, &Scoring { logit_scale, ..CLIP }, &ALL);
            let sum: f64 = ranked.iter().map(|(_, score)| f64::from(*score)).sum();
            prop_assert!((sum - 1.0).abs() < 1e-5, "{}", sum);
        }

        #[test]
        fn the_order_of_the_prompts_does_not_matter(
            (cosines, shuffled) in cosines().prop_flat_map(|cosines| {
                let order: Vec<usize> = (0..cosines.len()).collect();
                (Just(cosines), Just(order).prop_shuffle())
            }),
            scoring in scoring(),
        ) {
            let (image, prompts) = at_cosines(&cosines);
            let permuted: Vec<_> = shuffled.iter().map(|&prompt| prompts[prompt].clone()).collect();
            let before = classify(&image, &prompts, &scoring, &ALL).unwrap();
            let after = classify(&image, &permuted, &scoring, &ALL).unwrap();
            let mut by_prompt = vec![f32::NAN; prompts.len()];
            for result in after {
                by_prompt[shuffled[result.prompt]] = result.score;
            }
            for result in before {
                prop_assert!((result.score - by_prompt[result.prompt]).abs() < 1e-6);
            }
        }

        #[test]
        fn a_selection_is_the_head_of_the_whole(
            cosines in cosines(),
            scoring in scoring(),
            top_k in 0..25_usize,
            threshold in prop_oneof![-1.0..=1.0_f32, Just(f32::NEG_INFINITY), Just(f32::INFINITY)],
        ) {
            let mut expected = ranking(&cosines, &scoring, &ALL);
            expected.retain(|(_, score)| *score >= threshold);
            expected.truncate(top_k);
            prop_assert_eq!(ranking(&cosines, &scoring, &Selection { top_k, threshold }), expected);
        }
    }
}
