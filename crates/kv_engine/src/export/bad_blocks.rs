//! [`BadBlocks`]: a file of which some blocks cannot be read. They read as bytes that pass no check, so that what stands
//! behind them is found, and they are counted.

use crate::disk::{File, ReadOnly, Readable, read_full_at};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the page cache reads at least; a read error takes no less away.
const BLOCK_BYTES: u64 = 4096;
/// Not zero, which at the end of a log is space in reserve.
const FILLER: u8 = 0xff;

#[derive(Debug)]
pub(super) struct BadBlocks {
    file: Arc<dyn File>,
    holes: Mutex<Holes>,
}

#[derive(Debug, Default)]
struct Holes {
    /// Where they begin.
    at: BTreeSet<u64>,
    bytes: u64,
    error: String,
}

impl BadBlocks {
    pub(super) fn new(file: Arc<dyn File>) -> Arc<ReadOnly<BadBlocks>> {
        Arc::new(ReadOnly(BadBlocks { file, holes: Mutex::default() }))
    }

    fn holes(&self) -> MutexGuard<'_, Holes> {
        self.holes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A sentence on what could not be read so far.
    pub(super) fn note(&self, path: &Path) -> Option<String> {
        let holes = self.holes();
        let first = holes.at.first()?;
        let path = path.display();
        Some(format!("{} B of {path} cannot be read, from byte {first} on: {}; the rest was searched", holes.bytes, holes.error))
    }

    /// Block by block, none twice that could not be read.
    fn read_around(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.file.size()?.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = out.len().min(left);
        let mut done = 0;
        while done < count {
            let at = offset + done as u64;
            let block = at - at % BLOCK_BYTES;
            let len = usize::try_from(block + BLOCK_BYTES - at).expect("a block").min(count - done);
            let part = &mut out[done..done + len];
            let mut holes = self.holes();
            let read = if holes.at.contains(&block) { Ok(0) } else { read_full_at(&*self.file, at, part) };
            match read {
                Ok(got) if got == len => {}
                Ok(_) if !holes.at.contains(&block) => return Ok(done), // somebody cut the file
                read => {
                    if let Err(error) = read {
                        holes.at.insert(block);
                        holes.bytes += BLOCK_BYTES.min(self.file.size()? - block);
                        holes.error = error.to_string();
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
