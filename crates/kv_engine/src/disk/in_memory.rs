//! [`InMemory`]: a file for tests. It is only in memory, and counts the calls.

use super::Readable;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes of the file, and the counts.
#[derive(Debug)]
pub(crate) struct InMemory {
    bytes: Vec<u8>,
    bytes_read: AtomicU64,
    cache_drops: AtomicU64,
}

impl InMemory {
    pub(crate) fn new(bytes: Vec<u8>) -> InMemory {
        InMemory { bytes, bytes_read: AtomicU64::new(0), cache_drops: AtomicU64::new(0) }
    }

    /// The bytes that were read since the last call.
    pub(crate) fn take_bytes_read(&self) -> u64 {
        self.bytes_read.swap(0, Ordering::Relaxed)
    }

    pub(crate) fn cache_drops(&self) -> u64 {
        self.cache_drops.load(Ordering::Relaxed)
    }
}

impl Readable for InMemory {
    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.bytes.get(offset..)).unwrap_or_default();
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        self.bytes_read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn drop_cache(&self) {
        self.cache_drops.fetch_add(1, Ordering::Relaxed);
    }
}
