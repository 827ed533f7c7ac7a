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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::disk::sim::{Fault, FaultPlan, Image, Lasts, SimDisk, SyncFailure};
    use crate::{Batch, Engine, Error, Options, Submitted, Told};
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, channel};

    fn store(disk: &SimDisk, batch_size: u64) -> Engine {
        Options::new("/w", "/s").disk(Arc::new(disk.clone())).batch_size(batch_size).by_hand().open().unwrap()
    }

    fn submit(engine: &Engine, puts: u8) -> Receiver<Told> {
        let put = |n: u8| {
            let mut batch = Batch::new();
            batch.put([n + 1], "v");
            batch
        };
        let (tell, told) = channel();
        let taken = engine.submit(&(0..puts).map(put).collect::<Vec<_>>(), move |is| tell.send(is).unwrap());
        assert!(matches!(taken, Ok(Submitted::Taken(_))), "{taken:?}");
        told
    }

    /// A submission is visible, and a sync fails before the committer has told it.
    #[test]
    fn a_visible_submission_is_in_doubt_if_the_sync_fails_before_it_is_told() {
        for puts in [1, 2, 3] {
            let healthy = SimDisk::new(&Image::new(), 1);
            let engine = store(&healthy, 3);
            let told = submit(&engine, puts);
            engine.flush().unwrap();
            // The last operation of the flush that can fail in this way is its sync.
            let operations = healthy.operations();
            let fault = Fault::Sync(SyncFailure::LosesPages);
            let at = operations.iter().rposition(|operation| fault.can_hit(*operation)).unwrap();
            assert!(told.try_recv().is_err(), "the committer has had no turn");
            engine.committer_turn();
            let is = told.try_recv().unwrap();
            assert!(is.in_force == u64::from(puts) && is.result.unwrap().durable);

            let disk = SimDisk::new(&Image::new(), 1).with_faults(FaultPlan { at, fault, lasts: Lasts::Once });
            let engine = store(&disk, 3);
            let told = submit(&engine, puts);
            assert!(matches!(engine.flush(), Err(Error::Poisoned { .. })));
            assert_eq!(engine.len(), usize::from(puts.min(2)), "a reader goes on to see what it saw");
            engine.committer_turn();
            let is = told.try_recv().unwrap();
            assert!(is.in_force == 0 && matches!(is.result, Err(Error::Poisoned { .. })), "{puts}: {is:?}");
            assert!(told.try_recv().is_err());
        }
    }
}
