//! When another prompt has won.

/// What counts as winning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// Below this, a picture says nothing.
    pub(super) min_score: f32,
    /// Pictures in a row on which a prompt has to win.
    pub(super) hold: u32,
}

/// Another prompt wins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) prompt: String,
    pub(super) score: f32,
    /// None at the first.
    pub(super) previous: Option<String>,
}

/// The winner so far, and who may follow.
pub(super) struct Verdict {
    rule: Rule,
    winner: Option<String>,
    /// Not yet the winner, and on how many pictures in a row it would have been.
    contender: Option<(String, u32)>,
}

impl Verdict {
    pub(super) fn new(rule: Rule) -> Self {
        Self { rule, winner: None, contender: None }
    }

    /// Takes the best prompt of one more picture into account. What is below the least score ends a
    /// contender's row and changes nothing else.
    pub(super) fn consider(&mut self, prompt: &str, score: f32) -> Option<Change> {
        let decided = score >= self.rule.min_score;
        if !decided || self.winner.as_deref() == Some(prompt) {
            self.contender = None;
            return None;
        }
        let row = match self.contender.take() {
            Some((contender, row)) if contender == prompt => row + 1,
            _ => 1,
        };
        if row < self.rule.hold {
            self.contender = Some((prompt.to_owned(), row));
            return None;
        }
        let previous = self.winner.replace(prompt.to_owned());
        Some(Change { prompt: prompt.to_owned(), score, previous })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(min_score: f32, hold: u32, samples: &[(&str, f32)]) -> Vec<usize> {
        let mut verdict = Verdict::new(Rule { min_score, hold });
        let changed =
            |(index, (prompt, score)): (usize, &(&str, f32))| verdict.consider(prompt, *score).map(|_| index);
        samples.iter().enumerate().filter_map(changed).collect()
    }

    #[test]
    fn the_first_winner_and_each_other_is_a_change() {
        let samples = [("a", 0.6), ("a", 0.9), ("b", 0.6), ("b", 0.6), ("a", 0.6)];
        assert_eq!(changes(0.0, 1, &samples), [0, 2, 4]);
    }

    #[test]
    fn a_change_has_to_hold() {
        let samples = [("a", 0.6), ("a", 0.6), ("b", 0.6), ("a", 0.6), ("b", 0.6), ("b", 0.6)];
        assert_eq!(changes(0.0, 2, &samples), [1, 5]);
        let samples = [("a", 0.6), ("b", 0.6), ("c", 0.6), ("b", 0.6)];
        assert_eq!(changes(0.0, 2, &samples), [0_usize; 0]);
    }

    #[test]
    fn what_is_undecided_says_nothing() {
        let samples = [("a", 0.6), ("b", 0.4), ("b", 0.6), ("b", 0.4), ("b", 0.6), ("b", 0.6)];
        assert_eq!(changes(0.5, 1, &samples), [0, 2]);
        assert_eq!(changes(0.5, 2, &samples), [5]);
        assert_eq!(changes(0.5, 1, &[("a", f32::NAN)]), [0_usize; 0]);
    }

    #[test]
    fn a_change_knows_what_was_before() {
        let mut verdict = Verdict::new(Rule { min_score: 0.0, hold: 1 });
        assert_eq!(verdict.consider("a", 0.5).unwrap().previous, None);
        assert_eq!(verdict.consider("b", 0.5).unwrap().previous.as_deref(), Some("a"));
    }
}
