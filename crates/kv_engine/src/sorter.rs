//! [`Sorter`]: sorts any number of keys in a few MB of memory. It is an external merge sort. Reading a store from its
//! files uses it for the operations of the log.
//!
//! Items are a key and some bytes. The last item of each key is kept.
//!
//! 1. Items are collected in memory, as they come.
//! 2. When they fill [`MOST_BYTES`], they are sorted and written to a temporary file, as one *run*. A few items never
//!    touch a file.
//! 3. When [`FAN`] runs of one level are there, they are merged into one run of the next level. So there are few runs,
//!    and each item is written a few times at most.
//! 4. [`Sorter::sorted`] merges the runs with the items that are still in memory.
//!
//! Runs are kept in the order of time, the oldest first. Of two items with the same key, the one of the later run
//! counts. Neighbours are merged only, so this stays true.
//!
//! The file has no name ([`unnamed_file`]), so nothing is left over when the process is killed. If it cannot be made,
//! or the disk is full, the items stay in memory: a full disk must not make a store unreadable.
//!
//! ```text
//! item := key length: u32  length: u32  key  bytes         (in memory and in the file)
//! ```

use crate::disk::{File, read_full_at, unnamed_file, write_all_at};
use crate::error::{Error, Result};
use crate::record::le32;
use crate::state::Key;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::Arc;

/// The memory for items that are not sorted yet.
const MOST_BYTES: usize = 3 << 20;
/// So many runs of one level become one run of the next level.
const FAN: usize = 32;
/// How much of a run is read at once.
const READ_BYTES: usize = 16 << 10;
/// How much of a run is written at once.
const WRITE_BYTES: usize = 128 << 10;
const HEAD_BYTES: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct Sorter {
    memory: Items,
    file: Option<Arc<dyn File>>,
    file_len: u64,
    /// The oldest first. Levels never ascend.
    runs: Vec<Run>,
    /// The temporary file could not be made or written.
    gave_up: bool,
    most_bytes: Option<usize>,
}

/// Sorted items in the file.
#[derive(Clone, Copy, Debug)]
struct Run {
    from: u64,
    to: u64,
    level: u32,
}

/// Items in memory.
#[derive(Debug, Default)]
struct Items {
    bytes: Vec<u8>,
    /// Where each item begins.
    places: Vec<Place>,
}

/// The first bytes of the key, and where the item begins.
type Place = (u64, usize);

impl Items {
    fn len_bytes(&self) -> usize {
        self.bytes.len() + self.places.len() * size_of::<Place>()
    }

    fn key(&self, place: Place) -> &[u8] {
        &self.bytes[place.1 + HEAD_BYTES..][..le32(&self.bytes, place.1) as usize]
    }

    fn sort(&mut self) {
        let mut places = std::mem::take(&mut self.places);
        // Of each key the last item comes first, and `dedup_by` keeps that one.
        places.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| self.key(*a).cmp(self.key(*b))).then(b.1.cmp(&a.1)));
        places.dedup_by(|later, kept| later.0 == kept.0 && self.key(*later) == self.key(*kept));
        self.places = places;
    }
}

/// The first eight bytes of a key as a number with the same order.
fn prefix(key: &[u8]) -> u64 {
    let mut first = [0; 8];
    let len = key.len().min(first.len());
    first[..len].copy_from_slice(&key[..len]);
    u64::from_be_bytes(first)
}

/// The lengths of an item, and the item.
fn item_len(bytes: &[u8]) -> (usize, usize) {
    let key_len = le32(bytes, 0) as usize;
    (key_len, HEAD_BYTES + key_len + le32(bytes, 4) as usize)
}

impl Sorter {
    /// A sorter with this much memory for items.
    #[cfg(test)]
    fn with_memory(bytes: usize) -> Sorter {
        Sorter { most_bytes: Some(bytes), ..Sorter::default() }
    }

    /// Whether items go to a file when they fill the memory. If not, they should be short.
    pub(crate) fn spills(&self) -> bool {
        !self.gave_up
    }

    /// Adds an item. Its bytes are `head` and `rest`, together shorter than 4 GiB.
    pub(crate) fn add(&mut self, key: &[u8], head: &[u8], rest: &[u8]) {
        let at = self.memory.bytes.len();
        for len in [key.len(), head.len() + rest.len()] {
            let len = u32::try_from(len).expect("keys and short values are shorter than 4 GiB");
            self.memory.bytes.extend_from_slice(&len.to_le_bytes());
        }
        for bytes in [key, head, rest] {
            self.memory.bytes.extend_from_slice(bytes);
        }
        self.memory.places.push((prefix(key), at));
        if !self.gave_up && self.memory.len_bytes() >= self.most_bytes.unwrap_or(MOST_BYTES) {
            self.gave_up = self.spill().is_err();
        }
    }

    /// Step 2, and step 3 where it is due. After an error everything is still there.
    fn spill(&mut self) -> io::Result<()> {
        self.memory.sort();
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => Arc::clone(self.file.insert(unnamed_file()?)),
        };
        let mut out = RunWriter::new(&*file, self.file_len);
        for &place in &self.memory.places {
            let item = &self.memory.bytes[place.1..];
            out.push(&item[..item_len(item).1])?;
        }
        let run = out.end(0)?;
        self.file_len = run.to;
        self.runs.push(run);
        self.memory.bytes.clear();
        self.memory.places.clear();
        self.merge_levels(&*file)
    }

    /// Step 3.
    fn merge_levels(&mut self, file: &dyn File) -> io::Result<()> {
        while let Some(from) = self.runs.len().checked_sub(FAN)
            && self.runs[from..].iter().all(|run| run.level == self.runs[from].level)
        {
            let level = self.runs[from].level + 1;
            let sources = self.runs[from..].iter().map(|&run| Source::File(RunReader::new(file, run)));
            let mut merged = Sorted::new(sources.collect())?;
            let mut out = RunWriter::new(file, self.file_len);
            while let Some(item) = merged.item() {
                out.push(item)?;
                merged.advance()?;
            }
            drop(merged);
            let run = out.end(level)?;
            self.file_len = run.to;
            self.runs.splice(from.., [run]);
        }
        Ok(())
    }

    /// No more items will be added.
    pub(crate) fn finish(&mut self) {
        self.memory.sort();
    }

    /// Step 4. [`Sorter::finish`] was called before.
    pub(crate) fn sorted(&self) -> Result<Sorted<'_>> {
        let file = self.file.as_deref();
        let runs = self.runs.iter().filter_map(|&run| Some(Source::File(RunReader::new(file?, run))));
        let memory = Source::Memory { items: &self.memory, next: 0 };
        Sorted::new(runs.chain([memory]).collect()).map_err(Sorted::failed)
    }

    #[cfg(test)]
    fn runs(&self) -> usize {
        self.runs.len()
    }
}

/// Writes one run.
struct RunWriter<'a> {
    file: &'a dyn File,
    from: u64,
    at: u64,
    bytes: Vec<u8>,
}

impl RunWriter<'_> {
    fn new(file: &dyn File, from: u64) -> RunWriter<'_> {
        RunWriter { file, from, at: from, bytes: Vec::with_capacity(WRITE_BYTES) }
    }

    fn push(&mut self, item: &[u8]) -> io::Result<()> {
        if self.bytes.len() + item.len() > WRITE_BYTES {
            self.write()?;
        }
        self.bytes.extend_from_slice(item);
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        write_all_at(self.file, self.at, &self.bytes)?;
        self.at += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }

    fn end(mut self, level: u32) -> io::Result<Run> {
        self.write()?;
        Ok(Run { from: self.from, to: self.at, level })
    }
}

/// Reads one run. The item at its position is whole in memory.
struct RunReader<'a> {
    file: &'a dyn File,
    /// The next byte to read.
    at: u64,
    to: u64,
    bytes: Vec<u8>,
    next: usize,
}

impl RunReader<'_> {
    fn new(file: &dyn File, run: Run) -> RunReader<'_> {
        RunReader { file, at: run.from, to: run.to, bytes: Vec::new(), next: 0 }
    }

    /// Makes sure that the next item is in memory. `None`: there is none.
    fn fill(&mut self) -> io::Result<Option<()>> {
        if self.at == self.to && self.next == self.bytes.len() {
            return Ok(None);
        }
        let is_whole = self.reach(HEAD_BYTES)? && self.reach(item_len(&self.bytes[self.next..]).1)?;
        if is_whole { Ok(Some(())) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Makes sure that this many bytes are in memory. `false`: the run ends before.
    fn reach(&mut self, count: usize) -> io::Result<bool> {
        if self.bytes.len() - self.next >= count {
            return Ok(true);
        }
        self.bytes.drain(..self.next);
        self.next = 0;
        let have = self.bytes.len();
        let left = usize::try_from(self.to - self.at).unwrap_or(usize::MAX);
        let want = count.max(READ_BYTES).saturating_sub(have).min(left);
        self.bytes.resize(have + want, 0);
        let got = read_full_at(self.file, self.at, &mut self.bytes[have..])?;
        self.bytes.truncate(have + got);
        self.at += got as u64;
        Ok(self.bytes.len() >= count)
    }

    fn item(&self) -> &[u8] {
        let rest = &self.bytes[self.next..];
        &rest[..item_len(rest).1]
    }
}

enum Source<'a> {
    Memory { items: &'a Items, next: usize },
    File(RunReader<'a>),
}

impl Source<'_> {
    /// Makes sure that the next item can be looked at. `None`: there is none.
    fn fill(&mut self) -> io::Result<Option<()>> {
        match self {
            Source::Memory { items, next } => Ok(items.places.get(*next).map(|_| ())),
            Source::File(run) => run.fill(),
        }
    }

    fn item(&self) -> &[u8] {
        match self {
            Source::Memory { items, next } => {
                let rest = &items.bytes[items.places[*next].1..];
                &rest[..item_len(rest).1]
            }
            Source::File(run) => run.item(),
        }
    }

    fn step(&mut self) {
        match self {
            Source::Memory { next, .. } => *next += 1,
            Source::File(run) => run.next += run.item().len(),
        }
    }
}

/// The last item of each key, in key order. A cursor: it is at one item, or behind the last one.
pub(crate) struct Sorted<'a> {
    /// The oldest first.
    sources: Vec<Source<'a>>,
    /// The next key of each source that has one. The smallest key comes first, and of equal keys that of the last
    /// source.
    heads: BinaryHeap<Reverse<(Key, Reverse<usize>)>>,
}

impl<'a> Sorted<'a> {
    fn new(sources: Vec<Source<'a>>) -> io::Result<Sorted<'a>> {
        let mut sorted = Sorted { heads: BinaryHeap::with_capacity(sources.len()), sources };
        (0..sorted.sources.len()).try_for_each(|number| sorted.push(number))?;
        Ok(sorted)
    }

    fn push(&mut self, number: usize) -> io::Result<()> {
        let source = &mut self.sources[number];
        if source.fill()?.is_some() {
            self.heads.push(Reverse((parts(source.item()).0.into(), Reverse(number))));
        }
        Ok(())
    }

    /// The item as it is stored.
    fn item(&self) -> Option<&[u8]> {
        let Reverse((_, Reverse(number))) = self.heads.peek()?;
        Some(self.sources[*number].item())
    }

    /// The key and the bytes of the item at the cursor.
    pub(crate) fn get(&self) -> Option<(&[u8], &[u8])> {
        self.item().map(parts)
    }

    fn advance(&mut self) -> io::Result<()> {
        let Some(Reverse((key, Reverse(number)))) = self.heads.pop() else { return Ok(()) };
        self.sources[number].step();
        self.push(number)?;
        // Earlier items of the same key.
        while self.heads.peek().is_some_and(|Reverse((next, _))| *next == key)
            && let Some(Reverse((_, Reverse(number)))) = self.heads.pop()
        {
            self.sources[number].step();
            self.push(number)?;
        }
        Ok(())
    }

    /// Moves to the next key. After an error the cursor must not be used.
    pub(crate) fn next(&mut self) -> Result<()> {
        self.advance().map_err(Sorted::failed)
    }

    fn failed(error: io::Error) -> Error {
        Error::io("reading back what was sorted in a temporary file in", &std::env::temp_dir())(error)
    }
}

fn parts(item: &[u8]) -> (&[u8], &[u8]) {
    item[HEAD_BYTES..].split_at(item_len(item).0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn all(sorter: &mut Sorter) -> Vec<(Vec<u8>, Vec<u8>)> {
        sorter.finish();
        let (mut sorted, mut all) = (sorter.sorted().unwrap(), Vec::new());
        while let Some((key, bytes)) = sorted.get() {
            all.push((key.to_vec(), bytes.to_vec()));
            sorted.next().unwrap();
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        /// The result is the same as with an ordered map, for any number of runs.
        #[test]
        fn the_last_item_of_each_key_in_order(
            items in proptest::collection::vec(("(common )?[ab\0]{1,9}", ".{0,9}"), 0..600),
            memory in prop_oneof![Just(1_usize), Just(200), Just(2000), Just(1 << 20)],
        ) {
            let (mut sorter, mut map) = (Sorter::with_memory(memory), BTreeMap::new());
            for (key, value) in &items {
                let (head, rest) = value.as_bytes().split_at(value.len() / 2);
                sorter.add(key.as_bytes(), head, rest);
                prop_assert!(sorter.memory.len_bytes() < memory, "full memory is emptied at once");
                map.insert(key.as_bytes().to_vec(), value.as_bytes().to_vec());
            }
            prop_assert!(sorter.runs() < 3 * FAN);
            prop_assert_eq!(sorter.file.is_none(), sorter.runs() == 0);
            let expected: Vec<_> = map.into_iter().collect();
            prop_assert_eq!(all(&mut sorter), expected.clone());
            prop_assert_eq!(all(&mut sorter), expected, "it can be read again");
        }
    }

    /// Keys and values longer than the buffers, in several runs.
    #[test]
    fn long_items_are_read_back() {
        let mut sorter = Sorter::with_memory(300 << 10);
        for n in 0..40_u8 {
            sorter.add(&vec![n / 2; 60_000], &[n], &vec![n; 1000]);
        }
        assert!(sorter.runs() > 2);
        let all = all(&mut sorter);
        assert_eq!(all.len(), 20);
        for (n, (key, bytes)) in (0..20_u8).zip(all) {
            assert_eq!((key, bytes), (vec![n; 60_000], vec![2 * n + 1; 1001]));
        }
    }

    /// A file that takes some bytes and is then full.
    #[derive(Debug)]
    struct Full(Arc<dyn File>, u64);

    impl File for Full {
        fn size(&self) -> io::Result<u64> {
            self.0.size()
        }
        fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
            self.0.read_at(offset, out)
        }
        fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
            if offset + bytes.len() as u64 > self.1 {
                Err(io::ErrorKind::StorageFull.into())
            } else {
                self.0.write_at(offset, bytes)
            }
        }
        fn set_len(&self, _: u64) -> io::Result<()> {
            unreachable!("the sorter only appends")
        }
        fn sync(&self) -> io::Result<()> {
            unreachable!("nothing in it has to last")
        }
        fn drop_cache(&self) {}
    }

    #[test]
    fn with_a_full_disk_the_items_stay_in_memory() {
        for room in [0, 1000, 5000, 20_000, 40_000] {
            let mut sorter = Sorter::with_memory(500);
            sorter.file = Some(Arc::new(Full(unnamed_file().unwrap(), room)));
            for n in 0..4000_u32 {
                sorter.add(&(n % 1000).to_be_bytes(), &n.to_le_bytes(), b"rest");
            }
            assert!(!sorter.spills(), "{room}");
            let all = all(&mut sorter);
            assert_eq!(all.len(), 1000);
            for (n, (key, bytes)) in (0..1000_u32).zip(all) {
                assert_eq!((&key[..], &bytes[..4]), (&n.to_be_bytes()[..], &(3000 + n).to_le_bytes()[..]), "{room}");
            }
        }
    }

    #[test]
    fn a_run_that_cannot_be_read_back_is_an_error() {
        let mut sorter = Sorter::with_memory(100);
        (0..50_u8).for_each(|n| sorter.add(&[n], b"head", b"rest"));
        sorter.finish();
        let shortened = Full(Arc::clone(sorter.file.as_ref().unwrap()), u64::MAX);
        assert!(sorter.sorted().is_ok());
        shortened.0.set_len(20).unwrap();
        let mut done = Ok(());
        if let Ok(mut sorted) = sorter.sorted() {
            while done.is_ok() && sorted.get().is_some() {
                done = sorted.next();
            }
        } else {
            done = Err(Error::Closed);
        }
        assert!(done.is_err());
    }
}
