//! The real disk. The only file of the library that names `std::fs`.

use super::{DIRECT_BYTES, Disk, File, FileId, Lock, Named, write_all_at};
use rustix::fs::OFlags;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, Instant};

/// What space is reserved with. It stands ready, because a buffer of up to 1 MiB for each step would be memory that the
/// allocator keeps.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

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
struct OsFile {
    file: fs::File,
    /// The same file, opened for going past the cache when somebody first wants to; `None`: that cannot be.
    direct: OnceLock<Option<fs::File>>,
}

#[derive(Debug)]
struct OsLock {
    file: fs::File,
    path: PathBuf,
    /// Whether taking it made the file.
    is_new: bool,
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

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(parent(path))?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        loop {
            let (file, is_new) = match options(true).create_new(true).open(path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => match options(true).open(path) {
                    // Whoever made it was refused, and has removed it.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                    Err(e) => return Err(link_or(path, e)),
                    Ok(file) => (file, false),
                },
                Err(e) => return Err(link_or(path, e)),
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
        // Each `RandomState` is a SipHash key that the standard library drew from the system.
        RandomState::new().hash_one(Instant::now())
    }
}

impl OsFile {
    fn new(file: fs::File) -> OsFile {
        OsFile { file, direct: OnceLock::new() }
    }

    /// What to go past the cache with, for so many bytes at `offset` and in memory at `bytes`.
    fn direct(&self, offset: u64, bytes: &[u8]) -> Option<&fs::File> {
        let unit = DIRECT_BYTES as u64;
        if !offset.is_multiple_of(unit) || bytes.as_ptr().align_offset(DIRECT_BYTES) != 0 || bytes.len() < DIRECT_BYTES {
            return None;
        }
        self.direct.get_or_init(|| open_direct(&self.file)).as_ref()
    }
}

/// The length of the whole blocks that `count` bytes begin with.
fn whole_blocks(count: usize) -> usize {
    count - count % DIRECT_BYTES
}

/// Some file systems take no such flag, some say so only when they are to read or write.
fn is_refused(done: &io::Result<usize>) -> bool {
    matches!(done, Err(e) if e.kind() == io::ErrorKind::InvalidInput)
}

/// By way of its descriptor: under its name there may be another one by now.
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

    /// Zeros are written. Space from `fallocate` is there as well, but its first use has to be noted in the file
    /// system's journal, which with groups of 17 KB made a write and its sync take half as long again (ext4).
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

/// Asks for nothing but what is needed. Who asks for the times of a file makes the next write to it note the time anew,
/// where the file system has multigrain timestamps (Linux 6.13), and each sync then writes the inode, too.
#[cfg(target_os = "linux")]
fn named(path: &Path) -> io::Result<Named> {
    use rustix::fs::{AtFlags, CWD, StatxFlags};
    let Ok(found) = rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::INO | StatxFlags::SIZE) else {
        return looked_at(path);
    };
    let device = rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor);
    Ok(Named { id: Some(FileId { device, inode: found.stx_ino }), len: found.stx_size })
}

#[cfg(not(target_os = "linux"))]
fn named(path: &Path) -> io::Result<Named> {
    looked_at(path)
}

fn looked_at(path: &Path) -> io::Result<Named> {
    let meta = fs::symlink_metadata(path)?;
    Ok(Named { id: Some(id_of(&meta)), len: meta.len() })
}

fn id_of(meta: &fs::Metadata) -> FileId {
    FileId { device: meta.dev(), inode: meta.ino() }
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

/// Says that the name is a symbolic link where the system only speaks of "too many levels", and whose file it is where the
/// system only says that permission is denied.
fn link_or(path: &Path, error: io::Error) -> io::Error {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_symlink() => refuse("is a symbolic link, which is not followed"),
        Ok(meta) if meta.is_dir() => refuse("is a directory"),
        Ok(meta) if !meta.is_file() => refuse("is not a regular file"),
        Ok(meta) if error.kind() == io::ErrorKind::PermissionDenied && meta.uid() != rustix::process::geteuid().as_raw() => {
            let text = format!("belongs to user {} ({error}); choose other files (--wal, --snapshot)", meta.uid());
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

/// In a directory that others can write to, such as `/tmp`, somebody else may have put the file there.
fn check_owner(path: &Path, file: &fs::File) -> io::Result<()> {
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    let owner = file.metadata()?.uid();
    let me = rustix::process::geteuid().as_raw();
    let shared = fs::metadata(parent(path))?.mode() & WRITABLE_BY_OTHERS != 0;
    if shared && owner != me {
        return Err(refuse(format!(
            "belongs to user {owner}, and the directory is shared; choose other files (--wal, --snapshot)"
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
mod tests {
    use super::super::{Aligned, write_all_direct_at};
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

    /// Whatever the place, the length and the memory, and by turns with what goes through the cache.
    #[test]
    fn what_goes_past_the_cache_is_what_is_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = OsDisk.create_new(&dir.path().join("file")).unwrap();
        let mut expected = vec![0; 40_000];
        let mut memory = Aligned::with_capacity(40_000);
        memory.resize(40_000);
        for (n, (at, from, count)) in [
            (0, 0, 30_000),
            (4096, 4096, 8192),
            (8192, 0, 4096),
            (100, 0, 5000),
            (8192, 1, 9000),
            (4096, 0, 100),
            (20_480, 0, 19_520),
        ]
        .into_iter()
        .enumerate()
        {
            memory[from..from + count].fill(n as u8 + 1);
            expected[at..at + count].fill(n as u8 + 1);
            write_all_direct_at(&*file, at as u64, &memory[from..from + count]).unwrap();
            write_all_at(&*file, 7, &[n as u8]).unwrap();
            expected[7] = n as u8;
        }
        assert!(std::fs::read(dir.path().join("file")).unwrap() == expected);
        for (at, from, count) in [(0, 0, 40_000), (4096, 4096, 4096), (4096, 1, 4096), (1, 0, 10_000), (36_864, 0, 3000)] {
            memory.resize(0);
            memory.resize(40_000);
            let mut done = 0;
            while done < count {
                done += file.read_direct_at((at + done) as u64, &mut memory[from + done..from + count]).unwrap();
            }
            assert!(memory[from..from + count] == expected[at..at + count], "{at} {from} {count}");
        }
        assert_eq!(file.read_direct_at(40_960, &mut memory[..4096]).unwrap(), 0, "behind the end");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn only_whole_blocks_go_past_the_cache() {
        let dir = tempfile::tempdir().unwrap();
        let file = OsFile::new(options(true).create_new(true).open(dir.path().join("file")).unwrap());
        let mut memory = Aligned::with_capacity(3 * DIRECT_BYTES);
        memory.resize(3 * DIRECT_BYTES);
        assert!(file.direct(1, &memory).is_none() && file.direct(0, &memory[1..]).is_none());
        assert!(file.direct(0, &memory[..DIRECT_BYTES - 1]).is_none() && file.direct.get().is_none());
        file.direct(DIRECT_BYTES as u64, &memory[..DIRECT_BYTES]);
        assert!(file.direct.get().is_some(), "asked for once");
        assert_eq!([0, 4095, 4096, 8191, 8192].map(whole_blocks), [0, 0, 4096, 4096, 8192]);
        let refused = |kind: io::ErrorKind| is_refused(&Err(kind.into()));
        assert!(refused(io::ErrorKind::InvalidInput) && !refused(io::ErrorKind::StorageFull) && !is_refused(&Ok(0)));
    }

    /// A file that reads and one that is written as files do that were opened for going past the cache, and refuse it.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_refused_past_the_cache_goes_through_it() {
        let dir = tempfile::tempdir().unwrap();
        let refusing = |name: &str, direct: io::Result<fs::File>| {
            let file = options(true).create_new(true).open(dir.path().join(name)).unwrap();
            OsFile { file, direct: OnceLock::from(Some(direct.unwrap())) }
        };
        let mut memory = Aligned::with_capacity(5000);
        memory.resize(5000);
        let file = refusing("read", fs::File::open("/proc/self/ns/mnt"));
        assert!(is_refused(&file.direct(0, &memory).unwrap().read_at(&mut memory, 0)));
        file.write_at(0, &[7; 6000]).unwrap();
        assert_eq!(file.read_direct_at(0, &mut memory).unwrap(), 5000);
        assert!(memory.iter().all(|&byte| byte == 7));
        let file = refusing("written", fs::File::options().write(true).open("/proc/self/coredump_filter"));
        assert!(is_refused(&file.direct(0, &memory).unwrap().write_at(&memory, 0)));
        assert_eq!(file.write_direct_at(0, &memory).unwrap(), 5000);
        assert!(fs::read(dir.path().join("written")).unwrap() == memory[..]);
    }

    #[test]
    fn what_the_system_refuses_is_said_as_the_system_says_it() {
        let this_program = std::env::current_exe().unwrap();
        assert_eq!(OsDisk.open(&this_program).unwrap_err().kind(), io::ErrorKind::ExecutableFileBusy);
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let pipe = OsFile::new(fs::OpenOptions::new().read(true).write(true).open(pipe).unwrap());
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

    #[test]
    fn space_is_reserved_by_zeros_to_the_length_that_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = OsFile::new(options(true).create_new(true).open(&path).unwrap());
        for len in [200_000, 3, 10, 3 + 2 * ZEROS.len()] {
            file.set_len(0).unwrap();
            file.write_at(0, b"abc").unwrap();
            file.reserve(3, len as u64).unwrap();
            let mut expected = b"abc".to_vec();
            expected.resize(len, 0);
            assert!(fs::read(&path).unwrap() == expected, "{len}");
            assert!(fs::metadata(&path).unwrap().blocks() * 512 >= len as u64, "{len}: a hole has no space");
        }
        file.set_len(0).unwrap();
        file.reserve(0, 10).unwrap();
        assert_eq!(fs::read(&path).unwrap(), [0; 10]);
        let before = file.size().unwrap();
        assert!(OsFile::new(fs::File::open(&path).unwrap()).reserve(before, before + 1).is_err(), "it is open for reading");
        assert_eq!(file.size().unwrap(), before);
    }

    #[test]
    fn one_at_a_time_has_the_lock_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let open = || OsFile::new(options(true).create(true).open(&path).unwrap());
        let (one, other) = (open(), open());
        one.try_lock().unwrap();
        assert_eq!(other.try_lock().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        one.unlock();
        other.try_lock().unwrap();
    }

    #[test]
    fn a_lock_knows_whether_its_file_is_the_one_under_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("lock"), dir.path().join("other"));
        let lock = OsDisk.lock(&path).unwrap();
        assert!(lock.is_in_place());
        fs::write(&other, "").unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(!lock.is_in_place(), "another one");
        fs::remove_file(&path).unwrap();
        assert!(!lock.is_in_place(), "none");
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
        drop(OsLock { file, path: path.clone(), is_new: false });
        OsDisk.lock(&path).unwrap();
        drop(copy);
    }
}
