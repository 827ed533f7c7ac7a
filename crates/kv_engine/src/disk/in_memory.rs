//! [`InMemory`]: a file for tests, which is only in memory and counts the bytes that are read.

use super::Readable;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes of a file.
#[derive(Debug)]
pub(crate) struct InMemory {
    bytes: Vec<u8>,
    bytes_read: AtomicU64,
}

impl InMemory {
    pub(crate) fn new(bytes: Vec<u8>) -> InMemory {
        InMemory { bytes, bytes_read: AtomicU64::new(0) }
    }

    /// The bytes that were read since the last call.
    pub(crate) fn take_bytes_read(&self) -> u64 {
        self.bytes_read.swap(0, Ordering::Relaxed)
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

    fn drop_cache(&self) {}
}
