//! [`Stage`]: the disk of one schedule. It wraps a simulated disk and lets another thread run inside each operation.
//! It fails or panics as the scene demands. It keeps the disk's state at one moment for a crash, and records the
//! bytes that a power cut would certainly leave.

use crate::draw::Draw;
use kv_engine::disk::sim::{Fate, Fault, FaultPlan, Image, Lasts, PowerCut, Rest, SimDisk, SyncFailure, World};
use kv_engine::disk::{Disk, File, FileId, Lock, Named};
use shuttle::thread;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// A failure in the middle of a schedule. The numbers count operations since the opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    None,
    /// This sync of a file fails. The bytes that it should save stay in memory.
    SyncFails(u64),
    /// If this operation is a sync, it fails. The bytes that it should save are lost or reverted.
    SyncLoses(u64, bool),
    /// This write fails.
    WriteFails(u64),
    /// Writes find no room, from the first number on and before the second, after a part of the bytes.
    NoRoom(u64, u64),
    /// A thread panics in this operation, before or after its effect.
    Panic(u64, bool),
}

/// The value of an intended panic, which is not reported as a failure.
pub struct Planted;

/// Runs a call in which the thread may panic on purpose.
pub fn quietly<T>(call: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(done) => Some(done),
        Err(payload) if payload.is::<Planted>() => None,
        Err(payload) => resume_unwind(payload),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Write,
    Sync,
    Other,
}

/// Counters and times. The lock is the standard library's: a thread never holds it while another one runs.
#[derive(Default)]
struct Script {
    operations: u64,
    writes: u64,
    syncs: u64,
    crash: Option<(World, u64)>,
    time: u64,
    hit: bool,
}

pub struct Stage {
    sim: SimDisk,
    trouble: Trouble,
    crash_at: u64,
    /// The clock advances by this time at each reading.
    tick: Duration,
    script: Mutex<Script>,
    armed: std::sync::atomic::AtomicBool,
    /// Whether threads also change places inside reads.
    in_reads: std::sync::atomic::AtomicBool,
    /// Threads that wait for the end of a sync.
    ended: shuttle::sync::Condvar,
    ended_lock: shuttle::sync::Mutex<()>,
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stage")
    }
}

impl Stage {
    /// `opening`: the number of operations that the simulated disk counts for the opening of a new store.
    pub fn new(seed: u64, trouble: Trouble, opening: u64, crash_at: u64, tick: Duration) -> Stage {
        let sim = match trouble {
            Trouble::SyncLoses(at, reverts) => {
                let fault = Fault::Sync(if reverts { SyncFailure::RevertsPages } else { SyncFailure::LosesPages });
                let at = usize::try_from(opening + at).expect("small");
                SimDisk::new(&Image::new(), seed).with_faults(FaultPlan { at, fault, lasts: Lasts::Once })
            }
            _ => SimDisk::new(&Image::new(), seed),
        };
        Stage {
            sim,
            trouble,
            crash_at,
            tick,
            script: Mutex::default(),
            armed: false.into(),
            in_reads: false.into(),
            ended: shuttle::sync::Condvar::new(),
            ended_lock: shuttle::sync::Mutex::new(()),
        }
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store is open. From now on threads change places inside operations (in reads only if the scene demands it),
    /// and the planned failure can happen.
    pub fn arm(&self, in_reads: bool) {
        self.in_reads.store(in_reads, std::sync::atomic::Ordering::Relaxed);
        self.armed.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    pub fn sim(&self) -> &SimDisk {
        &self.sim
    }

    /// A time that is later than every earlier one.
    pub fn moment(&self) -> u64 {
        let mut script = self.script();
        script.time += 1;
        script.time
    }

    /// Whether the planned failure has happened.
    pub fn troubled(&self) -> bool {
        self.script().hit
    }

    /// What a power cut would certainly leave now.
    pub fn picture(&self) -> Image {
        self.sim.world().after_power_cut(&PowerCut::nothing())
    }

    /// The disk at the moment of the crash, if the schedule reached it.
    pub fn crash(&self) -> Option<(World, u64)> {
        self.script().crash.clone()
    }

    /// Sleeps until a power cut would leave the wanted state. It checks at the end of each sync.
    pub fn wait_until(&self, wanted: impl Fn(&Image) -> bool) {
        let mut guard = self.ended_lock.lock().expect("never poisoned");
        while !wanted(&self.picture()) {
            guard = self.ended.wait(guard).expect("never poisoned");
        }
    }

    fn during<T>(&self, kind: Kind, act: impl FnOnce() -> io::Result<T>, part: impl FnOnce()) -> io::Result<T> {
        if !self.armed.load(std::sync::atomic::Ordering::Relaxed) {
            return act();
        }
        thread::sleep(Duration::ZERO);
        let (number, errno) = self.count(kind);
        if let Some(code) = errno {
            if code == ENOSPC {
                part();
            }
            return Err(io::Error::from_raw_os_error(code));
        }
        if self.trouble == Trouble::Panic(number, false) {
            self.panic();
        }
        let done = act();
        if done.is_err() {
            self.script().hit = true;
        }
        if self.trouble == Trouble::Panic(number, true) {
            self.panic();
        }
        if kind == Kind::Sync {
            drop(self.ended_lock.lock());
            self.ended.notify_all();
        }
        done
    }

    fn panic(&self) {
        self.script().hit = true;
        std::panic::resume_unwind(Box::new(Planted));
    }

    /// Counts this operation. Returns its number, or the planned error.
    fn count(&self, kind: Kind) -> (u64, Option<i32>) {
        let mut script = self.script();
        let number = script.operations;
        script.operations += 1;
        if number == self.crash_at {
            script.crash = Some((self.sim.world(), script.time));
        }
        let of_kind = match kind {
            Kind::Write => &mut script.writes,
            Kind::Sync => &mut script.syncs,
            Kind::Other => return (number, None),
        };
        let nth = *of_kind;
        *of_kind += 1;
        let errno = match (self.trouble, kind) {
            (Trouble::SyncFails(n), Kind::Sync) if n == nth => Some(EIO),
            (Trouble::WriteFails(n), Kind::Write) if n == nth => Some(EIO),
            (Trouble::NoRoom(from, to), Kind::Write) if (from..to).contains(&nth) => Some(ENOSPC),
            _ => None,
        };
        script.hit |= errno.is_some();
        (number, errno)
    }
}

impl Draw {
    /// A random power cut of this number of units.
    pub fn cut(&mut self, units: usize) -> PowerCut {
        let mut number = || u16::try_from(self.below(1 << 16)).expect("16 bits");
        let mut fate = || match number() % 6 {
            0 | 1 => Fate::Kept,
            2 | 3 => Fate::Lost,
            4 => Fate::Torn(number()),
            _ => Fate::Garbage(number()),
        };
        let fates = (0..units).map(|_| fate()).collect();
        let rests = (0..4).map(|_| Rest { length: number() % 4, hole: number() % 2 }).collect();
        PowerCut { fates, rests }
    }
}

/// The disk of the stage, as the store uses it.
#[derive(Clone, Debug)]
pub struct StageDisk(pub Arc<Stage>);

impl StageDisk {
    fn file(&self, inner: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(StageFile { inner, stage: Arc::clone(&self.0) })
    }

    fn other<T>(&self, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.0.during(Kind::Other, act, || ())
    }
}

impl Disk for StageDisk {
    fn open(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        Ok(self.0.sim.open(path)?.map(|file| self.file(file)))
    }
    fn open_read(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        Ok(self.0.sim.open_read(path)?.map(|file| self.file(file)))
    }
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.other(|| self.0.sim.create_new(path)).map(|file| self.file(file))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.other(|| self.0.sim.rename(from, to))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.other(|| self.0.sim.remove(path))
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.other(|| self.0.sim.sync_dir(path))
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.0.sim.lock(path)
    }
    fn named(&self, path: &Path) -> io::Result<Option<Named>> {
        self.0.sim.named(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.0.sim.list(path)
    }
    fn now(&self) -> Duration {
        if matches!(self.0.trouble, Trouble::Panic(..)) {
            // Reads also happen under the log's lock. There, a write cannot disturb a sync.
            self.other(|| Ok(())).expect("nothing in it fails");
        }
        self.0.sim.advance(self.0.tick);
        self.0.sim.now()
    }
    fn entropy(&self) -> u64 {
        self.0.sim.entropy()
    }
}

#[derive(Debug)]
struct StageFile {
    inner: Arc<dyn File>,
    stage: Arc<Stage>,
}

impl File for StageFile {
    fn id(&self) -> Option<FileId> {
        self.inner.id()
    }
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        if self.stage.in_reads.load(std::sync::atomic::Ordering::Relaxed) {
            thread::sleep(Duration::ZERO);
        }
        self.inner.read_at(offset, out)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let part = || drop(self.inner.write_at(offset, &bytes[..bytes.len() / 2]));
        self.stage.during(Kind::Write, || self.inner.write_at(offset, bytes), part)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.stage.during(Kind::Other, || self.inner.set_len(len), || ())
    }
    fn sync(&self) -> io::Result<()> {
        self.stage.during(Kind::Sync, || self.inner.sync(), || ())
    }
    fn drop_cache(&self) {
        self.inner.drop_cache();
    }
}
