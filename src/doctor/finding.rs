//! What a check is, and what it says.

use std::fmt;

use serde::Serialize;

use super::machine::Machine;

/// How a check turned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is wrong.
    Ok,
    /// There is nothing to check on this machine, or not in this state.
    NotApplicable,
    /// Only root sees what the check looks at.
    NeedsRoot,
    /// The service works, and less well than it could.
    Warning,
    /// The service does not work, or not as the configuration asks.
    Failure,
}

impl Verdict {
    /// The word for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotApplicable => "not applicable",
            Self::NeedsRoot => "needs root",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }

    /// Whether there is something to mend.
    #[must_use]
    pub fn is_fault(self) -> bool {
        matches!(self, Self::Warning | Self::Failure)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What mends a fault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Remedy {
    /// What to do, or to know before; empty if the commands say it all.
    pub advice: String,
    /// Commands for a shell, in order.
    pub commands: Vec<String>,
    /// Whether they do no harm whatever the cause is, so that they may be run without further thought.
    /// Such commands are `sudo`, a program and plain arguments, and need no shell.
    pub automatic: bool,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) summary: String,
    pub(crate) evidence: Vec<String>,
    pub(crate) remedy: Option<Remedy>,
}

impl Outcome {
    fn new(verdict: Verdict, summary: impl Into<String>) -> Self {
        Self { verdict, summary: summary.into(), evidence: Vec::new(), remedy: None }
    }

    pub(crate) fn ok(summary: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, summary)
    }

    pub(crate) fn not_applicable(summary: impl Into<String>) -> Self {
        Self::new(Verdict::NotApplicable, summary)
    }

    pub(crate) fn needs_root(summary: impl Into<String>) -> Self {
        Self::new(Verdict::NeedsRoot, summary)
    }

    pub(crate) fn warning(summary: impl Into<String>) -> Self {
        Self::new(Verdict::Warning, summary)
    }

    pub(crate) fn failure(summary: impl Into<String>) -> Self {
        Self::new(Verdict::Failure, summary)
    }

    /// Adds a line of evidence.
    pub(crate) fn seen(mut self, line: impl Into<String>) -> Self {
        self.evidence.push(line.into());
        self
    }

    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.remedy.get_or_insert_default().advice = advice.into();
        self
    }

    /// Adds a command that a person runs after a look at the evidence.
    pub(crate) fn mend(mut self, command: impl Into<String>) -> Self {
        self.remedy.get_or_insert_default().commands.push(command.into());
        self
    }

    /// Adds a command that `--fix` may run; then all of this outcome must be such.
    pub(crate) fn mend_safely(mut self, command: impl Into<String>) -> Self {
        let remedy = self.remedy.get_or_insert_default();
        remedy.commands.push(command.into());
        remedy.automatic = true;
        self
    }
}

/// A check: what it is about, and how it is done.
pub(crate) struct Check {
    /// Stable name, for scripts.
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// What a user notices when it fails.
    pub(crate) symptom: &'static str,
    /// Where it looks.
    pub(crate) looks_at: &'static str,
    /// What mends it, in general; the outcome has the very command.
    pub(crate) remedy: &'static str,
    pub(crate) run: fn(&Machine) -> Outcome,
}

/// A check's outcome as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable name of the check.
    pub id: &'static str,
    /// Its title.
    pub title: &'static str,
    /// How it turned out.
    pub verdict: Verdict,
    /// One sentence.
    pub summary: String,
    /// What was seen, a line each.
    pub evidence: Vec<String>,
    /// What mends it.
    pub remedy: Option<Remedy>,
}
