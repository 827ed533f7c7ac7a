//! The index of a snapshot: a tree of blocks, by which one entry is found without reading the others. It is made while
//! the entries are written, with one block for each level in memory.
//!
//! ```text
//! index block := entry*                         (the body of a frame of kind 5)
//! entry       := offset: u64  frame length: u32  check: u32  key length: u32  key
//! ```
//!
//! An entry names a block of entries or of the index: where it is, the check that its frame begins with, and the first
//! key in it or below it. So each block confirms the blocks below it, and the header confirms the root. A lookup that
//! goes down from the header reads what was written there, or reports an error.
//!
//! Order of frames: an index block follows the last block that it lists, as soon as it is full. It is full when it has
//! 4 KiB and two entries; the second condition bounds the height of a tree of long keys. When the entries end, the
//! blocks that are not full are closed from the bottom up, so the last frame is the root. Reading a whole snapshot
//! makes the index again and compares.

use super::format::{BLOCK_BYTES, REF_BYTES, Ref};
use crate::MAX_KEY_BYTES;
use crate::record::le32;

const KEY_LEN_BYTES: usize = 4;

/// The length of the longest block: it was not full before its last entry.
pub(super) const MOST_BYTES: usize = BLOCK_BYTES + 2 * (REF_BYTES + KEY_LEN_BYTES + MAX_KEY_BYTES);

/// The first entry in `bytes`: its reference, its key, and the bytes behind it. `None`: the bytes are invalid.
pub(super) fn split_entry(bytes: &[u8]) -> Option<(Ref, &[u8], &[u8])> {
    let (block, rest) = bytes.split_at_checked(REF_BYTES)?;
    let (len, rest) = rest.split_at_checked(KEY_LEN_BYTES)?;
    let len = le32(len, 0) as usize;
    let (key, rest) = rest.split_at_checked(len).filter(|_| (1..=MAX_KEY_BYTES).contains(&len))?;
    Some((Ref::from_bytes(block), key, rest))
}

/// A block of the index that is being filled.
#[derive(Default)]
struct Level {
    body: Vec<u8>,
    entries: usize,
    first: Vec<u8>,
}

impl Level {
    fn is_full(&self) -> bool {
        self.body.len() >= BLOCK_BYTES && self.entries >= 2
    }

    fn push(&mut self, key: &[u8], block: Ref) {
        if self.entries == 0 {
            self.first = key.to_vec();
        }
        self.entries += 1;
        self.body.extend_from_slice(&block.to_bytes());
        self.body.extend_from_slice(&u32::try_from(key.len()).expect("lengths are limited").to_le_bytes());
        self.body.extend_from_slice(key);
    }
}

/// Makes the index of the blocks so far.
#[derive(Default)]
pub(super) struct Builder {
    levels: Vec<Level>,
    finishing: bool,
    root: Ref,
}

impl Builder {
    /// Adds a block of entries. No index block may be due.
    pub(super) fn block(&mut self, first: &[u8], block: Ref) {
        self.push(0, first, block);
    }

    /// There are no more entries. All blocks that are left are due, up to the root.
    pub(super) fn finish(&mut self) {
        self.finishing = true;
    }

    pub(super) fn is_finishing(&self) -> bool {
        self.finishing
    }

    /// The body of the index block that has to be written next, if any.
    pub(super) fn due(&self) -> Option<&[u8]> {
        self.due_level().map(|level| &self.levels[level].body[..])
    }

    fn due_level(&self) -> Option<usize> {
        self.levels.iter().position(|level| level.is_full() || self.finishing && level.entries > 0)
    }

    /// The block that was due is written at this place.
    pub(super) fn placed(&mut self, block: Ref) {
        let level = self.due_level().expect("one was due");
        let Level { first, .. } = std::mem::take(&mut self.levels[level]);
        if self.finishing && self.levels.iter().all(|level| level.entries == 0) {
            self.root = block;
        } else {
            self.push(level + 1, &first, block);
        }
    }

    /// The root, once all blocks are placed.
    pub(super) fn root(&self) -> Option<Ref> {
        (self.finishing && self.due_level().is_none()).then_some(self.root)
    }

    fn push(&mut self, level: usize, key: &[u8], block: Ref) {
        if level == self.levels.len() {
            self.levels.push(Level::default());
        }
        self.levels[level].push(key, block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The distance from the root to the leaves. Panics if it is not the same for all.
    fn height(bodies: &[Vec<u8>], of: Ref) -> usize {
        let Some(body) = (of.len == 1).then(|| &bodies[usize::try_from(of.offset).expect("small")]) else { return 0 };
        let mut rest = &body[..];
        let mut heights = std::iter::from_fn(|| {
            let (below, _, behind) = split_entry(rest)?;
            rest = behind;
            Some(height(bodies, below))
        });
        let first = heights.next().expect("an index block lists something");
        assert!(heights.all(|height| height == first), "a tree whose leaves are not equally far from the root");
        first + 1
    }

    #[test]
    fn the_tree_is_no_higher_than_its_blocks_allow() {
        const ENTRY_BYTES: usize = REF_BYTES + KEY_LEN_BYTES + 8;
        let fan_out = BLOCK_BYTES.div_ceil(ENTRY_BYTES);
        // A block that is full is listed above at once.
        for (leaves, levels) in [(1, 1), (fan_out - 1, 1), (fan_out, 2), (fan_out * fan_out - 1, 2), (fan_out * fan_out, 3)] {
            let (mut builder, mut bodies) = (Builder::default(), Vec::new());
            let mut place = |builder: &mut Builder| {
                while let Some(body) = builder.due() {
                    bodies.push(body.to_vec());
                    builder.placed(Ref { offset: bodies.len() as u64 - 1, len: 1, check: 0 });
                }
            };
            for leaf in 0..leaves as u64 {
                builder.block(&leaf.to_be_bytes(), Ref { offset: leaf, len: 2, check: 0 });
                place(&mut builder);
            }
            builder.finish();
            place(&mut builder);
            assert_eq!(height(&bodies, builder.root().expect("finished")), levels, "{leaves} leaves");
        }
    }
}
