//! This store.

use super::{Reader, Setup, Store, Sync, Writer};
use crate::work::{Key, Value, key, number, value};
use anyhow::Result;
use kv_engine::{Batch, Engine, MAX_BATCH_SIZE, Options};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

/// The number of puts in an atomic batch when filling.
const FILL_BATCH: u64 = 1000;

/// The blocks of the snapshot that are kept in memory, if values stay in it.
const CACHE_BYTES: usize = 64 << 20;

struct Peer {
    engine: Engine,
    sync: Sync,
}

pub(super) fn open(dir: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
    let batch_size = match setup.sync {
        Sync::Every(puts) => puts,
        Sync::Never => MAX_BATCH_SIZE,
    };
    let mut options =
        Options::new(dir.join("kv.wal"), dir.join("kv.snapshot")).batch_size(batch_size).flush_interval(Duration::ZERO);
    if setup.log_only {
        options = options.checkpoint_log_bytes(0);
    }
    if setup.values_on_disk {
        options = options.values_in_snapshot(CACHE_BYTES);
    }
    Ok(Box::new(Peer { engine: options.open()?, sync: setup.sync }))
}

impl Store for Peer {
    fn writer(&self) -> Result<Box<dyn Writer + '_>> {
        Ok(Box::new(Handle(self)))
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(Handle(self)))
    }

    fn fill(&self, numbers: Range<u64>) -> Result<()> {
        let mut from = numbers.start;
        while from < numbers.end {
            let to = numbers.end.min(from + FILL_BATCH);
            let mut batch = Batch::new();
            for n in from..to {
                batch.put(key(n), value(n));
            }
            self.engine.write(batch)?;
            from = to;
        }
        self.engine.flush()?;
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        self.engine.snapshot()?;
        Ok(())
    }

    fn checkpoint(&self, _dir: &Path) -> Result<Option<u64>> {
        Ok(Some(self.engine.snapshot()?.bytes))
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.engine.close()?)
    }
}

struct Handle<'a>(&'a Peer);

impl Writer for Handle<'_> {
    fn put(&mut self, key: &Key, value: &Value) -> Result<()> {
        self.0.engine.put(key, value)?;
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        if self.0.sync != Sync::Never {
            self.0.engine.flush()?;
        }
        Ok(())
    }
}

impl Reader for Handle<'_> {
    fn get(&mut self, key: &Key) -> Result<Option<u64>> {
        Ok(self.0.engine.get_with(key, number)?)
    }
}
