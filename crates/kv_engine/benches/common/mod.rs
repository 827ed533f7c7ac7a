//! A disk whose syncs take a given time, so that the benchmarks measure the store's own work and not the disk of the
//! machine; and keys and values. `scripts/compare-peers` measures with a real disk.
#![allow(dead_code, reason = "each program uses some of it")]

#[path = "../../tests/support/wrapped.rs"]
#[allow(missing_docs, unreachable_pub)]
mod wrapped;

use kv_engine::disk::{Disk, File, OsDisk};
use kv_engine::{Engine, Options};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use wrapped::{Overrides, Wrapped, as_os_disk};

pub(crate) const VALUE: [u8; 100] = [b'v'; 100];

/// Key number `n`, of 16 bytes. Keys with successive numbers are far apart in key order.
pub(crate) fn key(n: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    key[8..].copy_from_slice(&n.to_be_bytes());
    key
}

/// The real disk, except that a sync only waits for this time.
#[derive(Debug)]
struct Paced(Duration);

impl Overrides for Duration {
    fn sync(&self, _file: &dyn File) -> io::Result<()> {
        if !self.is_zero() {
            std::thread::sleep(*self);
        }
        Ok(())
    }

    fn drop_cache(&self, _file: &dyn File) {}
}

impl Paced {
    fn file(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(Wrapped(file, self.0))
    }
}

impl Disk for Paced {
    as_os_disk!(open_read rename remove lock named list now entropy);

    fn open(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        Ok(OsDisk.open(path)?.map(|file| self.file(file)))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.file(OsDisk.create_new(path)?))
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// The options of a store in `dir` without work in the background, whose syncs take `sync`.
pub(crate) fn options(dir: &Path, batch_size: u64, sync: Duration) -> Options {
    Options::new(dir.join("kv.wal"), dir.join("kv.snapshot"))
        .batch_size(batch_size)
        .flush_interval(Duration::ZERO)
        .checkpoint_log_bytes(0)
        .disk(Arc::new(Paced(sync)))
}

/// A store with the keys 0 to `keys`.
pub(crate) fn filled(dir: &Path, keys: u64) -> Engine {
    let engine = options(dir, 100_000, Duration::ZERO).open().expect("a new store");
    for n in 0..keys {
        engine.put(key(n), VALUE).expect("room");
    }
    engine
}
