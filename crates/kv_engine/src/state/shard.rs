//! One shard of the map: an [index](super::index) of places, and an [arena](super::arena) with the bytes of the entries.
//!
//! A reader of a short entry takes no lock and changes nothing that others read: it looks, copies, and then asks whether somebody
//! wrote meanwhile (a sequence lock; in these memory orders: Boehm, Can Seqlocks Get Along with Programming Language Memory
//! Models?, MSPC 2012). So readers do not slow each other down, and the processor can look for several keys at a time.
//!
//! - `version` is odd while somebody writes. Only who holds the lock for writing changes it, or any word that readers see.
//! - What a reader saw counts when `version` was even before and is the same after. Otherwise it looks again, and in the end
//!   it waits for the lock.
//! - Memory that readers may see is never given back before the shard is, so whatever they look at is there.
//!
//! An entry that is longer than [`SHORT_BYTES`](super::arena::SHORT_BYTES) has its own allocations, and its value is handed out without a copy; its
//! readers take the lock.

use super::arena::{Arena, Blocks, Entry, is_short};
use super::index::{Growth, Index, Place, Torn};
use super::map::Hash;
use super::{Key, Value};
use crate::sync::{AtomicU64, Ordering, RwLock, RwLockReadGuard, RwLockWriteGuard, fence, spin_loop};
use std::sync::PoisonError;

/// So often a reader looks before it waits.
const LOOKS: usize = if cfg!(shuttle) { 2 } else { 100 };

#[derive(Debug, Default)]
pub(super) struct Shard {
    core: Core,
    inner: RwLock<Inner>,
}

/// What readers look at.
#[derive(Debug, Default)]
struct Core {
    version: AtomicU64,
    index: Index,
    arena: Arena,
}

/// What is behind the lock.
#[derive(Debug, Default)]
pub(super) struct Inner {
    growth: Growth,
    blocks: Blocks,
    long: Vec<Option<Long>>,
    free_long: Vec<usize>,
    /// Keys and values together, in bytes.
    data_bytes: u64,
    pub(super) fresh: Fresh,
}

#[derive(Debug)]
struct Long {
    key: Key,
    value: Value,
}

/// Keys that came or went since somebody last looked, for the order of keys.
#[derive(Debug, Default)]
pub(super) enum Fresh {
    /// Nobody wants to know.
    #[default]
    Ignored,
    Noted(Vec<(Key, bool)>),
}

/// This bit of a place says that it is one among the long ones.
const LONG: u32 = 1 << 31;

fn long(place: Place) -> Option<usize> {
    (place.0 & LONG != 0).then_some((place.0 & !LONG) as usize)
}

/// What a reader without the lock comes upon.
enum Spot<'a> {
    Short(Entry<'a>),
    Long,
}

/// What readers find: a copy of a short value, or a long one that can be shared.
pub(super) enum Found<'a> {
    Bytes(&'a [u8]),
    Shared(Value),
}

impl Found<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Found::Bytes(bytes) => bytes,
            Found::Shared(value) => value,
        }
    }

    pub(super) fn into_value(self) -> Value {
        match self {
            Found::Bytes(bytes) => bytes.into(),
            Found::Shared(value) => value,
        }
    }
}

/// The shard, while nobody writes.
pub(super) struct Reading<'a> {
    core: &'a Core,
    inner: RwLockReadGuard<'a, Inner>,
}

/// The shard, while nobody else does anything with it: readers look again from the beginning to the end of this.
pub(super) struct Writing<'a> {
    core: &'a Core,
    inner: RwLockWriteGuard<'a, Inner>,
}

impl Shard {
    pub(super) fn read(&self) -> Reading<'_> {
        Reading { core: &self.core, inner: self.inner.read().unwrap_or_else(PoisonError::into_inner) }
    }

    pub(super) fn write(&self) -> Writing<'_> {
        let inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        self.core.begin();
        Writing { core: &self.core, inner }
    }

    /// Applies an operation where nobody else has the shard.
    pub(super) fn apply_alone(&mut self, hash: Hash<'_>, key: &[u8], value: Option<&[u8]>) {
        self.core.apply(self.inner.get_mut().unwrap_or_else(PoisonError::into_inner), hash, key, value);
    }

    /// Calls `see` with the value of `key`. No lock is held meanwhile.
    #[inline]
    pub(super) fn find<T>(&self, half: u32, key: &[u8], see: impl FnOnce(Found<'_>) -> T) -> Option<T> {
        let mut see = Some(see);
        for _ in 0..LOOKS {
            if let Some(version) = self.core.begin_look() {
                match self.core.look(half, key) {
                    Ok(None) if self.core.is_still(version) => return None,
                    Ok(Some(Spot::Short(entry))) => {
                        let is_right = || self.core.is_still(version);
                        match entry.copied(is_right, |bytes| see.take().map(|see| see(Found::Bytes(bytes)))) {
                            None => {}
                            seen => return seen.flatten(),
                        }
                    }
                    Ok(Some(Spot::Long)) => break,
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
    fn begin_look(&self) -> Option<u64> {
        let version = self.version.load(Ordering::Acquire);
        version.is_multiple_of(2).then_some(version)
    }

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
    fn look(&self, half: u32, key: &[u8]) -> Result<Option<Spot<'_>>, Torn> {
        self.index.find(half, |place| {
            if long(place).is_some() {
                return Ok(Some(Spot::Long)); // maybe another key's: the lock tells
            }
            let entry = self.arena.get(place)?;
            Ok(entry.is_of(key).then_some(Spot::Short(entry)))
        })
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

    fn apply(&self, inner: &mut Inner, hash: Hash<'_>, key: &[u8], value: Option<&[u8]>) {
        match value {
            Some(value) => self.insert(inner, hash, key, value),
            None => self.remove(inner, hash, key),
        }
    }

    fn insert(&self, inner: &mut Inner, hash: Hash<'_>, key: &[u8], value: &[u8]) {
        let half = hash.half();
        match self.index.slot(half, |place| self.is_at(inner, place, key)) {
            Some(slot) => {
                inner.data_bytes -= self.value_len(inner, slot.place) as u64;
                let in_place = long(slot.place).is_none() && self.arena.overwrite(&mut inner.blocks, slot.place, key, value);
                if !in_place {
                    self.let_go(inner, slot.place);
                    slot.set(self.add(inner, key, value));
                }
            }
            None => {
                let place = self.add(inner, key, value);
                self.index.insert(&mut inner.growth, half, place);
                inner.note(key, true);
                inner.data_bytes += key.len() as u64;
            }
        }
        inner.data_bytes += value.len() as u64;
        self.tidy(inner, hash);
    }

    fn remove(&self, inner: &mut Inner, hash: Hash<'_>, key: &[u8]) {
        let Some(place) = self.index.slot(hash.half(), |place| self.is_at(inner, place, key)).map(|slot| slot.place) else {
            return;
        };
        inner.data_bytes -= (key.len() + self.value_len(inner, place)) as u64;
        self.index.remove(&mut inner.growth, hash.half(), place);
        self.let_go(inner, place);
        inner.note(key, false);
        self.tidy(inner, hash);
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

    fn let_go(&self, inner: &mut Inner, place: Place) {
        match long(place) {
            Some(number) => {
                inner.long[number] = None;
                inner.free_long.push(number);
            }
            None => self.arena.remove(&mut inner.blocks, place),
        }
    }

    fn tidy(&self, inner: &mut Inner, hash: Hash<'_>) {
        self.arena.tidy(&mut inner.blocks, |key, place, go| {
            if let Some(slot) = self.index.slot(hash.of(key).half(), |at| at == place) {
                slot.set(go());
            }
        });
    }
}

impl Inner {
    fn long_at(&self, number: usize) -> &Long {
        self.long[number].as_ref().expect("a place in the index is taken")
    }

    fn note(&mut self, key: &[u8], added: bool) {
        let len = self.growth.entries();
        if let Fresh::Noted(fresh) = &mut self.fresh {
            if fresh.len() > len.max(1000) {
                self.fresh = Fresh::Ignored; // whoever looks next begins anew
            } else {
                fresh.push((key.into(), added));
            }
        }
    }
}

impl Writing<'_> {
    pub(super) fn apply(&mut self, hash: Hash<'_>, key: &[u8], value: Option<&[u8]>) {
        self.core.apply(&mut self.inner, hash, key, value);
    }

    pub(super) fn fresh(&mut self) -> &mut Fresh {
        &mut self.inner.fresh
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

    pub(super) fn fresh(&self) -> &Fresh {
        &self.inner.fresh
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
            None => self.core.arena.entry(slot.place).copied(|| true, |bytes| bytes.into()).expect("nobody writes"),
        })
    }
}
