//! The progress bar of a long run: on standard error, and on a terminal alone.

use std::fmt::Display;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const TEMPLATE: &str = "{msg} {wide_bar} {human_pos}/{human_len}  {per_sec}, {eta} left";

/// How far a run is, and what it says on the way.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// For `total` steps of what `doing` names.
    pub(super) fn new(doing: &'static str, total: usize) -> Self {
        let style = ProgressStyle::with_template(TEMPLATE).expect("the template is right");
        let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
        Self(bar.with_style(style).with_message(doing))
    }

    /// One step more is done.
    pub(super) fn step(&self) {
        self.0.inc(1);
    }

    /// Writes one line to standard error, above the bar.
    pub(super) fn say(&self, message: impl Display) {
        self.0.suspend(|| eprintln!("hailo-clip: {message}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
