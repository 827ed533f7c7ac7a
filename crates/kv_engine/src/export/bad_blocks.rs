//! [`BadBlocks`]: a file with blocks that cannot be read. It counts these blocks and returns bytes for them that pass
//! no check. So the reader goes on and finds the records after them.

use crate::disk::{File, ReadOnly, Readable, read_full_at};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The page cache reads at least this much, so a read error hides at least this much.
const BLOCK_BYTES: u64 = 4096;
/// Not zero: zeros at the end of a log are reserved space.
const FILLER: u8 = 0xff;

#[derive(Debug)]
pub(super) struct BadBlocks {
    file: Arc<dyn File>,
    unreadable: Mutex<Unreadable>,
}

#[derive(Debug, Default)]
struct Unreadable {
    /// The blocks, by their first byte.
    at: BTreeSet<u64>,
    bytes: u64,
    error: String,
}

impl BadBlocks {
    pub(super) fn new(file: Arc<dyn File>) -> Arc<ReadOnly<BadBlocks>> {
        Arc::new(ReadOnly(BadBlocks { file, unreadable: Mutex::default() }))
    }

    fn unreadable(&self) -> MutexGuard<'_, Unreadable> {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A sentence about the blocks that could not be read so far.
    pub(super) fn note(&self, path: &Path) -> Option<String> {
        let bad = self.unreadable();
        let first = bad.at.first()?;
        let path = path.display();
        Some(format!("{} B of {path} cannot be read, from byte {first} on: {}; the rest was searched", bad.bytes, bad.error))
    }

    /// Reads block by block. A block that could not be read is not tried again.
    fn read_around(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.file.size()?.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = out.len().min(left);
        let mut done = 0;
        while done < count {
            let at = offset + done as u64;
            let block = at - at % BLOCK_BYTES;
            let len = usize::try_from(block + BLOCK_BYTES - at).expect("a block").min(count - done);
            let part = &mut out[done..done + len];
            let mut bad = self.unreadable();
            let read = if bad.at.contains(&block) { Ok(0) } else { read_full_at(&*self.file, at, part) };
            match read {
                Ok(got) if got == len => {}
                Ok(_) if !bad.at.contains(&block) => return Ok(done), // the file has been truncated
                read => {
                    if let Err(error) = read {
                        bad.at.insert(block);
                        bad.bytes += BLOCK_BYTES.min(self.file.size()? - block);
                        bad.error = error.to_string();
                    }
                    part.fill(FILLER);
                }
            }
            done += len;
        }
        Ok(done)
    }
}

impl Readable for BadBlocks {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        read_full_at(&*self.file, offset, out).or_else(|_| self.read_around(offset, out))
    }

    fn drop_cache(&self) {
        self.file.drop_cache();
    }
}
