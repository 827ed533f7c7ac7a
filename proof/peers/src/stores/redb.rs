//! redb: a B-tree in a file, with copy on write and without a log.

use super::group::Transactions;
use super::{Reader, Reads, Setup, Store, Sync, Writer};
use crate::work::{Key, Value, key, number, value};
use anyhow::Result;
use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase, TableDefinition};
use std::ops::Range;
use std::path::Path;

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

const TABLE: Table = TableDefinition::new("kv");
const CACHE_BYTES: usize = 2 << 30;
const FILL_BATCH: u64 = 100_000;

struct Peer {
    db: Database,
    setup: Setup,
}

pub(super) fn open(dir: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
    let path = dir.join("redb");
    let is_new = !path.exists();
    let peer = Peer { db: Database::builder().set_cache_size(CACHE_BYTES).create(path)?, setup: *setup };
    if is_new {
        peer.commit(Durability::Immediate, &[])?;
    }
    Ok(Box::new(peer))
}

impl Peer {
    fn commit(&self, durability: Durability, puts: &[(Key, Value)]) -> Result<()> {
        let mut txn = self.db.begin_write()?;
        txn.set_durability(durability)?;
        {
            let mut table = txn.open_table(TABLE)?;
            for (key, value) in puts {
                table.insert(&key[..], &value[..])?;
            }
        }
        Ok(txn.commit()?)
    }
}

impl Store for Peer {
    fn writer(&self) -> Result<Box<dyn Writer + '_>> {
        let durability = if self.setup.sync == Sync::Never { Durability::None } else { Durability::Immediate };
        Ok(Box::new(Transactions::new(self.setup.sync, move |puts: &[(Key, Value)]| self.commit(durability, puts))))
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(match self.setup.reads {
            Reads::OneView => Box::new(OneView(self.db.begin_read()?.open_table(TABLE)?)),
            Reads::Fresh => Box::new(Fresh(&self.db)),
        })
    }

    fn fill(&self, numbers: Range<u64>) -> Result<()> {
        let mut from = numbers.start;
        while from < numbers.end {
            let to = numbers.end.min(from + FILL_BATCH);
            let puts: Vec<_> = (from..to).map(|n| (key(n), value(n))).collect();
            self.commit(Durability::Immediate, &puts)?;
            from = to;
        }
        Ok(())
    }
}

struct OneView(ReadOnlyTable<&'static [u8], &'static [u8]>);

impl Reader for OneView {
    fn get(&mut self, key: &Key) -> Result<Option<u64>> {
        Ok(self.0.get(&key[..])?.map(|value| number(value.value())))
    }
}

struct Fresh<'a>(&'a Database);

impl Reader for Fresh<'_> {
    fn get(&mut self, key: &Key) -> Result<Option<u64>> {
        OneView(self.0.begin_read()?.open_table(TABLE)?).get(key)
    }
}
