//! The explanation of a classification, as entries of its details.

use zbus::Variant;

use super::interface::Details;
use crate::engine::{Explanation, ScoredPrompt};

/// Adds what the method's documentation says.
pub(super) fn add(details: &mut Details, explanation: &Explanation, classifications: &[ScoredPrompt]) {
    let cosines: Vec<f64> = classifications.iter().map(|prompt| prompt.cosine.into()).collect();
    let warnings: Vec<(String, String)> = explanation
        .warnings
        .iter()
        .map(|warning| (warning.code.as_str().to_owned(), warning.message.clone()))
        .collect();
    let near_duplicates: Vec<(String, String, f64)> = explanation
        .near_duplicates
        .iter()
        .map(|pair| (pair.prompts[0].clone(), pair.prompts[1].clone(), pair.cosine.into()))
        .collect();
    details.insert("cosines", Variant::new(cosines));
    details.insert("warnings", Variant::new(warnings));
    details.insert("near_duplicates", Variant::new(near_duplicates));
    if let Some(margin) = &explanation.margin {
        details.insert("winner", margin.winner.clone().into());
        details.insert("runner_up", margin.runner_up.clone().into());
        details.insert("margin_cosine", f64::from(margin.cosine).into());
        details.insert("margin_odds", margin.odds.into());
    }
    if !explanation.templates.is_empty() {
        let templates: Vec<(String, String, f64)> = explanation
            .templates
            .iter()
            .map(|effect| {
                let odds = effect.margin.as_ref().map_or(1.0, |margin| margin.odds);
                (effect.template.clone(), effect.winner.clone(), odds)
            })
            .collect();
        details.insert("templates", Variant::new(templates));
    }
}
