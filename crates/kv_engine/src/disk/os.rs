//! [`OsDisk`]: the real disk. This is the only file of the library that uses `std::fs`.

use super::{DIRECT_BYTES, Disk, File, FileId, Lock, Named, write_all_at};
use rustix::fs::OFlags;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, Instant};

/// The zeros that are written to reserve space. They are static, because the allocator would keep the memory of a
/// buffer.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The files of the operating system. Syncs are `fdatasync`, locks are `flock`. A symbolic link as the last part of a
/// path is never followed. Files are created with mode 0600. The example of [`Disk`] shows how to wrap it.
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
struct OsFile {
    file: fs::File,
    /// The same file, opened for direct I/O when that is first wanted. `None`: the system refused.
    direct: OnceLock<Option<fs::File>>,
}

#[derive(Debug)]
struct OsLock {
    file: fs::File,
    path: PathBuf,
    /// Whether taking the lock created the file.
    is_new: bool,
}

impl Drop for OsLock {
    /// Unlocks. Closing the file is not enough: a child process that another thread is starting has a copy of the
    /// descriptor until its `exec`, and with the copy the lock.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

impl Disk for OsDisk {
    fn open(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        let Some(file) = open_existing(path, true)? else { return Ok(None) };
        check_owner(path, &file)?;
        Ok(Some(Arc::new(OsFile::new(file))))
    }

    fn open_read(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        Ok(open_existing(path, false)?.map(|file| Arc::new(OsFile::new(file)) as Arc<dyn File>))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = options(true).create_new(true).open(path)?;
        Ok(Arc::new(OsFile::new(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<bool> {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(parent(path))?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        loop {
            let (file, is_new) = match options(true).create_new(true).open(path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => match options(true).open(path) {
                    // The process that created it could not take the lock, and has removed it.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                    Err(e) => return Err(explain(path, e)),
                    Ok(file) => (file, false),
                },
                Err(e) => return Err(explain(path, e)),
                Ok(file) => (file, true),
            };
            check_regular(&file)?;
            check_owner(path, &file)?;
            file.try_lock()?;
            let lock = OsLock { file, path: path.to_path_buf(), is_new };
            if lock.is_in_place() {
                return Ok(Box::new(lock));
            }
        }
    }

    fn named(&self, path: &Path) -> io::Result<Option<Named>> {
        match named(path) {
            Ok(named) => Ok(Some(named)),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let Some(name) = path.file_name() else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for entry in fs::read_dir(parent(path))? {
            let other = entry?.file_name();
            if other.as_encoded_bytes().starts_with(name.as_encoded_bytes()) {
                found.push(path.with_file_name(other));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn now(&self) -> Duration {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        START.elapsed()
    }

    fn entropy(&self) -> u64 {
        // Each `RandomState` has a SipHash key that the standard library gets from the system's randomness.
        RandomState::new().hash_one(Instant::now())
    }
}

/// A new file without a name, in the system's directory for temporary files. It is gone when it is closed, also if the
/// process is killed.
pub(crate) fn unnamed_file() -> io::Result<Arc<dyn File>> {
    let dir = std::env::temp_dir();
    let file = open_unnamed(&dir).or_else(|_| {
        // Not every file system can do this. Then the file has a name, for a moment.
        let path = dir.join(format!("kv-engine-{:016x}", OsDisk.entropy()));
        let file = options(true).create_new(true).open(&path)?;
        fs::remove_file(&path).map(|()| file)
    })?;
    Ok(Arc::new(OsFile::new(file)))
}

#[cfg(target_os = "linux")]
fn open_unnamed(dir: &Path) -> io::Result<fs::File> {
    let flags = i32::try_from(OFlags::TMPFILE.bits()).expect("flags fit the system's int");
    fs::OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(flags).open(dir)
}

#[cfg(not(target_os = "linux"))]
fn open_unnamed(_: &Path) -> io::Result<fs::File> {
    Err(io::ErrorKind::Unsupported.into())
}

impl OsFile {
    fn new(file: fs::File) -> OsFile {
        OsFile { file, direct: OnceLock::new() }
    }

    /// The file for direct I/O of these bytes at `offset`. `None`: they are not aligned, or the system refused.
    fn direct(&self, offset: u64, bytes: &[u8]) -> Option<&fs::File> {
        let unit = DIRECT_BYTES as u64;
        if !offset.is_multiple_of(unit) || bytes.as_ptr().align_offset(DIRECT_BYTES) != 0 || bytes.len() < DIRECT_BYTES {
            return None;
        }
        self.direct.get_or_init(|| open_direct(&self.file)).as_ref()
    }
}

/// `count` rounded down to whole blocks.
fn whole_blocks(count: usize) -> usize {
    count - count % DIRECT_BYTES
}

/// Whether the file system refuses direct I/O. Some refuse the flag at opening, some only at the first read or write.
fn is_refused(done: &io::Result<usize>) -> bool {
    matches!(done, Err(e) if e.kind() == io::ErrorKind::InvalidInput)
}

/// Opens the same file for direct I/O, through its descriptor, because its name may show another file by now.
#[cfg(target_os = "linux")]
fn open_direct(file: &fs::File) -> Option<fs::File> {
    use std::os::fd::AsRawFd;
    let flags = (OFlags::DIRECT | OFlags::CLOEXEC).bits().cast_signed();
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).ok()
}

#[cfg(not(target_os = "linux"))]
fn open_direct(_: &fs::File) -> Option<fs::File> {
    None
}

impl File for OsFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn id(&self) -> Option<FileId> {
        self.file.metadata().ok().map(|meta| id_of(&meta))
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(out, offset)
    }

    fn read_direct_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        if let Some(direct) = self.direct(offset, out) {
            let whole = whole_blocks(out.len());
            let done = direct.read_at(&mut out[..whole], offset);
            if !is_refused(&done) {
                return done;
            }
        }
        self.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn write_direct_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        if let Some(direct) = self.direct(offset, bytes) {
            let done = direct.write_at(&bytes[..whole_blocks(bytes.len())], offset);
            if !is_refused(&done) {
                return done;
            }
        }
        self.write_at(offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    /// Writes zeros. `fallocate` would reserve the space too, but the first use of that space must be noted in the
    /// journal of the file system. With groups of 17 KB, a write and its sync then took 50 % longer (ext4).
    fn reserve(&self, present_len: u64, len: u64) -> io::Result<()> {
        let mut at = present_len;
        while at < len {
            let zeros = usize::try_from(len - at).map_or(&ZEROS[..], |count| &ZEROS[..count.min(ZEROS.len())]);
            write_all_at(self, at, zeros).inspect_err(|_| drop(self.set_len(present_len)))?;
            at += zeros.len() as u64;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn try_lock(&self) -> io::Result<()> {
        Ok(self.file.try_lock()?)
    }

    fn unlock(&self) {
        let _ = self.file.unlock();
    }

    fn drop_cache(&self) {
        #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
        let _ = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
    }
}

impl Lock for OsLock {
    fn write_note(&self, text: &str) {
        let written = self.file.write_at(text.as_bytes(), 0);
        let _ = written.and_then(|count| self.file.set_len(count as u64));
    }

    fn is_in_place(&self) -> bool {
        let (held, named) = (self.file.metadata(), fs::symlink_metadata(&self.path));
        matches!((held, named), (Ok(held), Ok(named)) if id_of(&held) == id_of(&named))
    }

    fn undo(&self) {
        if self.is_new && self.is_in_place() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Requests the inode number and the size only. On a file system with multigrain timestamps (Linux 6.13), a request for
/// the times of a file makes the next write note a new time, and then each sync writes the inode too.
#[cfg(target_os = "linux")]
fn named(path: &Path) -> io::Result<Named> {
    use rustix::fs::{AtFlags, CWD, StatxFlags};
    let Ok(found) = rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::INO | StatxFlags::SIZE) else {
        return named_by_metadata(path);
    };
    let device = rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor);
    Ok(Named { id: Some(FileId { device, inode: found.stx_ino }), len: found.stx_size })
}

#[cfg(not(target_os = "linux"))]
fn named(path: &Path) -> io::Result<Named> {
    named_by_metadata(path)
}

fn named_by_metadata(path: &Path) -> io::Result<Named> {
    let meta = fs::symlink_metadata(path)?;
    Ok(Named { id: Some(id_of(&meta)), len: meta.len() })
}

fn id_of(meta: &fs::Metadata) -> FileId {
    FileId { device: meta.dev(), inode: meta.ino() }
}

/// `NONBLOCK`, because otherwise opening a pipe would wait. For a regular file it means nothing.
fn options(write: bool) -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    options.read(true).write(write).mode(0o600).custom_flags(i32::try_from(flags).expect("flags fit the system's int"));
    options
}

fn open_existing(path: &Path, write: bool) -> io::Result<Option<fs::File>> {
    match options(write).open(path) {
        Ok(file) => {
            check_regular(&file)?;
            Ok(Some(file))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(explain(path, e)),
    }
}

/// A clearer error: that the name is a symbolic link, where the system reports "too many levels"; and who owns the
/// file, where the system reports that permission is denied.
fn explain(path: &Path, error: io::Error) -> io::Error {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_symlink() => refuse("is a symbolic link, which the store does not follow"),
        Ok(meta) if meta.is_dir() => refuse("is a directory"),
        Ok(meta) if !meta.is_file() => refuse("is not a regular file"),
        Ok(meta) if error.kind() == io::ErrorKind::PermissionDenied && meta.uid() != rustix::process::geteuid().as_raw() => {
            let text = format!("belongs to user {} ({error}); choose a store of your own (--dir, or --wal)", meta.uid());
            io::Error::new(error.kind(), text)
        }
        _ => error,
    }
}

fn check_regular(file: &fs::File) -> io::Result<()> {
    let meta = file.metadata()?;
    match (meta.is_file(), meta.is_dir()) {
        (true, _) => Ok(()),
        (_, true) => Err(refuse("is a directory")),
        _ => Err(refuse("is not a regular file")),
    }
}

/// In a directory that others can write to, like `/tmp`, another user may have put the file there.
fn check_owner(path: &Path, file: &fs::File) -> io::Result<()> {
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    let owner = file.metadata()?.uid();
    let me = rustix::process::geteuid().as_raw();
    let shared = fs::metadata(parent(path))?.mode() & WRITABLE_BY_OTHERS != 0;
    if shared && owner != me {
        return Err(refuse(format!(
            "belongs to user {owner}, in a directory that other users can write to; choose a store of your own (--dir, or --wal)"
        )));
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
