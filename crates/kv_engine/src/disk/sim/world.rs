//! [`World`]: the content of a simulated disk, as a process sees it and as it is durable, and what a crash leaves of
//! it.

use super::change::{Change, Inode, Pending, PendingName, Piece, SECTOR_BYTES, index, lengthen, put};
use super::fault::SyncFailure;
use super::power_cut::{Fate, PowerCut, Rest};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// The bytes of this many gone files can show again where nothing was written.
const GONE_FILES: usize = 3;

/// Which promises the disk keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Model {
    /// Synced changes stay. Unsynced changes may be kept or lost in any order. On this disk the store promises to lose
    /// nothing.
    #[default]
    Any,
    /// A sync of a file or a directory reports success and does nothing. The store can only promise that it never
    /// serves a state that never existed.
    Lying,
    /// A torn write also damages durable bytes in its first sector (no "powersafe overwrite"). The store can only
    /// promise that it never serves a state that never existed, and that it notices the damage.
    NoPsow,
}

const MODELS: [(&str, Model); 3] = [("any", Model::Any), ("lying", Model::Lying), ("no-psow", Model::NoPsow)];

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = MODELS.iter().find(|(_, model)| model == self);
        f.write_str(named.expect("each model is in MODELS").0)
    }
}

impl FromStr for Model {
    type Err = String;

    fn from_str(text: &str) -> Result<Model, String> {
        let named = MODELS.iter().find(|(name, _)| *name == text);
        named
            .map(|(_, model)| *model)
            .ok_or_else(|| format!("{text:?} is not a model of a disk; the models are any, lying and no-psow"))
    }
}

#[derive(Clone, Debug, Default)]
struct Data {
    /// What a process reads.
    cache: Vec<u8>,
    /// What a power cut leaves for certain.
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

impl Data {
    fn apply(bytes: &mut Vec<u8>, change: &Pending) {
        match change {
            Pending::SetLen(len) => bytes.resize(index(*len), 0),
            Pending::Write(offset, new) => put(bytes, *offset, new, &[]),
        }
    }

    fn change(&mut self, change: Pending) {
        Data::apply(&mut self.cache, &change);
        self.pending.push(change);
    }

    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            Data::apply(&mut self.durable, &change);
        }
    }

    /// Reads the clean pages from the medium again.
    fn drop_cache(&mut self) {
        self.cache.clone_from(&self.durable);
        for change in &self.pending {
            Data::apply(&mut self.cache, change);
        }
    }
}

/// The state of the disk: files and names, as seen and as durable.
#[derive(Clone, Debug, Default)]
pub struct World {
    files: Vec<Data>,
    names: BTreeMap<PathBuf, Inode>,
    durable_names: BTreeMap<PathBuf, Inode>,
    pending_names: Vec<PendingName>,
    /// The bytes of files that were replaced, removed or cut short, the last one first. Their blocks are used again.
    gone: VecDeque<Arc<[u8]>>,
    /// The last change, if it was a write. A dying process may have done only its first bytes.
    last_write: Option<(Inode, u64, usize)>,
    /// Which promises the disk keeps from now on.
    pub model: Model,
}

/// Files by name: what a crash leaves.
pub type Image = BTreeMap<PathBuf, Vec<u8>>;

impl World {
    /// A disk on which exactly these files are durable.
    #[must_use]
    pub fn of(image: &Image) -> World {
        let mut world = World::default();
        for (path, bytes) in image {
            world.names.insert(path.clone(), world.files.len());
            world.files.push(Data { cache: bytes.clone(), durable: bytes.clone(), pending: Vec::new() });
        }
        world.durable_names = world.names.clone();
        world
    }

    /// Applies one change.
    ///
    /// # Panics
    ///
    /// If the change names a file that does not exist.
    pub fn apply(&mut self, change: &Change) {
        self.last_write = None;
        match change {
            Change::Create(path) => {
                let inode = self.files.len();
                self.files.push(Data::default());
                self.rename(PendingName::Create(path.clone(), inode));
            }
            Change::Rename(from, to) => {
                let inode = self.names[from];
                self.rename(PendingName::Rename(from.clone(), to.clone(), inode));
            }
            Change::Remove(path) => self.rename(PendingName::Remove(path.clone())),
            Change::Sync(_) | Change::SyncDir(_) if self.model == Model::Lying => {}
            Change::SyncDir(directory) => {
                let durable = &mut self.durable_names;
                self.pending_names.retain(|name| {
                    let here = name.directory() == Some(directory);
                    if here {
                        name.apply(durable);
                    }
                    !here
                });
            }
            Change::Write(inode, offset, bytes) => {
                self.files[*inode].change(Pending::Write(*offset, bytes.clone()));
                self.last_write = Some((*inode, *offset, bytes.len()));
            }
            Change::SetLen(inode, len) => {
                if *len < self.files[*inode].cache.len() as u64 {
                    self.gone(*inode);
                }
                self.files[*inode].change(Pending::SetLen(*len));
            }
            Change::Sync(inode) => self.files[*inode].sync(),
            Change::FailedSync(inode, failure) => {
                self.files[*inode].pending.clear();
                if *failure == SyncFailure::RevertsPages {
                    self.files[*inode].drop_cache();
                }
            }
            Change::DropCache(inode) => self.files[*inode].drop_cache(),
        }
    }

    fn rename(&mut self, change: PendingName) {
        let taken = match &change {
            PendingName::Create(path, _) | PendingName::Remove(path) | PendingName::Rename(_, path, _) => self.names.get(path),
        };
        if let Some(inode) = taken {
            self.gone(*inode);
        }
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }

    /// From now on the blocks of this file may show in another file.
    fn gone(&mut self, inode: Inode) {
        let bytes = &self.files[inode].cache;
        if !bytes.is_empty() {
            self.gone.push_front(bytes.as_slice().into());
            self.gone.truncate(GONE_FILES);
        }
    }

    /// The number of gone files whose bytes may show again.
    #[must_use]
    pub fn gone_files(&self) -> usize {
        self.gone.len()
    }

    pub(super) fn names(&self) -> &BTreeMap<PathBuf, Inode> {
        &self.names
    }

    pub(super) fn cache(&self, inode: Inode) -> &[u8] {
        &self.files[inode].cache
    }

    /// How many independent choices a power cut has now: pieces of writes, lengths, names.
    #[must_use]
    pub fn units(&self) -> usize {
        self.pending_names.len() + self.reachable().into_iter().map(|inode| self.units_of(inode)).sum::<usize>()
    }

    fn units_of(&self, inode: Inode) -> usize {
        self.files[inode].pending.iter().map(Pending::units).sum()
    }

    /// Files that keep a name under some choice of names.
    fn reachable(&self) -> BTreeSet<Inode> {
        let pending = self.pending_names.iter().filter_map(|name| match name {
            PendingName::Create(_, inode) | PendingName::Rename(_, _, inode) => Some(*inode),
            PendingName::Remove(_) => None,
        });
        self.durable_names.values().copied().chain(pending).collect()
    }

    /// The name of the file with this number, or a description if it has none.
    #[must_use]
    pub fn file_name(&self, inode: usize) -> String {
        let named = self.names.iter().find(|(_, named)| **named == inode);
        named.map_or_else(|| format!("file {inode} without a name"), |(path, _)| path.display().to_string())
    }

    /// The file or directory that a change is about. For a rename, the new name.
    #[must_use]
    pub fn subject(&self, change: &Change) -> String {
        match change {
            Change::Create(path) | Change::Rename(_, path) | Change::Remove(path) | Change::SyncDir(path) => {
                path.display().to_string()
            }
            Change::Write(inode, ..)
            | Change::SetLen(inode, _)
            | Change::Sync(inode)
            | Change::FailedSync(inode, _)
            | Change::DropCache(inode) => self.file_name(*inode),
        }
    }

    /// Describes each unit, in the order in which a [`PowerCut`] decides on them.
    #[must_use]
    pub fn unit_names(&self) -> Vec<String> {
        let names = self.pending_names.iter().map(|name| match name {
            PendingName::Create(path, _) => format!("the creation of {}", path.display()),
            PendingName::Remove(path) => format!("the removal of {}", path.display()),
            PendingName::Rename(from, to, _) => format!("the renaming of {} to {}", from.display(), to.display()),
        });
        let mut all: Vec<String> = names.collect();
        for inode in self.reachable() {
            let file = self.file_name(inode);
            for piece in self.files[inode].pending.iter().flat_map(Pending::pieces) {
                all.push(match piece {
                    Piece::Bytes(at, bytes) => format!("bytes {at} to {} of {file}", at + bytes.len() as u64),
                    Piece::Length(len) => format!("the length {len} of {file}"),
                });
            }
        }
        all
    }

    /// What the next process finds after the death of this one. `short`: only this number of bytes of the last write
    /// were done.
    #[must_use]
    pub fn after_death(&self, short: Option<usize>) -> Image {
        let mut image: Image = self.names.iter().map(|(path, inode)| (path.clone(), self.files[*inode].cache.clone())).collect();
        if let (Some(short), Some((inode, offset, len))) = (short, self.last_write)
            && let Some((path, _)) = self.names.iter().find(|(_, named)| **named == inode)
            && let Some(bytes) = image.get_mut(path)
            && bytes.len() == index(offset) + len
        {
            bytes.truncate(index(offset) + short.min(len));
        }
        image
    }

    /// The length of the last write in bytes, if the last change was a write.
    #[must_use]
    pub fn last_write_bytes(&self) -> Option<usize> {
        self.last_write.map(|(_, _, len)| len)
    }

    /// What the next process finds after a power cut.
    #[must_use]
    pub fn after_power_cut(&self, cut: &PowerCut) -> Image {
        let mut names = Cow::Borrowed(&self.durable_names);
        for (unit, change) in self.pending_names.iter().enumerate() {
            if cut.fate(unit) == Fate::Kept {
                change.apply(names.to_mut());
            }
        }
        // The numbers of the units do not depend on which names are kept.
        let mut unit = self.pending_names.len();
        let mut file = 0;
        let mut survivors = BTreeMap::new();
        for inode in self.reachable() {
            let data = &self.files[inode];
            if names.values().any(|named| *named == inode) {
                survivors.insert(inode, self.survivor(data, unit, cut, cut.rest(file)));
            }
            unit += self.units_of(inode);
            file += usize::from(!data.pending.is_empty());
        }
        names.iter().map(|(path, inode)| (path.clone(), survivors[inode].clone())).collect()
    }

    fn survivor(&self, data: &Data, mut unit: usize, cut: &PowerCut, rest: Rest) -> Vec<u8> {
        let mut bytes = data.durable.clone();
        if data.pending.is_empty() {
            return bytes;
        }
        let gone = |number: u16| self.gone.get(usize::from(number) % self.gone.len().max(1)).map_or(&[][..], |bytes| bytes);
        let below = if rest.hole == 0 { &[][..] } else { gone(rest.hole - 1) };
        let mut lengths = vec![bytes.len()];
        let mut length = bytes.len();
        for piece in data.pending.iter().flat_map(Pending::pieces) {
            let fate = cut.fate(unit);
            unit += 1;
            let (offset, new) = match piece {
                Piece::Length(len) => {
                    length = index(len);
                    // A shorter length on the disk has dropped the bytes behind it.
                    match fate {
                        Fate::Lost => {}
                        _ if length <= bytes.len() => bytes.truncate(length),
                        _ => lengthen(&mut bytes, length, &[]),
                    }
                    (0, &[][..])
                }
                Piece::Bytes(offset, new) => {
                    length = length.max(index(offset) + new.len());
                    (offset, new)
                }
            };
            if lengths.last() != Some(&length) {
                lengths.push(length);
            }
            if new.is_empty() {
                continue;
            }
            match fate {
                Fate::Lost => {}
                Fate::Kept => put(&mut bytes, offset, new, below),
                Fate::Torn(at) => {
                    self.tear(&mut bytes, offset, at);
                    put(&mut bytes, offset, &new[..usize::from(at) % new.len()], below);
                }
                Fate::Garbage(at) => {
                    self.tear(&mut bytes, offset, at);
                    let mut new = new.to_vec();
                    let from = usize::from(at) % new.len();
                    garbage(&mut new[from..], offset ^ u64::from(at) << 32);
                    put(&mut bytes, offset, &new, below);
                }
                Fate::Stale(number) => {
                    let from = index(offset);
                    let old = gone(number);
                    let mut new = vec![0; new.len()];
                    let there = old.len().saturating_sub(from).min(new.len());
                    new[..there].copy_from_slice(&old[old.len().min(from)..][..there]);
                    put(&mut bytes, offset, &new, below);
                }
            }
        }
        // An ordered file system leaves the last length. The others are possible too.
        let length = lengths[lengths.len() - 1 - usize::from(rest.length).min(lengths.len() - 1)];
        bytes.truncate(length);
        lengthen(&mut bytes, length, below);
        bytes
    }

    /// Without powersafe overwrite, a torn write also damages the older bytes of its sector.
    fn tear(&self, bytes: &mut [u8], offset: u64, seed: u16) {
        if self.model == Model::NoPsow {
            let from = index(offset - offset % SECTOR_BYTES).min(bytes.len());
            let to = index(offset).min(bytes.len());
            garbage(&mut bytes[from..to], offset.wrapping_add(u64::from(seed)));
        }
    }
}

/// Fills with garbage (xorshift64).
fn garbage(bytes: &mut [u8], seed: u64) {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for byte in bytes {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        *byte = x.to_le_bytes()[3];
    }
}
