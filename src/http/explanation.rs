//! The explanation of a classification, as JSON.

use serde::Serialize;
use utoipa::ToSchema;

use crate::engine;

/// What is to be thought of a ranking.
#[derive(Serialize, ToSchema)]
pub(super) struct Explanation {
    warnings: Vec<Warning>,
    /// `null` without a prompt that says something else.
    margin: Option<Margin>,
    near_duplicates: Vec<NearDuplicate>,
    templates: Vec<TemplateEffect>,
}

/// What is wrong with the prompts.
#[derive(Serialize, ToSchema)]
pub(super) struct Warning {
    code: &'static str,
    message: String,
}

/// How far the winner is ahead.
#[derive(Serialize, ToSchema)]
pub(super) struct Margin {
    winner: String,
    runner_up: String,
    cosine: f32,
    odds: f64,
}

/// Two prompts that say the same.
#[derive(Serialize, ToSchema)]
pub(super) struct NearDuplicate {
    #[schema(value_type = Vec<String>, min_items = 2, max_items = 2)]
    prompts: [String; 2],
    cosine: f32,
}

/// The ranking with one template alone.
#[derive(Serialize, ToSchema)]
pub(super) struct TemplateEffect {
    template: String,
    winner: String,
    margin: Option<Margin>,
    /// In the order of the request's prompts.
    cosines: Vec<f32>,
}

impl From<engine::Explanation> for Explanation {
    fn from(explanation: engine::Explanation) -> Self {
        let engine::Explanation { warnings, margin, near_duplicates, templates } = explanation;
        Self {
            warnings: warnings
                .into_iter()
                .map(|warning| Warning { code: warning.code.as_str(), message: warning.message })
                .collect(),
            margin: margin.map(Margin::from),
            near_duplicates: near_duplicates
                .into_iter()
                .map(|pair| NearDuplicate { prompts: pair.prompts, cosine: pair.cosine })
                .collect(),
            templates: templates
                .into_iter()
                .map(|effect| TemplateEffect {
                    template: effect.template,
                    winner: effect.winner,
                    margin: effect.margin.map(Margin::from),
                    cosines: effect.cosines,
                })
                .collect(),
        }
    }
}

impl From<engine::Margin> for Margin {
    fn from(margin: engine::Margin) -> Self {
        let engine::Margin { winner, runner_up, cosine, odds } = margin;
        Self { winner, runner_up, cosine, odds }
    }
}
