//! [`SimDisk`]: a disk in memory that can crash.
//!
//! It keeps apart what a running process sees (the page cache) and what would survive a power cut:
//! for each file its bytes, its length, and the names in the directory, each of them separately.
//! [`World::after_death`] and [`World::after_power_cut`] give what a process would find afterwards:
//!
//! | after | each written piece of a 512-byte sector | length | names |
//! |---|---|---|---|
//! | death of the process | kept; of the last write any prefix | as written | as changed |
//! | a power cut | kept, lost, torn at a byte, or garbage, each by itself | any it had since the sync | each change kept or lost, in any order |
//!
//! `sync` makes the bytes and the length of one file durable, not its name; `sync_dir` makes names
//! durable, not bytes. That a torn sector damages only itself, and that a rename is seen whole or
//! not at all, is assumed. The choices are made by a [`Choices`], so that an enumeration can try
//! all of them and a seed can repeat a run.
//!
//! A [`FaultPlan`] makes an operation fail, and says what a failed sync leaves behind: on ext4 and
//! XFS the pages are marked clean, so the next sync succeeds and the bytes are gone; on btrfs the
//! pages are dropped (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020).

use super::{Disk, File, Lock};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a disk writes in one piece or not at all, in bytes.
pub const SECTOR_BYTES: u64 = 512;

type Inode = usize;

/// The error of a failed sync.
const EIO: i32 = 5;

/// A change to the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new, empty file under this name.
    Create(PathBuf),
    /// A file gets another name.
    Rename(PathBuf, PathBuf),
    /// A name is removed.
    Remove(PathBuf),
    /// Names in this directory become durable.
    SyncDir(PathBuf),
    /// Bytes are written to the file with this number.
    Write(usize, u64, Vec<u8>),
    /// A file gets another length.
    SetLen(usize, u64),
    /// A file becomes durable.
    Sync(usize),
    /// What is clean in memory of a file is forgotten; after a failed sync that may change it.
    DropCache(usize),
}

/// A change to one file that is not durable.
#[derive(Clone, Debug)]
enum Pending {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

/// A change to the directory that is not durable.
#[derive(Clone, Debug)]
enum PendingName {
    Create(PathBuf, Inode),
    Rename(PathBuf, PathBuf, Inode),
    Remove(PathBuf),
}

impl PendingName {
    fn directory(&self) -> Option<&Path> {
        match self {
            PendingName::Create(path, _) | PendingName::Remove(path) | PendingName::Rename(_, path, _) => path.parent(),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, Inode>) {
        match self {
            PendingName::Create(path, inode) => drop(names.insert(path.clone(), *inode)),
            PendingName::Remove(path) => drop(names.remove(path)),
            PendingName::Rename(from, to, inode) => {
                if names.get(from) == Some(inode) {
                    names.remove(from);
                }
                names.insert(to.clone(), *inode);
            }
        }
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
            Pending::Write(_, new) if new.is_empty() => {} // does not even make the file longer
            Pending::Write(offset, new) => {
                let (from, to) = (index(*offset), index(*offset) + new.len());
                if bytes.len() < to {
                    bytes.resize(to, 0);
                }
                bytes[from..to].copy_from_slice(new);
            }
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

    /// What is clean in memory is read from the medium again.
    fn drop_cache(&mut self) {
        self.cache.clone_from(&self.durable);
        for change in &self.pending {
            Data::apply(&mut self.cache, change);
        }
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("simulated files fit in memory")
}

/// The state of the disk: files and names, as seen and as durable.
#[derive(Clone, Debug, Default)]
pub struct World {
    files: Vec<Data>,
    names: BTreeMap<PathBuf, Inode>,
    durable_names: BTreeMap<PathBuf, Inode>,
    pending_names: Vec<PendingName>,
    /// The last change, when it was a write: death may cut it short.
    last_write: Option<(Inode, u64, usize)>,
}

/// Files by name: what is left after a crash.
pub type Image = BTreeMap<PathBuf, Vec<u8>>;

/// Decides what a power cut keeps.
pub trait Choices {
    /// What becomes of the next piece of unsynced change.
    fn fate(&mut self) -> Fate;
    /// One of `count` possibilities, from 0.
    fn pick(&mut self, count: usize) -> usize;
    /// A byte that nobody wrote.
    fn garbage(&mut self) -> u8;
}

/// What becomes of a piece of unsynced change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is on the disk.
    Kept,
    /// It is not.
    Lost,
    /// Its first part is; only for bytes.
    Torn,
    /// Something else is; only for bytes.
    Garbage,
}

impl World {
    /// A disk with these files, all of them durable.
    #[must_use]
    pub fn of(image: &Image) -> World {
        let mut world = World::default();
        for (path, bytes) in image {
            world.durable_names.insert(path.clone(), world.files.len());
            world.files.push(Data { cache: bytes.clone(), durable: bytes.clone(), pending: Vec::new() });
        }
        world.names = world.durable_names.clone();
        world
    }

    /// Carries out a change. It was possible when it was recorded, and is so again.
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
            Change::SetLen(inode, len) => self.files[*inode].change(Pending::SetLen(*len)),
            Change::Sync(inode) => self.files[*inode].sync(),
            Change::DropCache(inode) => self.files[*inode].drop_cache(),
        }
    }

    fn rename(&mut self, change: PendingName) {
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }

    /// How many independent choices a power cut has now: pieces of writes, lengths, names.
    #[must_use]
    pub fn units(&self) -> usize {
        let reachable: BTreeSet<Inode> = self.reachable();
        let of = |inode: &Inode| self.files[*inode].pending.iter().map(|change| pieces(change).len()).sum::<usize>();
        reachable.iter().map(of).sum::<usize>() + self.pending_names.len()
    }

    /// Files that some choice of names leaves a name.
    fn reachable(&self) -> BTreeSet<Inode> {
        let pending = self.pending_names.iter().filter_map(|name| match name {
            PendingName::Create(_, inode) | PendingName::Rename(_, _, inode) => Some(*inode),
            PendingName::Remove(_) => None,
        });
        self.durable_names.values().copied().chain(pending).collect()
    }

    /// What a process finds after the death of the one before. `short`: of the last write only so
    /// many bytes had been taken.
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

    /// The last write's length in bytes, when the last change was one.
    #[must_use]
    pub fn last_write_bytes(&self) -> Option<usize> {
        self.last_write.map(|(_, _, len)| len)
    }

    /// What a process finds after a power cut, as `choices` decide.
    pub fn after_power_cut(&self, choices: &mut dyn Choices) -> Image {
        let mut names = self.durable_names.clone();
        for change in &self.pending_names {
            if choices.fate() == Fate::Kept {
                change.apply(&mut names);
            }
        }
        names.into_iter().map(|(path, inode)| (path, self.survivor(inode, choices))).collect()
    }

    fn survivor(&self, inode: Inode, choices: &mut dyn Choices) -> Vec<u8> {
        let data = &self.files[inode];
        let mut bytes = data.durable.clone();
        let mut lengths = vec![bytes.len()];
        let mut length = bytes.len();
        for change in &data.pending {
            match change {
                Pending::SetLen(len) => length = index(*len),
                Pending::Write(_, new) if new.is_empty() => {}
                Pending::Write(offset, new) => length = length.max(index(*offset) + new.len()),
            }
            lengths.push(length);
            for piece in pieces(change) {
                match (choices.fate(), piece) {
                    (Fate::Lost, _) => {}
                    (Fate::Torn, Pending::Write(offset, new)) => {
                        let part = new[..choices.pick(new.len())].to_vec();
                        Data::apply(&mut bytes, &Pending::Write(offset, part));
                    }
                    (Fate::Garbage, Pending::Write(offset, mut new)) => {
                        let from = choices.pick(new.len());
                        new[from..].iter_mut().for_each(|byte| *byte = choices.garbage());
                        Data::apply(&mut bytes, &Pending::Write(offset, new));
                    }
                    // A shorter length that is on the disk has forgotten what was behind it.
                    (_, piece) => Data::apply(&mut bytes, &piece),
                }
            }
        }
        lengths.dedup();
        if data.pending.is_empty() {
            return bytes;
        }
        // The last length is what an ordered file system leaves; the others are possible too.
        let length = lengths[lengths.len() - 1 - choices.pick(lengths.len())];
        bytes.resize(length, 0);
        bytes
    }
}

/// A change to a file, cut at the boundaries of sectors.
fn pieces(change: &Pending) -> Vec<Pending> {
    let Pending::Write(offset, bytes) = change else { return vec![change.clone()] };
    let mut pieces = Vec::new();
    let (mut at, mut rest) = (*offset, bytes.as_slice());
    while !rest.is_empty() {
        let room = index(SECTOR_BYTES - at % SECTOR_BYTES);
        let (piece, behind) = rest.split_at(room.min(rest.len()));
        pieces.push(Pending::Write(at, piece.to_vec()));
        at += piece.len() as u64;
        rest = behind;
    }
    pieces
}

/// What a planned fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operation fails with this error of the system and does nothing.
    Errno(i32),
    /// A write or read takes only so many bytes, at least one.
    Short(usize),
    /// A sync fails; the bytes stay in the cache, never reach the disk, and the next sync succeeds (ext4, XFS).
    SyncLosesPages,
    /// A sync fails, and the cache goes back to what the disk has (btrfs).
    SyncRevertsPages,
}

/// Which operations fail, and how.
#[derive(Clone, Debug, Default)]
pub struct FaultPlan {
    /// The number of the operation, counted from 0 as [`SimDisk::operations`] does.
    pub at: usize,
    /// What happens to it.
    pub fault: Option<Fault>,
    /// To all of its kind from there on, and not only to this one.
    pub for_ever: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    SetLen,
    Sync,
    Create,
    Rename,
    Remove,
    SyncDir,
    Open,
}

#[derive(Debug)]
struct Inner {
    world: World,
    trace: Vec<Change>,
    operations: usize,
    plan: FaultPlan,
    /// The kind of operation that fails from now on.
    failing: Option<Kind>,
    locks: BTreeSet<PathBuf>,
    now: Duration,
    entropy: u64,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    inner: Arc<Mutex<Inner>>,
}

impl SimDisk {
    /// A disk with these files. The random numbers it gives follow from `seed`.
    #[must_use]
    pub fn new(image: &Image, seed: u64) -> SimDisk {
        let inner = Inner {
            world: World::of(image),
            trace: Vec::new(),
            operations: 0,
            plan: FaultPlan::default(),
            failing: None,
            locks: BTreeSet::new(),
            now: Duration::ZERO,
            entropy: seed,
        };
        SimDisk { inner: Arc::new(Mutex::new(inner)) }
    }

    /// The disk of a process that has just died: what it had written and not synced is still seen,
    /// and still not durable.
    #[must_use]
    pub fn of_world(world: World, seed: u64) -> SimDisk {
        let disk = SimDisk::new(&Image::new(), seed);
        disk.lock_inner().world = world;
        disk
    }

    /// As [`SimDisk::new`], and operations fail as planned.
    #[must_use]
    pub fn with_faults(image: &Image, seed: u64, plan: FaultPlan) -> SimDisk {
        let disk = SimDisk::new(image, seed);
        disk.lock_inner().plan = plan;
        disk
    }

    fn lock_inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every change so far, in order.
    #[must_use]
    pub fn trace(&self) -> Vec<Change> {
        self.lock_inner().trace.clone()
    }

    /// How many changes there were.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.lock_inner().trace.len()
    }

    /// How many operations there were, reads and opens included.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.lock_inner().operations
    }

    /// The disk as it is now.
    #[must_use]
    pub fn world(&self) -> World {
        self.lock_inner().world.clone()
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.lock_inner().now += by;
    }

    fn file(&self, inode: Inode) -> Arc<dyn File> {
        Arc::new(SimFile { disk: self.clone(), inode })
    }
}

impl Inner {
    /// Counts an operation; the fault that was planned for it, or the error.
    fn enter(&mut self, kind: Kind) -> io::Result<Option<Fault>> {
        let number = self.operations;
        self.operations += 1;
        let planned = self.plan.fault.filter(|_| number == self.plan.at || self.failing == Some(kind));
        if planned.is_some() && self.plan.for_ever {
            self.failing = Some(kind);
        }
        match planned {
            Some(Fault::Errno(code)) => Err(io::Error::from_raw_os_error(code)),
            Some(Fault::Short(_)) if !matches!(kind, Kind::Read | Kind::Write) => Ok(None),
            Some(Fault::SyncLosesPages | Fault::SyncRevertsPages) if kind != Kind::Sync => Ok(None),
            planned => Ok(planned),
        }
    }

    fn change(&mut self, change: Change) {
        self.world.apply(&change);
        self.trace.push(change);
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        let mut inner = self.lock_inner();
        inner.enter(Kind::Open)?;
        Ok(inner.world.names.get(path).map(|inode| self.file(*inode)))
    }

    fn open_read(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        self.open(path)
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut inner = self.lock_inner();
        inner.enter(Kind::Create)?;
        if inner.world.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        inner.change(Change::Create(path.to_path_buf()));
        Ok(self.file(inner.world.names[path]))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.lock_inner();
        inner.enter(Kind::Rename)?;
        if !inner.world.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.change(Change::Rename(from.to_path_buf(), to.to_path_buf()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.lock_inner();
        inner.enter(Kind::Remove)?;
        if !inner.world.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.change(Change::Remove(path.to_path_buf()));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.lock_inner();
        inner.enter(Kind::SyncDir)?;
        inner.change(Change::SyncDir(path.parent().unwrap_or(path).to_path_buf()));
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        if !self.lock_inner().locks.insert(path.to_path_buf()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock { disk: self.clone(), path: path.to_path_buf() }))
    }

    fn now(&self) -> Duration {
        self.lock_inner().now
    }

    fn entropy(&self) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014).
        let mut inner = self.lock_inner();
        inner.entropy = inner.entropy.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = inner.entropy;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    path: PathBuf,
}

impl Lock for SimLock {
    /// The simulated disk crashes whole: there is nobody to read it.
    fn write_note(&self, _text: &str) {}

    fn is_in_place(&self) -> bool {
        true
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.lock_inner().locks.remove(&self.path);
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: Inode,
}

impl File for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.lock_inner().world.files[self.inode].cache.len() as u64)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut inner = self.disk.lock_inner();
        let fault = inner.enter(Kind::Read)?;
        let bytes = &inner.world.files[self.inode].cache;
        let from = index(offset).min(bytes.len());
        let mut count = out.len().min(bytes.len() - from);
        if let Some(Fault::Short(most)) = fault {
            count = count.min(most.max(1));
        }
        out[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut inner = self.disk.lock_inner();
        let fault = inner.enter(Kind::Write)?;
        let count = match fault {
            Some(Fault::Short(most)) => bytes.len().min(most.max(1)),
            _ => bytes.len(),
        };
        inner.change(Change::Write(self.inode, offset, bytes[..count].to_vec()));
        Ok(count)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut inner = self.disk.lock_inner();
        inner.enter(Kind::SetLen)?;
        inner.change(Change::SetLen(self.inode, len));
        Ok(())
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        let mut inner = self.disk.lock_inner();
        inner.enter(Kind::SetLen)?;
        if index(len) > inner.world.files[self.inode].cache.len() {
            inner.change(Change::SetLen(self.inode, len));
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.disk.lock_inner();
        let fault = inner.enter(Kind::Sync)?;
        let data = &mut inner.world.files[self.inode];
        if matches!(fault, Some(Fault::SyncLosesPages | Fault::SyncRevertsPages)) {
            data.pending.clear();
            if fault == Some(Fault::SyncRevertsPages) {
                data.drop_cache();
            }
            return Err(io::Error::from_raw_os_error(EIO));
        }
        inner.change(Change::Sync(self.inode));
        Ok(())
    }

    fn drop_cache(&self) {
        self.disk.lock_inner().change(Change::DropCache(self.inode));
    }
}
