//! Shared parts of the library's tests: a store in a directory of its own, and a disk that fails on request.
#![allow(dead_code, unused_imports, clippy::unwrap_used, missing_docs, unreachable_pub)]

mod gate;
mod random;
mod visited;
mod wrapped;

pub use gate::{Gate, Sync};
pub use random::Random;
pub use visited::Visited;
pub(crate) use wrapped::as_os_disk;
pub use wrapped::{Overrides, Wrapped};

use kv_engine::disk::{Disk, File, FileId, OsDisk};
use kv_engine::{Engine, Options};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// The paths of a store in a directory of its own.
pub struct Place {
    pub dir: TempDir,
    pub wal: PathBuf,
    pub snapshot: PathBuf,
}

impl Place {
    pub fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let (wal, snapshot) = (dir.path().join("kv.wal"), dir.path().join("kv.snapshot"));
        Place { dir, wal, snapshot }
    }

    /// Options without the background flush, so that the test alone decides when a sync happens.
    pub fn options(&self) -> Options {
        Options::new(&self.wal, &self.snapshot).flush_interval(Duration::ZERO)
    }

    /// A place in memory, if the machine has a file system there. For tests in which a process dies: syncs do not
    /// matter there.
    pub fn in_memory() -> Place {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap());
        let (wal, snapshot) = (dir.path().join("kv.wal"), dir.path().join("kv.snapshot"));
        Place { dir, wal, snapshot }
    }

    pub fn open(&self) -> Engine {
        self.options().open().unwrap()
    }

    /// Whether a scratch file exists.
    pub fn has_scratch(&self) -> bool {
        let mut names = std::fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.any(|name| name.to_str().unwrap().contains(".tmp"))
    }

    pub fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.wal.clone().into_os_string();
        name.push(suffix);
        name.into()
    }
}

/// The whole content of a store.
pub fn contents(engine: &Engine) -> BTreeMap<Vec<u8>, Vec<u8>> {
    engine.scan("").map(|entry| entry.unwrap()).map(|(key, value)| (key, value.to_vec())).collect()
}

/// Leaves the store as SIGKILL would: nothing is flushed, but the lock is released.
pub fn kill(engine: Engine, disk: &FaultyDisk) {
    disk.kill();
    drop(engine);
}

/// A call that a plan can make fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Size,
    Read,
    Write,
    SetLen,
    Sync,
    Create,
    Rename,
    SyncDir,
    Remove,
    /// The lock of the file itself.
    Lock,
}

/// The first `after` calls of this kind on files whose name ends in `suffix` succeed. The next `times` calls fail with
/// `errno`. A failing write first writes `short` bytes.
#[derive(Clone, Debug)]
pub struct Plan {
    pub call: Call,
    pub suffix: &'static str,
    pub after: usize,
    pub times: usize,
    pub errno: i32,
    pub short: usize,
}

impl Plan {
    pub fn fail(call: Call, suffix: &'static str, errno: i32) -> Plan {
        Plan { call, suffix, after: 0, times: usize::MAX, errno, short: 0 }
    }

    pub fn after(self, after: usize) -> Plan {
        Plan { after, ..self }
    }

    pub fn times(self, times: usize) -> Plan {
        Plan { times, ..self }
    }

    pub fn short(self, short: usize) -> Plan {
        Plan { short, ..self }
    }
}

pub const ENOSPC: i32 = 28;
pub const EIO: i32 = 5;
pub const EDQUOT: i32 = 122;
/// Instead of returning an error, the call panics.
pub const PANIC: i32 = -1;

#[derive(Debug, Default)]
struct Faults {
    plans: Vec<Plan>,
    killed: bool,
    /// Writes and syncs of the log since the last [`FaultyDisk::take_log_calls`], with the bytes of each write.
    log_calls: Vec<(Call, u64)>,
    /// All calls that change something, with the name of the file.
    changes: Vec<(Call, String)>,
    /// The process dies before the change with this number.
    die_at: Option<usize>,
    /// Bytes read so far, by file.
    read: BTreeMap<PathBuf, u64>,
    /// If set, the random numbers are the multiples of this number.
    entropy: Option<(u64, u64)>,
}

/// The file name, without the random part of a scratch file.
fn plain(path: &Path) -> String {
    let name = path.to_str().unwrap();
    name.split_once(".tmp-").map_or(name.to_string(), |(name, _)| format!("{name}.tmp"))
}

/// The real disk, with faults.
#[derive(Clone, Debug, Default)]
pub struct FaultyDisk {
    faults: Arc<Mutex<Faults>>,
}

impl FaultyDisk {
    /// A disk with known random numbers, so that the bytes of its files are known too.
    pub fn with_known_entropy(step: u64) -> FaultyDisk {
        let disk = FaultyDisk::default();
        disk.faults.lock().unwrap().entropy = Some((step, 0));
        disk
    }

    pub fn plan(&self, plan: Plan) {
        self.faults.lock().unwrap().plans.push(plan);
    }

    /// Whether a plan has failed as often as it was to.
    pub fn is_spent(&self) -> bool {
        self.faults.lock().unwrap().plans.iter().any(|plan| plan.times == 0)
    }

    pub fn heal(&self) {
        self.faults.lock().unwrap().plans.clear();
    }

    pub fn kill(&self) {
        self.faults.lock().unwrap().killed = true;
    }

    /// Nothing happens from the change with this number on, as after SIGKILL.
    pub fn die_at(&self, change: usize) {
        self.faults.lock().unwrap().die_at = Some(change);
    }

    pub fn is_dead(&self) -> bool {
        self.faults.lock().unwrap().killed
    }

    /// All changes so far, in order: the call and the name of the file.
    pub fn changes(&self) -> Vec<(Call, String)> {
        self.faults.lock().unwrap().changes.clone()
    }

    pub fn revive(&self) {
        self.faults.lock().unwrap().killed = false;
    }

    /// The writes and syncs that reached the log since the last call, with the bytes of each write.
    pub fn take_log_calls(&self) -> Vec<(Call, u64)> {
        std::mem::take(&mut self.faults.lock().unwrap().log_calls)
    }

    /// Bytes read so far from the file whose name ends in this suffix.
    pub fn bytes_read(&self, suffix: &str) -> u64 {
        let faults = self.faults.lock().unwrap();
        faults.read.iter().filter(|(path, _)| path.to_str().unwrap().ends_with(suffix)).map(|(_, bytes)| bytes).sum()
    }

    /// The number of bytes that a write does first and the error, if the plan makes this call fail.
    fn fault(&self, call: Call, path: &Path, bytes: u64) -> Option<(usize, io::Error)> {
        let name = plain(path);
        let mut faults = self.faults.lock().unwrap();
        let changes = !matches!(call, Call::Size | Call::Read | Call::Lock);
        if changes && !faults.killed {
            faults.killed = faults.die_at == Some(faults.changes.len());
            faults.changes.push((call, name.rsplit('/').next().unwrap().to_string()));
        }
        if faults.killed && changes {
            return Some((0, io::Error::other("the process is dead")));
        }
        if name.ends_with(".wal") && matches!(call, Call::Write | Call::Sync) {
            faults.log_calls.push((call, bytes));
        }
        let plan = faults.plans.iter_mut().find(|plan| plan.call == call && name.ends_with(plan.suffix) && plan.times > 0)?;
        if plan.after > 0 {
            plan.after -= 1;
            return None;
        }
        plan.times -= 1;
        let plan = plan.clone();
        drop(faults);
        assert!(plan.errno != PANIC, "planted");
        Some((plan.short, io::Error::from_raw_os_error(plan.errno)))
    }

    fn wrap(&self, path: &Path, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(FaultyFile { disk: self.clone(), path: path.into(), file })
    }

    fn check(&self, call: Call, path: &Path) -> io::Result<()> {
        self.fault(call, path, 0).map_or(Ok(()), |(_, error)| Err(error))
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    path: PathBuf,
    file: Arc<dyn File>,
}

impl Disk for FaultyDisk {
    as_os_disk!(lock named list now);

    fn open(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        Ok(OsDisk.open(path)?.map(|file| self.wrap(path, file)))
    }
    fn open_read(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        Ok(OsDisk.open_read(path)?.map(|file| self.wrap(path, file)))
    }
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.check(Call::Create, path)?;
        let named_later = path.to_str().unwrap().split(".tmp-").next().unwrap();
        if named_later.len() < path.to_str().unwrap().len()
            && let Some((_, calls)) = &mut self.faults.lock().unwrap().entropy
        {
            *calls -= 1; // the number was for the name of a scratch file, which no file contains
        }
        Ok(self.wrap(Path::new(named_later), OsDisk.create_new(path)?))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(Call::Rename, to)?;
        OsDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.check(Call::Remove, path)?;
        OsDisk.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.check(Call::SyncDir, path)?;
        OsDisk.sync_dir(path)
    }
    fn entropy(&self) -> u64 {
        match &mut self.faults.lock().unwrap().entropy {
            None => OsDisk.entropy(),
            Some((step, calls)) => {
                *calls += 1;
                step.wrapping_mul(*calls)
            }
        }
    }
}

impl File for FaultyFile {
    fn id(&self) -> Option<FileId> {
        self.file.id()
    }
    fn size(&self) -> io::Result<u64> {
        self.disk.check(Call::Size, &self.path)?;
        self.file.size()
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.disk.check(Call::Read, &self.path)?;
        let got = self.file.read_at(offset, out)?;
        *self.disk.faults.lock().unwrap().read.entry(self.path.clone()).or_default() += got as u64;
        Ok(got)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        match self.disk.fault(Call::Write, &self.path, bytes.len() as u64) {
            None => self.file.write_at(offset, bytes),
            Some((0, error)) => Err(error),
            Some((short, _)) => {
                // Like a full disk: a part is written, and the next call returns the reason.
                self.disk.faults.lock().unwrap().plans.iter_mut().for_each(|plan| plan.short = 0);
                self.file.write_at(offset, &bytes[..short.min(bytes.len())])
            }
        }
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.check(Call::SetLen, &self.path)?;
        self.file.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.disk.check(Call::Sync, &self.path)?;
        self.file.sync()
    }
    /// Not needed: the process under test still has the file open when it is killed.
    fn try_lock(&self) -> io::Result<()> {
        self.disk.check(Call::Lock, &self.path)
    }
    fn drop_cache(&self) {
        self.file.drop_cache();
    }
}
