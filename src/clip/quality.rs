//! Prompt quality: whether a ranking says anything, and which prompts keep it from doing so.
//!
//! Only comparisons within one request are judged. Deliberately not here: whether the best prompt is
//! *true*, which no score of CLIP says, and sentences for people.

use super::{Classification, Embedding, EmbeddingError};

/// A winner is clear if it is so many times as likely as the runner-up.
///
/// Measured on the demo model (970 held-out pictures, ten captions each, one of them right): below these
/// odds 73 % of the winners are right, from them on 98.9 %. They mark 4 % of the right answers, 57 % of
/// the wrong ones, and 42 % of the rankings in which no caption was right. At odds of 2 only 43 % of the
/// wrong ones are marked, at 10 also one right answer of ten.
pub const CLEAR_ODDS: f64 = 3.0;

/// From this cosine on, two prompts are the same to the model.
///
/// Measured on the demo model: prompts of different meaning stay below 0.92 (8,730 pairs of captions,
/// most of which differ in one attribute), three quarters of the rewordings of one meaning reach 0.97
/// (375 pairs), and spelling variants 0.997. CLIP models trained on photographs put all texts closer
/// together, so the bound lies nearer to the rewordings.
pub const NEAR_DUPLICATE: f32 = 0.97;

/// Only so many of the best prompts are compared with each other: what ranks behind them has no part in
/// the result, and the comparisons grow with the square.
pub const MOST_COMPARED: usize = 64;

/// What can be said about a ranking.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quality {
    /// How far the best prompt is ahead; `None` without a prompt that says something else.
    pub margin: Option<Margin>,
    /// Pairs that the model does not tell apart, the better ranked first.
    pub near_duplicates: Vec<NearDuplicate>,
}

/// The lead of the best prompt over the best that is not a near-duplicate of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Margin {
    /// Index of the best prompt.
    pub winner: usize,
    /// Index of the next one that says something else.
    pub runner_up: usize,
    /// Difference of their cosines to the picture, 0…2.
    pub cosine: f32,
    /// How many times as likely the winner is: e to the logit scale × the difference. At least 1, finite.
    pub odds: f64,
}

/// Two prompts with almost the same embedding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NearDuplicate {
    /// Indices of the prompts, the better ranked first.
    pub prompts: [usize; 2],
    /// Cosine between them.
    pub cosine: f32,
}

impl Margin {
    /// Whether the winner can be relied upon, as far as the other prompts are concerned.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.odds >= CLEAR_ODDS
    }
}

/// Judges a ranking of all prompts, best first. `logit_scale` is the one that the model was trained with,
/// whatever the scores were made of.
///
/// # Errors
/// Embeddings of different dimensions.
pub fn judge(
    ranking: &[Classification],
    prompts: &[Embedding],
    logit_scale: f32,
) -> Result<Quality, EmbeddingError> {
    let best = &ranking[..ranking.len().min(MOST_COMPARED)];
    let mut near_duplicates = Vec::new();
    for (index, better) in best.iter().enumerate() {
        for worse in &best[index + 1..] {
            let cosine = prompts[better.prompt].cosine(&prompts[worse.prompt])?;
            if cosine >= NEAR_DUPLICATE {
                near_duplicates.push(NearDuplicate { prompts: [better.prompt, worse.prompt], cosine });
            }
        }
    }
    let margin = best.first().and_then(|winner| {
        let repeats_winner = |other: &Classification| {
            near_duplicates.iter().any(|pair| pair.prompts == [winner.prompt, other.prompt])
        };
        let runner_up = ranking[1..].iter().find(|other| !repeats_winner(other))?;
        let cosine = winner.cosine - runner_up.cosine;
        Some(Margin {
            winner: winner.prompt,
            runner_up: runner_up.prompt,
            cosine,
            odds: (f64::from(logit_scale) * f64::from(cosine)).exp().min(f64::MAX),
        })
    });
    Ok(Quality { margin, near_duplicates })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clip::{Scoring, Selection, classify};

    const ALL: Selection = Selection { top_k: usize::MAX, threshold: f32::NEG_INFINITY };

    /// An embedding at an angle from the picture's, in degrees.
    fn at(degrees: f32) -> Embedding {
        let radians = degrees.to_radians();
        Embedding::normalize(&[radians.cos(), radians.sin()]).unwrap()
    }

    fn quality(degrees: &[f32], logit_scale: f32) -> Quality {
        let prompts: Vec<_> = degrees.iter().map(|degrees| at(*degrees)).collect();
        let scoring = Scoring { logit_scale, logit_bias: None, apply_softmax: true };
        let ranking = classify(&at(0.0), &prompts, &scoring, &ALL).unwrap();
        judge(&ranking, &prompts, logit_scale).unwrap()
    }

    #[test]
    fn the_margin_is_between_the_two_best() {
        let margin = quality(&[80.0, 20.0, 60.0], 10.0).margin.unwrap();
        assert_eq!((margin.winner, margin.runner_up), (1, 2));
        assert!((margin.cosine - 0.439_693).abs() < 1e-5);
        assert!((margin.odds - 4.396_93_f64.exp()).abs() < 1e-2);
        assert!(margin.is_clear());
    }

    #[test]
    fn clear_begins_at_three_times_as_likely() {
        let margin = |odds| Margin { winner: 0, runner_up: 1, cosine: 0.1, odds };
        assert!(margin(3.0).is_clear() && !margin(2.999).is_clear());
        // The same prompts are told apart by a model of larger scale.
        assert!(!quality(&[40.0, -60.0], 3.0).margin.unwrap().is_clear());
        assert!(quality(&[40.0, -60.0], 100.0).margin.unwrap().is_clear());
    }

    #[test]
    fn a_duplicate_of_the_winner_is_no_rival() {
        // cos 10° is 0.985, cos 20° is 0.940.
        let quality = quality(&[90.0, 30.0, 40.0, 60.0], 10.0);
        assert_eq!(quality.near_duplicates.len(), 1);
        assert_eq!(quality.near_duplicates[0].prompts, [1, 2]);
        let margin = quality.margin.unwrap();
        assert_eq!((margin.winner, margin.runner_up), (1, 3));
    }

    #[test]
    fn the_bound_lies_between_meanings_and_rewordings() {
        let cosine = |cosine: f32| quality(&[0.0, cosine.acos().to_degrees()], 10.0).near_duplicates.len();
        assert_eq!([0.92, 0.965, 0.975, 1.0].map(cosine), [0, 0, 1, 1]);
    }

    #[test]
    fn without_another_prompt_there_is_no_margin() {
        assert_eq!(quality(&[], 100.0), Quality::default());
        assert_eq!(quality(&[30.0], 100.0), Quality::default());
        let twice = quality(&[30.0, 30.0], 100.0);
        assert_eq!((twice.margin, twice.near_duplicates.len()), (None, 1));
    }

    #[test]
    fn many_prompts_cost_no_more_than_a_few() {
        let same = vec![30.0; 1000];
        assert_eq!(quality(&same, 100.0).near_duplicates.len(), MOST_COMPARED * (MOST_COMPARED - 1) / 2);
    }

    proptest! {
        #[test]
        fn margins_are_numbers_and_never_negative(
            degrees in prop::collection::vec(0.0..180.0_f32, 0..12),
            scale in prop_oneof![0.01..1000.0_f32, Just(f32::MAX)],
        ) {
            if let Some(margin) = quality(&degrees, scale).margin {
                prop_assert!(margin.cosine >= 0.0 && margin.odds >= 1.0 && margin.odds.is_finite());
            }
        }
    }
}
