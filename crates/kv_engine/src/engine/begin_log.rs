//! Beginning the log of a store that was opened without one (`recovery/deferred_log.rs`).

use super::log::Guard;
use super::shared::{PanicGuard, Shared};
use crate::error::Result;
use crate::recovery::DeferredLog;
use crate::sync::Ordering;

impl Shared {
    /// Begins the log. Writers wait until it is there.
    pub(super) fn begin_log<'a>(&'a self, mut log: Guard<'a>, deferred_log: &DeferredLog) -> Result<Guard<'a>> {
        log.paused = true;
        let guard = PanicGuard::new(self, "the beginning of a log");
        drop(log);
        let begun = deferred_log.begin(&*self.disk, &self.wal_path, &self.snapshot_path, self.state.form());
        let begun = self.fail_if_poisoned(begun);
        let mut log = self.log()?;
        let done = begun.map(|(wal, header)| {
            self.salt.store(wal.salt(), Ordering::Relaxed);
            log.switch(wal);
            log.deferred_log = None;
            header
        });
        log.paused = false;
        self.wake_all(&log);
        guard.forget();
        self.build_on(&done?);
        Ok(log)
    }
}
