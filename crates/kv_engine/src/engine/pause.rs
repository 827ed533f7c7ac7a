//! Work during which no new write is accepted: the end of a checkpoint, closing, and changing the batch size.

use super::log::{Guard, Log};
use super::shared::{PanicGuard, Shared};
use crate::error::Result;

impl Shared {
    /// Runs `work` while no new write is accepted. Waits until no other thread has the log paused. `work` may release
    /// the lock. `settle` gets the result under the lock, before any writer goes on.
    pub(super) fn while_paused<T>(
        &self,
        work: impl FnOnce(Guard<'_>) -> Result<T>,
        settle: impl FnOnce(&mut Log, &Result<T>),
    ) -> Result<T> {
        let mut log = self.wait_until_free(self.log()?)?;
        log.paused = true;
        let guard = PanicGuard::new(self, "a snapshot or the closing of the store");
        let done = work(log);
        let mut log = self.log()?;
        settle(&mut log, &done);
        log.paused = false;
        self.wake_all(&log);
        guard.forget();
        done
    }

    /// Changes the batch size. If more writes are not durable than the new size allows to be pending, they are synced
    /// first. Those that wait behind a durable batch count too: the end of its round would still apply them by the old
    /// size.
    pub(super) fn change_batch_size(&self, n: u64) -> Result<()> {
        let flush = |log: Guard<'_>| {
            let fits = n >= log.batch_size || log.appended - log.durable < n;
            let mut log = if fits { log } else { self.make_durable(log)? };
            self.check_log(&mut log)
        };
        self.while_paused(flush, |log, done| {
            if done.is_ok() {
                log.batch_size = n;
                self.apply_allowed(log);
            }
        })
    }
}
