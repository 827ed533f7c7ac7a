//! RocksDB: a log-structured merge tree, with new log files or with recycled ones.

use super::group::EveryNth;
use super::{Reader, Setup, Store, Sync, Writer};
use crate::work::{Key, Value, key, number, value};
use anyhow::{Result, ensure};
use rocksdb::{BlockBasedOptions, Cache, DB, DBCompressionType, FlushOptions, Options, WriteBatch, WriteOptions};
use std::ops::Range;
use std::path::Path;

const CACHE_BYTES: usize = 1 << 30;
const MEMTABLE_BYTES: usize = 64 << 20;
const LOG_ONLY_BYTES: usize = 1 << 30;
const FILL_BATCH: u64 = 1000;
/// The values written before a row begins, so that there are old logs to overwrite. No larger than a page: the kernel
/// caches large writes in large pieces, and counts a piece as completely written when one byte of it is.
const WEAR_VALUE_BYTES: usize = 4096;
const RECYCLED: usize = 2;

struct Peer {
    db: DB,
    setup: Setup,
}

pub(super) fn open_plain(dir: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
    Ok(Box::new(Peer { db: DB::open(&options(setup), dir.join("rocksdb"))?, setup: *setup }))
}

pub(super) fn open_recycled(dir: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
    let mut options = options(setup);
    options.set_recycle_log_file_num(RECYCLED);
    let path = dir.join("rocksdb");
    let peer = Peer { db: DB::open(&options, &path)?, setup: *setup };
    if setup.worn_in {
        let large = vec![0; WEAR_VALUE_BYTES];
        for round in 0..=RECYCLED {
            for _ in 0..MEMTABLE_BYTES / WEAR_VALUE_BYTES {
                peer.db.put(b"wear", &large)?;
            }
            peer.flush()?;
            ensure!(round < RECYCLED || grown_logs(&path)? > 0, "no log is recycled");
        }
    }
    Ok(Box::new(peer))
}

/// The number of logs that are as long as a memory table.
fn grown_logs(dir: &Path) -> Result<usize> {
    let mut grown = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let is_log = entry.path().extension().is_some_and(|extension| extension == "log");
        grown += usize::from(is_log && entry.metadata()?.len() > MEMTABLE_BYTES as u64 / 2);
    }
    Ok(grown)
}

fn options(setup: &Setup) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(if setup.log_only { LOG_ONLY_BYTES } else { MEMTABLE_BYTES });
    // Without sync the log stays in the memory of the program for a while, as in the other stores.
    options.set_manual_wal_flush(setup.sync == Sync::Never);
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_hyper_clock_cache(CACHE_BYTES, 0));
    blocks.set_bloom_filter(10.0, false);
    blocks.set_data_block_index_type(rocksdb::DataBlockIndexType::BinaryAndHash);
    options.set_block_based_table_factory(&blocks);
    options
}

impl Peer {
    fn flush(&self) -> Result<()> {
        let mut options = FlushOptions::default();
        options.set_wait(true);
        Ok(self.db.flush_opt(&options)?)
    }
}

impl Store for Peer {
    fn writer(&self) -> Result<Box<dyn Writer + '_>> {
        let (unsynced, mut synced) = (WriteOptions::default(), WriteOptions::default());
        synced.set_sync(true);
        Ok(Box::new(PeerWriter { db: &self.db, nth: EveryNth::new(self.setup.sync), unsynced, synced }))
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(PeerReader(&self.db)))
    }

    fn fill(&self, numbers: Range<u64>) -> Result<()> {
        let mut from = numbers.start;
        while from < numbers.end {
            let to = numbers.end.min(from + FILL_BATCH);
            let mut batch = WriteBatch::default();
            for n in from..to {
                batch.put(key(n), value(n));
            }
            self.db.write(batch)?;
            from = to;
        }
        Ok(self.db.flush_wal(true)?)
    }

    fn settle(&self) -> Result<()> {
        self.flush()?;
        self.db.compact_range::<&[u8], &[u8]>(None, None);
        Ok(())
    }

    fn checkpoint(&self, _dir: &Path) -> Result<Option<u64>> {
        self.flush()?;
        Ok(self.db.property_int_value("rocksdb.total-sst-files-size")?)
    }
}

struct PeerWriter<'a> {
    db: &'a DB,
    nth: EveryNth,
    unsynced: WriteOptions,
    synced: WriteOptions,
}

impl Writer for PeerWriter<'_> {
    fn put(&mut self, key: &Key, value: &Value) -> Result<()> {
        let options = if self.nth.is_due() { &self.synced } else { &self.unsynced };
        Ok(self.db.put_opt(key, value, options)?)
    }

    fn finish(&mut self) -> Result<()> {
        if self.nth.is_open() {
            self.db.flush_wal(true)?;
        }
        Ok(())
    }
}

struct PeerReader<'a>(&'a DB);

impl Reader for PeerReader<'_> {
    fn get(&mut self, key: &Key) -> Result<Option<u64>> {
        Ok(self.0.get_pinned(key)?.map(|value| number(&value)))
    }
}
