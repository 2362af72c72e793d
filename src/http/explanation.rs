//! The explanation of a classification, as JSON.

use serde::Serialize;

use crate::engine;

#[derive(Serialize)]
pub(super) struct Explanation {
    warnings: Vec<Warning>,
    /// `null` without a prompt that says something else.
    margin: Option<Margin>,
    near_duplicates: Vec<NearDuplicate>,
    templates: Vec<TemplateEffect>,
}

#[derive(Serialize)]
struct Warning {
    code: &'static str,
    message: String,
}

#[derive(Serialize)]
struct Margin {
    winner: String,
    runner_up: String,
    cosine: f32,
    odds: f64,
}

#[derive(Serialize)]
struct NearDuplicate {
    prompts: [String; 2],
    cosine: f32,
}

#[derive(Serialize)]
struct TemplateEffect {
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
