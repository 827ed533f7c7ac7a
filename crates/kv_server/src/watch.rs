//! Looks at the store now and then, and tells the operator what changed: the disk is full or has room again, the log
//! has failed, a snapshot in the background has failed, clients were refused. A failed log also ends the server,
//! unless the options say that it stays.
//!
//! A client learns of a failure from its own reply, at once. This only adds the event, so it may come a moment later.

use crate::options::OnPoison;
use crate::shared::Shared;
use crate::tls::Acceptor;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::time::sleep;

const EVERY: Duration = Duration::from_millis(100);
/// A failed log ends the server after this time: what is being answered is answered first.
const LAST_ANSWERS: Duration = Duration::from_millis(200);

/// Samples of the number of commands, for their number in a second.
const SAMPLES: usize = 16;

#[derive(Default)]
struct Speed(VecDeque<(Instant, u64)>);

impl Speed {
    /// Commands in a second, over the time of the samples.
    fn note(&mut self, now: Instant, commands: u64) -> u64 {
        if self.0.back().is_some_and(|&(_, last)| last > commands) {
            self.0.clear(); // the counter was set to 0
        }
        self.0.push_back((now, commands));
        if self.0.len() > SAMPLES {
            self.0.pop_front();
        }
        let Some(&(begin, first)) = self.0.front() else { return 0 };
        let ms = now.saturating_duration_since(begin).as_millis().max(1);
        u64::try_from(u128::from(commands - first) * 1000 / ms).unwrap_or(u64::MAX)
    }
}

pub(crate) async fn watch(shared: Arc<Shared>) {
    let log = &shared.options.log;
    let (mut handshakes, mut speed) = (0, Speed::default());
    let (mut failures, mut snapshots, mut refused, mut is_full) = (0, shared.store.engine.stats().snapshots, 0, false);
    loop {
        tokio::select! {
            () = shared.stopped() => return,
            () = sleep(EVERY) => {}
        }
        let commands = shared.counters.commands.load(Ordering::Relaxed);
        shared.counters.commands_per_second.store(speed.note(Instant::now(), commands), Ordering::Relaxed);
        let stats = shared.store.engine.stats();
        if stats.snapshots != snapshots {
            snapshots = stats.snapshots;
            shared.saves.note();
        }
        if shared.store.is_full() != is_full {
            is_full = !is_full;
            match is_full {
                true => log.warn("no_space", &[("log_bytes", &stats.log_bytes), ("pending", &stats.pending)]),
                false => log.info("space_again", &[]),
            }
        }
        let rejected = shared.counters.rejected.load(Ordering::Relaxed);
        if rejected > refused {
            log.warn("clients_refused", &[("count", &(rejected - refused)), ("max_clients", &shared.options.max_clients)]);
        }
        refused = rejected;
        if let Some(refused) = shared.tls.as_ref().map(Acceptor::refused).filter(|refused| refused.count > handshakes) {
            log.warn("handshakes_failed", &[("count", &(refused.count - handshakes)), ("last", &refused.reason)]);
            handshakes = refused.count;
        }
        if stats.checkpoint_failures != failures {
            failures = stats.checkpoint_failures;
            let reason = stats.checkpoint_failed.unwrap_or_else(|| "a later one has succeeded".into());
            log.warn("snapshot_failed", &[("reason", &reason), ("log_bytes", &stats.log_bytes)]);
        }
        let Some(reason) = stats.failed else { continue };
        let then = match shared.options.on_poison {
            OnPoison::Exit => "the server ends",
            OnPoison::Stay => "reads go on",
        };
        log.error("log_failed", &[("reason", &reason), ("then", &then), ("durable", &stats.durable)]);
        if shared.options.on_poison == OnPoison::Exit {
            sleep(LAST_ANSWERS).await;
            shared.shut_down();
        }
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_is_that_of_the_last_samples() {
        let (begin, mut speed) = (Instant::now(), Speed::default());
        let mut at = |n: u32, commands| speed.note(begin + n * EVERY, commands);
        assert_eq!(at(0, 100), 0);
        assert_eq!((1..=20).map(|n| at(n, 100 + 50 * u64::from(n))).collect::<Vec<_>>(), [500; 20]);
        assert_eq!(at(21, 10), 0, "CONFIG RESETSTAT");
        assert_eq!(at(22, 20), 100);
        assert_eq!((23..60).map(|n| at(n, 20)).last(), Some(0));
    }
}
