//! Gathering: before a round takes the buffer, its leader waits a moment for the writers that the round before
//! has answered. They are on their way back with their next writes; without the wait the first of them would
//! sync alone, and all others would wait for that sync and for their own.
//!
//! Who is *expected*: as many writes as the last round decided, and those that it left waiting. One writer
//! alone is never waited for, nor are writers that come now and then: after one wait in vain the expectation is
//! down to who did come. The wait ends when all are there, when nobody has come for half a sync's usual time, or
//! after two syncs' time. So a write waits for two syncs' time at the most, for the rest of one sync, and for its own.

use super::Shared;
use crate::sync::{AtomicU64, Ordering, thread};
use std::time::Duration;

/// Where time does not pass by itself, so often the others get the processor.
const YIELDS_UNDER_SHUTTLE: usize = 2;

/// After so many waits in vain on end, only every so manieth round waits.
const MOST_IN_VAIN: u32 = 2;
const TRY_AGAIN: u32 = 16;

/// What is known of writers that wait for syncs. Part of the log.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// Writes that the next round should cover before it begins.
    writes: usize,
    /// How long a sync takes: a mean over about the last eight.
    sync_time: Duration,
    in_vain: u32,
}

impl Expected {
    /// A round has ended that took `took`: `decided` writes had waited for it, and so many `wait` behind it.
    pub(super) fn round_ended(&mut self, decided: usize, wait: usize, took: Duration) {
        self.writes = decided + wait;
        self.sync_time = (self.sync_time * 7 + took) / 8;
    }

    /// What a round should wait for before which `waiting` writes wait. `None`: nothing.
    pub(super) fn gather_for(&mut self, waiting: usize) -> Option<Wait> {
        let missing = self.writes.saturating_sub(waiting);
        let patience = self.sync_time / 2;
        if waiting == 0 || missing == 0 || (patience.is_zero() && !cfg!(shuttle)) {
            return None;
        }
        if self.in_vain >= MOST_IN_VAIN {
            self.in_vain += 1;
            if self.in_vain < TRY_AGAIN {
                return None;
            }
            self.in_vain = MOST_IN_VAIN - 1;
        }
        Some(Wait { missing: missing as u64, patience })
    }

    /// Whether it was worth the wait.
    pub(super) fn gathered(&mut self, most_came: bool) {
        self.in_vain = if most_came { 0 } else { self.in_vain + 1 };
    }
}

/// How long to wait, and for how many.
pub(super) struct Wait {
    missing: u64,
    patience: Duration,
}

/// Counts writers that began to wait, so that a leader sees them come without the log's lock.
#[derive(Debug, Default)]
pub(super) struct Arrivals(AtomicU64);

impl Arrivals {
    pub(super) fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// Lets others run until all are there or the patience is at its end. Called without the log's lock. Says
    /// whether most came.
    pub(super) fn gather(&self, wait: &Wait) -> bool {
        let before = self.arrivals.0.load(Ordering::Relaxed);
        let arrived = || self.arrivals.0.load(Ordering::Relaxed) - before;
        if cfg!(shuttle) {
            (0..YIELDS_UNDER_SHUTTLE).for_each(|_| thread::yield_now());
            return arrived() > 0;
        }
        let began = self.disk.now();
        let (mut seen, mut since) = (0, began);
        while seen < wait.missing {
            thread::yield_now();
            let (count, now) = (arrived(), self.disk.now());
            if count != seen {
                (seen, since) = (count, now);
            }
            if now - since >= wait.patience || now - began >= 4 * wait.patience {
                break;
            }
        }
        seen > 0 && 2 * seen >= wait.missing
    }
}
