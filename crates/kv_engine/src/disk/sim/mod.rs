//! [`SimDisk`]: a disk in memory that can lose power, fail, and repeat both from a seed.
//!
//! It keeps two things apart: what a running process sees (the page cache), and what survives a power cut. It does so
//! for the bytes of each file, its length, and the names in the directory, each separately. [`World::after_death`] and
//! [`World::after_power_cut`] return what the next process finds:
//!
//! | after | each piece of an unsynced write, split at 512-byte sectors | length of a file | bytes where nothing was written | names |
//! |---|---|---|---|---|
//! | death of the process (`kill`) | kept; of the last write any prefix | as written | zeros | as changed |
//! | a power cut (`any`) | kept, lost, torn at a byte, garbage, or stale bytes of a file that is gone; each piece by itself | any that it had since the sync | zeros, or stale bytes | each change kept or lost, in any order |
//!
//! `sync` makes the bytes and the length of one file durable, but not its name. `sync_dir` makes names durable, but no
//! bytes. The model `any` assumes that a torn sector damages only itself, and that a rename is seen whole or not at
//! all. [`Model`] has two worse models. A [`PowerCut`] lists what a power cut keeps, so that a test can try every
//! combination, and a line of text can repeat one.
//!
//! A [`FaultPlan`] makes operations fail, and says what a failed sync leaves behind ([`SyncFailure`]). Time passes
//! only in [`SimDisk::advance`]. Random numbers follow from a seed.

mod change;
mod fault;
mod power_cut;
mod world;

pub use change::{Change, SECTOR_BYTES};
pub use fault::{Fault, FaultPlan, Lasts, Operation, Part, SyncFailure};
pub use power_cut::{Fate, PowerCut, Rest};
pub use world::{Image, Model, World};

pub(crate) use fault::{EDQUOT, EINTR, EIO, EMFILE, ENOSPC, EROFS};

use change::{Inode, index};

use super::{Disk, File, FileId, Lock, Named};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Debug)]
struct Inner {
    world: World,
    trace: Vec<Change>,
    operations: Vec<Operation>,
    plan: Option<FaultPlan>,
    /// The kind of operation that the plan has hit, and how often.
    hit: Option<(Operation, u32)>,
    locks: BTreeSet<PathBuf>,
    now: Duration,
    entropy: u64,
}

/// A disk in memory. Clones share one disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    inner: Arc<Mutex<Inner>>,
}

impl SimDisk {
    /// A disk with these files. The random numbers it gives follow from `seed`.
    #[must_use]
    pub fn new(image: &Image, seed: u64) -> SimDisk {
        SimDisk::of_world(World::of(image), seed)
    }

    /// The disk of a process that has just died. Its unsynced changes are still seen, and still not durable.
    #[must_use]
    pub fn of_world(world: World, seed: u64) -> SimDisk {
        let inner = Inner {
            world,
            trace: Vec::new(),
            operations: Vec::new(),
            plan: None,
            hit: None,
            locks: BTreeSet::new(),
            now: Duration::ZERO,
            entropy: seed,
        };
        SimDisk { inner: Arc::new(Mutex::new(inner)) }
    }

    /// The same disk, with operations that fail as planned.
    #[must_use]
    pub fn with_faults(self, plan: FaultPlan) -> SimDisk {
        self.lock_inner().plan = Some(plan);
        self
    }

    fn lock_inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every change so far, in order.
    #[must_use]
    pub fn trace(&self) -> Vec<Change> {
        self.lock_inner().trace.clone()
    }

    /// The number of changes so far.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.lock_inner().trace.len()
    }

    /// Every operation so far, including reads and opens.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        self.lock_inner().operations.clone()
    }

    /// Whether an operation has failed as planned.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.lock_inner().hit.is_some()
    }

    /// A copy of the disk in its present state.
    #[must_use]
    pub fn world(&self) -> World {
        self.lock_inner().world.clone()
    }

    /// Advances the clock.
    pub fn advance(&self, by: Duration) {
        self.lock_inner().now += by;
    }

    fn file(&self, inode: Inode) -> Arc<dyn File> {
        Arc::new(SimFile { disk: self.clone(), inode })
    }
}

impl Inner {
    /// Counts an operation. Returns the fault planned for it, or fails with the planned error.
    fn enter(&mut self, operation: Operation) -> io::Result<Option<Fault>> {
        let number = self.operations.len();
        self.operations.push(operation);
        let Some(plan) = self.plan.filter(|plan| number >= plan.at && plan.fault.can_hit(operation)) else { return Ok(None) };
        let hits = match (self.hit, plan.lasts) {
            (None, _) if number == plan.at => 1,
            (Some((_, hits)), Lasts::Dead) => hits,
            (Some((first, hits)), Lasts::ForEver) if first == operation => hits,
            (Some((first, hits)), Lasts::Times(times)) if first == operation && hits < times => hits + 1,
            _ => return Ok(None),
        };
        let is_first = self.hit.is_none();
        self.hit = Some((self.hit.map_or(operation, |(first, _)| first), hits));
        match plan.fault {
            Fault::Errno(code) => Err(io::Error::from_raw_os_error(code)),
            Fault::Full if is_first => Ok(Some(Fault::Short(Part::Half))),
            Fault::Full => Err(io::Error::from_raw_os_error(ENOSPC)),
            fault => Ok(Some(fault)),
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
        inner.enter(Operation::Open)?;
        Ok(inner.world.names().get(path).map(|inode| self.file(*inode)))
    }

    fn open_read(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        self.open(path)
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut inner = self.lock_inner();
        inner.enter(Operation::Create)?;
        if inner.world.names().contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        inner.change(Change::Create(path.to_path_buf()));
        Ok(self.file(inner.world.names()[path]))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.lock_inner();
        inner.enter(Operation::Rename)?;
        if !inner.world.names().contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.change(Change::Rename(from.to_path_buf(), to.to_path_buf()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.lock_inner();
        inner.enter(Operation::Remove)?;
        if !inner.world.names().contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.change(Change::Remove(path.to_path_buf()));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.lock_inner();
        inner.enter(Operation::SyncDir)?;
        inner.change(Change::SyncDir(path.parent().unwrap_or(path).to_path_buf()));
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        if !self.lock_inner().locks.insert(path.to_path_buf()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock { disk: self.clone(), path: path.to_path_buf() }))
    }

    fn named(&self, path: &Path) -> io::Result<Option<Named>> {
        let inner = self.lock_inner();
        let Some(&inode) = inner.world.names().get(path) else { return Ok(None) };
        Ok(Some(Named { id: Some(id_of(inode)), len: inner.world.cache(inode).len() as u64 }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let Some(name) = path.file_name() else { return Ok(Vec::new()) };
        let begins = |other: &&PathBuf| {
            let other = (other.parent(), other.file_name().unwrap_or_default().as_encoded_bytes());
            other.0 == path.parent() && other.1.starts_with(name.as_encoded_bytes())
        };
        Ok(self.lock_inner().world.names().keys().filter(begins).cloned().collect())
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

fn id_of(inode: Inode) -> FileId {
    FileId { device: 0, inode: inode as u64 }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    path: PathBuf,
}

impl Lock for SimLock {
    /// A note tells another process who holds the lock. The simulated disk has no other process.
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
    fn id(&self) -> Option<FileId> {
        Some(id_of(self.inode))
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.lock_inner().world.cache(self.inode).len() as u64)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut inner = self.disk.lock_inner();
        let fault = inner.enter(Operation::Read)?;
        let bytes = inner.world.cache(self.inode);
        let from = index(offset).min(bytes.len());
        let mut count = out.len().min(bytes.len() - from);
        if let Some(Fault::Short(part)) = fault {
            count = part.of(count);
        }
        out[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut inner = self.disk.lock_inner();
        let fault = inner.enter(Operation::Write)?;
        let count = match fault {
            Some(Fault::Short(part)) => part.of(bytes.len()),
            _ => bytes.len(),
        };
        inner.change(Change::Write(self.inode, offset, bytes[..count].to_vec()));
        Ok(count)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut inner = self.disk.lock_inner();
        inner.enter(Operation::SetLen)?;
        inner.change(Change::SetLen(self.inode, len));
        Ok(())
    }

    fn reserve(&self, _: u64, len: u64) -> io::Result<()> {
        let mut inner = self.disk.lock_inner();
        inner.enter(Operation::SetLen)?;
        if len > inner.world.cache(self.inode).len() as u64 {
            inner.change(Change::SetLen(self.inode, len));
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.disk.lock_inner();
        let fault = inner.enter(Operation::Sync)?;
        if let Some(Fault::Sync(failure)) = fault {
            inner.change(Change::FailedSync(self.inode, failure));
            return Err(io::Error::from_raw_os_error(EIO));
        }
        inner.change(Change::Sync(self.inode));
        Ok(())
    }

    fn drop_cache(&self) {
        self.disk.lock_inner().change(Change::DropCache(self.inode));
    }
}
