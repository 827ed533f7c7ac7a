//! A bar on stderr, when that is a terminal that can move back and the run takes a while.

use super::options::Amount;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal};
use std::time::Duration;

/// A shorter run shows no progress.
const AFTER: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_millis(100);

pub(super) struct Progress {
    bar: Option<ProgressBar>,
    amount: Amount,
    batch: u64,
    next: Duration,
}

impl Progress {
    pub(super) fn new(amount: Amount, batch: u64) -> Progress {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let next = if io::stderr().is_terminal() && !dumb { AFTER } else { Duration::MAX };
        Progress { bar: None, amount, batch, next }
    }

    /// Whether there is somebody to show it to.
    pub(super) fn is_wanted(&self) -> bool {
        self.next < Duration::MAX
    }

    pub(super) fn show(&mut self, done: u64, elapsed: Duration) {
        if elapsed < self.next {
            return;
        }
        self.next = elapsed + EVERY;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (position, length) = match self.amount {
            Amount::Count(n) => (done, n),
            Amount::Time(time) => (millis(elapsed), millis(time)),
        };
        let bar = self.bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("BENCH batch={prefix} {bar:20} {percent}%  {eta} left");
            ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr())
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                .with_prefix(self.batch.to_string())
                .with_elapsed(elapsed)
        });
        bar.set_position(position.min(length));
    }

    pub(super) fn clear(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
