//! The engine without threads of its own, for `torture`: the caller gives the flusher its turns, and asks before a
//! write whether it would have to wait for another thread.

use super::api::Engine;
use super::flush::Tick;
use super::options::Options;
use std::time::Duration;

impl Options {
    /// Starts no flush thread. The caller gives the flusher its turns.
    pub(crate) fn by_hand(mut self) -> Options {
        self.by_hand = true;
        self
    }
}

impl Engine {
    /// Gives the flusher a turn. Returns when the next one is due; `None`: after the next write.
    pub(crate) fn flusher_turn(&self) -> Option<Duration> {
        if let Tick::DueIn(left) = self.shared().flush_if_due() { Some(left) } else { None }
    }

    /// Gives the committer a turn. It works until every submission is told.
    pub(crate) fn committer_turn(&self) {
        self.shared().committer_turn();
    }

    /// Whether another call on this thread holds the log's lock.
    pub(crate) fn is_locked(&self) -> bool {
        self.shared().log.try_lock().is_err()
    }

    /// Whether a write would have to wait for another thread now.
    pub(crate) fn would_wait(&self) -> bool {
        let shared = self.shared();
        let Ok(log) = shared.log.try_lock() else { return true };
        let must_follow = log.stalled.is_some() || log.appended >= log.limit() || !log.waiting.is_empty();
        log.paused || log.running.is_some() && must_follow || shared.checkpointer.is_behind(log.wal.len_bytes())
    }
}
