//! A disk whose syncs take a time that is given, so that what is measured is the store's own work and not the
//! disk of the machine; and keys and values. What a real disk makes of it: `scripts/compare-peers`.
#![allow(dead_code, reason = "each program uses some of it")]

use kv_engine::disk::{Disk, File, Lock, OsDisk};
use kv_engine::{Engine, Options};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const VALUE: [u8; 100] = [b'v'; 100];

/// Key number `n`, 16 bytes; neighbours in number are far apart in order.
pub(crate) fn key(n: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    key[8..].copy_from_slice(&n.to_be_bytes());
    key
}

/// The operating system's disk, but a sync only waits so long.
#[derive(Debug)]
struct Paced(Duration);

#[derive(Debug)]
struct PacedFile(Arc<dyn File>, Duration);

impl Paced {
    fn file(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(PacedFile(file, self.0))
    }
}

impl Disk for Paced {
    fn open(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        Ok(OsDisk.open(path)?.map(|file| self.file(file)))
    }

    fn open_read(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        OsDisk.open_read(path)
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.file(OsDisk.create_new(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove(path)
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        OsDisk.lock(path)
    }

    fn now(&self) -> Duration {
        OsDisk.now()
    }

    fn entropy(&self) -> u64 {
        OsDisk.entropy()
    }
}

impl File for PacedFile {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_at(offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn reserve(&self, present_len: u64, len: u64) -> io::Result<()> {
        self.0.reserve(present_len, len)
    }

    fn sync(&self) -> io::Result<()> {
        if !self.1.is_zero() {
            std::thread::sleep(self.1);
        }
        Ok(())
    }

    fn drop_cache(&self) {}
}

/// How to open a store in `dir`: no work in the background, and syncs that take `sync`.
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
