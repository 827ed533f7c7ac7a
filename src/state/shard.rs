//! One shard of the map: a hash table of places, and the bytes of the entries in blocks.
//!
//! The table keeps half of each hash beside the place: it grows without a look at the keys, which are somewhere in
//! memory, each a miss of the cache, and a look for a key reads no other one.
//!
//! Most entries are short. Each stands in a block behind the one before it, without an allocation of
//! its own:
//!
//! ```text
//! entry := key length: u16  value length: u16  key  value
//! ```
//!
//! An entry that does not fit the place of the one it replaces goes to the end of the current block, and
//! the old place is dead. When too many bytes are dead, the block with the fewest live ones is emptied into
//! the current one and used again, so that memory stays within a quarter of what lives, and no
//! single write moves more than one block. An entry that is longer than [`SHORT_BYTES`] has its own allocations,
//! and its value is handed out without a copy.

use super::{Key, Value};
use hashbrown::HashTable;
use std::hash::{BuildHasher, RandomState};

/// A block's length. The first one of a shard grows to it.
const BLOCK_BYTES: usize = 32 << 10;
/// The longest entry that goes into a block.
const SHORT_BYTES: usize = 1 << 10;
const HEAD_BYTES: usize = 4;
/// So much may be dead in any shard.
const DEAD_BYTES: usize = 2 * BLOCK_BYTES;

/// Where an entry is: a block and the offset in it, or a place among the long ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place(u32);

const LONG: u32 = 1 << 31;
const OFFSET_BITS: u32 = BLOCK_BYTES.trailing_zeros();
const MOST_BLOCKS: usize = 1 << (31 - OFFSET_BITS);

enum Where {
    Block(usize, usize),
    Long(usize),
}

impl Place {
    fn in_block(block: usize, offset: usize) -> Place {
        Place(u32::try_from(block << OFFSET_BITS | offset).expect("31 bits"))
    }

    fn long(index: usize) -> Place {
        Place(LONG | u32::try_from(index).expect("31 bits"))
    }

    fn get(self) -> Where {
        let number = (self.0 & !LONG) as usize;
        if self.0 & LONG != 0 { Where::Long(number) } else { Where::Block(number >> OFFSET_BITS, number % BLOCK_BYTES) }
    }
}

#[derive(Debug, Default)]
struct Block {
    bytes: Vec<u8>,
    live: usize,
}

#[derive(Debug)]
struct Long {
    key: Key,
    value: Value,
}

/// What readers find: bytes in a block, or a value that can be shared.
pub(super) enum Found<'a> {
    Bytes(&'a [u8]),
    Shared(&'a Value),
}

impl Found<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Found::Bytes(bytes) => bytes,
            Found::Shared(value) => value,
        }
    }

    pub(super) fn to_value(&self) -> Value {
        match self {
            Found::Bytes(bytes) => Value::from(*bytes),
            Found::Shared(value) => (*value).clone(),
        }
    }
}

/// Keys that came or went since somebody last looked, for the order of keys.
#[derive(Debug, Default)]
pub(super) enum Fresh {
    /// Nobody wants to know.
    #[default]
    Ignored,
    Noted(Vec<(Key, bool)>),
}

/// An entry's place, and the lower half of the hash of its key.
#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    place: Place,
}

impl Slot {
    fn new(hash: u64, place: Place) -> Slot {
        Slot { hash: half(hash), place }
    }

    /// What the table goes by: it takes a row from the low bits, and a tag from the highest, which are mixed
    /// from the others here by Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, 6.4).
    fn spread(&self) -> u64 {
        spread(self.hash)
    }
}

fn half(hash: u64) -> u32 {
    u32::try_from(hash & u64::from(u32::MAX)).expect("the lower half")
}

fn spread(half: u32) -> u64 {
    u64::from(half).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[derive(Debug, Default)]
pub(super) struct Shard {
    table: HashTable<Slot>,
    store: Store,
    /// Keys and values together, in bytes.
    data_bytes: u64,
    pub(super) fresh: Fresh,
}

/// The bytes of the entries.
#[derive(Debug, Default)]
struct Store {
    blocks: Vec<Block>,
    /// The block that takes new entries.
    current: usize,
    /// Blocks that hold nothing.
    free: Vec<usize>,
    live: usize,
    dead: usize,
    long: Vec<Option<Long>>,
    free_long: Vec<usize>,
}

impl Store {
    fn key(&self, place: Place) -> &[u8] {
        match place.get() {
            Where::Block(block, offset) => entry(&self.blocks[block].bytes[offset..]).0,
            Where::Long(index) => &self.long_at(index).key,
        }
    }

    fn value(&self, place: Place) -> Found<'_> {
        match place.get() {
            Where::Block(block, offset) => Found::Bytes(entry(&self.blocks[block].bytes[offset..]).1),
            Where::Long(index) => Found::Shared(&self.long_at(index).value),
        }
    }

    fn long_at(&self, index: usize) -> &Long {
        self.long[index].as_ref().expect("a place in the table is taken")
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Place {
        let need = HEAD_BYTES + key.len() + value.len();
        if need > SHORT_BYTES || !self.has_room(need) {
            let long = Some(Long { key: key.into(), value: value.into() });
            if let Some(index) = self.free_long.pop() {
                self.long[index] = long;
                return Place::long(index);
            }
            self.long.push(long);
            return Place::long(self.long.len() - 1);
        }
        let block = &mut self.blocks[self.current];
        let offset = block.bytes.len();
        for len in [key.len(), value.len()] {
            block.bytes.extend_from_slice(&u16::try_from(len).expect("a short entry").to_le_bytes());
        }
        block.bytes.extend_from_slice(key);
        block.bytes.extend_from_slice(value);
        block.live += need;
        self.live += need;
        Place::in_block(self.current, offset)
    }

    /// Makes the current block one with so much room, where there is one to be had.
    fn has_room(&mut self, need: usize) -> bool {
        if self.blocks.get(self.current).is_some_and(|block| block.bytes.len() + need <= BLOCK_BYTES) {
            return true;
        }
        if let Some(block) = self.free.pop() {
            self.current = block;
            return true;
        }
        if self.blocks.len() == MOST_BLOCKS {
            return false;
        }
        // The first block of a small store grows as it needs; whoever fills one will fill the next.
        let capacity = if self.blocks.is_empty() { 0 } else { BLOCK_BYTES };
        self.blocks.push(Block { bytes: Vec::with_capacity(capacity), live: 0 });
        self.current = self.blocks.len() - 1;
        true
    }

    /// The entry is not used any more.
    fn remove(&mut self, place: Place) {
        match place.get() {
            Where::Block(block, offset) => {
                let (key, value) = entry(&self.blocks[block].bytes[offset..]);
                let len = HEAD_BYTES + key.len() + value.len();
                self.blocks[block].live -= len;
                self.live -= len;
                self.dead += len;
                if self.blocks[block].live == 0 {
                    self.clear(block);
                }
            }
            Where::Long(index) => {
                self.long[index] = None;
                self.free_long.push(index);
            }
        }
    }

    fn clear(&mut self, block: usize) {
        self.dead -= self.blocks[block].bytes.len();
        self.blocks[block].bytes.clear();
        if block != self.current {
            self.free.push(block);
        }
    }

    /// Overwrites a value in place, where it has the length of the new one.
    fn overwrite(&mut self, place: Place, value: &[u8]) -> bool {
        let Where::Block(block, offset) = place.get() else { return false };
        let bytes = &mut self.blocks[block].bytes[offset..];
        let (key_len, value_len) = lengths(bytes);
        if value_len == value.len() {
            bytes[HEAD_BYTES + key_len..][..value_len].copy_from_slice(value);
        }
        value_len == value.len()
    }

    /// The block to empty, when too much is dead.
    fn victim(&self) -> Option<usize> {
        if self.dead <= DEAD_BYTES.max(self.live / 4) {
            return None;
        }
        let of = |(_, block): &(usize, &Block)| block.live;
        let used = self.blocks.iter().enumerate().filter(|(i, block)| *i != self.current && !block.bytes.is_empty());
        used.min_by_key(of).map(|(i, _)| i)
    }
}

impl Shard {
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    pub(super) fn get(&self, hash: u64, key: &[u8]) -> Option<Found<'_>> {
        let half = half(hash);
        let found = self.table.find(spread(half), |slot| slot.hash == half && self.store.key(slot.place) == key);
        found.map(|slot| self.store.value(slot.place))
    }

    pub(super) fn insert(&mut self, hasher: &RandomState, hash: u64, key: &[u8], value: &[u8]) {
        let (store, half) = (&mut self.store, half(hash));
        let old = match self.table.find_mut(spread(half), |slot| slot.hash == half && store.key(slot.place) == key) {
            Some(slot) => {
                let old = store.value(slot.place).bytes().len();
                if !store.overwrite(slot.place, value) {
                    store.remove(slot.place);
                    slot.place = store.add(key, value);
                }
                old as u64
            }
            None => {
                let slot = Slot::new(hash, store.add(key, value));
                self.table.insert_unique(slot.spread(), slot, Slot::spread);
                self.note(key, true);
                self.data_bytes += key.len() as u64;
                0
            }
        };
        self.data_bytes += value.len() as u64;
        self.data_bytes -= old;
        self.tidy(hasher);
    }

    pub(super) fn remove(&mut self, hasher: &RandomState, hash: u64, key: &[u8]) -> bool {
        let half = half(hash);
        let is_it = |slot: &Slot| slot.hash == half && self.store.key(slot.place) == key;
        let Ok(found) = self.table.find_entry(spread(half), is_it) else { return false };
        let (Slot { place, .. }, _) = found.remove();
        self.data_bytes -= (key.len() + self.store.value(place).bytes().len()) as u64;
        self.store.remove(place);
        self.note(key, false);
        self.tidy(hasher);
        true
    }

    /// Empties one block, where there is too much that is dead.
    fn tidy(&mut self, hasher: &RandomState) {
        let Some(victim) = self.store.victim() else { return };
        let bytes = std::mem::take(&mut self.store.blocks[victim].bytes);
        let mut offset = 0;
        while offset < bytes.len() {
            let (key, value) = entry(&bytes[offset..]);
            let place = Place::in_block(victim, offset);
            let len = HEAD_BYTES + key.len() + value.len();
            let half = half(hasher.hash_one(key));
            if let Some(slot) = self.table.find_mut(spread(half), |slot| slot.place == place) {
                slot.place = self.store.add(key, value);
                self.store.blocks[victim].live -= len;
                self.store.live -= len;
                self.store.dead += len;
            }
            offset += len;
        }
        self.store.blocks[victim].bytes = bytes;
        self.store.clear(victim);
    }

    fn note(&mut self, key: &[u8], added: bool) {
        if let Fresh::Noted(fresh) = &mut self.fresh {
            if fresh.len() > self.table.len().max(1000) {
                self.fresh = Fresh::Ignored; // whoever looks next begins anew
            } else {
                fresh.push((key.into(), added));
            }
        }
    }

    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> usize {
        self.store.blocks.iter().map(|block| block.bytes.capacity()).sum()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.table.iter().map(|slot| self.store.key(slot.place))
    }
}

fn lengths(bytes: &[u8]) -> (usize, usize) {
    let at = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    (at(0), at(2))
}

/// The key and the value of the entry that `bytes` begin with.
fn entry(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (key_len, value_len) = lengths(bytes);
    bytes[HEAD_BYTES..HEAD_BYTES + key_len + value_len].split_at(key_len)
}
