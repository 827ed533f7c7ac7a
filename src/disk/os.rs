//! The real disk. The only file of the library that names `std::fs`.

use super::{Disk, File, Lock};
use rustix::fs::OFlags;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// Files of the operating system: `fdatasync`, `flock`, paths whose last part is never followed through
/// a symbolic link, files created with mode 0600. How to wrap it: the example of [`Disk`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use kv_engine::disk::{Disk, OsDisk};
///
/// assert!(OsDisk.open(&dir.path().join("nothing"))?.is_none());
/// let refused = OsDisk.open(dir.path()).expect_err("a directory");
/// assert_eq!(refused.to_string(), "is a directory");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct OsDisk;

#[derive(Debug)]
struct OsFile(fs::File);

#[derive(Debug)]
struct OsLock {
    file: fs::File,
    path: PathBuf,
}

impl Drop for OsLock {
    /// Closing the file would not do: a child process that another thread is about to start has a
    /// copy of it until its `exec`, and with the copy the lock.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

impl Disk for OsDisk {
    fn open(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        let Some(file) = open_existing(path, true)? else { return Ok(None) };
        check_owner(path, &file)?;
        Ok(Some(Arc::new(OsFile(file))))
    }

    fn open_read(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        Ok(open_existing(path, false)?.map(|file| Arc::new(OsFile(file)) as Arc<dyn File>))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = options(true).create_new(true).open(path)?;
        Ok(Arc::new(OsFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(parent(path))?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file = match options(true).create(true).open(path) {
            Err(e) => return Err(link_or(path, e)),
            Ok(file) => file,
        };
        check_regular(path, &file)?;
        check_owner(path, &file)?;
        try_lock(&file)?;
        Ok(Box::new(OsLock { file, path: path.to_path_buf() }))
    }

    fn now(&self) -> Duration {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        START.elapsed()
    }

    fn entropy(&self) -> u64 {
        // Each `RandomState` is a SipHash key that the standard library drew from the system.
        RandomState::new().hash_one(Instant::now())
    }
}

impl File for OsFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(out, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    fn reserve(&self, len: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, len)?)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn try_lock(&self) -> io::Result<()> {
        try_lock(&self.0)
    }

    fn unlock(&self) {
        let _ = self.0.unlock();
    }

    fn drop_cache(&self) {
        #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
        let _ = rustix::fs::fadvise(&self.0, 0, None, rustix::fs::Advice::DontNeed);
    }
}

impl Lock for OsLock {
    fn write_note(&self, text: &str) {
        let written = self.file.write_at(text.as_bytes(), 0);
        let _ = written.and_then(|count| self.file.set_len(count as u64));
    }

    fn is_in_place(&self) -> bool {
        let (held, named) = (self.file.metadata(), fs::symlink_metadata(&self.path));
        matches!((held, named), (Ok(held), Ok(named)) if (held.dev(), held.ino()) == (named.dev(), named.ino()))
    }
}

fn try_lock(file: &fs::File) -> io::Result<()> {
    file.try_lock().map_err(|error| match error {
        fs::TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
        fs::TryLockError::Error(error) => error,
    })
}

/// `NONBLOCK` so that a pipe at the path cannot make the open hang; it means nothing for a file.
fn options(write: bool) -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    options.read(true).write(write).mode(0o600).custom_flags(i32::try_from(flags).expect("flags fit the system's int"));
    options
}

fn open_existing(path: &Path, write: bool) -> io::Result<Option<fs::File>> {
    match options(write).open(path) {
        Ok(file) => {
            check_regular(path, &file)?;
            Ok(Some(file))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(link_or(path, e)),
    }
}

/// Says that the name is a symbolic link where the system only speaks of "too many levels".
fn link_or(path: &Path, error: io::Error) -> io::Error {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_symlink() => refuse("is a symbolic link, which is not followed"),
        Ok(meta) if meta.is_dir() => refuse("is a directory"),
        Ok(meta) if !meta.is_file() => refuse("is not a regular file"),
        _ => error,
    }
}

fn check_regular(_path: &Path, file: &fs::File) -> io::Result<()> {
    let meta = file.metadata()?;
    match (meta.is_file(), meta.is_dir()) {
        (true, _) => Ok(()),
        (_, true) => Err(refuse("is a directory")),
        _ => Err(refuse("is not a regular file")),
    }
}

/// In a directory that others can write to, such as `/tmp`, somebody else may have put the file there.
fn check_owner(path: &Path, file: &fs::File) -> io::Result<()> {
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    let owner = file.metadata()?.uid();
    let me = rustix::process::geteuid().as_raw();
    let shared = fs::metadata(parent(path))?.mode() & WRITABLE_BY_OTHERS != 0;
    if shared && owner != me {
        return Err(refuse(format!("belongs to user {owner}, and the directory is shared")));
    }
    Ok(())
}

fn refuse(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text.into())
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}
