//! fjall: a log-structured merge tree. The file of its journal has its full length from the start, but no blocks.

use super::group::EveryNth;
use super::{Reader, Setup, Store, Writer};
use crate::work::{Key, Value, key, number, value};
use anyhow::Result;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, config::CompressionPolicy};
use std::ops::Range;
use std::path::Path;

struct Peer {
    keyspace: Keyspace,
    db: Database,
    setup: Setup,
}

/// More than any row writes, so that everything stays in the journal.
const LOG_ONLY_BYTES: u64 = 2 << 30;
const CACHE_BYTES: u64 = 1 << 30;

pub(super) fn open(dir: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
    let mut builder = Database::builder(dir.join("fjall")).manual_journal_persist(true).cache_size(CACHE_BYTES);
    if setup.log_only {
        builder = builder.max_journaling_size(LOG_ONLY_BYTES);
    }
    let db = builder.open()?;
    let log_only = setup.log_only;
    let keyspace = db.keyspace("kv", || {
        let options = KeyspaceCreateOptions::default().data_block_compression_policy(CompressionPolicy::disabled());
        if log_only { options.max_memtable_size(LOG_ONLY_BYTES) } else { options }
    })?;
    Ok(Box::new(Peer { keyspace, db, setup: *setup }))
}

impl Store for Peer {
    fn writer(&self) -> Result<Box<dyn Writer + '_>> {
        Ok(Box::new(PeerWriter { peer: self, nth: EveryNth::new(self.setup.sync) }))
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(PeerReader(self)))
    }

    fn fill(&self, numbers: Range<u64>) -> Result<()> {
        for n in numbers {
            self.keyspace.insert(key(n), value(n))?;
        }
        Ok(self.db.persist(PersistMode::SyncData)?)
    }

    fn settle(&self) -> Result<()> {
        self.keyspace.rotate_memtable_and_wait()?;
        Ok(self.keyspace.major_compact()?)
    }

    fn checkpoint(&self, _dir: &Path) -> Result<Option<u64>> {
        self.keyspace.rotate_memtable_and_wait()?;
        Ok(Some(self.keyspace.disk_space()))
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.db.persist(PersistMode::SyncAll)?)
    }
}

struct PeerWriter<'a> {
    peer: &'a Peer,
    nth: EveryNth,
}

impl Writer for PeerWriter<'_> {
    fn put(&mut self, key: &Key, value: &Value) -> Result<()> {
        self.peer.keyspace.insert(&key[..], &value[..])?;
        if self.nth.is_due() {
            self.peer.db.persist(PersistMode::SyncData)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        if self.nth.is_open() {
            self.peer.db.persist(PersistMode::SyncData)?;
        }
        Ok(())
    }
}

struct PeerReader<'a>(&'a Peer);

impl Reader for PeerReader<'_> {
    fn get(&mut self, key: &Key) -> Result<Option<u64>> {
        Ok(self.0.keyspace.get(key)?.map(|value| number(&value)))
    }
}
