//! One shard of the map: an [index](super::index) of places, and an [arena](super::arena) with the bytes of the
//! entries.
//!
//! A reader of a short entry takes no lock and writes no memory that others read. It finds the entry, copies the value,
//! and then checks whether a thread has written in between. This is a sequence lock; the memory orders are those of
//! Boehm, Can Seqlocks Get Along with Programming Language Memory Models?, MSPC 2012. So readers do not slow each other
//! down, and the processor can work on several lookups at a time.
//!
//! - `version` is odd while a thread writes. Only the holder of the write lock changes it, or any word that readers
//!   see.
//! - A reader's result counts if `version` was even before and is the same afterwards. Otherwise the reader tries
//!   again. After [`READ_ATTEMPTS`] it takes the lock.
//! - Memory that readers may see is not freed before the whole shard is, so a reader never touches freed memory.
//!
//! An entry that is longer than [`SHORT_BYTES`](super::arena::SHORT_BYTES) has its own allocations, and its value is
//! shared instead of copied. Its readers take the lock.

use super::arena::{Arena, Blocks, Entry, Words, is_short};
use super::index::{self, Growth, Index, Line, Place, Torn};
use super::key_hash::KeyHash;
use super::{Key, Value};
use crate::sync::{AtomicU64, Ordering, RwLock, RwLockReadGuard, RwLockWriteGuard, fence, spin_loop};
use std::sync::PoisonError;

/// A reader without the lock tries this often before it takes the lock.
const READ_ATTEMPTS: usize = if cfg!(shuttle) { 2 } else { 100 };

#[derive(Debug, Default)]
pub(super) struct Shard {
    core: Core,
    inner: RwLock<Inner>,
}

/// The part that readers see without the lock.
#[derive(Debug, Default)]
struct Core {
    version: AtomicU64,
    index: Index,
    arena: Arena,
}

/// The part behind the lock.
#[derive(Debug, Default)]
pub(super) struct Inner {
    growth: Growth,
    blocks: Blocks,
    long: Vec<Option<Long>>,
    free_long: Vec<usize>,
    /// The bytes of all keys and values.
    data_bytes: u64,
    pub(super) changes: KeyChanges,
}

#[derive(Debug)]
struct Long {
    key: Key,
    value: Value,
}

/// The keys that came (`true`) or went since the last scan, for the ordered set of keys.
#[derive(Debug, Default)]
pub(super) enum KeyChanges {
    /// No scan needs them.
    #[default]
    NotRecorded,
    Recorded(Vec<(Key, bool)>),
}

/// The bit of a place that says that the entry is a long one. The other bits are then its number in `Inner::long`.
const LONG: u32 = 1 << 31;

fn long(place: Place) -> Option<usize> {
    (place.0 & LONG != 0).then_some((place.0 & !LONG) as usize)
}

/// What a lookup without the lock finds.
enum Lookup<'a> {
    Short(Entry<'a>),
    Long,
}

/// The first step of a lookup without the lock: the line of the index. See [`many`](super::many).
#[derive(Clone, Copy)]
pub(super) struct Begun<'a> {
    core: &'a Core,
    /// The version of the shard before anything was read.
    version: u64,
    half: u32,
    line: &'a Line,
}

/// The second step: a short entry that has the hash. It may be torn, and it may be another key's.
#[derive(Clone, Copy)]
pub(super) struct Candidate<'a> {
    core: &'a Core,
    version: u64,
    words: Words<'a>,
}

impl<'a> Begun<'a> {
    /// Brings the line into the cache.
    #[inline]
    pub(super) fn touch(&self) -> u64 {
        index::touch(self.line)
    }

    /// The first entry in the line that has the hash. `None`: only a lookup by itself can tell.
    #[inline]
    pub(super) fn candidate(&self) -> Option<Candidate<'a>> {
        let place = index::first(self.line, self.half).filter(|&place| long(place).is_none())?;
        Some(Candidate { core: self.core, version: self.version, words: self.core.arena.words(place)? })
    }
}

impl Candidate<'_> {
    /// Brings the entry into the cache.
    #[inline]
    pub(super) fn touch(&self) -> u64 {
        self.words.touch()
    }

    /// Calls `see` with the value of `key`. `None`: only a lookup by itself can tell.
    #[inline]
    pub(super) fn with<T>(&self, key: &[u8], see: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let entry = self.words.entry().filter(|entry| entry.is_of(key))?;
        entry.copied(|| self.core.is_still(self.version), see)
    }
}

/// A value that was found: a copy of a short one, or a shared long one.
pub(super) enum Found<'a> {
    Bytes(&'a [u8]),
    Shared(Value),
}

impl Found<'_> {
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Found::Bytes(bytes) => bytes,
            Found::Shared(value) => value,
        }
    }

    #[inline]
    pub(super) fn into_value(self) -> Value {
        match self {
            Found::Bytes(bytes) => bytes.into(),
            Found::Shared(value) => value,
        }
    }
}

/// The shard, locked for reading.
pub(super) struct Reading<'a> {
    core: &'a Core,
    inner: RwLockReadGuard<'a, Inner>,
}

/// The shard, locked for writing. Readers without the lock try again as long as it exists.
pub(super) struct Writing<'a> {
    core: &'a Core,
    inner: RwLockWriteGuard<'a, Inner>,
}

impl Shard {
    #[inline]
    pub(super) fn read(&self) -> Reading<'_> {
        Reading { core: &self.core, inner: self.inner.read().unwrap_or_else(PoisonError::into_inner) }
    }

    pub(super) fn write(&self) -> Writing<'_> {
        let inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        self.core.begin();
        Writing { core: &self.core, inner }
    }

    /// Applies an operation while no other thread has the shard.
    pub(super) fn apply_alone(&mut self, hash: KeyHash<'_>, key: &[u8], value: Option<&[u8]>) {
        self.core.apply(self.inner.get_mut().unwrap_or_else(PoisonError::into_inner), hash, key, value);
    }

    /// Begins a lookup. `None`: a thread writes, or the shard is empty.
    #[inline]
    pub(super) fn begin_find(&self, half: u32) -> Option<Begun<'_>> {
        let core = &self.core;
        let version = core.begin_read()?;
        Some(Begun { core, version, half, line: core.index.bucket_line(half).ok()?? })
    }

    /// Calls `see` with the value of `key`. No lock is held while it runs.
    #[inline]
    pub(super) fn find<T>(&self, half: u32, key: &[u8], see: impl FnOnce(Found<'_>) -> T) -> Option<T> {
        let mut see = Some(see);
        for _ in 0..READ_ATTEMPTS {
            if let Some(version) = self.core.begin_read() {
                match self.core.lookup(half, key) {
                    Ok(None) if self.core.is_still(version) => return None,
                    Ok(Some(Lookup::Short(entry))) => {
                        let is_right = || self.core.is_still(version);
                        match entry.copied(is_right, |bytes| see.take().map(|see| see(Found::Bytes(bytes)))) {
                            None => {}
                            seen => return seen.flatten(),
                        }
                    }
                    Ok(Some(Lookup::Long)) => break,
                    Ok(None) | Err(Torn) => {}
                }
            }
            spin_loop();
        }
        let value = self.read().get(half, key)?;
        see.take().map(|see| see(Found::Shared(value)))
    }
}

impl Core {
    #[inline]
    fn begin_read(&self) -> Option<u64> {
        let version = self.version.load(Ordering::Acquire);
        version.is_multiple_of(2).then_some(version)
    }

    #[inline]
    fn is_still(&self, version: u64) -> bool {
        fence(Ordering::Acquire);
        self.version.load(Ordering::Relaxed) == version
    }

    fn begin(&self) {
        self.version.store(self.version.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        fence(Ordering::Release);
    }

    fn end(&self) {
        self.version.store(self.version.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    #[inline(always)]
    fn lookup(&self, half: u32, key: &[u8]) -> Result<Option<Lookup<'_>>, Torn> {
        let mut candidates = self.index.candidates(half)?;
        while let Some(place) = candidates.next()? {
            if long(place).is_some() {
                return Ok(Some(Lookup::Long)); // maybe another key's: only under the lock can it be compared
            }
            let entry = self.arena.get(place)?;
            if entry.is_of(key) {
                return Ok(Some(Lookup::Short(entry)));
            }
        }
        Ok(None)
    }

    fn is_at(&self, inner: &Inner, place: Place, key: &[u8]) -> bool {
        match long(place) {
            Some(number) => *inner.long_at(number).key == *key,
            None => self.arena.entry(place).is_of(key),
        }
    }

    fn value_len(&self, inner: &Inner, place: Place) -> usize {
        long(place).map_or_else(|| self.arena.entry(place).value_len(), |number| inner.long_at(number).value.len())
    }

    fn apply(&self, inner: &mut Inner, hash: KeyHash<'_>, key: &[u8], value: Option<&[u8]>) {
        match value {
            Some(value) => self.insert(inner, hash, key, value),
            None => self.remove(inner, hash, key),
        }
    }

    fn insert(&self, inner: &mut Inner, hash: KeyHash<'_>, key: &[u8], value: &[u8]) {
        let half = hash.half();
        match self.index.slot(half, |place| self.is_at(inner, place, key)) {
            Some(slot) => {
                inner.data_bytes -= self.value_len(inner, slot.place) as u64;
                let in_place = long(slot.place).is_none() && self.arena.overwrite(&mut inner.blocks, slot.place, key, value);
                if !in_place {
                    self.release(inner, slot.place);
                    slot.set(self.add(inner, key, value));
                }
            }
            None => {
                let place = self.add(inner, key, value);
                self.index.insert(&mut inner.growth, half, place);
                inner.record_change(key, true);
                inner.data_bytes += key.len() as u64;
            }
        }
        inner.data_bytes += value.len() as u64;
        self.compact(inner, hash);
    }

    fn remove(&self, inner: &mut Inner, hash: KeyHash<'_>, key: &[u8]) {
        let Some(place) = self.index.slot(hash.half(), |place| self.is_at(inner, place, key)).map(|slot| slot.place) else {
            return;
        };
        inner.data_bytes -= (key.len() + self.value_len(inner, place)) as u64;
        self.index.remove(&mut inner.growth, hash.half(), place);
        self.release(inner, place);
        inner.record_change(key, false);
        self.compact(inner, hash);
    }

    fn add(&self, inner: &mut Inner, key: &[u8], value: &[u8]) -> Place {
        if is_short(key, value)
            && let Some(place) = self.arena.add(&mut inner.blocks, key, value)
        {
            return place;
        }
        let long = Some(Long { key: key.into(), value: value.into() });
        let number = inner.free_long.pop().unwrap_or(inner.long.len());
        match inner.long.get_mut(number) {
            Some(free) => *free = long,
            None => inner.long.push(long),
        }
        Place(LONG | u32::try_from(number).expect("31 bits"))
    }

    fn release(&self, inner: &mut Inner, place: Place) {
        match long(place) {
            Some(number) => {
                inner.long[number] = None;
                inner.free_long.push(number);
            }
            None => self.arena.remove(&mut inner.blocks, place),
        }
    }

    fn compact(&self, inner: &mut Inner, hash: KeyHash<'_>) {
        self.arena.compact(&mut inner.blocks, |key, place, move_entry| {
            if let Some(slot) = self.index.slot(hash.of_other(key).half(), |at| at == place) {
                slot.set(move_entry());
            }
        });
    }
}

impl Inner {
    fn long_at(&self, number: usize) -> &Long {
        self.long[number].as_ref().expect("the index names only places in use")
    }

    fn record_change(&mut self, key: &[u8], added: bool) {
        let len = self.growth.entries();
        if let KeyChanges::Recorded(changes) = &mut self.changes {
            if changes.len() > len.max(1000) {
                self.changes = KeyChanges::NotRecorded; // the next scan makes the ordered set again
            } else {
                changes.push((key.into(), added));
            }
        }
    }
}

impl Writing<'_> {
    pub(super) fn apply(&mut self, hash: KeyHash<'_>, key: &[u8], value: Option<&[u8]>) {
        self.core.apply(&mut self.inner, hash, key, value);
    }

    pub(super) fn changes(&mut self) -> &mut KeyChanges {
        &mut self.inner.changes
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.core.keys(&self.inner)
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.core.end();
    }
}

impl Core {
    fn keys(&self, inner: &Inner) -> Vec<Key> {
        let mut bytes = Vec::new();
        let key = |place| match long(place) {
            Some(number) => inner.long_at(number).key.clone(),
            None => {
                self.arena.key(place, &mut bytes);
                Key::from(&bytes[..])
            }
        };
        self.index.places().map(key).collect()
    }
}

impl Reading<'_> {
    pub(super) fn len(&self) -> usize {
        self.inner.growth.entries()
    }

    pub(super) fn data_bytes(&self) -> u64 {
        self.inner.data_bytes
    }

    pub(super) fn changes(&self) -> &KeyChanges {
        &self.inner.changes
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.core.keys(&self.inner)
    }

    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> usize {
        self.inner.blocks.memory_bytes()
    }

    fn get(&self, half: u32, key: &[u8]) -> Option<Value> {
        let slot = self.core.index.slot(half, |place| self.core.is_at(&self.inner, place, key))?;
        Some(match long(slot.place) {
            Some(number) => self.inner.long_at(number).value.clone(),
            None => self.core.arena.entry(slot.place).copied(|| true, |bytes| bytes.into()).expect("no thread writes"),
        })
    }
}
