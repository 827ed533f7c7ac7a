//! Writers for stores in which n puts are one transaction, and for stores in which every n-th put requests a sync.

use super::Sync;
#[cfg(any(feature = "lmdb", feature = "redb", feature = "sqlite"))]
use {
    super::Writer,
    crate::work::{Key, Value},
    anyhow::Result,
};

/// Collects puts, and commits n of them at a time.
#[cfg(any(feature = "lmdb", feature = "redb", feature = "sqlite"))]
pub(super) struct Transactions<C> {
    most: usize,
    puts: Vec<(Key, Value)>,
    commit: C,
}

#[cfg(any(feature = "lmdb", feature = "redb", feature = "sqlite"))]
impl<C: FnMut(&[(Key, Value)]) -> Result<()>> Transactions<C> {
    pub(super) fn new(sync: Sync, commit: C) -> Transactions<C> {
        let most = match sync {
            Sync::Every(puts) => puts as usize,
            Sync::Never => 1,
        };
        Transactions { most, puts: Vec::with_capacity(most), commit }
    }
}

#[cfg(any(feature = "lmdb", feature = "redb", feature = "sqlite"))]
impl<C: FnMut(&[(Key, Value)]) -> Result<()>> Writer for Transactions<C> {
    fn put(&mut self, key: &Key, value: &Value) -> Result<()> {
        self.puts.push((*key, *value));
        if self.puts.len() < self.most {
            return Ok(());
        }
        self.finish()
    }

    fn finish(&mut self) -> Result<()> {
        if !self.puts.is_empty() {
            (self.commit)(&self.puts)?;
            self.puts.clear();
        }
        Ok(())
    }
}

/// Decides which puts request a sync.
pub(super) struct EveryNth {
    sync: Sync,
    since: u64,
}

impl EveryNth {
    pub(super) fn new(sync: Sync) -> EveryNth {
        EveryNth { sync, since: 0 }
    }

    /// Whether the next put is the n-th.
    pub(super) fn is_due(&mut self) -> bool {
        self.since += 1;
        let due = matches!(self.sync, Sync::Every(puts) if self.since >= puts);
        if due {
            self.since = 0;
        }
        due
    }

    /// Whether there are puts that no sync covers.
    pub(super) fn is_open(&mut self) -> bool {
        self.sync != Sync::Never && std::mem::take(&mut self.since) > 0
    }
}
