//! [`Sums`]: the CRC-32 of any part of a file, although each byte of it is summed a bounded number of times.
//!
//! A search for whole frames meets heads whose bodies overlap: a file can be made that has a sound head at every 33rd byte, each of
//! which claims all that is behind it. To sum up every body from its first byte to its last would take time that grows with the square
//! of the file's length. But a CRC is linear: from the sums of two beginnings of the file follows that of what lies between.
//!
//! ```text
//! start ├──── up to a ────┤
//!       ├──── up to a ────┼──────── a to b ────────┤    sum(a to b) = sum(up to b) − sum(up to a) · x^(8 · (b − a))
//! ```
//!
//! So the sum up to each [`STEP_BYTES`] is kept, four bytes for each step, and made when it is first asked for. A sum then
//! costs two steps of the file at most, whatever it is the sum of.

use crate::disk::{File, read_full_at};
use crate::record::crc;
use std::io;
use std::ops::Range;
use std::sync::Arc;

const STEP_BYTES: usize = 4096;
/// Sums are made from so much at once.
const READ_BYTES: usize = 64 * STEP_BYTES;

/// What the sum of a beginning is begun with. It cancels out.
const BEGUN_WITH: u32 = 0;

pub(super) struct Sums {
    file: Arc<dyn File>,
    start: u64,
    /// Up to each step, from `start` on.
    upto: Vec<u32>,
    /// The steps that were looked into last: one for where a part begins, one for where it ends.
    last: [Step; 2],
}

/// Some bytes of the file.
#[derive(Default)]
struct Step {
    at: u64,
    bytes: Vec<u8>,
}

impl Sums {
    /// Of the bytes from `start` on.
    pub(super) fn new(file: Arc<dyn File>, start: u64) -> Sums {
        Sums { file, start, upto: vec![BEGUN_WITH], last: Default::default() }
    }

    /// The CRC of these bytes, begun with `salt`. `None`: the file ends before they do.
    pub(super) fn of(&mut self, part: Range<u64>, salt: u32) -> io::Result<Option<u32>> {
        if part.start < self.start {
            *self = Sums::new(Arc::clone(&self.file), part.start);
        }
        let (Some(before), Some(all)) = (self.up_to(part.start, 0)?, self.up_to(part.end, 1)?) else { return Ok(None) };
        Ok(Some(shifted(salt ^ before, part.end - part.start) ^ all))
    }

    /// The sum of the beginning that ends at `end`.
    fn up_to(&mut self, end: u64, side: usize) -> io::Result<Option<u32>> {
        let (steps, rest) = ((end - self.start) / STEP_BYTES as u64, (end - self.start) % STEP_BYTES as u64);
        let (Ok(steps), Ok(rest)) = (usize::try_from(steps), usize::try_from(rest)) else { return Ok(None) };
        while self.upto.len() <= steps {
            if !self.make_some(steps)? {
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
        Ok(last.bytes.get(..rest).map(|rest| crc(self.upto[steps], rest)))
    }

    /// Makes the next ones, not beyond the one with this number. `false`: the file has no more.
    fn make_some(&mut self, most: usize) -> io::Result<bool> {
        let made = self.upto.len() - 1;
        let want = ((most - made) * STEP_BYTES).min(READ_BYTES);
        let mut bytes = vec![0; want];
        let got = read_full_at(&*self.file, self.start + (made * STEP_BYTES) as u64, &mut bytes)?;
        let mut sum = *self.upto.last().expect("one at least");
        for step in bytes[..got].chunks_exact(STEP_BYTES) {
            sum = crc(sum, step);
            self.upto.push(sum);
        }
        Ok(got == want)
    }
}

/// A sum with so many zeros behind it.
fn shifted(sum: u32, count: u64) -> u32 {
    let mut shifted = crc32fast::Hasher::new_with_initial(sum);
    shifted.combine(&crc32fast::Hasher::new_with_initial_len(0, count));
    shifted.finalize()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::disk::{ReadOnly, Readable};
    use proptest::prelude::*;

    #[derive(Debug)]
    struct Bytes(Vec<u8>);

    impl Readable for Bytes {
        fn size(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }
        fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
            let rest = self.0.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
            let count = rest.len().min(out.len());
            out[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }
        fn drop_cache(&self) {}
    }

    fn sums(bytes: &[u8], start: u64) -> Sums {
        Sums::new(Arc::new(ReadOnly(Bytes(bytes.to_vec()))), start)
    }

    proptest! {
        #[test]
        fn the_sum_of_a_part_is_that_of_its_bytes(
            bytes in proptest::collection::vec(any::<u8>(), 0..3 * STEP_BYTES),
            start in 0..2 * STEP_BYTES,
            parts in proptest::collection::vec((0..3 * STEP_BYTES, 0..3 * STEP_BYTES, any::<u32>()), 1..20),
        ) {
            let mut sums = sums(&bytes, start as u64);
            for (a, b, salt) in parts {
                let (from, to) = (a.min(b), a.max(b));
                let expected = bytes.get(from..to).map(|part| crc(salt, part));
                prop_assert_eq!(sums.of(from as u64..to as u64, salt).unwrap(), expected);
            }
        }
    }

    #[test]
    fn a_part_that_reaches_beyond_the_file_has_none() {
        let bytes = vec![7; READ_BYTES + 2 * STEP_BYTES];
        let len = bytes.len() as u64;
        let mut sums = sums(&bytes, 0);
        assert_eq!(sums.of(0..len + 1, 7).unwrap(), None);
        assert_eq!(sums.of(0..u64::MAX, 7).unwrap(), None);
        assert_eq!(sums.of(len - 1..len + STEP_BYTES as u64 * 3, 7).unwrap(), None);
        assert_eq!(sums.of(0..len, 7).unwrap(), Some(crc(7, &bytes)));
        assert_eq!(sums.of(len..len, 7).unwrap(), Some(7), "nothing, begun with the salt");
    }
}
