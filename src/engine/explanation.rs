//! What a classification says about its prompts besides the scores: warnings, and the figures behind them.
//!
//! The judgement is the domain's (`clip::quality`); here it is put together and put into words.

use super::{ClassifyRequest, flow::EncodedTexts};
use crate::clip::{
    self, Classification, Embedding, ScoreError, Scoring, Selection,
    quality::{self, CLEAR_ODDS},
};

/// Longest part of a prompt that a warning quotes, in characters.
const QUOTED: usize = 60;

/// Most pairs of near-duplicates that are named.
const MOST_PAIRS: usize = 16;

/// How much is to be explained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Explain {
    /// Nothing.
    #[default]
    Nothing,
    /// Everything that takes no further work of the encoders: all but the effect of the templates.
    Warnings,
    /// The effect of the templates as well, for which the prompts are also encoded as they are.
    Everything,
}

/// What can be said about a classification.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// What is wrong with the prompts or the threshold, the gravest first.
    pub warnings: Vec<Warning>,
    /// How far the best prompt is ahead; `None` without a prompt that says something else.
    pub margin: Option<Margin>,
    /// Pairs that the model does not tell apart, the best ranked first.
    pub near_duplicates: Vec<NearDuplicate>,
    /// What the prompts alone would have given, as the template `{}`, then each template alone. Empty without
    /// templates, or if only warnings were asked for.
    pub templates: Vec<TemplateEffect>,
}

/// Something that the caller may want to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// For programs.
    pub code: WarningCode,
    /// For people: what, why, and what to do. It quotes prompts as the caller wrote them.
    pub message: String,
}

/// What a warning is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarningCode {
    /// The threshold leaves no result.
    ThresholdHidesAll,
    /// The best prompts are too close to each other.
    NoClearWinner,
    /// Prompts mean the same to the model.
    NearDuplicates,
}

impl WarningCode {
    /// The name used in every interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ThresholdHidesAll => "threshold_hides_all",
            Self::NoClearWinner => "no_clear_winner",
            Self::NearDuplicates => "near_duplicates",
        }
    }
}

/// The lead of the best prompt over the best that is not a near-duplicate of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Margin {
    /// The best prompt.
    pub winner: String,
    /// The next one that says something else.
    pub runner_up: String,
    /// Difference of their cosines to the picture.
    pub cosine: f32,
    /// How many times as likely the winner is, by the model's own logit scale.
    pub odds: f64,
}

/// Two prompts with almost the same embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct NearDuplicate {
    /// The prompts, the better ranked first.
    pub prompts: [String; 2],
    /// Cosine between them.
    pub cosine: f32,
}

/// The ranking that one template alone gives.
#[derive(Clone, Debug, PartialEq)]
pub struct TemplateEffect {
    /// The template; `{}` stands for the prompts as they are.
    pub template: String,
    /// The prompt that it puts first.
    pub winner: String,
    /// How far that one is ahead.
    pub margin: Option<Margin>,
    /// Cosine between the picture and each prompt, in the order of the request.
    pub cosines: Vec<f32>,
}

/// A classification that is to be explained.
pub(super) struct Explained<'a> {
    pub(super) request: &'a ClassifyRequest,
    pub(super) image: &'a Embedding,
    pub(super) texts: &'a EncodedTexts,
    /// The prompts without templates, if those are to be explained.
    pub(super) plain: &'a [Embedding],
    pub(super) scoring: Scoring,
    pub(super) logit_scale: f32,
    /// Whether the answer is empty.
    pub(super) is_empty: bool,
}

impl Explained<'_> {
    /// # Errors
    /// As [`clip::classify`].
    pub(super) fn explain(&self) -> Result<Option<Explanation>, ScoreError> {
        if self.request.options.explain == Explain::Nothing {
            return Ok(None);
        }
        let ranking = self.rank(&self.texts.embeddings)?;
        let quality = quality::judge(&ranking, &self.texts.embeddings, self.logit_scale)?;
        let mut warnings = Vec::new();
        if let (true, Some(best), Some(threshold)) =
            (self.is_empty, ranking.first(), self.request.options.threshold)
        {
            warnings.push(self.hidden(best, threshold));
        }
        warnings.extend(quality.margin.filter(|margin| !margin.is_clear()).map(|m| self.unclear(&m)));
        warnings.extend(self.duplicates(&quality.near_duplicates));
        let near_duplicates = quality.near_duplicates.iter().take(MOST_PAIRS).map(|pair| NearDuplicate {
            prompts: pair.prompts.map(|prompt| self.request.prompts[prompt].clone()),
            cosine: pair.cosine,
        });
        Ok(Some(Explanation {
            warnings,
            margin: quality.margin.map(|margin| self.margin(&margin)),
            near_duplicates: near_duplicates.collect(),
            templates: self.templates()?,
        }))
    }

    fn rank(&self, prompts: &[Embedding]) -> Result<Vec<Classification>, ScoreError> {
        let all = Selection { top_k: usize::MAX, threshold: f32::NEG_INFINITY };
        clip::classify(self.image, prompts, &self.scoring, &all)
    }

    fn templates(&self) -> Result<Vec<TemplateEffect>, ScoreError> {
        let mut effects = Vec::new();
        if self.plain.is_empty() {
            return Ok(effects);
        }
        let templates = &self.request.options.templates;
        effects.extend(self.effect("{}".to_owned(), self.plain)?);
        for (index, template) in templates.iter().enumerate() {
            let parts: Vec<_> =
                self.texts.parts.iter().skip(index).step_by(templates.len()).cloned().collect();
            effects.extend(self.effect(template.to_string(), &parts)?);
        }
        Ok(effects)
    }

    /// What these embeddings of the prompts would have given.
    fn effect(&self, template: String, prompts: &[Embedding]) -> Result<Option<TemplateEffect>, ScoreError> {
        let ranking = self.rank(prompts)?;
        let margin = quality::judge(&ranking, prompts, self.logit_scale)?.margin;
        let cosines = prompts.iter().map(|prompt| self.image.cosine(prompt)).collect::<Result<_, _>>()?;
        Ok(ranking.first().map(|winner| TemplateEffect {
            template,
            winner: self.request.prompts[winner.prompt].clone(),
            margin: margin.map(|margin| self.margin(&margin)),
            cosines,
        }))
    }

    fn margin(&self, margin: &quality::Margin) -> Margin {
        Margin {
            winner: self.request.prompts[margin.winner].clone(),
            runner_up: self.request.prompts[margin.runner_up].clone(),
            cosine: margin.cosine,
            odds: margin.odds,
        }
    }

    fn hidden(&self, best: &Classification, threshold: f32) -> Warning {
        let count = self.request.prompts.len();
        let all = if count == 1 { "the prompt".to_owned() } else { format!("all {count} prompts") };
        let kind = if self.scores_are_cosines() { " (a cosine: seldom far above 0.3)" } else { "" };
        Warning {
            code: WarningCode::ThresholdHidesAll,
            message: format!(
                "the threshold {threshold} hides {all}: the best, {}, scores {:.4}{kind}; lower the threshold, \
                 or none of them is in the picture",
                self.quote(best.prompt),
                best.score
            ),
        }
    }

    fn scores_are_cosines(&self) -> bool {
        !self.scoring.apply_softmax || (self.scoring.logit_bias.is_none() && self.request.prompts.len() == 1)
    }

    fn unclear(&self, margin: &quality::Margin) -> Warning {
        Warning {
            code: WarningCode::NoClearWinner,
            message: format!(
                "no prompt clearly wins: {} is only {:.1} times as likely as {} (from {CLEAR_ODDS} on it would be \
                 clear); say more exactly what tells them apart, or add the prompt that is missing",
                self.quote(margin.winner),
                margin.odds,
                self.quote(margin.runner_up)
            ),
        }
    }

    fn duplicates(&self, pairs: &[quality::NearDuplicate]) -> Option<Warning> {
        let first = pairs.first()?;
        let more = match pairs.len() - 1 {
            0 => String::new(),
            1 => ", and so does another pair".to_owned(),
            more => format!(", and so do {more} other pairs"),
        };
        let [better, worse] = first.prompts;
        Some(Warning {
            code: WarningCode::NearDuplicates,
            message: format!(
                "{} and {} mean almost the same to the model (cosine {:.3}){more}; they share the score of one: \
                 keep one of them",
                self.quote(better),
                self.quote(worse),
                first.cosine
            ),
        })
    }

    fn quote(&self, prompt: usize) -> String {
        let text = &self.request.prompts[prompt];
        match text.char_indices().nth(QUOTED) {
            None => format!("\"{text}\""),
            Some((end, _)) => format!("\"{}…\"", &text[..end]),
        }
    }
}
