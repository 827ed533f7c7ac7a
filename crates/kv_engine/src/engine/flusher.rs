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
use crate::sync::thread::{self, Thread};
use crate::sync::{AtomicBool, park_timeout};
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
                Some(pause) => park_timeout(pause),
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
    #[cfg(feature = "torture")]
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
        if self.check_log(&mut log).is_err() {
            return Tick::Closed; // said to the next caller
        }
        self.prove_writes(&mut log);
        self.flusher.has_deadline.store(false, Ordering::Relaxed);
        Tick::Idle
    }

    /// Writes a mark behind the last write, where all is durable, nothing is under way, and there is none. Nobody has to
    /// wait for it to be durable.
    pub(super) fn prove_writes(&self, log: &mut Guard<'_>) {
        if !log.is_quiet() || !log.wal.needs_proof() {
            return;
        }
        let last = log.appended;
        let mut group = log.wal.take_proof(last, self.disk.entropy());
        match group.write() {
            Ok(()) => log.wal.complete(group),
            // A full disk can do without. What else fails is said to the next caller.
            Err(failure) => drop(write_failed(log, group, failure, || self.disk.entropy())),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::disk::sim::{Image, SimDisk};
    use crate::{Engine, Options};
    use std::path::Path;
    use std::sync::Arc;

    fn bytes(disk: &SimDisk) -> usize {
        let log = disk.world().after_death(None).remove(Path::new("/w")).unwrap();
        log.len() - log.iter().rev().take_while(|&&byte| byte == 0).count()
    }

    fn open(disk: &SimDisk) -> Engine {
        Options::new("/w", "/s").disk(Arc::new(disk.clone())).by_hand().open().unwrap()
    }

    #[test]
    fn one_mark_follows_the_last_write_once_nobody_writes() {
        let disk = SimDisk::new(&Image::new(), 1);
        let engine = open(&disk);
        assert_eq!((engine.flusher_turn(), bytes(&disk)), (None, 64), "nothing was written");
        for n in 0..3 {
            engine.put("x", [b'a' + n]).unwrap();
            let before = bytes(&disk);
            assert!(engine.flusher_turn().is_some(), "somebody has just written");
            assert_eq!(bytes(&disk), before);
        }
        let before = bytes(&disk);
        let syncs = engine.stats().syncs;
        assert_eq!((engine.flusher_turn(), bytes(&disk)), (None, before + crate::wal::OPENED_BYTES));
        let marked = bytes(&disk);
        assert_eq!((engine.flusher_turn(), bytes(&disk), engine.stats().syncs), (None, marked, syncs));
        engine.put("x", "d").unwrap();
        engine.flush().unwrap();
        let flushed = bytes(&disk);
        assert!((engine.flusher_turn(), engine.flusher_turn()).1.is_none());
        assert_eq!(bytes(&disk), flushed, "the flush has written one");
        engine.close().unwrap();
        drop(engine);
        let closed = bytes(&disk);
        let engine = open(&disk);
        assert_eq!((engine.flusher_turn(), bytes(&disk), engine.get("x").unwrap().unwrap()[0]), (None, closed, b'd'));
    }

    #[test]
    fn what_a_power_cut_leaves_of_a_mark_is_no_harm() {
        let disk = SimDisk::new(&Image::new(), 1);
        let engine = open(&disk);
        engine.put("x", "1").unwrap();
        let before = disk.world().after_death(None)[Path::new("/w")].clone();
        engine.flush().unwrap();
        let marked = disk.world().after_death(None);
        let end = bytes(&disk);
        for kept in 0..crate::wal::OPENED_BYTES {
            let mut image = marked.clone();
            let log = image.get_mut(Path::new("/w")).unwrap();
            let from = end - crate::wal::OPENED_BYTES + kept;
            log[from..].copy_from_slice(&before[from..]);
            let disk = SimDisk::new(&image, 2);
            let engine = open(&disk);
            assert!(!engine.recovery().is_loss() && engine.get("x").unwrap().unwrap()[..] == b"1"[..], "{kept}");
        }
    }
}
