//! The CRC-32 of any part of a stream, from the sums of its beginnings. Each block is hashed once, and each sum adds at
//! most a part of a block at either end.
//!
//! The library has the same for log files (`scan/sums.rs`). That one reads a file at any place. This one works on a
//! window that moves along a stream.

/// A sum is kept for every block of this size.
pub(super) const BLOCK_BYTES: usize = 512;

#[derive(Default)]
pub(super) struct Sums {
    /// The sum of everything before each block. The first one covers the dropped blocks.
    before: Vec<u32>,
    /// How many bytes were hashed, for a test.
    pub(super) hashed: u64,
}

impl Sums {
    /// The checksum of `range` in `bytes`.
    pub(super) fn of(&mut self, bytes: &[u8], range: std::ops::Range<usize>) -> u32 {
        let (begin, end) = (self.up_to(bytes, range.start), self.up_to(bytes, range.end));
        end ^ followed_by_zeros(begin, range.len())
    }

    /// The sum of everything before `at`, with the dropped blocks.
    fn up_to(&mut self, bytes: &[u8], at: usize) -> u32 {
        if self.before.is_empty() {
            self.before.push(0);
        }
        let block = at / BLOCK_BYTES;
        while self.before.len() <= block {
            let from = (self.before.len() - 1) * BLOCK_BYTES;
            let sum = self.add(self.before[self.before.len() - 1], &bytes[from..from + BLOCK_BYTES]);
            self.before.push(sum);
        }
        self.add(self.before[block], &bytes[block * BLOCK_BYTES..at])
    }

    fn add(&mut self, sum: u32, bytes: &[u8]) -> u32 {
        self.hashed += bytes.len() as u64;
        let mut hasher = crc32fast::Hasher::new_with_initial(sum);
        hasher.update(bytes);
        hasher.finalize()
    }

    /// Forgets the first blocks. If their sums are not known yet, the sums begin again at the new first block.
    pub(super) fn drop_blocks(&mut self, blocks: usize) {
        match blocks < self.before.len() {
            true => drop(self.before.drain(..blocks)),
            false => self.before.clear(),
        }
    }
}

/// Shifts a checksum by `count` bytes, so that the checksum of `a` followed by `b` is the shifted checksum of `a`, xor
/// the checksum of `b`.
fn followed_by_zeros(sum: u32, count: usize) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(sum);
    hasher.combine(&crc32fast::Hasher::new_with_initial_len(0, count as u64));
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_any_part_is_its_checksum() {
        let bytes: Vec<u8> = (0..5000_u32).map(|n| ((n * n) >> 3) as u8).collect();
        for (first, gone) in [(0, 0), (0, 2), (3000, 2), (3000, 5)] {
            let mut sums = Sums::default();
            sums.of(&bytes, 0..first);
            sums.drop_blocks(gone);
            let rest = &bytes[gone * BLOCK_BYTES..];
            for range in [0..0, 0..1, 1..700, 511..512, 512..1024, 513..2000, 0..rest.len(), 7..rest.len() - 1] {
                assert_eq!(sums.of(rest, range.clone()), crc32fast::hash(&rest[range.clone()]), "{range:?}, {gone} gone");
            }
        }
    }
}
