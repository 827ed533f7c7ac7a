//! LMDB: a B-tree in a mapped file, with copy on write and without a log.

use super::group::Transactions;
use super::{Reader, Reads, Setup, Store, Sync, Writer};
use crate::work::{Key, Value, key, number, value};
use anyhow::Result;
use heed::types::Bytes;
use heed::{CompactionOption, Database, Env, EnvFlags, EnvOpenOptions, RoTxn, WithTls};
use std::ops::Range;
use std::path::Path;

const MAP_BYTES: usize = 16 << 30;
const FILL_BATCH: u64 = 100_000;

type Table = Database<Bytes, Bytes>;

struct Peer {
    env: Env,
    table: Table,
    setup: Setup,
}

#[allow(unsafe_code, reason = "LMDB maps its file, so no other process may write to it; in a directory of our own none does")]
pub(super) fn open(dir: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
    let dir = dir.join("lmdb");
    std::fs::create_dir_all(&dir)?;
    let mut options = EnvOpenOptions::new();
    options.map_size(MAP_BYTES);
    let env = unsafe {
        if setup.sync == Sync::Never {
            options.flags(EnvFlags::NO_SYNC);
        }
        options.open(dir)?
    };
    let mut txn = env.write_txn()?;
    let table = env.create_database(&mut txn, None)?;
    txn.commit()?;
    Ok(Box::new(Peer { env, table, setup: *setup }))
}

impl Peer {
    fn commit(&self, puts: &[(Key, Value)]) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        for (key, value) in puts {
            self.table.put(&mut txn, key, value)?;
        }
        Ok(txn.commit()?)
    }
}

impl Store for Peer {
    fn writer(&self) -> Result<Box<dyn Writer + '_>> {
        Ok(Box::new(Transactions::new(self.setup.sync, |puts: &[(Key, Value)]| self.commit(puts))))
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(match self.setup.reads {
            Reads::OneView => Box::new(OneView(self.table, self.env.read_txn()?)),
            Reads::Fresh => Box::new(Fresh(self)),
        })
    }

    fn fill(&self, numbers: Range<u64>) -> Result<()> {
        let mut from = numbers.start;
        while from < numbers.end {
            let to = numbers.end.min(from + FILL_BATCH);
            let puts: Vec<_> = (from..to).map(|n| (key(n), value(n))).collect();
            self.commit(&puts)?;
            from = to;
        }
        Ok(())
    }

    /// A copy next to the file is the closest that it has to a checkpoint.
    fn checkpoint(&self, dir: &Path) -> Result<Option<u64>> {
        let copy = self.env.copy_to_path(dir.join("lmdb-copy"), CompactionOption::Disabled)?;
        copy.sync_data()?;
        Ok(Some(copy.metadata()?.len()))
    }
}

struct OneView<'a>(Table, RoTxn<'a, WithTls>);

impl Reader for OneView<'_> {
    fn get(&mut self, key: &Key) -> Result<Option<u64>> {
        Ok(self.0.get(&self.1, key)?.map(number))
    }
}

struct Fresh<'a>(&'a Peer);

impl Reader for Fresh<'_> {
    fn get(&mut self, key: &Key) -> Result<Option<u64>> {
        let txn = self.0.env.read_txn()?;
        Ok(self.0.table.get(&txn, key)?.map(number))
    }
}
