//! [`Index`]: where the entries of a shard are, by the hashes of their keys.
//!
//! A hash table whose buckets are cache lines, so that most lookups touch one (CLHT: David, Guerraoui and Trigonakis,
//! Asynchronized Concurrency, ASPLOS 2015):
//!
//! ```text
//! line := slot ×7  link         each 64 bits
//! slot := half of the hash: u32 (upper)  place of the entry + 1: u32; zero when it is empty
//! link := number of the line in which the bucket goes on + 1; zero when it does not
//! ```
//!
//! Slots are filled from the first one on, without gaps. The table grows by one bucket at a time (linear hashing:
//! Litwin, VLDB 1980), so no single write pays for all of the growth. When there are more than [`FILL`] entries per
//! bucket, the next bucket is split: the entries whose hashes have one more bit set move to a new bucket. The table
//! does not shrink.
//!
//! Readers may read while the writer works. They may then see nonsense, but every lookup ends.

use super::word_array::{CACHE_LINE, Word, WordArray};
use std::sync::atomic::Ordering::Relaxed;

/// Slots in a line.
const SLOTS: usize = CACHE_LINE - 1;
const LINK: usize = SLOTS;
/// Entries per bucket; above this, the table grows by one bucket.
const FILL: usize = 4;
/// The first piece of an array holds one line.
const FIRST: u32 = 3;
/// A reader that has seen this many lines of one bucket gives up and takes the lock.
const MANY_LINES: usize = 1000;

pub(super) type Line = [Word; CACHE_LINE];

/// A lookup saw words that make no sense, because a thread is writing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Torn;

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(pub(super) u32);

/// A slot that is in use.
#[derive(Clone, Copy)]
pub(super) struct Slot<'a> {
    word: &'a Word,
    pub(super) place: Place,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    lines: WordArray<FIRST>,
    more_lines: WordArray<FIRST>,
    /// Number of buckets; none before the first entry.
    buckets: Word,
    /// The next power of two of `buckets`, less one. Stored, because many processors count leading zeros slowly.
    mask: Word,
}

/// State that only the writer needs.
#[derive(Debug, Default)]
pub(super) struct Growth {
    entries: usize,
    /// Lines of `Index::more_lines` that were ever used.
    more_lines: usize,
    /// Those of them that are not in use now.
    free: Vec<usize>,
    moving: Vec<u64>,
}

impl Growth {
    pub(super) fn entries(&self) -> usize {
        self.entries
    }
}

fn pack(half: u32, place: Place) -> u64 {
    u64::from(half) << 32 | (u64::from(place.0) + 1)
}

#[inline]
fn half_of(slot: u64) -> u32 {
    (slot >> 32) as u32
}

#[inline]
fn place_of(slot: u64) -> Place {
    Place((slot as u32).wrapping_sub(1))
}

impl Slot<'_> {
    /// Notes that the entry has moved.
    pub(super) fn set(&self, place: Place) {
        self.word.store(pack(half_of(self.word.load(Relaxed)), place), Relaxed);
    }
}

/// The number of the bucket for a hash: its lowest bits, and one bit less if that bucket does not exist yet.
#[inline]
fn bucket(half: u32, buckets: usize, mask: usize) -> usize {
    let bucket = half as usize & mask;
    bucket & (mask >> usize::from(bucket >= buckets))
}

/// The entries of a bucket that have the wanted hash, from [`Index::candidates`].
///
/// This is a loop of the caller and not a closure: a closure that the compiler does not inline makes a get almost twice
/// as slow.
pub(super) struct Candidates<'a> {
    index: &'a Index,
    half: u32,
    line: Option<&'a Line>,
    /// A bit for each slot of the line that is not looked at yet and has the hash.
    matches: u32,
    lines_left: usize,
}

impl Candidates<'_> {
    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<Option<Place>, Torn> {
        let Some(mut line) = self.line else { return Ok(None) };
        while self.matches == 0 {
            self.lines_left = self.lines_left.checked_sub(1).filter(|&left| left > 0).ok_or(Torn)?;
            match self.index.next(line)? {
                Some(next) => line = next,
                None => return Ok(None),
            }
            (self.line, self.matches) = (Some(line), matches(line, self.half));
        }
        let slot = line[self.matches.trailing_zeros() as usize].load(Relaxed);
        self.matches &= self.matches - 1;
        Ok(Some(place_of(slot)))
    }
}

impl Index {
    #[inline]
    fn line(words: &WordArray<FIRST>, number: usize) -> Option<&Line> {
        words.from(number * CACHE_LINE)?.first_chunk()
    }

    /// The first line of the bucket for a hash. `None`: there are no buckets.
    #[inline]
    pub(super) fn bucket_line(&self, half: u32) -> Result<Option<&Line>, Torn> {
        match self.buckets.load(Relaxed) as usize {
            0 => Ok(None),
            buckets => Self::line(&self.lines, bucket(half, buckets, self.mask.load(Relaxed) as usize)).map(Some).ok_or(Torn),
        }
    }

    fn next(&self, line: &Line) -> Result<Option<&Line>, Torn> {
        match line[LINK].load(Relaxed) as usize {
            0 => Ok(None),
            number => Self::line(&self.more_lines, number - 1).map(Some).ok_or(Torn),
        }
    }

    /// The entries that have this hash. While a thread writes, one of them may not exist.
    #[inline(always)]
    pub(super) fn candidates(&self, half: u32) -> Result<Candidates<'_>, Torn> {
        let line = self.bucket_line(half)?;
        Ok(Candidates { index: self, half, line, matches: line.map_or(0, |line| matches(line, half)), lines_left: MANY_LINES })
    }

    /// The lines of a bucket. Only while no other thread writes.
    fn chain<'a>(&'a self, first: Option<&'a Line>) -> impl Iterator<Item = &'a Line> {
        std::iter::successors(first, |line| self.next(line).expect("no other thread writes"))
    }

    fn chain_of(&self, half: u32) -> impl Iterator<Item = &Line> {
        self.chain(self.bucket_line(half).expect("no other thread writes"))
    }

    /// The slot of the entry for which `is_it` is true. Only while no other thread writes.
    #[inline]
    pub(super) fn slot(&self, half: u32, mut is_it: impl FnMut(Place) -> bool) -> Option<Slot<'_>> {
        for line in self.chain_of(half) {
            for word in &line[..SLOTS] {
                let slot = word.load(Relaxed);
                if slot != 0 && half_of(slot) == half && is_it(place_of(slot)) {
                    return Some(Slot { word, place: place_of(slot) });
                }
            }
        }
        None
    }

    /// The places of all entries. Only while no other thread writes.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        let buckets = 0..self.buckets.load(Relaxed) as usize;
        let lines = buckets.flat_map(|number| self.chain(Self::line(&self.lines, number)));
        lines.flat_map(|line| line[..SLOTS].iter().map(|word| word.load(Relaxed))).filter(|&slot| slot != 0).map(place_of)
    }

    pub(super) fn insert(&self, growth: &mut Growth, half: u32, place: Place) {
        growth.entries += 1;
        let buckets = self.buckets.load(Relaxed) as usize;
        if growth.entries > buckets * FILL {
            self.add_bucket(growth, buckets);
        }
        self.append(growth, half, pack(half, place));
    }

    fn append(&self, growth: &mut Growth, half: u32, slot: u64) {
        let last = self.chain_of(half).last().expect("there is a bucket");
        if let Some(word) = line_end(last) {
            return word.store(slot, Relaxed);
        }
        let number = growth.free.pop().unwrap_or_else(|| {
            growth.more_lines += 1;
            growth.more_lines - 1
        });
        assert!(self.more_lines.reach(number * CACHE_LINE), "memory runs out before");
        let line = Self::line(&self.more_lines, number).expect("reached");
        line[0].store(slot, Relaxed);
        last[LINK].store(number as u64 + 1, Relaxed);
    }

    /// Adds a bucket, which takes over entries of another one.
    fn add_bucket(&self, growth: &mut Growth, buckets: usize) {
        assert!(self.lines.reach(buckets * CACHE_LINE), "memory runs out before");
        let mut moving = std::mem::take(&mut growth.moving);
        if buckets > 0 {
            let from = buckets - (buckets + 1).next_power_of_two() / 2;
            self.empty(growth, from, &mut moving);
        }
        self.buckets.store(buckets as u64 + 1, Relaxed);
        self.mask.store((buckets as u64 + 1).next_power_of_two() - 1, Relaxed);
        for slot in moving.drain(..) {
            self.append(growth, half_of(slot), slot);
        }
        growth.moving = moving;
    }

    /// Removes all entries from a bucket.
    fn empty(&self, growth: &mut Growth, bucket: usize, out: &mut Vec<u64>) {
        let mut line = Self::line(&self.lines, bucket).expect("a bucket that exists");
        loop {
            out.extend(line[..SLOTS].iter().map(|word| word.swap_plain(0)).filter(|&slot| slot != 0));
            match line[LINK].swap_plain(0) as usize {
                0 => return,
                number => {
                    growth.free.push(number - 1);
                    line = Self::line(&self.more_lines, number - 1).expect("in use until now");
                }
            }
        }
    }

    /// Removes an entry. The last slot of its bucket fills the gap.
    pub(super) fn remove(&self, growth: &mut Growth, half: u32, removed: Place) {
        let (mut before_last, mut last, mut hole) = (None, None, None);
        for line in self.chain_of(half) {
            before_last = last.replace(line);
            hole = hole.or_else(|| line[..SLOTS].iter().find(|word| word.load(Relaxed) == pack(half, removed)));
        }
        let (last, hole) = (last.expect("its bucket"), hole.expect("an entry of the index"));
        let used = last[..SLOTS].iter().take_while(|word| word.load(Relaxed) != 0).count();
        hole.store(last[used - 1].load(Relaxed), Relaxed);
        last[used - 1].store(0, Relaxed);
        growth.entries -= 1;
        if used == 1
            && let Some(before) = before_last
        {
            growth.free.push(before[LINK].swap_plain(0) as usize - 1);
        }
    }
}

/// One bit for each slot that has this hash. If the hash is zero, empty slots match too. There is no branch, because
/// the processor would mispredict it most of the time and discard the lookups that it has begun behind this one.
#[inline]
fn matches(line: &Line, half: u32) -> u32 {
    line[..SLOTS].iter().enumerate().fold(0, |matches, (at, word)| matches | u32::from(half_of(word.load(Relaxed)) == half) << at)
}

/// Reads a word of the line. What it returns has no meaning.
#[inline]
pub(super) fn touch(line: &Line) -> u64 {
    line[0].load(Relaxed)
}

/// The first entry in this line that has the hash. While a thread writes, it may not exist.
#[inline]
pub(super) fn first(line: &Line, half: u32) -> Option<Place> {
    let slot = line[..SLOTS].get(matches(line, half).trailing_zeros() as usize)?.load(Relaxed);
    Some(place_of(slot))
}

/// The first empty slot.
fn line_end(line: &Line) -> Option<&Word> {
    line[..SLOTS].iter().find(|word| word.load(Relaxed) == 0)
}

trait SwapPlain {
    /// Two plain accesses are enough, because only one thread writes.
    fn swap_plain(&self, new: u64) -> u64;
}

impl SwapPlain for Word {
    fn swap_plain(&self, new: u64) -> u64 {
        let old = self.load(Relaxed);
        self.store(new, Relaxed);
        old
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Lookups of one place of one hash.
    fn has(index: &Index, half: u32, place: u32) -> bool {
        let mut candidates = index.candidates(half).expect("no other thread writes");
        std::iter::from_fn(|| candidates.next().expect("no other thread writes")).any(|seen| seen == Place(place))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Entries come, go and move, with few different hashes, so that buckets have many lines, and with many.
        #[test]
        fn the_index_holds_what_was_put_into_it(
            spread in prop_oneof![Just(3_u32), Just(40), Just(u32::MAX)],
            steps in proptest::collection::vec((any::<u32>(), 0..4_u8), 1..2000),
        ) {
            let (index, mut growth) = (Index::default(), Growth::default());
            let mut all: BTreeMap<u32, u32> = BTreeMap::new();
            let mut next = 0;
            for (number, what) in steps {
                let known = all.iter().nth(number as usize % all.len().max(1)).map(|(&place, &half)| (place, half));
                match (what, known) {
                    (0, Some((place, half))) => {
                        index.remove(&mut growth, half, Place(place));
                        all.remove(&place);
                    }
                    (1, Some((place, half))) => {
                        index.slot(half, |seen| seen == Place(place)).expect("there").set(Place(next));
                        all.remove(&place);
                        all.insert(next, half);
                        next += 1;
                    }
                    _ => {
                        let half = (number % spread).wrapping_mul(0x9e37_79b9);
                        index.insert(&mut growth, half, Place(next));
                        all.insert(next, half);
                        next += 1;
                    }
                }
            }
            prop_assert_eq!(growth.entries(), all.len());
            for (&place, &half) in &all {
                prop_assert!(has(&index, half, place));
            }
            let mut listed: Vec<u32> = index.places().map(|place| place.0).collect();
            listed.sort_unstable();
            prop_assert!(listed.iter().eq(all.keys()));
            let lines = growth.more_lines - growth.free.len();
            prop_assert!(lines <= all.len() / SLOTS, "{lines} more lines for {} entries", all.len());
        }
    }

    /// One bucket after the other is split in two, and each entry is where its hash says.
    #[test]
    fn buckets_are_split_in_turn() {
        for buckets in 1..100 {
            for half in 0..1000 {
                let bucket = |buckets: usize| bucket(half, buckets, buckets.next_power_of_two() - 1);
                let (now, then) = (bucket(buckets), bucket(buckets + 1));
                assert!(now == then || (then == buckets && now == buckets - (buckets + 1).next_power_of_two() / 2));
            }
        }
    }
}
