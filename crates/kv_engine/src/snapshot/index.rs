//! The index of a snapshot: a tree of blocks, made as the entries go by.
//!
//! ```text
//! index block := entry*                         (the body of a frame of kind 5)
//! entry       := offset: u64  frame length: u32  check: u32  key length: u32  key
//! ```
//!
//! An entry says where a block is, a block of entries or of index entries, which check its frame begins with, and
//! the first key in it or under it. So each block vouches for those below it, and the header for the topmost one:
//! what is read on the way from the header to an entry is what was written there, or an error.
//!
//! Order of frames: an index block stands behind the last block that it lists, as soon as it is full: it has 4 KiB
//! and, so that a tree of long keys has an end, two entries. What is not full when the entries end is closed from the bottom up;
//! the last frame is the root. So the tree is made with one block for each level in memory, and whoever reads all
//! of a snapshot makes it anew and compares.

use super::BLOCK_BYTES;
use crate::MAX_KEY_BYTES;
use crate::record::{le32, le64};

const OFFSET_BYTES: usize = 8;
const LEN_BYTES: usize = 4;
const CHECK_BYTES: usize = 4;
pub(super) const REF_BYTES: usize = OFFSET_BYTES + LEN_BYTES + CHECK_BYTES;
const KEY_LEN_BYTES: usize = 4;

/// The longest block: it was not full before its last entry.
pub(super) const MOST_BYTES: usize = BLOCK_BYTES + 2 * (REF_BYTES + KEY_LEN_BYTES + MAX_KEY_BYTES);

/// Where a block is, and what its frame begins with. All zero: nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ref {
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) check: u32,
}

impl Ref {
    /// Where the block ends. `None`: nowhere.
    pub(super) fn end(self) -> Option<u64> {
        self.offset.checked_add(self.len.into())
    }

    pub(super) fn to_bytes(self) -> [u8; REF_BYTES] {
        let mut bytes = [0; REF_BYTES];
        bytes[..OFFSET_BYTES].copy_from_slice(&self.offset.to_le_bytes());
        bytes[OFFSET_BYTES..][..LEN_BYTES].copy_from_slice(&self.len.to_le_bytes());
        bytes[OFFSET_BYTES + LEN_BYTES..].copy_from_slice(&self.check.to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Ref {
        Ref { offset: le64(bytes, 0), len: le32(bytes, OFFSET_BYTES), check: le32(bytes, OFFSET_BYTES + LEN_BYTES) }
    }
}

/// The entry that `bytes` begin with, and what follows it. `None`: not possible.
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

/// The index of the blocks so far.
#[derive(Default)]
pub(super) struct Builder {
    levels: Vec<Level>,
    finishing: bool,
    root: Ref,
}

impl Builder {
    /// Takes up a block of entries. Nothing may be due.
    pub(super) fn block(&mut self, first: &[u8], block: Ref) {
        self.push(0, first, block);
    }

    /// There are no more entries: what is left is due, up to the root.
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

    /// What was due is written there.
    pub(super) fn placed(&mut self, block: Ref) {
        let level = self.due_level().expect("one was due");
        let Level { first, .. } = std::mem::take(&mut self.levels[level]);
        if self.finishing && self.levels.iter().all(|level| level.entries == 0) {
            self.root = block;
        } else {
            self.push(level + 1, &first, block);
        }
    }

    /// The topmost block, where all is placed.
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

    /// All leaves are so far below the root, or it panics.
    fn height(bodies: &[Vec<u8>], of: Ref) -> usize {
        let Some(body) = (of.len == 1).then(|| &bodies[usize::try_from(of.offset).expect("small")]) else { return 0 };
        let mut rest = &body[..];
        let mut heights = std::iter::from_fn(|| {
            let (below, _, behind) = split_entry(rest)?;
            rest = behind;
            Some(height(bodies, below))
        });
        let first = heights.next().expect("an index block lists something");
        assert!(heights.all(|height| height == first), "a tree whose leaves are not equally far away");
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
