//! [`Memory`]: files in memory, behind the same traits as a real disk, and nothing more. It cannot crash or fail.
//!
//! It is separate from the simulated disk for speed: recovery gets millions of files from it in a minute. It counts
//! changes, which shows whether a refused opening left the files as they were.

use super::choices::Random;
use crate::disk::{self, Disk, File, FileId, Lock};
use crate::wal::OPENED_BYTES;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

type Hook = Box<dyn FnOnce() + Send>;
type Named = (PathBuf, Arc<MemoryFile>);

/// A disk in memory. Clones share one disk.
#[derive(Clone)]
pub(super) struct Memory {
    files: Arc<Mutex<Vec<Named>>>,
    shared: Arc<Shared>,
}

struct Shared {
    /// How often a file was written, cut, created, renamed or removed.
    changes: AtomicU64,
    random: Mutex<Random>,
    during_sync: Mutex<Option<Hook>>,
}

/// A file of this disk.
pub(super) struct MemoryFile {
    content: Mutex<Content>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    /// Offset and length of each write.
    writes: Vec<(usize, usize)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("files in memory fit in memory")
}

impl Memory {
    /// An empty disk. The random numbers it gives follow from `seed`.
    pub(super) fn new(seed: u64) -> Memory {
        let random = Mutex::new(Random::new(seed));
        let shared = Shared { changes: AtomicU64::new(0), random, during_sync: Mutex::new(None) };
        Memory { files: Arc::default(), shared: Arc::new(shared) }
    }

    /// Puts a file in place, and reuses the buffer of the old one.
    pub(super) fn put(&self, path: &Path, bytes: &[u8]) {
        let file = self.file(path).unwrap_or_else(|| {
            let file = self.new_file();
            lock(&self.files).push((path.to_path_buf(), Arc::clone(&file)));
            file
        });
        let mut content = lock(&file.content);
        content.bytes.clear();
        content.bytes.extend_from_slice(bytes);
        content.writes.clear();
    }

    /// Removes all files except these two.
    pub(super) fn keep_only(&self, paths: [&Path; 2]) {
        lock(&self.files).retain(|(path, _)| paths.iter().any(|kept| same(kept, path)));
    }

    /// How often a call through the traits changed a file.
    pub(super) fn changes(&self) -> u64 {
        self.shared.changes.load(Ordering::Relaxed)
    }

    /// Calls `hook` once, in the middle of the next sync.
    pub(super) fn during_next_sync(&self, hook: impl FnOnce() + Send + 'static) {
        *lock(&self.shared.during_sync) = Some(Box::new(hook));
    }

    pub(super) fn file(&self, path: &Path) -> Option<Arc<MemoryFile>> {
        lock(&self.files).iter().find(|(name, _)| same(name, path)).map(|(_, file)| Arc::clone(file))
    }

    fn new_file(&self) -> Arc<MemoryFile> {
        Arc::new(MemoryFile { content: Mutex::default(), shared: Arc::clone(&self.shared) })
    }

    fn changed(&self) {
        self.shared.changes.fetch_add(1, Ordering::Relaxed);
    }
}

/// Compares the bytes: comparing paths would split them first.
fn same(a: &Path, b: &Path) -> bool {
    a.as_os_str() == b.as_os_str()
}

impl MemoryFile {
    pub(super) fn bytes(&self) -> Vec<u8> {
        lock(&self.content).bytes.clone()
    }

    pub(super) fn holds(&self, bytes: &[u8]) -> bool {
        lock(&self.content).bytes == bytes
    }

    /// Whether the file holds these bytes of a log, followed by the marks of at most two openings.
    pub(super) fn is_cut(&self, bytes: &[u8]) -> bool {
        lock(&self.content).bytes.strip_prefix(bytes).is_some_and(|rest| [0, 1, 2].contains(&(rest.len() / OPENED_BYTES)))
    }

    /// Offset and length of each write since the file was made.
    pub(super) fn writes(&self) -> Vec<(usize, usize)> {
        lock(&self.content).writes.clone()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(lock(&self.files).iter()).finish()
    }
}

impl fmt::Debug for MemoryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} B", lock(&self.content).bytes.len())
    }
}

impl Disk for Memory {
    fn open(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        Ok(self.file(path).map(|file| file as Arc<dyn File>))
    }

    fn open_read(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        self.open(path)
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        if self.file(path).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.changed();
        let file = self.new_file();
        lock(&self.files).push((path.to_path_buf(), Arc::clone(&file)));
        Ok(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let Some(file) = self.file(from) else { return Err(io::ErrorKind::NotFound.into()) };
        self.changed();
        let mut files = lock(&self.files);
        files.retain(|(path, _)| !same(path, from) && !same(path, to));
        files.push((to.to_path_buf(), file));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut files = lock(&self.files);
        let Some(at) = files.iter().position(|(name, _)| same(name, path)) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        files.remove(at);
        self.changed();
        Ok(())
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _path: &Path) -> io::Result<Box<dyn Lock>> {
        Ok(Box::new(NoLock)) // its only user opens one store at a time
    }

    fn named(&self, path: &Path) -> io::Result<Option<disk::Named>> {
        let Some(file) = self.file(path) else { return Ok(None) };
        Ok(Some(disk::Named { id: file.id(), len: file.size()? }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let name = path.as_os_str().as_encoded_bytes();
        let files = lock(&self.files);
        let beside = files.iter().filter(|(other, _)| other.as_os_str().as_encoded_bytes().starts_with(name));
        Ok(beside.map(|(path, _)| path.clone()).collect())
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn entropy(&self) -> u64 {
        let mut random = lock(&self.shared.random);
        let mut half = || random.below(1 << 32) as u64;
        half() << 32 | half()
    }
}

#[derive(Debug)]
struct NoLock;

impl Lock for NoLock {
    fn is_in_place(&self) -> bool {
        true
    }

    fn write_note(&self, _text: &str) {}
}

impl File for MemoryFile {
    /// Its address in memory.
    fn id(&self) -> Option<FileId> {
        Some(FileId { device: 0, inode: std::ptr::from_ref(self) as u64 })
    }

    fn size(&self) -> io::Result<u64> {
        Ok(lock(&self.content).bytes.len() as u64)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let content = lock(&self.content);
        let bytes = content.bytes.get(index(offset)..).unwrap_or_default();
        let count = out.len().min(bytes.len());
        out[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.shared.changes.fetch_add(1, Ordering::Relaxed);
        let mut content = lock(&self.content);
        let (from, to) = (index(offset), index(offset) + bytes.len());
        if content.bytes.len() < to {
            content.bytes.resize(to, 0);
        }
        content.bytes[from..to].copy_from_slice(bytes);
        content.writes.push((from, bytes.len()));
        Ok(bytes.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.shared.changes.fetch_add(1, Ordering::Relaxed);
        lock(&self.content).bytes.resize(index(len), 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let hook = lock(&self.shared.during_sync).take();
        hook.into_iter().for_each(|hook| hook());
        Ok(())
    }

    fn drop_cache(&self) {}
}
