//! [`LogInRow`]: the logs of this session, one behind the other. A checkpoint replaces the log by a new file. A reader
//! that has not read all of the old one finds here how far it goes, and where the next one continues.
//!
//! - Each log has one [`LogInRow`], made when the log comes into use. When the next log comes into use, it gets a
//!   [`Switch`], under the log's lock.
//! - A log holds the writes up to its switch, all of them durable. The new log begins with copies of some of them. A
//!   reader continues behind these copies, so it sees no write twice and misses none.
//! - There is no list of the readers. A reader keeps its log, and so all later ones. If no reader keeps a log, its file
//!   is closed, and the file system frees the space.

use crate::Seq;
use crate::wal::{LogEnd, Wal};
use std::sync::{Arc, OnceLock};

/// One log of this session.
#[derive(Debug, Default)]
pub(super) struct LogInRow(OnceLock<Switch>);

/// The moment in which the next log came into use.
#[derive(Debug)]
pub(super) struct Switch {
    /// The last write of the log before it.
    pub(super) last: Seq,
    /// Where the records of the log before it end, in bytes.
    pub(super) end_bytes: u64,
    /// The place in the new log that follows this write.
    pub(super) start: LogEnd,
    pub(super) next: Arc<LogInRow>,
}

impl LogInRow {
    /// Notes that `new` comes into use behind write `last`, and `old` ends there. Returns the place of the new log.
    pub(super) fn switch(&self, last: Seq, old: &Wal, new: &Wal) -> Arc<LogInRow> {
        let next = Arc::<LogInRow>::default();
        let switch = Switch { last, end_bytes: old.len_bytes(), start: new.end(last), next: Arc::clone(&next) };
        self.0.set(switch).expect("a log is replaced once");
        next
    }

    /// `None`: this log is in use.
    pub(super) fn switched(&self) -> Option<&Switch> {
        self.0.get()
    }
}

impl Drop for LogInRow {
    /// One log after the other. The compiler's way would call itself for each of them, and overflow the stack if a
    /// reader has kept many.
    fn drop(&mut self) {
        let mut next = self.0.take().map(|switch| switch.next);
        while let Some(log) = next {
            next = Arc::into_inner(log).and_then(|mut log| log.0.take()).map(|switch| switch.next);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::StoreId;
    use crate::disk::OsDisk;

    /// With the compiler's way of dropping, this overflows the stack.
    #[test]
    fn a_reader_that_has_kept_many_logs_can_be_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let wal = Wal::create(&OsDisk, &dir.path().join("log"), StoreId([1; 16]), 0).unwrap();
        let first = Arc::<LogInRow>::default();
        let (mut last, mut end) = (Arc::clone(&first), Arc::downgrade(&first));
        for _ in 0..200_000 {
            last = last.switch(0, &wal, &wal);
            end = Arc::downgrade(&last);
        }
        drop(last);
        assert!(end.upgrade().is_some(), "the first keeps all later ones");
        drop(first);
        assert!(end.upgrade().is_none());
    }
}
