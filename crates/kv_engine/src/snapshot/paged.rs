//! [`Paged`]: values out of a snapshot that stays on the disk.
//!
//! Opening reads the header and the root of the index, whatever the snapshot's length; a lookup reads one block of
//! each level, then one of entries. A block is checked before a byte of it is used: its frame's check must be the one
//! that the block above names, and the checksums of head and body must hold. The header is checked, and vouches for
//! the root. So an entry that is found was written there, and one that is not found was not; anything
//! else is [`Error::Damaged`], which names the place.
//!
//! Checks tell accidents, not intent: a file can be made whose checks all hold and whose blocks name each other, or themselves.
//! So no lookup trusts the shape of the tree either. The writer puts a block behind all that it lists, and what it lists
//! one behind the other. Each way down asks for that:
//!
//! ```text
//!        floor                                            a block of the index
//!          ├── first below ──┤├── second below ──┤ …  ├── lists all of these ──┤
//! ```
//!
//! - A block that is listed begins at or behind the floor, and ends before the block that lists it begins. What is in
//!   and under it has the same end, and for its floor the end of the block that is listed before it. So a scan reads
//!   each byte of the file once at most, and every way down has an end.
//! - There are [`MOST_LEVELS`] levels at most: a block lists two others, so more do not fit into any file. Whoever goes down keeps a
//!   list of what is still to be read, and does not call itself.
//! - The keys in a block rise. It is checked when it is read, before it is kept. A scan asks that they rise from block to
//!   block too, so it passes over entries in its first block only.
//! - No block is longer than the writer makes one: behind 4 KiB there is one entry, or an index block's last two. A long one gets
//!   memory when its check is known to hold.
//!
//! Blocks are read by position and not through a mapping of the file. The memory is the same, the page cache of the
//! system. But a page of a mapping can change after it was checked, and when the file is cut, or a sector cannot
//! be read, touching it kills the process by SIGBUS; a read says so. And to map is `unsafe`. What a read costs more, the
//! copy and the check, blocks that are used again do not pay: so many bytes of them are kept as the cache may hold.
//! A block that is kept was checked, and stays what it was.

use super::index::{self, Ref, split_entry};
use super::{BLOCK_BYTES, HEADER_BYTES, Header, check_meta, read_header};
use crate::disk::{File, read_full_at};
use crate::error::{Error, Result};
use crate::memory;
use crate::record::{self, Kind};
use crate::scan::body_holds;
use crate::state::{Key, MAX_PUT_BYTES, OpRef, Value, decode_one};
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The index of the longest file there can be has no more levels: of 2^63 bytes, if every block lists two others.
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

/// A block that another one lists, or the root, and where it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tree {
    top: Ref,
    /// Nothing in or under it begins before that.
    floor: u64,
    /// So many blocks are above it.
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
            return Err(paged.damage(root.offset, "the root of the index does not stand at the end"));
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

    /// At most `count` entries whose keys begin with `prefix`, in order, those from `from` on.
    pub(crate) fn range(&self, from: Bound<&[u8]>, prefix: &[u8], count: usize) -> Result<Vec<(Key, Value)>> {
        let start = match from {
            Bound::Included(key) | Bound::Excluded(key) => key.max(prefix),
            Bound::Unbounded => prefix,
        };
        let mut out: Vec<(Key, Value)> = Vec::new();
        if count == 0 {
            return Ok(out);
        }
        // What is to be looked at, the next one last.
        let mut open: Vec<Tree> = self.root.into_iter().collect();
        let mut is_first = true;
        while let Some(tree) = open.pop() {
            let block = self.block(tree)?;
            if block.kind == Kind::INDEX {
                let begin = open.len();
                for listed in self.listed(tree, &block) {
                    let (below, first) = listed?;
                    if first <= start {
                        open.truncate(begin); // those before hold nothing behind it
                    }
                    open.push(below);
                }
                open[begin..].reverse();
                continue;
            }
            for entry in entries(&block) {
                let is_before = entry.key < start || matches!(from, Bound::Excluded(key) if key == entry.key);
                if is_before && is_first {
                    continue;
                }
                if is_before || out.last().is_some_and(|(last, _)| **last >= *entry.key) {
                    return Err(self.damage(block.at.offset, "the block's keys do not follow those before it"));
                }
                if !entry.key.starts_with(prefix) {
                    return Ok(out);
                }
                out.extend(entry.value.map(|value| (entry.key.into(), value.into())));
                if out.len() >= count {
                    return Ok(out);
                }
            }
            is_first = false;
        }
        Ok(out)
    }

    fn top(&self) -> Result<Option<(Tree, Arc<Block>)>> {
        self.root.map(|root| Ok((root, self.block(root)?))).transpose()
    }

    /// What an index block lists, each with the first key in or under it.
    fn listed<'a>(&self, tree: Tree, index: &'a Block) -> impl Iterator<Item = Result<(Tree, &'a [u8])>> {
        let mut rest = index.body();
        let mut floor = tree.floor;
        std::iter::from_fn(move || {
            let (top, first, others) = split_entry(rest)?;
            rest = others;
            let fits = top.offset >= floor && top.end().is_some_and(|end| end <= index.at.offset);
            if !fits {
                return Some(Err(self.damage(index.at.offset, "the block lists another one where none can be")));
            }
            if tree.level + 1 >= MOST_LEVELS {
                return Some(Err(self.damage(index.at.offset, "the index has more levels than any can have")));
            }
            let below = Tree { top, floor, level: tree.level + 1 };
            floor = top.end().unwrap_or(floor);
            Some(Ok((below, first)))
        })
    }

    /// Reads the topmost block of a tree, or has it already.
    fn block(&self, tree: Tree) -> Result<Arc<Block>> {
        let at = tree.top;
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = cache.get(at.offset).filter(|block| block.at == at) {
            return Ok(block);
        }
        drop(cache); // others need not wait for the disk
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
            return Err(self.damage(at.offset, "a block is said to be where none can be"));
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
            return Err(self.damage(at.offset, "another block stands there than the index says"));
        }
        let most = match head.kind {
            Kind::ENTRIES => MAX_PUT_BYTES.max(BLOCK_BYTES),
            Kind::INDEX => index::MOST_BYTES,
            _ => return Err(self.damage(at.offset, "the block is of a kind that has no place there")),
        };
        if head.body_len > most {
            return Err(self.damage(at.offset, "the block is longer than any can be"));
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
        if is_in_order(&block) { Ok(block) } else { Err(self.damage(at.offset, "the block's content is not possible")) }
    }

    /// There are more of the keys that were written above than it says there are.
    pub(crate) fn miscounted(&self) -> Error {
        self.damage(0, "the header promises fewer entries than there are")
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
            "{what}; a snapshot is never written in place, so no crash causes this; what this block holds is not served, \
             other blocks are; see what else is damaged with `kv_cli verify`, and restore the file from a copy"
        );
        Error::damaged(&self.path, offset, reason)
    }
}

/// A block that is longer is read twice: first to see whether its check holds, before there is memory for it.
const LONG_BYTES: usize = 1 << 20;

/// Whether the content of a block is possible: entries, one at least, whose keys rise, and one only in a long block.
fn is_in_order(block: &Block) -> bool {
    let (mut rest, mut last) = (block.body(), &[][..]);
    let is_long = rest.len() > BLOCK_BYTES;
    let mut rises = |key| std::mem::replace(&mut last, key) < key; // no key is empty
    while !rest.is_empty() {
        let fine = match block.kind {
            Kind::INDEX => split_entry(rest).is_some_and(|(_, first, others)| {
                rest = others;
                rises(first)
            }),
            _ => {
                let entry = decode_one(&mut rest);
                entry.is_some_and(|entry| entry.value.is_some() && rises(entry.key)) && (!is_long || rest.is_empty())
            }
        };
        if !fine {
            return false;
        }
    }
    !block.body().is_empty()
}

/// The entries of a block, which was checked.
fn entries(block: &Block) -> impl Iterator<Item = OpRef<'_>> {
    let mut rest = block.body();
    std::iter::from_fn(move || if rest.is_empty() { None } else { decode_one(&mut rest) })
}

/// Checked blocks, by their offsets; those that nobody asked for for the longest time make room.
#[derive(Debug)]
struct Cache {
    most_bytes: usize,
    bytes: usize,
    asked: u64,
    blocks: HashMap<u64, (Arc<Block>, u64)>,
    /// When each was asked for last.
    order: BTreeMap<u64, u64>,
}

impl Cache {
    fn new(most_bytes: usize) -> Cache {
        Cache { most_bytes, bytes: 0, asked: 0, blocks: HashMap::new(), order: BTreeMap::new() }
    }

    fn get(&mut self, offset: u64) -> Option<Arc<Block>> {
        let (block, when) = self.blocks.get_mut(&offset)?;
        self.asked += 1;
        self.order.remove(&std::mem::replace(when, self.asked));
        self.order.insert(self.asked, offset);
        Some(Arc::clone(block))
    }

    /// A block that is longer than a quarter of the cache is not kept.
    fn insert(&mut self, block: Arc<Block>) {
        let (offset, len) = (block.at.offset, block.bytes.len());
        if len > self.most_bytes / 4 || self.blocks.contains_key(&offset) {
            return;
        }
        self.asked += 1;
        self.bytes += len;
        self.order.insert(self.asked, offset);
        self.blocks.insert(offset, (block, self.asked));
        while self.bytes > self.most_bytes {
            let (_, oldest) = self.order.pop_first().expect("what has bytes is in the order");
            let (block, _) = self.blocks.remove(&oldest).expect("what is in the order is kept");
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
    fn a_cache_of_blocks_keeps_the_last_ones_up_to_its_size() {
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
        cache.insert(block(4, 25)); // two that read it at the same time
        assert_eq!(kept(&cache), [1, 2, 3, 4], "exactly as much as it may");
        assert!(cache.get(1).is_some() && cache.get(5).is_none());
        cache.insert(block(5, 1));
        assert_eq!(kept(&cache), [1, 3, 4, 5], "nobody asked for 2 since");
        assert_eq!(cache.get(5).unwrap().at.offset, 5);
        cache.insert(block(6, 25));
        assert_eq!(kept(&cache), [1, 4, 5, 6]);
    }
}
