//! How far a long command has come, on a terminal only.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// What is over sooner shows nothing.
const AFTER: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_millis(100);
/// The clock is looked at when so many steps have been made.
const STEPS: u32 = 64;

/// A line on stderr, when that is a terminal and it takes a while.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    template: &'static str,
    total: Option<u64>,
    began: Instant,
    next: Duration,
    steps: u32,
}

impl Progress {
    /// `template` is that of indicatif; with a total, a bar makes sense in it.
    pub(crate) fn new(template: &'static str, total: Option<u64>, quiet: bool) -> Progress {
        let next = if io::stderr().is_terminal() && !quiet { AFTER } else { Duration::MAX };
        Progress { bar: None, template, total, began: Instant::now(), next, steps: 0 }
    }

    /// To be told of each step.
    pub(crate) fn step(&mut self, at: impl FnOnce() -> u64) {
        self.steps = (self.steps + 1) % STEPS;
        if self.steps != 0 || self.next == Duration::MAX {
            return;
        }
        let elapsed = self.began.elapsed();
        if elapsed < self.next {
            return;
        }
        self.next = elapsed + EVERY;
        let (template, total) = (self.template, self.total);
        let bar = self.bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr()).with_style(style).with_elapsed(elapsed)
        });
        bar.set_position(at());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
