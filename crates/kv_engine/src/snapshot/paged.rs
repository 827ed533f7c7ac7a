//! [`Paged`]: looks up values in a snapshot that stays on the disk. A lookup gives the value that was written, or that
//! there is none, or [`Error::Damaged`] with the place of the damage. It never gives a wrong value.
//!
//! Opening reads the header and the root of the index, however long the snapshot is. A lookup reads one index block of
//! each level, and then one block of entries. A block is checked before any byte of it is used: the check of its frame
//! must be the one that the block above names, and the checksums of head and body must match. The header has its own
//! checksum, and names the root.
//!
//! Checksums find accidents, not intent. A crafted file can have valid checksums and blocks that name each other, or
//! themselves. So a lookup does not trust the shape of the tree either. The writer puts a block behind all blocks that
//! it lists, and those one behind the other. A lookup checks that:
//!
//! ```text
//!        floor                                            a block of the index
//!          ├── first below ──┤├── second below ──┤ …  ├── lists all of these ──┤
//! ```
//!
//! - A listed block begins at the floor or behind it, and ends before the block that lists it begins. The blocks below
//!   it must end before it begins, and their floor is the end of the block listed before it. So a scan reads each byte
//!   of the file at most once, and every descent ends.
//! - There are at most [`MOST_LEVELS`] levels. A block lists at least two others, so more levels do not fit into any
//!   file. A scan keeps a list of the blocks that are still to be read; it does not recurse.
//! - The keys in a block ascend. This is checked when the block is read, before it is cached. A scan checks that they
//!   also ascend from block to block, so it skips entries only in its first block.
//! - No block is longer than the writer makes one. A block of more than 4 KiB has only one entry, or is an index block
//!   that exceeds 4 KiB by its last two entries. A long block gets memory only when its checksum is known to match.
//!
//! Blocks are read by position, not through a memory mapping. Both use the page cache of the system. But a page of a
//! mapping can change after it was checked. And if the file is truncated, or a sector cannot be read, touching the
//! mapping kills the process with SIGBUS, while a read returns an error. Mapping is also `unsafe`. A read costs a copy
//! and a check more; blocks that are used again come from the cache, which holds checked blocks up to its size.

use super::format::{BLOCK_BYTES, HEADER_BYTES, Header, Ref};
use super::index::{self, split_entry};
use super::read::{check_meta, read_header};
use crate::disk::{File, read_full_at};
use crate::error::{Error, Result};
use crate::memory;
use crate::record::{self, Kind};
use crate::scan::body_holds;
use crate::state::{Chunk, Interval, Key, MAX_PUT_BYTES, Most, OpRef, Request, Value, decode_one, end_of_prefix};
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The most levels of an index: those of a file of 2^63 bytes in which every block lists two others.
const MOST_LEVELS: u32 = 64;

/// A snapshot with an index, open for lookups.
#[derive(Debug)]
pub(crate) struct Paged {
    file: Arc<dyn File>,
    path: PathBuf,
    header: Header,
    root: Option<Tree>,
    cache: Mutex<Cache>,
}

/// The root, or a block that another one lists; and the bounds within which it and the blocks below it must lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tree {
    top: Ref,
    /// No block of this tree begins before this offset.
    floor: u64,
    /// The number of blocks above it.
    level: u32,
}

/// A block that was read and checked.
#[derive(Debug)]
struct Block {
    at: Ref,
    kind: Kind,
    bytes: Box<[u8]>,
}

impl Block {
    fn body(&self) -> &[u8] {
        &self.bytes[record::HEADER_BYTES..]
    }
}

impl Paged {
    /// Checks the header and the root of the index. `None`: the snapshot has no index.
    pub(crate) fn open(file: Arc<dyn File>, path: &Path, cache_bytes: usize) -> Result<Option<Paged>> {
        let header = read_header(&*file, path)?;
        let Some(root) = header.root else { return Ok(None) };
        check_meta(&*file, path, &header)?;
        let floor = HEADER_BYTES as u64 + u64::from(header.meta_len);
        let tree = Some(Tree { top: root, floor, level: 0 }).filter(|_| root != Ref::default());
        let paged = Paged { file, path: path.to_path_buf(), header, root: tree, cache: Mutex::new(Cache::new(cache_bytes)) };
        if tree.is_none() && (header.entries, header.data_len) != (0, 0) {
            return Err(paged.damage(0, "the header names no root of the index"));
        }
        paged.top()?;
        if tree.is_some() && root.end() != header.file_len() {
            return Err(paged.damage(root.offset, "the root of the index is not the last block of the file"));
        }
        Ok(Some(paged))
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// The value of `key`.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.with(key, |value| Value::from(value))
    }

    pub(crate) fn contains(&self, key: &[u8]) -> Result<bool> {
        Ok(self.with(key, |_| ())?.is_some())
    }

    fn with<T>(&self, key: &[u8], see: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        let Some((mut tree, mut block)) = self.top()? else { return Ok(None) };
        while block.kind == Kind::INDEX {
            let mut below = None;
            for listed in self.listed(tree, &block) {
                let (at, first) = listed?;
                if first > key {
                    break;
                }
                below = Some(at);
            }
            let Some(at) = below else { return Ok(None) };
            (tree, block) = (at, self.block(at)?);
        }
        let found = entries(&block).take_while(|entry| entry.key <= key).last();
        Ok(found.filter(|entry| entry.key == key).and_then(|entry| entry.value).map(see))
    }

    /// Some entries, in order. If a block cannot be read, the chunk ends before it. Only a chunk that would begin in it
    /// is an error.
    pub(crate) fn some(&self, request: &Request<'_>) -> Result<Chunk<Value>> {
        let Request { keys, backward, most } = *request;
        let mut chunk = Chunk::default();
        if most.entries == 0 || keys.is_empty() {
            return Ok(chunk);
        }
        // The trees that are still to be read, the next one last.
        let mut open: Vec<Tree> = self.root.into_iter().collect();
        let mut is_first = true;
        while let Some(tree) = open.pop() {
            let block = match self.block(tree) {
                // The entries before it come first. The next request finds the block again.
                Err(_) if !chunk.entries.is_empty() => {
                    chunk.is_cut = true;
                    return Ok(chunk);
                }
                block => block?,
            };
            if block.kind == Kind::INDEX {
                self.open_trees(tree, &block, request, &mut open)?;
                continue;
            }
            let mut entries: Vec<OpRef<'_>> = entries(&block).collect();
            if backward {
                entries.reverse();
            }
            for entry in entries {
                let (is_before, is_behind) = if backward {
                    (keys.is_above(entry.key), keys.is_below(entry.key))
                } else {
                    (keys.is_below(entry.key), keys.is_above(entry.key))
                };
                if is_before && is_first {
                    continue;
                }
                let order = if backward { Ordering::Less } else { Ordering::Greater };
                let follows = chunk.entries.last().is_none_or(|(last, _)| entry.key.cmp(last) == order);
                if is_before || !follows {
                    return Err(self.damage(block.at.offset, "the keys of the block do not follow those of the block before it"));
                }
                if is_behind {
                    return Ok(chunk);
                }
                let value = entry.value.expect("it is checked that a block holds no deletion");
                if chunk.add(entry.key.into(), value.into(), value.len(), most) {
                    return Ok(chunk);
                }
            }
            is_first = false;
        }
        Ok(chunk)
    }

    /// Adds the trees that an index block lists and that may hold a requested key.
    fn open_trees(&self, tree: Tree, block: &Block, request: &Request<'_>, open: &mut Vec<Tree>) -> Result<()> {
        let begin = open.len();
        for listed in self.listed(tree, block) {
            let (below, first) = listed?;
            if request.keys.is_above(first) {
                break;
            }
            if let Bound::Included(low) | Bound::Excluded(low) = request.keys.low
                && first <= low
            {
                open.truncate(begin); // the trees before it hold only smaller keys
            }
            open.push(below);
        }
        if !request.backward {
            open[begin..].reverse();
        }
        Ok(())
    }

    /// Gives the entries whose keys begin with `prefix` to `each`, in order, until all are done or `each` stops.
    pub(crate) fn each(&self, prefix: &[u8], mut each: impl FnMut(OpRef<'_>) -> ControlFlow<()>) -> Result<()> {
        let high = end_of_prefix(prefix);
        let mut after: Option<Key> = None;
        loop {
            let low = after.as_ref().map_or(Bound::Included(prefix), |key| Bound::Excluded(&**key));
            let keys = Interval { low, high: high.as_ref().map(|key| &**key) };
            let chunk = self.some(&Request { keys, backward: false, most: Most { entries: 256, bytes: 256 << 10 } })?;
            for (key, value) in &chunk.entries {
                if each(OpRef { key, value: Some(value) }).is_break() {
                    return Ok(());
                }
            }
            let Some(end) = chunk.end() else { return Ok(()) };
            after = Some(end.clone());
        }
    }

    /// The entries from `from` on whose keys begin with `prefix`, in order, `count` at most.
    #[cfg(any(test, feature = "torture"))]
    pub(crate) fn range(&self, from: Bound<&[u8]>, prefix: &[u8], count: usize) -> Result<Vec<(Key, Value)>> {
        let mut low = match from {
            Bound::Excluded(key) if key >= prefix => from.map(Key::from),
            Bound::Included(key) | Bound::Excluded(key) => Bound::Included(key.max(prefix).into()),
            Bound::Unbounded => Bound::Included(prefix.into()),
        };
        let (high, mut out) = (end_of_prefix(prefix), Vec::new());
        loop {
            let keys = Interval { low: low.as_ref().map(|key| &**key), high: high.as_ref().map(|key| &**key) };
            let chunk = self.some(&Request { keys, backward: false, most: Most::entries(count - out.len()) })?;
            let end = chunk.end().cloned();
            out.extend(chunk.entries);
            match end.filter(|_| out.len() < count) {
                Some(end) => low = Bound::Excluded(end),
                None => return Ok(out),
            }
        }
    }

    fn top(&self) -> Result<Option<(Tree, Arc<Block>)>> {
        self.root.map(|root| Ok((root, self.block(root)?))).transpose()
    }

    /// The trees that an index block lists, each with its first key.
    fn listed<'a>(&self, tree: Tree, index: &'a Block) -> impl Iterator<Item = Result<(Tree, &'a [u8])>> {
        let mut rest = index.body();
        let mut floor = tree.floor;
        std::iter::from_fn(move || {
            let (top, first, others) = split_entry(rest)?;
            rest = others;
            let fits = top.offset >= floor && top.end().is_some_and(|end| end <= index.at.offset);
            if !fits {
                return Some(Err(self.damage(index.at.offset, "the block lists a block at a place where none can be")));
            }
            if tree.level + 1 >= MOST_LEVELS {
                return Some(Err(self.damage(index.at.offset, "the index has more levels than an index can have")));
            }
            let below = Tree { top, floor, level: tree.level + 1 };
            floor = top.end().unwrap_or(floor);
            Some(Ok((below, first)))
        })
    }

    /// The topmost block of a tree, from the cache or from the disk.
    fn block(&self, tree: Tree) -> Result<Arc<Block>> {
        let at = tree.top;
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = cache.get(at.offset).filter(|block| block.at == at) {
            return Ok(block);
        }
        drop(cache); // other readers need not wait for the disk
        let block = Arc::new(self.read(at)?);
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(&block));
        Ok(block)
    }

    /// Reads a block and checks it.
    fn read(&self, at: Ref) -> Result<Block> {
        let len = at.len as usize;
        let end = at.offset.checked_add(at.len.into()).zip(self.header.file_len());
        let inside = at.offset >= HEADER_BYTES as u64 && end.is_some_and(|(end, file_len)| end <= file_len);
        if !inside || len < record::HEADER_BYTES {
            return Err(self.damage(at.offset, "the index names a block at a place where none can be"));
        }
        let reading = || Error::io("reading", &self.path);
        let salt = self.header.salt();
        let mut head = [0; record::HEADER_BYTES];
        let mut bytes = Vec::new();
        let is_long = len > LONG_BYTES;
        let got = if is_long {
            read_full_at(&*self.file, at.offset, &mut head).map_err(reading())?
        } else {
            bytes.resize(len, 0);
            let got = read_full_at(&*self.file, at.offset, &mut bytes).map_err(reading())?;
            head.copy_from_slice(&bytes[..record::HEADER_BYTES]);
            if got < len { 0 } else { got }
        };
        if got < head.len() {
            return Err(self.damage(at.offset, "the file ends inside the block"));
        }
        let bad = |fault: record::Fault| self.damage(at.offset, &fault.to_string());
        let head = record::decode_header(&head, salt).map_err(bad)?;
        if head.check != at.check || head.body_len != len - record::HEADER_BYTES {
            return Err(self.damage(at.offset, "the block here is not the one that the index names"));
        }
        let most = match head.kind {
            Kind::ENTRIES => MAX_PUT_BYTES.max(BLOCK_BYTES),
            Kind::INDEX => index::MOST_BYTES,
            _ => return Err(self.damage(at.offset, "the block is not one of entries or of the index")),
        };
        if head.body_len > most {
            return Err(self.damage(at.offset, "the block is longer than a block can be"));
        }
        if is_long {
            let body_at = at.offset + record::HEADER_BYTES as u64;
            body_holds(&*self.file, body_at, &head, salt).map_err(reading())?.map_err(bad)?;
            bytes = memory::room_for(len).map_err(reading())?;
            bytes.resize(len, 0);
            read_full_at(&*self.file, at.offset, &mut bytes).map_err(reading())?;
        }
        record::check_body(&head, salt, &bytes[record::HEADER_BYTES..]).map_err(bad)?;
        let block = Block { at, kind: head.kind, bytes: bytes.into() };
        if is_valid(&block) { Ok(block) } else { Err(self.damage(at.offset, "the block's content is invalid")) }
    }

    /// The error for a header that counts fewer entries than were found.
    pub(crate) fn miscounted(&self) -> Error {
        self.damage(0, "the header says fewer entries than the file has")
    }

    #[cfg(test)]
    pub(super) fn cached_bytes(&self) -> usize {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = cache.blocks.values().map(|(block, _)| block.bytes.len()).sum();
        assert_eq!((cache.bytes, cache.order.len()), (kept, cache.blocks.len()));
        kept
    }

    fn damage(&self, offset: u64, what: &str) -> Error {
        let reason = format!(
            "{what}; no crash causes this; the keys of this block cannot be read, other keys can; restore the snapshot from a \
             backup; to see all damage: kv_cli verify"
        );
        Error::damaged(&self.path, offset, reason)
    }
}

/// A longer block is read twice: first to check it, before memory for it is allocated.
const LONG_BYTES: usize = 1 << 20;

/// Whether the content of a block is valid: at least one entry, ascending keys, and in a long block of entries only
/// one.
fn is_valid(block: &Block) -> bool {
    let (mut rest, mut last) = (block.body(), &[][..]);
    let is_long = rest.len() > BLOCK_BYTES;
    let mut ascends = |key| std::mem::replace(&mut last, key) < key; // no key is empty
    while !rest.is_empty() {
        let is_valid = match block.kind {
            Kind::INDEX => split_entry(rest).is_some_and(|(_, first, others)| {
                rest = others;
                ascends(first)
            }),
            _ => {
                let entry = decode_one(&mut rest);
                entry.is_some_and(|entry| entry.value.is_some() && ascends(entry.key)) && (!is_long || rest.is_empty())
            }
        };
        if !is_valid {
            return false;
        }
    }
    !block.body().is_empty()
}

/// The entries of a checked block.
fn entries(block: &Block) -> impl Iterator<Item = OpRef<'_>> {
    let mut rest = block.body();
    std::iter::from_fn(move || if rest.is_empty() { None } else { decode_one(&mut rest) })
}

/// Checked blocks by their offsets. The least recently used ones are dropped first.
#[derive(Debug)]
struct Cache {
    most_bytes: usize,
    bytes: usize,
    /// Counts the uses.
    uses: u64,
    blocks: HashMap<u64, (Arc<Block>, u64)>,
    /// The offset of each block, by its last use.
    order: BTreeMap<u64, u64>,
}

impl Cache {
    fn new(most_bytes: usize) -> Cache {
        Cache { most_bytes, bytes: 0, uses: 0, blocks: HashMap::new(), order: BTreeMap::new() }
    }

    fn get(&mut self, offset: u64) -> Option<Arc<Block>> {
        let (block, when) = self.blocks.get_mut(&offset)?;
        self.uses += 1;
        self.order.remove(&std::mem::replace(when, self.uses));
        self.order.insert(self.uses, offset);
        Some(Arc::clone(block))
    }

    /// A block that is longer than a quarter of the cache is not kept.
    fn insert(&mut self, block: Arc<Block>) {
        let (offset, len) = (block.at.offset, block.bytes.len());
        if len > self.most_bytes / 4 || self.blocks.contains_key(&offset) {
            return;
        }
        self.uses += 1;
        self.bytes += len;
        self.order.insert(self.uses, offset);
        self.blocks.insert(offset, (block, self.uses));
        while self.bytes > self.most_bytes {
            let (_, oldest) = self.order.pop_first().expect("a cache with bytes has an oldest block");
            let (block, _) = self.blocks.remove(&oldest).expect("each block in the order is in the cache");
            self.bytes -= block.bytes.len();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn block(offset: u64, len: usize) -> Arc<Block> {
        Arc::new(Block { at: Ref { offset, ..Ref::default() }, kind: Kind::ENTRIES, bytes: vec![0; len].into() })
    }

    #[test]
    fn the_cache_keeps_the_last_used_blocks_up_to_its_size() {
        let mut cache = Cache::new(100);
        let kept = |cache: &Cache| {
            assert_eq!(cache.order.len(), cache.blocks.len());
            assert_eq!(cache.bytes, cache.blocks.values().map(|(block, _)| block.bytes.len()).sum::<usize>());
            let mut offsets: Vec<u64> = cache.blocks.keys().copied().collect();
            offsets.sort_unstable();
            offsets
        };
        cache.insert(block(1, 26)); // more than a quarter
        assert!(kept(&cache).is_empty());
        (1..=4).for_each(|offset| cache.insert(block(offset, 25)));
        cache.insert(block(4, 25)); // two threads read it at the same time
        assert_eq!(kept(&cache), [1, 2, 3, 4], "exactly its size");
        assert!(cache.get(1).is_some() && cache.get(5).is_none());
        cache.insert(block(5, 1));
        assert_eq!(kept(&cache), [1, 3, 4, 5], "2 was used before all others");
        assert_eq!(cache.get(5).unwrap().at.offset, 5);
        cache.insert(block(6, 25));
        assert_eq!(kept(&cache), [1, 4, 5, 6]);
    }
}
