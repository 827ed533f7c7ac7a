//! The flush thread. It bounds two times: how long an acknowledged write may stay without a sync, and how long the last
//! writes stay without a mark that proves their sync.
//!
//! 1. The thread sleeps until the oldest pending write is one flush interval old. Then it syncs.
//! 2. When everything is durable it looks again after a short time. If no write has come, it writes a mark after the
//!    last write, without a sync. With the mark, recovery can tell whether that write is torn or damaged (see `scan`).
//! 3. Then it sleeps without a deadline. A writer wakes it only from this sleep, so a busy log pays nothing for it.
//!
//! - One mark for each idle time, and none if nothing was written since the store was opened.
//! - The mark is written under the log's lock, while everything is durable and no thread works on the log. FLUSH writes
//!   it at once.
//!
//! One turn of the thread is [`Shared::flush_if_due`]. Tests call it without the thread.

use super::log::Guard;
use super::shared::Shared;
use crate::sync::park_timeout;
use crate::sync::thread;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The idle time after which the mark is written. The flush interval counts if it is shorter.
const IDLE: Duration = Duration::from_millis(100);

/// Starts the thread. It keeps the store open only while it works.
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

/// The result of [`Shared::flush_if_due`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tick {
    /// Nothing is pending, and a mark follows the last write.
    Idle,
    /// The next turn is due after this time: a pending write gets too old, or the store may be idle.
    DueIn(Duration),
    /// The store takes no more writes.
    Closed,
}

impl Shared {
    /// Syncs if the oldest pending write is one flush interval old.
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
            // A failure stays in the log: the next caller gets it.
            log = match self.make_durable(log) {
                Ok(log) => log,
                Err(_) => return Tick::DueIn(self.flush_interval),
            };
        }
    }

    /// Called when nothing is pending. Writes the mark if no write has come since the last look.
    fn mark_if_idle(&self, mut log: Guard<'_>) -> Tick {
        let looked_at = log.looked_at;
        log.looked_at = log.appended;
        if log.appended != looked_at || !log.is_quiet() {
            return Tick::DueIn(self.flush_interval.min(IDLE));
        }
        if self.check_log(&mut log).is_err() {
            return Tick::Closed; // the next caller gets the error
        }
        self.prove_writes(&mut log);
        self.flusher.has_deadline.store(false, Ordering::Relaxed);
        Tick::Idle
    }

    /// Writes a mark after the last write, if everything is durable, no thread works on the log, and there is no mark
    /// yet. The mark is not synced: no caller waits for it.
    pub(super) fn prove_writes(&self, log: &mut Guard<'_>) {
        if !log.is_quiet() || !log.wal.needs_proof() {
            return;
        }
        let last = log.appended;
        let mut group = log.wal.take_proof(last, self.disk.entropy());
        match group.write() {
            Ok(()) => log.wal.complete(group),
            // With a full disk the mark is left out. Any other failure stays in the log for the next caller.
            Err(failure) => {
                drop(log.write_failed(group, failure, || self.disk.entropy()));
                self.wake_all(log);
            }
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
    fn one_mark_follows_the_last_write_of_an_idle_store() {
        let disk = SimDisk::new(&Image::new(), 1);
        let engine = open(&disk);
        assert_eq!((engine.flusher_turn(), bytes(&disk)), (None, 64), "nothing was written");
        for n in 0..3 {
            engine.put("x", [b'a' + n]).unwrap();
            let before = bytes(&disk);
            assert!(engine.flusher_turn().is_some(), "a write has just come");
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
    fn a_mark_torn_by_a_power_cut_does_no_harm() {
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
