//! [`RangeCrcs`]: the CRC-32 of any range of a file, in time that does not grow with the length of the range.
//!
//! A search for whole frames may meet heads whose bodies overlap: a crafted file may have a valid head at every 33rd
//! byte, each of which claims all bytes behind it. Summing each body from its first byte to its last would take time
//! that grows with the square of the file's length. But a CRC is linear: the CRCs of two prefixes of the file give the
//! CRC of the range between their ends.
//!
//! ```text
//! start ├──── up to a ────┤
//!       ├──── up to a ────┼──────── a to b ────────┤    crc(a to b) = crc(up to b) − crc(up to a) · x^(8 · (b − a))
//! ```
//!
//! So the CRC of the prefix up to each multiple of [`STEP_BYTES`] is kept, four bytes for each step. It is computed
//! when it is first needed. The CRC of a range then costs at most two steps of the file.

use crate::disk::{File, read_full_at};
use crate::record::crc;
use std::io;
use std::ops::Range;
use std::sync::Arc;

const STEP_BYTES: usize = 4096;
/// Prefix CRCs are computed from this much at once.
const READ_BYTES: usize = 64 * STEP_BYTES;

/// The salt of the prefix CRCs. It cancels out.
const PREFIX_SALT: u32 = 0;

pub(super) struct RangeCrcs {
    file: Arc<dyn File>,
    start: u64,
    /// The CRCs of the bytes from `start` to each step.
    prefixes: Vec<u32>,
    /// The two steps that were read last: one where a range began, one where a range ended.
    last: [Step; 2],
}

/// Some bytes of the file.
#[derive(Default)]
struct Step {
    at: u64,
    bytes: Vec<u8>,
}

impl RangeCrcs {
    /// For ranges of the bytes from `start` on.
    pub(super) fn new(file: Arc<dyn File>, start: u64) -> RangeCrcs {
        RangeCrcs { file, start, prefixes: vec![PREFIX_SALT], last: Default::default() }
    }

    /// The CRC of these bytes, with this salt. `None`: the file ends before they do.
    pub(super) fn of(&mut self, range: Range<u64>, salt: u32) -> io::Result<Option<u32>> {
        if range.start < self.start {
            *self = RangeCrcs::new(Arc::clone(&self.file), range.start);
        }
        let (Some(before), Some(all)) = (self.up_to(range.start, 0)?, self.up_to(range.end, 1)?) else { return Ok(None) };
        Ok(Some(shifted(salt ^ before, range.end - range.start) ^ all))
    }

    /// The CRC of the prefix that ends at `end`.
    fn up_to(&mut self, end: u64, side: usize) -> io::Result<Option<u32>> {
        let (steps, rest) = ((end - self.start) / STEP_BYTES as u64, (end - self.start) % STEP_BYTES as u64);
        let (Ok(steps), Ok(rest)) = (usize::try_from(steps), usize::try_from(rest)) else { return Ok(None) };
        while self.prefixes.len() <= steps {
            if !self.extend(steps)? {
                return Ok(None);
            }
        }
        let at = end - rest as u64;
        let last = &mut self.last[side];
        if last.at != at || last.bytes.len() < rest {
            last.bytes.resize(STEP_BYTES, 0);
            let got = read_full_at(&*self.file, at, &mut last.bytes)?;
            last.bytes.truncate(got);
            last.at = at;
        }
        Ok(last.bytes.get(..rest).map(|rest| crc(self.prefixes[steps], rest)))
    }

    /// Computes the next prefix CRCs, up to number `most`. `false`: the file ends before it.
    fn extend(&mut self, most: usize) -> io::Result<bool> {
        let made = self.prefixes.len() - 1;
        let want = ((most - made) * STEP_BYTES).min(READ_BYTES);
        let mut bytes = vec![0; want];
        let got = read_full_at(&*self.file, self.start + (made * STEP_BYTES) as u64, &mut bytes)?;
        let mut sum = *self.prefixes.last().expect("one at least");
        for step in bytes[..got].chunks_exact(STEP_BYTES) {
            sum = crc(sum, step);
            self.prefixes.push(sum);
        }
        Ok(got == want)
    }
}

/// The CRC of the same bytes followed by `count` zero bytes.
fn shifted(sum: u32, count: u64) -> u32 {
    let mut shifted = crc32fast::Hasher::new_with_initial(sum);
    shifted.combine(&crc32fast::Hasher::new_with_initial_len(0, count));
    shifted.finalize()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::disk::{InMemory, ReadOnly};
    use proptest::prelude::*;

    fn crcs(bytes: &[u8], start: u64) -> RangeCrcs {
        RangeCrcs::new(Arc::new(ReadOnly(InMemory::new(bytes.to_vec()))), start)
    }

    proptest! {
        #[test]
        fn the_crc_of_a_range_is_that_of_its_bytes(
            bytes in proptest::collection::vec(any::<u8>(), 0..3 * STEP_BYTES),
            start in 0..2 * STEP_BYTES,
            parts in proptest::collection::vec((0..3 * STEP_BYTES, 0..3 * STEP_BYTES, any::<u32>()), 1..20),
        ) {
            let mut crcs = crcs(&bytes, start as u64);
            for (a, b, salt) in parts {
                let (from, to) = (a.min(b), a.max(b));
                let expected = bytes.get(from..to).map(|part| crc(salt, part));
                prop_assert_eq!(crcs.of(from as u64..to as u64, salt).unwrap(), expected);
            }
        }
    }

    #[test]
    fn a_range_that_reaches_beyond_the_file_has_none() {
        let bytes = vec![7; READ_BYTES + 2 * STEP_BYTES];
        let len = bytes.len() as u64;
        let mut crcs = crcs(&bytes, 0);
        assert_eq!(crcs.of(0..len + 1, 7).unwrap(), None);
        assert_eq!(crcs.of(0..u64::MAX, 7).unwrap(), None);
        assert_eq!(crcs.of(len - 1..len + STEP_BYTES as u64 * 3, 7).unwrap(), None);
        assert_eq!(crcs.of(0..len, 7).unwrap(), Some(crc(7, &bytes)));
        assert_eq!(crcs.of(len..len, 7).unwrap(), Some(7), "the CRC of no bytes is the salt");
    }
}
