//! The delay before a round: its leader waits a moment for more writers, so that one sync covers them too.
//!
//! The writers that the last round answered are about to send their next writes. Without the delay the first of them
//! would sync alone, and all others would wait for that sync and for their own.
//!
//! How many writes the leader expects: as many as the last round decided, plus those that were left waiting. A single
//! writer causes no delay. Writers that come only now and then cause none either: after one delay without new writes
//! the leader expects only those that did come.
//!
//! The delay ends when all expected writes are there, when no new one has come for half the usual time of a sync, or
//! after twice the usual time of a sync. So a write waits at most for: the rest of one sync, the time of two syncs as
//! delay, and its own sync.
//!
//! The committer leads for writes that others have submitted. If it expects more than a few, it sleeps during the
//! delay, so that the threads that submit have the processor. The last expected write wakes it. Its delay ends after
//! four times the usual time of a sync, and a submitted write waits that much longer. Every other leader yields the
//! processor again and again, because it is awake sooner.

use crate::disk::Disk;
use crate::sync::{AtomicU64, Ordering, park_timeout, thread};
use std::time::Duration;

/// How often other threads get the processor where time does not pass by itself.
const YIELDS_UNDER_SHUTTLE: usize = 2;

/// After this many delays in a row that were useless,
const MOST_USELESS: u32 = 2;
/// only one round of about this many has a delay.
const TRY_AGAIN: u32 = 16;

/// For fewer missing writes the committer does not sleep: they are there sooner than it could be woken.
const WORTH_SLEEPING: u64 = 4;
/// The longest delay, in units of the patience.
const MOST_PATIENCES: u32 = 4;
const MOST_PATIENCES_ASLEEP: u32 = 8;

/// What is known about writers that wait for syncs. Part of the log.
#[derive(Debug, Default)]
pub(super) struct CommitDelay {
    /// How many writes the next round should wait for.
    expected_writes: usize,
    /// How long a sync takes: a mean over about the last eight.
    sync_time: Duration,
    useless: u32,
}

impl CommitDelay {
    /// A round has ended and took `took`. `decided` writes had waited for it, and `left` writes still wait.
    pub(super) fn round_ended(&mut self, decided: usize, left: usize, took: Duration) {
        self.expected_writes = decided + left;
        self.sync_time = (self.sync_time * 7 + took) / 8;
    }

    /// What a round should wait for if `waiting` writes are there already. `None`: nothing.
    pub(super) fn before_round(&mut self, waiting: usize) -> Option<Wait> {
        let missing = self.expected_writes.saturating_sub(waiting);
        let patience = self.sync_time / 2;
        if waiting == 0 || missing == 0 || (patience.is_zero() && !cfg!(shuttle)) {
            return None;
        }
        if self.useless >= MOST_USELESS {
            self.useless += 1;
            if self.useless < TRY_AGAIN {
                return None;
            }
            self.useless = MOST_USELESS - 1;
        }
        Some(Wait { missing: missing as u64, patience })
    }

    /// Notes whether the delay was useful.
    pub(super) fn ended(&mut self, most_came: bool) {
        self.useless = if most_came { 0 } else { self.useless + 1 };
    }
}

/// How long to wait, and for how many writes.
pub(super) struct Wait {
    missing: u64,
    patience: Duration,
}

/// Counts the writers that began to wait, so that a leader sees them come without the log's lock.
#[derive(Debug)]
pub(super) struct Arrivals {
    count: AtomicU64,
    /// The count at which the committer is woken, if it sleeps.
    wanted: AtomicU64,
}

impl Default for Arrivals {
    fn default() -> Arrivals {
        Arrivals { count: AtomicU64::new(0), wanted: AtomicU64::new(u64::MAX) }
    }
}

impl Arrivals {
    /// Whether all are there that the committer waits for. Then the caller wakes it.
    pub(super) fn note(&self, writes: u64) -> bool {
        let count = self.count.fetch_add(writes, Ordering::SeqCst) + writes;
        count >= self.wanted.load(Ordering::SeqCst) && self.wanted.swap(u64::MAX, Ordering::SeqCst) != u64::MAX
    }

    /// Lets other threads run until all expected writes are there or the patience ends. Returns whether most came.
    /// Called without the log's lock. `may_sleep`: [`Arrivals::note`] wakes this thread.
    pub(super) fn wait_for(&self, wait: &Wait, disk: &dyn Disk, may_sleep: bool) -> bool {
        let before = self.count.load(Ordering::SeqCst);
        let arrived = || self.count.load(Ordering::SeqCst) - before;
        if cfg!(shuttle) {
            (0..YIELDS_UNDER_SHUTTLE).for_each(|_| thread::yield_now());
            return arrived() > 0;
        }
        let sleeps = may_sleep && wait.missing >= WORTH_SLEEPING;
        if sleeps {
            self.wanted.store(before + wait.missing, Ordering::SeqCst);
        }
        let most = wait.patience * if sleeps { MOST_PATIENCES_ASLEEP } else { MOST_PATIENCES };
        let began = disk.now();
        let (mut seen, mut since) = (0, began);
        while seen < wait.missing {
            if sleeps {
                park_timeout(wait.patience)
            } else {
                thread::yield_now()
            }
            let (count, now) = (arrived(), disk.now());
            if count != seen {
                (seen, since) = (count, now);
            }
            if now - since >= wait.patience || now - began >= most {
                break;
            }
        }
        if sleeps {
            self.wanted.store(u64::MAX, Ordering::SeqCst);
        }
        seen > 0 && 2 * seen >= wait.missing
    }
}
