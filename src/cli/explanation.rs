//! Warnings about prompts, and the figures of `--explain`, in words and in JSON.

use serde::Serialize;

use super::{
    console::{Console, escape},
    pictures::Picture,
    wire::Details,
};

/// A warning that holds for the prompts, whatever the picture.
const OF_PROMPTS: &str = "near_duplicates";

/// Tells warnings: of each picture, or of the prompts once.
pub(super) struct Warnings {
    silent: bool,
    prompts_are_told: bool,
}

#[derive(Serialize)]
pub(super) struct Warning<'a> {
    code: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
pub(super) struct Explanation<'a> {
    margin: Option<Margin<'a>>,
    near_duplicates: Vec<NearDuplicate<'a>>,
    templates: Vec<TemplateEffect<'a>>,
}

#[derive(Serialize)]
struct Margin<'a> {
    winner: &'a str,
    runner_up: &'a str,
    cosine: f64,
    odds: f64,
}

#[derive(Serialize)]
struct NearDuplicate<'a> {
    prompts: [&'a str; 2],
    cosine: f64,
}

#[derive(Serialize)]
struct TemplateEffect<'a> {
    template: &'a str,
    winner: &'a str,
    odds: f64,
}

impl Warnings {
    pub(super) fn new(silent: bool) -> Self {
        Self { silent, prompts_are_told: false }
    }

    /// Complains about what the service found.
    pub(super) fn tell(&mut self, console: &mut Console, picture: &Picture, details: &Details) {
        if self.silent {
            return;
        }
        for Warning { code, message } in warnings(details) {
            if code != OF_PROMPTS {
                console.complain(format_args!("{}: warning: {}", picture.title(), escape(message)));
            } else if !std::mem::replace(&mut self.prompts_are_told, true) {
                console.complain(format_args!("warning: {}", escape(message)));
            }
        }
    }
}

/// The warnings about one picture and its prompts.
pub(super) fn warnings(details: &Details) -> Vec<Warning<'_>> {
    let warnings = details.warnings.as_deref().unwrap_or_default();
    warnings.iter().map(|(code, message)| Warning { code, message }).collect()
}

impl<'a> Explanation<'a> {
    pub(super) fn new(details: &'a Details) -> Self {
        Self {
            margin: Margin::of(details),
            near_duplicates: details
                .near_duplicates
                .iter()
                .flatten()
                .map(|(a, b, cosine)| NearDuplicate { prompts: [a, b], cosine: *cosine })
                .collect(),
            templates: details
                .templates
                .iter()
                .flatten()
                .map(|(template, winner, odds)| TemplateEffect { template, winner, odds: *odds })
                .collect(),
        }
    }
}

impl<'a> Margin<'a> {
    fn of(details: &'a Details) -> Option<Self> {
        Some(Self {
            winner: details.winner.as_deref()?,
            runner_up: details.runner_up.as_deref()?,
            cosine: details.margin_cosine?,
            odds: details.margin_odds?,
        })
    }
}

/// The explanation below a picture's chart.
pub(super) fn lines(details: &Details) -> String {
    let mut lines = String::new();
    match Margin::of(details) {
        Some(Margin { winner, runner_up, cosine, odds }) => {
            let (winner, runner_up) = (escape(winner), escape(runner_up));
            lines += &format!(
                "  \"{winner}\" is {} as likely as \"{runner_up}\" (cosine +{cosine:.4})\n",
                times(odds)
            );
        }
        None => lines += "  there is no other prompt to compare the best with\n",
    }
    for (a, b, cosine) in details.near_duplicates.iter().flatten() {
        lines +=
            &format!("  \"{}\" and \"{}\" are near-duplicates (cosine {cosine:.4})\n", escape(a), escape(b));
    }
    for (template, winner, odds) in details.templates.iter().flatten() {
        let template = match template.as_str() {
            "{}" => "without templates".to_owned(),
            template => format!("with \"{}\" alone", escape(template)),
        };
        lines +=
            &format!("  {template}: \"{}\" first, {} as likely as the next\n", escape(winner), times(*odds));
    }
    lines
}

/// Odds, for people.
fn times(odds: f64) -> String {
    match odds {
        odds if odds < 10.0 => format!("{odds:.1} times"),
        odds if odds < 1e6 => format!("{odds:.0} times"),
        _ => "over a million times".to_owned(),
    }
}

impl Details {
    /// The cosine of the classification at this place.
    pub(super) fn cosine(&self, index: usize) -> Option<f32> {
        #[expect(clippy::cast_possible_truncation, reason = "the service computes in f32")]
        self.cosines.as_ref()?.get(index).map(|cosine| *cosine as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_a_line() {
        let details = Details {
            winner: Some("a cat".into()),
            runner_up: Some("a \x1bdog".into()),
            margin_cosine: Some(0.0321),
            margin_odds: Some(24.7),
            near_duplicates: Some(vec![("a cat".into(), "cat".into(), 0.99)]),
            templates: Some(vec![
                ("{}".into(), "a dog".into(), 1.25),
                ("a photo of {}".into(), "a cat".into(), 3e9),
            ]),
            ..Details::default()
        };
        assert_eq!(
            lines(&details).lines().collect::<Vec<_>>(),
            [
                r#"  "a cat" is 25 times as likely as "a \u{1b}dog" (cosine +0.0321)"#,
                r#"  "a cat" and "cat" are near-duplicates (cosine 0.9900)"#,
                r#"  without templates: "a dog" first, 1.2 times as likely as the next"#,
                r#"  with "a photo of {}" alone: "a cat" first, over a million times as likely as the next"#,
            ]
        );
        assert!(lines(&Details::default()).contains("no other prompt"));
    }
}
