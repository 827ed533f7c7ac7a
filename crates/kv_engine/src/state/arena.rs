//! [`Arena`]: the bytes of the short entries of a shard.
//!
//! Most entries are short. They are stored one behind the other, without an allocation for each:
//!
//! ```text
//! entry := key length: u16  value length: u16  key  value  zeros up to a whole number of 64-bit words
//! ```
//!
//! Blocks have [`BLOCK_WORDS`] words; the first ones have fewer, like the first pieces of the [`WordArray`]. A value of
//! another length goes to the end of the current block, and the words of the old entry are dead. When too many words
//! are dead, the live entries of the block with the fewest of them move to the current block, and the emptied block is
//! used again. So dead words stay within a quarter of the live ones, and no single write moves more than one block.
//!
//! As in the index, readers may read while the writer works. They may then see nonsense, but only memory of the arena.

use super::index::{Place, Torn};
use super::word_array::{CACHE_LINE, Word, WordArray};
use std::sync::atomic::Ordering::Relaxed;

/// Words in a block: a power of two, twice as many as the longest entry needs. An entry lies in one block.
pub(super) const BLOCK_WORDS: usize = 1 << BLOCK_BITS;
const BLOCK_BITS: u32 = 10;
/// The first block has `1 << FIRST` words, and so has the second. Each of the next ones has twice as many as the one
/// before.
const FIRST: u32 = 6;
/// The number of blocks that are shorter than the others.
const SMALL_BLOCKS: usize = (BLOCK_BITS - FIRST) as usize + 1;
/// The words that a place can address.
const MOST_WORDS: usize = 1 << 31;
/// The longest entry that goes into a block, in bytes.
pub(super) const SHORT_BYTES: usize = 1 << 10;
const WORD_BYTES: usize = size_of::<u64>();
/// Most values fit into this many words.
const USUAL_WORDS: usize = 16;
const HEAD_BYTES: usize = 4;
/// This many words may be dead in any shard.
const DEAD_WORDS: usize = 8 * BLOCK_WORDS;

#[derive(Debug, Default)]
pub(super) struct Arena {
    words: WordArray<FIRST>,
}

/// State that only the writer needs.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    blocks: Vec<Block>,
    /// The block that takes new entries.
    current: usize,
    /// Blocks that hold nothing.
    free: Vec<usize>,
    live: usize,
    dead: usize,
    /// The bytes of an entry that is being stored.
    bytes: Vec<u8>,
}

/// Counts of words.
#[derive(Debug, Default)]
struct Block {
    used: usize,
    live: usize,
}

impl Blocks {
    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> usize {
        self.blocks.len() * BLOCK_WORDS * WORD_BYTES
    }
}

/// Where a block begins, and its length.
fn extent(number: usize) -> (usize, usize) {
    match number {
        0 => (0, 1 << FIRST),
        _ if number < SMALL_BLOCKS => (1 << (FIRST as usize + number - 1), 1 << (FIRST as usize + number - 1)),
        _ => ((number - SMALL_BLOCKS + 1) * BLOCK_WORDS, BLOCK_WORDS),
    }
}

/// The block in which a place is.
fn block_of(place: Place) -> usize {
    let at = place.0 as usize;
    match (at >> BLOCK_BITS, at >> FIRST) {
        (0, 0) => 0,
        (0, rest) => rest.ilog2() as usize + 1,
        (number, _) => number + SMALL_BLOCKS - 1,
    }
}

/// The words of an entry, from the first one to the end of the piece.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words<'a>(&'a [Word]);

impl<'a> Words<'a> {
    /// Reads a word of each cache line that a lookup reads, if the value is of usual length. What it returns has no
    /// meaning.
    #[inline]
    pub(super) fn touch(self) -> u64 {
        const LAST: usize = 2 * CACHE_LINE;
        match self.0.first_chunk::<{ LAST + 1 }>() {
            Some(words) => words[0].load(Relaxed) ^ words[CACHE_LINE].load(Relaxed) ^ words[LAST].load(Relaxed),
            None => self.0.first().map_or(0, |word| word.load(Relaxed)),
        }
    }

    #[inline]
    pub(super) fn entry(self) -> Option<Entry<'a>> {
        let head = self.0.first()?.load(Relaxed);
        let (key_len, value_len) = (usize::from(head as u16), usize::from((head >> 16) as u16));
        Some(Entry { words: self.0, key_len, value_len })
    }
}

/// An entry. Without the lock it may be torn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    /// From the first word of the entry to the end of the piece.
    words: &'a [Word],
    key_len: usize,
    value_len: usize,
}

pub(super) fn is_short(key: &[u8], value: &[u8]) -> bool {
    HEAD_BYTES + key.len() + value.len() <= SHORT_BYTES
}

fn words_for(key_len: usize, value_len: usize) -> usize {
    (HEAD_BYTES + key_len + value_len).div_ceil(WORD_BYTES)
}

/// The first eight bytes as a number. If there are fewer, zeros follow them.
fn word(bytes: &[u8]) -> u64 {
    bytes
        .first_chunk()
        .map_or_else(|| bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)), |all| u64::from_le_bytes(*all))
}

impl Entry<'_> {
    /// In words.
    fn len(&self) -> usize {
        words_for(self.key_len, self.value_len)
    }

    pub(super) fn value_len(&self) -> usize {
        self.value_len
    }

    /// Whether the key is this one. Few instructions, without a loop over bytes: the fewer there are, the more lookups
    /// the processor can work on at a time.
    #[inline]
    pub(super) fn is_of(&self, key: &[u8]) -> bool {
        if self.key_len != key.len() {
            return false;
        }
        let (eights, rest) = key.as_chunks::<WORD_BYTES>();
        let mut same = true;
        for (i, eight) in eights.iter().enumerate() {
            same &= self.eight(HEAD_BYTES + i * WORD_BYTES) == u64::from_le_bytes(*eight);
        }
        same && (rest.is_empty() || self.ends_with(key, rest))
    }

    /// Whether the key ends like `key`; `rest` is the less than eight bytes at its end that do not fill a word.
    fn ends_with(&self, key: &[u8], rest: &[u8]) -> bool {
        match key.last_chunk() {
            Some(last) => self.eight(HEAD_BYTES + key.len() - WORD_BYTES) == u64::from_le_bytes(*last),
            // The key is shorter than a word, and the value follows it in the same word.
            None => (self.eight(HEAD_BYTES) ^ word(rest)) << (u64::BITS as usize - 8 * rest.len()) == 0,
        }
    }

    /// The eight bytes from this one on, with zeros behind the end of the memory.
    #[inline]
    fn eight(&self, at: usize) -> u64 {
        let word = |at: usize| self.words.get(at).map_or(0, |word| word.load(Relaxed));
        let (first, shift) = (at / WORD_BYTES, 8 * (at % WORD_BYTES));
        word(first) >> shift | word(first + 1) << 1 << (u64::BITS as usize - 1 - shift)
    }

    /// Copies the value, and calls `see` with the copy if `is_right` then says that it is not torn.
    #[inline]
    pub(super) fn copied<T>(&self, is_right: impl FnOnce() -> bool, see: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let from = HEAD_BYTES + self.key_len;
        let (first, offset) = (from / WORD_BYTES, from % WORD_BYTES);
        let words = self.words.get(first..)?;
        let see = |copy: &[u64]| bytemuck::cast_slice(copy).get(offset..offset + self.value_len).map(see);
        // A value of usual length is copied without a loop, together with some bytes behind it.
        if let Some(words) = words.first_chunk::<USUAL_WORDS>()
            && offset + self.value_len <= USUAL_WORDS * WORD_BYTES
        {
            let copy: [u64; USUAL_WORDS] = std::array::from_fn(|at| words[at].load(Relaxed).to_le());
            return if is_right() { see(&copy) } else { None };
        }
        let mut copy = [0; SHORT_BYTES / WORD_BYTES + 1];
        copy.iter_mut().zip(words).for_each(|(copy, word)| *copy = word.load(Relaxed).to_le());
        if is_right() { see(&copy) } else { None }
    }

    fn key_to(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend(self.words.iter().flat_map(|word| word.load(Relaxed).to_le_bytes()).skip(HEAD_BYTES).take(self.key_len));
    }
}

impl Arena {
    #[inline]
    pub(super) fn get(&self, place: Place) -> Result<Entry<'_>, Torn> {
        self.words(place).and_then(Words::entry).ok_or(Torn)
    }

    /// Where an entry is. `None`: the place does not exist, because a thread is writing.
    #[inline]
    pub(super) fn words(&self, place: Place) -> Option<Words<'_>> {
        self.words.from(place.0 as usize).map(Words)
    }

    /// An entry that no other thread changes.
    pub(super) fn entry(&self, place: Place) -> Entry<'_> {
        self.get(place).expect("no other thread writes")
    }

    pub(super) fn key(&self, place: Place, out: &mut Vec<u8>) {
        self.entry(place).key_to(out);
    }

    /// Adds an entry. `None`: all places that a number can name are used.
    pub(super) fn add(&self, blocks: &mut Blocks, key: &[u8], value: &[u8]) -> Option<Place> {
        let place = self.take(blocks, words_for(key.len(), value.len()))?;
        self.fill(blocks, place, key, value);
        Some(place)
    }

    /// Overwrites a value in place if it has the length of the new one. Says whether it did.
    pub(super) fn overwrite(&self, blocks: &mut Blocks, place: Place, key: &[u8], value: &[u8]) -> bool {
        let fits = self.entry(place).value_len == value.len();
        if fits {
            self.fill(blocks, place, key, value);
        }
        fits
    }

    fn fill(&self, blocks: &mut Blocks, place: Place, key: &[u8], value: &[u8]) {
        let bytes = &mut blocks.bytes;
        bytes.clear();
        for len in [key.len(), value.len()] {
            bytes.extend_from_slice(&u16::try_from(len).expect("a short entry").to_le_bytes());
        }
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        for (to, from) in self.words.from(place.0 as usize).expect("taken").iter().zip(bytes.chunks(WORD_BYTES)) {
            to.store(word(from), Relaxed);
        }
    }

    /// A place for `len` words.
    fn take(&self, blocks: &mut Blocks, len: usize) -> Option<Place> {
        let has_room =
            |blocks: &Blocks, number: usize| blocks.blocks.get(number).is_some_and(|block| block.used + len <= extent(number).1);
        if !has_room(blocks, blocks.current) {
            let free = blocks.free.iter().rposition(|&number| has_room(blocks, number));
            if let Some(at) = free {
                let number = blocks.free.swap_remove(at);
                blocks.go_on_with(number);
            } else {
                while !has_room(blocks, blocks.current) {
                    self.add_block(blocks)?;
                }
            }
        }
        let block = &mut blocks.blocks[blocks.current];
        let at = extent(blocks.current).0 + block.used;
        block.used += len;
        block.live += len;
        blocks.live += len;
        Some(Place(u32::try_from(at).expect("31 bits")))
    }

    /// Adds a block and makes it the current one.
    fn add_block(&self, blocks: &mut Blocks) -> Option<()> {
        let number = blocks.blocks.len();
        let (at, len) = extent(number);
        if at + len > MOST_WORDS || !self.words.reach(at) {
            return None;
        }
        blocks.blocks.push(Block::default());
        blocks.go_on_with(number);
        Some(())
    }

    /// Marks the words of an entry as dead.
    pub(super) fn remove(&self, blocks: &mut Blocks, place: Place) {
        let (number, len) = (block_of(place), self.entry(place).len());
        let block = &mut blocks.blocks[number];
        block.live -= len;
        blocks.live -= len;
        blocks.dead += len;
        if block.live == 0 {
            blocks.clear(number);
        }
    }

    /// Empties one block if too many words are dead. Calls `moved` with the key and the place of each entry in it. If
    /// the entry is in use, `moved` calls the function it gets, which moves the entry and returns the new place.
    pub(super) fn compact(&self, blocks: &mut Blocks, mut moved: impl FnMut(&[u8], Place, &mut dyn FnMut() -> Place)) {
        let Some(victim) = blocks.victim() else { return };
        let mut key = Vec::new();
        let (mut at, _) = extent(victim);
        let end = at + blocks.blocks[victim].used;
        while at < end {
            let place = Place(u32::try_from(at).expect("31 bits"));
            let entry = self.entry(place);
            let len = entry.len();
            entry.key_to(&mut key);
            moved(&key, place, &mut || {
                let to = self.take(blocks, len).expect("there is always a block that was emptied");
                let new = self.words.from(to.0 as usize).expect("taken");
                new[..len].iter().zip(entry.words).for_each(|(new, old)| new.store(old.load(Relaxed), Relaxed));
                blocks.blocks[victim].live -= len;
                blocks.live -= len;
                blocks.dead += len;
                to
            });
            at += len;
        }
        blocks.clear(victim);
    }
}

impl Blocks {
    /// Makes this block the current one.
    fn go_on_with(&mut self, number: usize) {
        let before = std::mem::replace(&mut self.current, number);
        if before != number && self.blocks[before].used == 0 {
            self.free.push(before); // too short for this entry, but not for a shorter one
        }
    }

    fn clear(&mut self, number: usize) {
        let block = &mut self.blocks[number];
        self.dead -= block.used;
        block.used = 0;
        if number != self.current {
            self.free.push(number);
        }
    }

    /// The block to empty, if too many words are dead.
    fn victim(&self) -> Option<usize> {
        if self.dead <= DEAD_WORDS.max(self.live / 4) {
            return None;
        }
        let used = self.blocks.iter().enumerate().filter(|(number, block)| *number != self.current && block.used > 0);
        used.min_by_key(|(_, block)| block.live).map(|(number, _)| number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_follow_each_other_and_each_lies_in_one_piece_of_memory() {
        let mut next = 0;
        for number in 0..100 {
            let (at, len) = extent(number);
            assert_eq!(at, next);
            for word in at..at + len {
                assert_eq!(block_of(Place(u32::try_from(word).expect("few"))), number);
            }
            let arena = Arena::default();
            assert!(arena.words.reach(at));
            assert!(arena.words.from(at).is_some_and(|words| words.len() >= len));
            next = at + len;
        }
        assert!(SHORT_BYTES.div_ceil(WORD_BYTES) * 2 <= BLOCK_WORDS);
    }

    /// A block that is too short for an entry is used later for shorter ones.
    #[test]
    fn short_entries_find_the_blocks_that_long_ones_passed_over() {
        let (arena, mut blocks) = (Arena::default(), Blocks::default());
        let long = arena.add(&mut blocks, b"k", &[1; 1000]).expect("room");
        assert!(block_of(long) > 0);
        let before = blocks.blocks.len();
        for n in 0..200_u8 {
            arena.add(&mut blocks, &[n], &[n; 20]).expect("room");
        }
        assert!(blocks.free.len() < before - 1, "free: {:?}", blocks.free);
    }
}
