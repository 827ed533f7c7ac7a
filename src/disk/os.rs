//! The real disk. The only file of the library that names `std::fs`.

use super::{Disk, File, Lock, write_all_at};
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
        check_regular(&file)?;
        check_owner(path, &file)?;
        file.try_lock()?;
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

    /// Zeros are written. Space from `fallocate` is there as well, but its first use has to be noted in the file
    /// system's journal, which with groups of 17 KB made a write and its sync take half as long again (ext4).
    fn reserve(&self, present_len: u64, len: u64) -> io::Result<()> {
        let zeros = vec![0; usize::try_from(len.saturating_sub(present_len)).map_err(io::Error::other)?];
        write_all_at(self, present_len, &zeros).inspect_err(|_| drop(self.set_len(present_len)))
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn try_lock(&self) -> io::Result<()> {
        Ok(self.0.try_lock()?)
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
            check_regular(&file)?;
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

fn check_regular(file: &fs::File) -> io::Result<()> {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    fn text<T>(result: io::Result<T>) -> String {
        result.map(drop).unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_a_regular_file_is_refused_by_its_kind_and_never_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let (pipe, socket, below) = (dir.path().join("pipe"), dir.path().join("socket"), dir.path().join("file/below"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let _listener = UnixListener::bind(&socket).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let opened: [fn(&Path) -> io::Result<()>; 3] =
            [|path| OsDisk.open(path).map(drop), |path| OsDisk.open_read(path).map(drop), |path| OsDisk.lock(path).map(drop)];
        for open in opened {
            assert_eq!(text(open(&pipe)), "is not a regular file");
            assert_eq!(text(open(&socket)), "is not a regular file");
            assert_eq!(text(open(dir.path())), "is a directory");
            assert_eq!(open(&below).unwrap_err().kind(), io::ErrorKind::NotADirectory, "what the system says");
        }
    }

    #[test]
    fn what_the_system_refuses_is_said_as_the_system_says_it() {
        let this_program = std::env::current_exe().unwrap();
        assert_eq!(OsDisk.open(&this_program).unwrap_err().kind(), io::ErrorKind::ExecutableFileBusy);
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let pipe = OsFile(fs::OpenOptions::new().read(true).write(true).open(pipe).unwrap());
        assert_eq!(pipe.sync().unwrap_err().kind(), io::ErrorKind::InvalidInput, "a pipe cannot be synced");
    }

    #[test]
    fn a_name_without_a_directory_is_in_the_current_one() {
        assert_eq!(parent(Path::new("kv.wal")), Path::new("."));
        assert_eq!(parent(Path::new("/data/kv.wal")), Path::new("/data"));
        assert_eq!(parent(Path::new("/")), Path::new("."));
        OsDisk.sync_dir(Path::new("kv.wal")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        assert!(OsDisk.sync_dir(&dir.path().join("nowhere/kv.wal")).is_err());
    }

    #[test]
    fn whose_file_it_is_matters_only_where_others_can_put_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "").unwrap();
        let mode = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        for shared in [0o777, 0o720, 0o702] {
            mode(shared);
            OsDisk.open(&path).unwrap(); // our own
        }
        if std::os::unix::fs::chown(&path, Some(65534), None).is_err() {
            return; // only root can give a file away
        }
        for (shared, refused) in [(0o777, true), (0o720, true), (0o702, true), (0o755, false), (0o700, false)] {
            mode(shared);
            assert_eq!(OsDisk.open(&path).is_err(), refused, "{shared:o}");
            assert!(OsDisk.open_read(&path).unwrap().is_some(), "reading alone harms nobody");
        }
    }

    #[test]
    fn time_goes_on_and_no_two_random_numbers_are_the_same() {
        let began = OsDisk.now();
        std::thread::sleep(Duration::from_millis(2));
        let passed = OsDisk.now() - began;
        assert!((Duration::from_millis(2)..Duration::from_secs(3600)).contains(&passed), "{passed:?}");
        let drawn: std::collections::HashSet<u64> = (0..1000).map(|_| OsDisk.entropy()).collect();
        assert_eq!(drawn.len(), 1000);
    }

    #[test]
    fn a_note_replaces_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let lock = OsDisk.lock(&path).unwrap();
        lock.write_note("a long note\n");
        lock.write_note("short\n");
        assert_eq!(fs::read(&path).unwrap(), b"short\n");
    }

    /// A child process that another thread starts has a copy of the descriptor until its `exec`.
    #[test]
    fn a_lock_ends_with_its_value_though_a_copy_of_its_file_is_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let file = options(true).create(true).open(&path).unwrap();
        file.try_lock().unwrap();
        let copy = file.try_clone().unwrap();
        assert_eq!(OsDisk.lock(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(OsLock { file, path: path.clone() });
        OsDisk.lock(&path).unwrap();
        drop(copy);
    }
}
