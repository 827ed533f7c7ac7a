//! [`Paged`]: values out of a snapshot that stays on the disk.
//!
//! Opening reads the header and the root of the index, whatever the snapshot's length; a lookup reads one block of
//! each level, then one of entries. A block is checked before a byte of it is used: its frame's check must be the one
//! that the block above names, and the checksums of head and body must hold. The header is checked, and vouches for
//! the root. So an entry that is found was written there, and one that is not found was not; anything
//! else is [`Error::Damaged`], which names the place.
//!
//! Blocks are read by position and not through a mapping of the file. The memory is the same, the page cache of the
//! system. But a page of a mapping can change after it was checked, and when the file is cut, or a sector cannot
//! be read, touching it kills the process by SIGBUS; a read says so. And to map is `unsafe`. What a read costs more, the
//! copy and the check, blocks that are used again do not pay: so many bytes of them are kept as the cache may hold.
//! A block that is kept was checked, and stays what it was.

use super::index::{Ref, split_entry};
use super::{HEADER_BYTES, Header, check_meta, read_header};
use crate::disk::{File, read_full_at};
use crate::error::{Error, Result};
use crate::record::{self, Kind};
use crate::state::{Key, OpRef, Value, decode_one};
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A snapshot with an index, open for lookups.
#[derive(Debug)]
pub(crate) struct Paged {
    file: Arc<dyn File>,
    path: PathBuf,
    header: Header,
    root: Ref,
    cache: Mutex<Cache>,
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
        let paged = Paged { file, path: path.to_path_buf(), header, root, cache: Mutex::new(Cache::new(cache_bytes)) };
        if root != Ref::default() {
            paged.block(root)?;
        } else if header.entries > 0 {
            return Err(paged.damage(0, "the header names no root of the index"));
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

    fn with<T>(&self, key: &[u8], see: impl Fn(&[u8]) -> T) -> Result<Option<T>> {
        let Some(mut block) = self.top()? else { return Ok(None) };
        while block.kind == Kind::INDEX {
            let Some(below) = self.last_up_to(&block, key)? else { return Ok(None) };
            block = self.block(below)?;
        }
        let mut found = None;
        self.entries(&block, |entry| match entry.key.cmp(key) {
            Ordering::Less => true,
            Ordering::Equal => {
                found = entry.value.map(&see);
                false
            }
            Ordering::Greater => false,
        })?;
        Ok(found)
    }

    /// At most `count` entries whose keys begin with `prefix`, in order, those from `from` on.
    pub(crate) fn range(&self, from: Bound<&[u8]>, prefix: &[u8], count: usize) -> Result<Vec<(Key, Value)>> {
        let start = match from {
            Bound::Included(key) | Bound::Excluded(key) => key.max(prefix),
            Bound::Unbounded => prefix,
        };
        let mut entries = Vec::new();
        if let Some(top) = self.top()?.filter(|_| count > 0) {
            self.collect(&top, from, start, prefix, count, &mut entries)?;
        }
        Ok(entries)
    }

    /// Adds what is in or under `block`. Whether there may be more behind it.
    fn collect(
        &self,
        block: &Block,
        from: Bound<&[u8]>,
        start: &[u8],
        prefix: &[u8],
        count: usize,
        out: &mut Vec<(Key, Value)>,
    ) -> Result<bool> {
        if block.kind == Kind::ENTRIES {
            let mut more = true;
            self.entries(block, |entry| {
                if entry.key < start || matches!(from, Bound::Excluded(key) if key == entry.key) {
                    return true;
                }
                more = entry.key.starts_with(prefix);
                if let (true, Some(value)) = (more, entry.value) {
                    out.push((entry.key.into(), value.into()));
                    more = out.len() < count;
                }
                more
            })?;
            return Ok(more);
        }
        let mut next = self.last_up_to(block, start)?;
        let mut rest = block.body();
        while !rest.is_empty() {
            let (below, _, others) = split_entry(rest).ok_or_else(|| self.impossible(block))?;
            rest = others;
            // Those before the one that may hold `start` hold nothing behind it.
            if next.is_some_and(|first| first != below) {
                continue;
            }
            next = None;
            let below = self.block(below)?;
            if !self.collect(&below, from, start, prefix, count, out)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn top(&self) -> Result<Option<Arc<Block>>> {
        if self.root == Ref::default() { Ok(None) } else { self.block(self.root).map(Some) }
    }

    /// The last block that an index block lists whose first key is not behind `key`.
    fn last_up_to(&self, index: &Block, key: &[u8]) -> Result<Option<Ref>> {
        let mut rest = index.body();
        let mut found = None;
        while !rest.is_empty() {
            let (below, first, others) = split_entry(rest).ok_or_else(|| self.impossible(index))?;
            if first > key {
                break;
            }
            found = Some(below);
            rest = others;
        }
        Ok(found)
    }

    /// Hands over the entries of a block while `each` wants more.
    fn entries<'a>(&self, block: &'a Block, mut each: impl FnMut(OpRef<'a>) -> bool) -> Result<()> {
        let mut rest = block.body();
        while !rest.is_empty() {
            if !each(decode_one(&mut rest).ok_or_else(|| self.impossible(block))?) {
                break;
            }
        }
        Ok(())
    }

    fn block(&self, at: Ref) -> Result<Arc<Block>> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = cache.get(at.offset) {
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
        let mut bytes = vec![0; len];
        let got = read_full_at(&*self.file, at.offset, &mut bytes).map_err(Error::io("reading", &self.path))?;
        if got < len {
            return Err(self.damage(at.offset, "the file ends inside the block"));
        }
        let salt = self.header.salt();
        let head = record::decode_header(&bytes, salt).map_err(|fault| self.damage(at.offset, &fault.to_string()))?;
        if head.check != at.check || head.body_len != len - record::HEADER_BYTES {
            return Err(self.damage(at.offset, "another block stands there than the index says"));
        }
        if ![Kind::ENTRIES, Kind::INDEX].contains(&head.kind) {
            return Err(self.damage(at.offset, "the block is of a kind that has no place there"));
        }
        let body = &bytes[record::HEADER_BYTES..];
        record::check_body(&head, salt, body).map_err(|fault| self.damage(at.offset, &fault.to_string()))?;
        Ok(Block { at, kind: head.kind, bytes: bytes.into() })
    }

    #[cfg(test)]
    pub(super) fn cached_bytes(&self) -> usize {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = cache.blocks.values().map(|(block, _)| block.bytes.len()).sum();
        assert_eq!((cache.bytes, cache.order.len()), (kept, cache.blocks.len()));
        kept
    }

    fn impossible(&self, block: &Block) -> Error {
        self.damage(block.at.offset, "the block's content is not possible")
    }

    fn damage(&self, offset: u64, what: &str) -> Error {
        let reason = format!(
            "{what}; a snapshot is never written in place, so no crash causes this; what this block holds is not served, \
             other blocks are; see what else is damaged with `kv_cli verify`, and restore the file from a copy"
        );
        Error::damaged(&self.path, offset, reason)
    }
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
