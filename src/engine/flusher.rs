//! The thread that bounds how long an acknowledged write may stay un-synced, and how long the last writes stay without a
//! mark that proves them.
//!
//! It sleeps until the deadline of the oldest pending write. Where all is durable it looks again after a short while, and
//! where nobody has written meanwhile it writes a mark behind the last write, without a sync: recovery can tell then
//! whether that write is torn or rotten (see `scan`). Then it sleeps without end. A
//! writer wakes it only from that endless sleep, so a busy log pays nothing for it. The work is
//! [`Shared::flush_if_due`], which tests call themselves.
//!
//! - One mark for each time in which nobody writes, and none where nothing was written since the store was opened.
//! - The mark is written under the log's lock, only while all is durable and nothing is under way. A flush that somebody asked
//!   for writes it at once.

use super::Shared;
use super::log::{Guard, write_failed};
use crate::sync::AtomicBool;
use crate::sync::thread::{self, Thread};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// So long nobody writes before the last write is proven; the flush interval where that is shorter.
const IDLE: Duration = Duration::from_millis(100);

/// The engine's side of the thread.
#[derive(Debug, Default)]
pub(super) struct Flusher {
    thread: OnceLock<Thread>,
    /// Whether the thread has a deadline and will look again by itself. Changed under the log's lock.
    has_deadline: AtomicBool,
}

impl Flusher {
    /// Called under the log's lock when there is a first write that is pending, or that no mark proves.
    pub(super) fn wake_for_write(&self) {
        if !self.has_deadline.load(Ordering::Relaxed)
            && let Some(thread) = self.thread.get()
            && !self.has_deadline.swap(true, Ordering::Relaxed)
        {
            thread.unpark();
        }
    }

    /// Ends the thread soon; it finds the store closed or gone.
    pub(super) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// Starts the thread. It holds the store only while it works.
pub(super) fn spawn(shared: &Arc<Shared>) -> std::io::Result<()> {
    let weak = Arc::downgrade(shared);
    let body = move || {
        let mut pause = None;
        loop {
            match pause {
                None => thread::park(),
                Some(pause) => thread::park_timeout(pause),
            }
            let Some(shared) = weak.upgrade() else { return };
            match shared.flush_if_due() {
                Tick::Closed => return,
                Tick::Idle => pause = None,
                Tick::DueIn(left) => pause = Some(left),
            }
        }
    };
    let handle = thread::Builder::new().name("kv-flusher".into()).spawn(body)?;
    let _ = shared.flusher.thread.set(handle.thread().clone());
    Ok(())
}

/// What [`Shared::flush_if_due`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tick {
    /// Nothing is pending, and the last write is proven.
    Idle,
    /// The oldest pending write is due after this time, or the mark of a store in which nobody writes.
    DueIn(Duration),
    /// The store takes no more writes.
    Closed,
}

impl Tick {
    /// When the next turn is due.
    pub(super) fn next(&self) -> Option<Duration> {
        if let Tick::DueIn(left) = self { Some(*left) } else { None }
    }
}

impl Shared {
    /// Flushes when the oldest pending write is one flush interval old.
    pub(super) fn flush_if_due(&self) -> Tick {
        let Ok(mut log) = self.log() else { return Tick::Closed };
        loop {
            if log.closed || log.failure.is_some() {
                return Tick::Closed;
            }
            let Some(oldest) = log.oldest_pending else { return self.mark_if_idle(log) };
            let age = self.disk.now().saturating_sub(oldest);
            if age < self.flush_interval {
                return Tick::DueIn(self.flush_interval - age);
            }
            // A failure is kept in the log: the next caller that can act on it is told.
            log = match self.make_durable(log) {
                Ok(log) => log,
                Err(_) => return Tick::DueIn(self.flush_interval),
            };
        }
    }

    /// Nothing is pending: proves the last write, where nobody has written since the last look.
    fn mark_if_idle(&self, mut log: Guard<'_>) -> Tick {
        let looked_at = log.looked_at;
        log.looked_at = log.appended;
        if log.appended != looked_at || !log.is_quiet() {
            return Tick::DueIn(self.flush_interval.min(IDLE));
        }
        self.prove_writes(&mut log);
        self.flusher.has_deadline.store(false, Ordering::Relaxed);
        Tick::Idle
    }

    /// Writes a mark behind the last write, where all is durable, nothing is under way, and there is none. Nobody has to
    /// wait for it to be durable.
    pub(super) fn prove_writes(&self, log: &mut Guard<'_>) {
        if !log.is_quiet() || !log.wal.wants_proof() {
            return;
        }
        let last = log.appended;
        let mut group = log.wal.prove(last, self.disk.entropy());
        match group.write() {
            Ok(()) => log.wal.complete(group),
            // A full disk can do without. What else fails is said to the next caller.
            Err(failure) => drop(write_failed(log, group, failure, || self.disk.entropy())),
        }
    }
}
