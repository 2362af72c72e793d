//! The progress bar of long work: on standard error, and on a terminal alone.

use std::{borrow::Cow, fmt::Display};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const STEPS: &str = "{msg} {wide_bar} {human_pos}/{human_len}  {per_sec}, {eta} left";
const BYTES: &str = "{msg} {wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}, {eta} left";

/// How far work is, and what it says on the way. The bar goes with the value.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// For `total` steps of what `doing` names.
    pub(super) fn new(doing: &'static str, total: usize) -> Self {
        Self::draw(STEPS, Some(total as u64), doing.into())
    }

    /// For bytes, of which nobody knows yet how many there are.
    pub(super) fn of_bytes(doing: String) -> Self {
        Self::draw(BYTES, None, doing.into())
    }

    fn draw(template: &str, total: Option<u64>, doing: Cow<'static, str>) -> Self {
        let style = ProgressStyle::with_template(template).expect("the templates are right");
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        Self(bar.with_style(style).with_message(doing))
    }

    /// Whether anybody sees it.
    pub(super) fn is_shown(&self) -> bool {
        !self.0.is_hidden()
    }

    /// One step more is done.
    pub(super) fn step(&self) {
        self.0.inc(1);
    }

    /// So much of so much is done.
    pub(super) fn at(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
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
