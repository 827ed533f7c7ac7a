//! What was measured for one batch size.

use super::floor::Floor;
use hdrhistogram::Histogram;
use std::time::Duration;

pub(super) struct Run {
    pub(super) batch: u64,
    pub(super) keys: u64,
    pub(super) warm_up: u64,
    /// From the start of the first operation to the end of the last flush.
    pub(super) total: Duration,
    /// Latencies in nanoseconds, as in `gets` and `all`.
    pub(super) puts: Histogram<u64>,
    pub(super) gets: Histogram<u64>,
    pub(super) all: Histogram<u64>,
    pub(super) syncs: u64,
    pub(super) sync_total: Duration,
    pub(super) log_bytes: u64,
    /// Whether a signal stopped it before its end.
    pub(super) stopped: bool,
    pub(super) floor: Option<Floor>,
    /// The address of the server that did the work.
    pub(super) server: Option<String>,
}

impl Run {
    pub(super) fn operations(&self) -> u64 {
        self.all.len()
    }

    pub(super) fn ops_per_sec(&self) -> f64 {
        self.operations() as f64 / self.total.as_secs_f64().max(1e-9)
    }

    pub(super) fn sync_mean(&self) -> Duration {
        self.sync_total.checked_div(u32::try_from(self.syncs).unwrap_or(u32::MAX)).unwrap_or_default()
    }

    /// The mean number of bytes that one sync covers.
    pub(super) fn group_bytes(&self) -> Option<u64> {
        self.log_bytes.checked_div(self.syncs)
    }

    /// How many of these operations the bare disk would do in a second, in groups as large as this run's.
    pub(super) fn floor_ops_per_sec(&self) -> Option<f64> {
        let floor = self.floor.filter(|_| self.syncs > 0)?;
        Some(self.operations() as f64 / self.syncs as f64 / floor.mean.as_secs_f64().max(1e-9))
    }
}

/// The fastest one.
pub(super) fn best(runs: &[Run]) -> Option<&Run> {
    runs.iter().max_by(|a, b| a.ops_per_sec().total_cmp(&b.ops_per_sec()))
}

#[cfg(test)]
impl Run {
    /// One that measured these latencies of PUTs and GETs, one after the other.
    pub(super) fn fabricated(batch: u64, puts_ns: &[u64], gets_ns: &[u64]) -> Run {
        let histogram = |latencies: &[u64]| {
            let mut all = Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("good bounds");
            latencies.iter().for_each(|&ns| all.record(ns).expect("in bounds"));
            all
        };
        let (puts, gets) = (histogram(puts_ns), histogram(gets_ns));
        let total = Duration::from_nanos(puts_ns.iter().chain(gets_ns).sum());
        let all = histogram(&[puts_ns, gets_ns].concat());
        let (syncs, sync_total) = (puts.len().min(1), total / 2);
        Run {
            batch,
            keys: 1,
            warm_up: 0,
            total,
            puts,
            gets,
            all,
            syncs,
            sync_total,
            log_bytes: 1,
            stopped: false,
            floor: None,
            server: None,
        }
    }
}
