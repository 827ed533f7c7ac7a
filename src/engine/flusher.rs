//! The thread that bounds how long an acknowledged write may stay un-synced.
//!
//! It sleeps until the deadline of the oldest pending write, and without end when there is none; a
//! writer wakes it only from that endless sleep, so a busy log pays nothing for it. The work is
//! [`Shared::flush_if_due`], which tests call themselves.

use super::Shared;
use crate::sync::AtomicBool;
use crate::sync::thread::{self, Thread};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The engine's side of the thread.
#[derive(Debug, Default)]
pub(super) struct Flusher {
    thread: OnceLock<Thread>,
    /// Whether the thread has a deadline and will look again by itself. Changed under the log's lock.
    has_deadline: AtomicBool,
}

impl Flusher {
    /// Called under the log's lock when a first write is pending.
    pub(super) fn wake_for_pending(&self) {
        if let Some(thread) = self.thread.get()
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
    /// Nothing is pending.
    Idle,
    /// The oldest pending write is due after this time.
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
            let Some(oldest) = log.oldest_pending else {
                self.flusher.has_deadline.store(false, Ordering::Relaxed);
                return Tick::Idle;
            };
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
}
