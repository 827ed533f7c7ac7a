//! [`Interleaved`]: a simulated disk that runs other code before each of its operations. In the middle of a checkpoint
//! another writer puts; in the middle of a sync another call goes on.
//!
//! Everything happens on one thread, so a seed repeats a run exactly. Therefore only calls that would not have to wait
//! are possible.

use crate::disk::sim::SimDisk;
use crate::disk::{Disk, File, FileId, Lock, Named};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

type Visit = Box<dyn FnMut() + Send>;

/// A simulated disk with visits. Clones share one disk.
#[derive(Clone)]
pub(super) struct Interleaved {
    disk: SimDisk,
    visit: Arc<Mutex<Option<Visit>>>,
}

impl Interleaved {
    pub(super) fn new(disk: &SimDisk) -> Interleaved {
        Interleaved { disk: disk.clone(), visit: Arc::default() }
    }

    /// Does `work`, and calls `visit` before each of its disk operations. The operations of `visit` itself are not
    /// visited.
    pub(super) fn during<T>(&self, visit: impl FnMut() + Send + 'static, work: impl FnOnce() -> T) -> T {
        self.set(Some(Box::new(visit)));
        let done = work();
        self.set(None);
        done
    }

    fn set(&self, visit: Option<Visit>) -> Option<Visit> {
        std::mem::replace(&mut *self.visit.lock().unwrap_or_else(PoisonError::into_inner), visit)
    }

    fn operation(&self) {
        if let Some(mut visit) = self.set(None) {
            visit();
            self.set(Some(visit));
        }
    }

    fn file(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(InterleavedFile { file, disk: self.clone() })
    }
}

impl fmt::Debug for Interleaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disk.fmt(f)
    }
}

impl Disk for Interleaved {
    fn open(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        self.operation();
        Ok(self.disk.open(path)?.map(|file| self.file(file)))
    }

    fn open_read(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        self.operation();
        Ok(self.disk.open_read(path)?.map(|file| self.file(file)))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.operation();
        self.disk.create_new(path).map(|file| self.file(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operation();
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operation();
        self.disk.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.operation();
        self.disk.sync_dir(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.disk.lock(path)
    }

    fn named(&self, path: &Path) -> io::Result<Option<Named>> {
        self.disk.named(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.disk.list(path)
    }

    fn now(&self) -> Duration {
        self.disk.now()
    }

    fn entropy(&self) -> u64 {
        self.disk.entropy()
    }
}

#[derive(Debug)]
struct InterleavedFile {
    file: Arc<dyn File>,
    disk: Interleaved,
}

impl File for InterleavedFile {
    fn id(&self) -> Option<FileId> {
        self.file.id()
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.disk.operation();
        self.file.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.disk.operation();
        self.file.write_at(offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.operation();
        self.file.set_len(len)
    }

    fn reserve(&self, present_len: u64, len: u64) -> io::Result<()> {
        self.disk.operation();
        self.file.reserve(present_len, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.operation();
        self.file.sync()
    }

    fn try_lock(&self) -> io::Result<()> {
        self.file.try_lock()
    }

    fn unlock(&self) {
        self.file.unlock();
    }

    fn drop_cache(&self) {
        self.disk.operation();
        self.file.drop_cache();
    }
}
