//! raft-engine: a log for many small groups, with an index in memory. Here the values of one group serve as a map.

use super::group::EveryNth;
use super::{Reader, Setup, Store, Writer};
use crate::work::{Key, Value, key, number, value};
use anyhow::Result;
use raft_engine::env::DefaultFileSystem;
use raft_engine::{Config, Engine, LogBatch, ReadableSize};
use std::ops::Range;
use std::path::Path;

const GROUP: u64 = 1;
const FILL_BATCH: u64 = 1000;
/// Prepared in advance, if the row demands it.
const LOG_BYTES: u64 = 64 << 20;
const PREPARED_BYTES: u64 = 256 << 20;

struct Peer {
    engine: Engine<DefaultFileSystem>,
    setup: Setup,
}

pub(super) fn open(dir: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
    let mut config =
        Config { dir: dir.join("raft").display().to_string(), target_file_size: ReadableSize(LOG_BYTES), ..Config::default() };
    if setup.worn_in {
        config.prefill_for_recycle = true;
        config.prefill_limit = Some(ReadableSize(PREPARED_BYTES));
    }
    Ok(Box::new(Peer { engine: Engine::open(config)?, setup: *setup }))
}

impl Store for Peer {
    fn writer(&self) -> Result<Box<dyn Writer + '_>> {
        Ok(Box::new(PeerWriter { peer: self, nth: EveryNth::new(self.setup.sync), batch: LogBatch::default() }))
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(PeerReader(self)))
    }

    fn fill(&self, numbers: Range<u64>) -> Result<()> {
        let mut from = numbers.start;
        while from < numbers.end {
            let to = numbers.end.min(from + FILL_BATCH);
            let mut batch = LogBatch::default();
            for n in from..to {
                batch.put(GROUP, key(n).to_vec(), value(n).to_vec())?;
            }
            self.engine.write(&mut batch, false)?;
            from = to;
        }
        Ok(self.engine.sync()?)
    }
}

struct PeerWriter<'a> {
    peer: &'a Peer,
    nth: EveryNth,
    batch: LogBatch,
}

impl Writer for PeerWriter<'_> {
    fn put(&mut self, key: &Key, value: &Value) -> Result<()> {
        self.batch.put(GROUP, key.to_vec(), value.to_vec())?;
        self.peer.engine.write(&mut self.batch, self.nth.is_due())?;
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        if self.nth.is_open() {
            self.peer.engine.sync()?;
        }
        Ok(())
    }
}

struct PeerReader<'a>(&'a Peer);

impl Reader for PeerReader<'_> {
    fn get(&mut self, key: &Key) -> Result<Option<u64>> {
        Ok(self.0.engine.get(GROUP, key).map(|value| number(&value)))
    }
}
