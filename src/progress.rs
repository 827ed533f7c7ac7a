//! How far a long command has come: a bar or a line on stderr.
//!
//! It is shown only if stderr is a terminal that can move its cursor back, and only after a second. All commands use
//! it, from any thread.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// A shorter command shows nothing.
const AFTER: Duration = Duration::from_secs(1);
const DRAWS_PER_SECOND: u8 = 10;
/// [`Progress::step`] looks at the clock once in this many steps.
const STEPS: u32 = 64;

pub(crate) struct Progress {
    /// `None`: nobody is to see it.
    bar: Option<ProgressBar>,
    began: Instant,
    steps: u32,
}

impl Progress {
    /// `template` is one of indicatif. A bar in it needs a `total`.
    pub(crate) fn new(template: &str, total: Option<u64>, quiet: bool) -> Progress {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let is_wanted = io::stderr().is_terminal() && !is_dumb && !quiet;
        let bar = is_wanted.then(|| {
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden()).with_style(style)
        });
        Progress { bar, began: Instant::now(), steps: 0 }
    }

    /// Whether it may be shown. If not, nobody has to count.
    pub(crate) fn is_wanted(&self) -> bool {
        self.bar.is_some()
    }

    /// For a total that is known late.
    pub(crate) fn set_total(&self, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
        }
    }

    /// The command has come to `position`.
    pub(crate) fn set(&self, position: u64) {
        let Some(bar) = self.bar.as_ref().filter(|_| self.began.elapsed() >= AFTER) else { return };
        if bar.is_hidden() {
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND));
        }
        bar.set_position(position);
    }

    /// As [`Progress::set`], for many small steps: most of them cost nothing.
    pub(crate) fn step(&mut self, position: impl FnOnce() -> u64) {
        self.steps = (self.steps + 1) % STEPS;
        if self.steps == 0 && self.is_wanted() {
            self.set(position());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
