//! Files that the shell makes for its user or for itself: exports, the pages of BENCH, scratch files.
//!
//! No other file is ever lost to one of them:
//!
//! - A file is made under a scratch name, and only where there was none (`O_EXCL`). The name ends in 8 random
//!   hexadecimal digits and 8 that check them and the name, and the file is locked while it is in use. So what a killed
//!   process left over is known: the check is right, it belongs to this user, and nobody has it locked. Only that is
//!   removed by the next command that makes such a file; all others remove their own when they end.
//! - A [`Target`] is written under a scratch name in its directory, synced, and only then renamed. However it ends, the
//!   name stands for a whole file, the old one or the new one.
//! - No target has a name of the [`Store`]: that of the log, the snapshot, or a file that the store makes beside them.
//!   What is there is compared by device and inode, what is not there by its directory and its last part. So another
//!   spelling, a link or another way to the directory makes no difference.
//! - What is there is replaced only when it is of the same kind, an export by an export, and nobody has it locked.

use kv_engine::disk::{Disk, OsDisk};
use rustix::fs::OFlags;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

const DIGITS: usize = 16;
const STEM_BYTES: usize = 200;
/// Two runs that draw the same 32 bits are rare, ten in a row that do are a broken source.
const DRAWS: usize = 10;
/// Behind the name of what is being written.
const BEING_WRITTEN: &str = ".tmp-";

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Which file it is, whatever its name.
pub(crate) fn id(about: &Metadata) -> (u64, u64) {
    (about.dev(), about.ino())
}

/// Whether `path` itself, no link, is what `file` is.
fn is_still(path: &Path, file: &File) -> bool {
    matches!((path.symlink_metadata(), file.metadata()), (Ok(named), Ok(open)) if id(&named) == id(&open))
}

fn check(name: &OsStr, mark: &str, random: u32) -> u32 {
    let mut check = crc32fast::Hasher::new();
    for bytes in [b"a scratch file of kv_cli: ", name.as_encoded_bytes(), mark.as_bytes(), &random.to_le_bytes()] {
        check.update(bytes);
    }
    check.finalize()
}

/// What the scratch names of `path` begin with: a long name leaves no room for more.
fn stem(path: &Path) -> &OsStr {
    let name = path.file_name().unwrap_or_default().as_bytes();
    OsStr::from_bytes(&name[..name.len().min(STEM_BYTES)])
}

fn draw(path: &Path, mark: &str) -> PathBuf {
    let random = (OsDisk.entropy() >> 32) as u32;
    let check = check(path.file_name().unwrap_or_default(), mark, random);
    with_suffix(&path.with_file_name(stem(path)), &format!("{mark}{random:08x}{check:08x}"))
}

/// Whether `candidate` is the last part of a scratch name of `path`.
fn is_scratch(path: &Path, mark: &str, candidate: &OsStr) -> bool {
    let name = path.file_name().unwrap_or_default();
    let behind = candidate.as_bytes().strip_prefix(stem(path).as_bytes());
    let Some(digits) = behind.and_then(|rest| rest.strip_prefix(mark.as_bytes())) else { return false };
    let plain = digits.len() == DIGITS && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    let number = std::str::from_utf8(digits).ok().filter(|_| plain).and_then(|text| u64::from_str_radix(text, 16).ok());
    number.is_some_and(|number| number as u32 == check(name, mark, (number >> 32) as u32))
}

/// Makes something under scratch names until one is free and locked.
fn claim(path: &Path, mark: &str, make: impl Fn(&Path) -> io::Result<File>) -> io::Result<(PathBuf, File)> {
    let mut draws = 0;
    loop {
        let name = draw(path, mark);
        draws += 1;
        match make(&name) {
            // Until it is locked, somebody who cleans up may take it for left over.
            Ok(file) if !matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && is_still(&name, &file) => {
                return Ok((name, file));
            }
            Ok(_) if draws < DRAWS => {}
            Ok(_) => return Err(io::Error::other("what was made there is taken away again and again")),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && draws < DRAWS => {}
            Err(error) => return Err(error),
        }
    }
}

/// Calls `remove` with what killed processes left over of `path`. What cannot be looked at or removed stays.
fn left_over(path: &Path, mark: &str, remove: impl Fn(&Path)) {
    let me = rustix::process::geteuid().as_raw();
    let Ok(entries) = fs::read_dir(parent(path)) else { return };
    for name in entries.flatten().map(|entry| entry.file_name()).filter(|name| is_scratch(path, mark, name)) {
        let candidate = path.with_file_name(name);
        if let Ok(file) = open(&candidate)
            && file.metadata().is_ok_and(|about| about.uid() == me)
            && file.try_lock().is_ok()
            && is_still(&candidate, &file)
        {
            remove(&candidate);
        }
    }
}

/// For reading. Neither follows a link nor waits for whoever is at the other end of a pipe.
fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// What is to be removed when the process ends, whatever it is doing then.
static LIVE: Mutex<Vec<Live>> = Mutex::new(Vec::new());

struct Live {
    path: PathBuf,
    id: (u64, u64),
    /// `None`: a file. Else a directory, and which files in it are its own.
    is_own: Option<fn(&str) -> bool>,
}

impl Live {
    fn begin(path: &Path, file: &File, is_own: Option<fn(&str) -> bool>) -> io::Result<()> {
        let id = id(&file.metadata()?);
        live().push(Live { path: path.to_path_buf(), id, is_own });
        Ok(())
    }

    /// Removes what has this name, unless it has got another name, or something else has got this one.
    fn end(path: &Path) {
        let mut live = live();
        if let Some(at) = live.iter().position(|live| live.path == path) {
            live.swap_remove(at).remove();
        }
    }

    fn remove(&self) {
        if !self.path.symlink_metadata().is_ok_and(|named| id(&named) == self.id) {
            return;
        }
        match self.is_own {
            Some(is_own) => remove_dir(&self.path, is_own),
            None => drop(fs::remove_file(&self.path)),
        }
    }
}

fn live() -> MutexGuard<'static, Vec<Live>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes every scratch file and directory of this process. To be called when a signal ends the process while a
/// command is still at work.
pub(crate) fn remove_all() {
    live().drain(..).for_each(|live| live.remove());
}

/// A file with a scratch name; removed when dropped, unless it has got another name.
#[derive(Debug)]
struct Scratch {
    path: PathBuf,
    file: File,
}

impl Scratch {
    /// Beside `path`, with `mark` in its name.
    fn create(path: &Path, mark: &str, mode: u32) -> io::Result<Scratch> {
        left_over(path, mark, |path| drop(fs::remove_file(path)));
        let make = |name: &Path| OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(name);
        let (path, file) = claim(path, mark, make)?;
        Live::begin(&path, &file, None)?;
        Ok(Scratch { path, file })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        Live::end(&self.path);
    }
}

/// A file without a name on the disk that has `path`; its space is free again when it is closed, and after a kill.
pub(crate) fn nameless(path: &Path, mark: &str) -> io::Result<File> {
    let scratch = Scratch::create(path, mark, 0o600)?;
    scratch.file.try_clone()
}

/// A directory with a scratch name, for files whose names are known beforehand. When it is dropped, they are removed,
/// and so is the directory, unless somebody has put something else there.
#[derive(Debug)]
pub(crate) struct ScratchDir {
    path: PathBuf,
    /// Holds the lock.
    _dir: File,
    is_own: fn(&str) -> bool,
}

impl ScratchDir {
    /// Beside `path`, with `mark` in its name; `is_own` tells the names of the files that will be in it.
    pub(crate) fn create(path: &Path, mark: &str, is_own: fn(&str) -> bool) -> io::Result<ScratchDir> {
        left_over(path, mark, |path| remove_dir(path, is_own));
        let make = |name: &Path| {
            DirBuilder::new().mode(0o700).create(name)?;
            open(name)
        };
        let (path, dir) = claim(path, mark, make)?;
        Live::begin(&path, &dir, Some(is_own))?;
        Ok(ScratchDir { path, _dir: dir, is_own })
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Removes the files.
    pub(crate) fn clear(&self) {
        clear(&self.path, self.is_own);
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        Live::end(&self.path);
    }
}

fn clear(dir: &Path, is_own: fn(&str) -> bool) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_own)) {
        let _ = fs::remove_file(entry.path());
    }
}

fn remove_dir(dir: &Path, is_own: fn(&str) -> bool) {
    clear(dir, is_own);
    let _ = fs::remove_dir(dir);
}

/// The store whose names are not to be taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Store<'a> {
    pub(crate) wal: &'a Path,
    pub(crate) snapshot: &'a Path,
}

impl Store<'_> {
    /// Refuses a name that is the store's own, or may become it.
    pub(crate) fn check(&self, path: &Path) -> io::Result<()> {
        for (own, what) in [(self.wal, "the log"), (self.snapshot, "the snapshot")] {
            if is_same(path, own) {
                return Err(io::Error::other(format!("that is {what} of the store; choose another name")));
            }
            let in_its_directory = is_same(parent(path), parent(own));
            let name = path.file_name().unwrap_or_default();
            if is_same(path, &with_suffix(own, ".lock")) || (in_its_directory && is_helper(own, name)) {
                let text = format!("that is a name of the store's own files, beside {}; choose another name", own.display());
                return Err(io::Error::other(text));
            }
        }
        Ok(())
    }
}

/// Whether both are one file or directory now, or would be.
fn is_same(one: &Path, other: &Path) -> bool {
    match (one.metadata(), other.metadata()) {
        (Ok(one), Ok(other)) => id(&one) == id(&other),
        _ => one.file_name() == other.file_name() && directory(one).is_some_and(|dir| Some(dir) == directory(other)),
    }
}

/// Which directory `path` is in.
pub(crate) fn directory(path: &Path) -> Option<(u64, u64)> {
    parent(path).metadata().ok().map(|about| id(&about))
}

/// Whether the store, of this version or an older one, may make or remove a file of this name beside its file `own`.
fn is_helper(own: &Path, name: &OsStr) -> bool {
    let behind = name.as_encoded_bytes().strip_prefix(own.file_name().unwrap_or_default().as_encoded_bytes());
    let Some(suffix) = behind else { return false };
    let one_of: [&[u8]; 3] = [b".lock", b".tmp", b".bench"];
    let begins: [&[u8]; 5] = [b".tmp-", b".damaged-", b".bench-", b".bench.", b".import-"];
    let segment = suffix.strip_prefix(b".").is_some_and(|seq| !seq.is_empty() && seq.iter().all(u8::is_ascii_digit));
    one_of.contains(&suffix) || begins.iter().any(|begin| suffix.starts_with(begin)) || segment
}

/// What kind of file a target becomes.
#[derive(Debug)]
pub(crate) struct Kind {
    /// What is said of a file that is none.
    pub(crate) refusal: &'static str,
    /// Whether a file is one, by its first 4096 bytes.
    pub(crate) is_one: fn(&[u8]) -> bool,
    pub(crate) mode: u32,
}

impl Kind {
    /// What is there may be replaced only when it is of the same kind: a slip of the fingers is not to cost a file.
    fn check(&self, path: &Path) -> io::Result<()> {
        let about = match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            about => about?,
        };
        if !about.is_file() {
            return Err(io::Error::other("there is something that is not a plain file; choose another name"));
        }
        let (file, mut begin) = (open(path)?, Vec::new());
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            return Err(io::Error::other("the file there is in use by another program; choose another name"));
        }
        (&file).take(4096).read_to_end(&mut begin)?;
        if begin.is_empty() || (self.is_one)(&begin) {
            return Ok(());
        }
        Err(io::Error::other(self.refusal))
    }
}

/// A file that is being written under another name.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    scratch: Scratch,
    path: PathBuf,
    store: Store<'a>,
    kind: &'static Kind,
}

impl<'a> Target<'a> {
    /// Refuses a name that is not to be taken, and makes the file that is to get it.
    pub(crate) fn claim(path: &Path, store: Store<'a>, kind: &'static Kind) -> io::Result<Target<'a>> {
        store.check(path)?;
        kind.check(path)?;
        if path.file_name().is_none() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let scratch = Scratch::create(path, BEING_WRITTEN, kind.mode)?;
        Ok(Target { scratch, path: path.to_path_buf(), store, kind })
    }

    /// Syncs it and gives it its name, which is durable then.
    pub(crate) fn put_in_place(self) -> io::Result<()> {
        self.scratch.file.sync_all()?;
        // Somebody may have put something there meanwhile.
        self.store.check(&self.path)?;
        self.kind.check(&self.path)?;
        if !is_still(&self.scratch.path, &self.scratch.file) {
            return Err(io::Error::other("the file was removed while it was written"));
        }
        // Before, so that what cannot be opened is an error while the old file is still there.
        let dir = File::open(parent(&self.path))?;
        fs::rename(&self.scratch.path, &self.path)?;
        dir.sync_all()
    }
}

impl Write for Target<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.scratch.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    static NOTES: Kind = Kind { refusal: "no note", is_one: |begin| begin.starts_with(b"note"), mode: 0o600 };

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_scratch_name_is_known_by_its_check_and_nothing_else_is_taken_for_one() {
        let path = Path::new("/somewhere/x.kv");
        let name = draw(path, ".tmp-").file_name().unwrap().to_owned().into_string().unwrap();
        let is = |name: &str| is_scratch(path, ".tmp-", OsStr::new(name));
        assert!(is(&name) && !is_scratch(path, ".bench-", OsStr::new(&name)));
        assert!(!is_scratch(Path::new("y.kv"), ".tmp-", OsStr::new(&name)));
        for at in name.len() - DIGITS..name.len() {
            let other = if name.as_bytes()[at] == b'0' { "1" } else { "0" };
            assert!(!is(&format!("{}{other}{}", &name[..at], &name[at + 1..])), "{name}, {at}");
        }
        for other in [&name.to_uppercase(), &format!("{name}0"), &name[1..], "x.kv", "x.kv.tmp", "x.kv.tmp-", ""] {
            assert!(!is(other), "{other}");
        }
    }

    #[test]
    fn the_longest_name_there_can_be_has_scratch_names_too() {
        let dir = tempfile::tempdir().unwrap();
        let (path, near) = (dir.path().join("n".repeat(255)), dir.path().join("n".repeat(254)));
        let scratch = Scratch::create(&path, ".tmp-", 0o600).unwrap();
        let name = scratch.path.file_name().unwrap();
        assert!(is_scratch(&path, ".tmp-", name) && !is_scratch(&near, ".tmp-", name));
    }

    #[test]
    fn what_a_killed_process_left_over_goes_and_what_is_in_use_or_anybodys_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.kv");
        let in_use = Scratch::create(&path, ".tmp-", 0o600).unwrap();
        let killed = draw(&path, ".tmp-");
        fs::write(&killed, "half").unwrap();
        let linked = draw(&path, ".tmp-");
        std::os::unix::fs::symlink(&in_use.path, &linked).unwrap();
        let others = ["x.kv.tmp", "x.kv.tmp-0123456789abcdef", "x.kv.tmp-1"].map(|name| dir.path().join(name));
        others.iter().for_each(|other| fs::write(other, "mine").unwrap());
        let next = Scratch::create(&path, ".tmp-", 0o600).unwrap();
        assert!(!killed.exists() && in_use.path.exists() && next.path.exists());
        assert!(linked.symlink_metadata().is_ok() && others.iter().all(|other| other.exists()));
        // What somebody put in its place is not its own.
        let path = next.path.clone();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        drop((in_use, next));
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        assert_eq!(names(dir.path()).len(), 5);
    }

    #[test]
    fn a_scratch_directory_takes_its_own_files_along_and_leaves_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w");
        let is_own = |name: &str| name == "log";
        let scratch = ScratchDir::create(&path, ".bench-", is_own).unwrap();
        fs::write(scratch.file("log"), "").unwrap();
        scratch.clear();
        assert_eq!(names(&scratch.path), [""; 0]);
        fs::write(scratch.file("log"), "").unwrap();
        fs::write(scratch.file("notes"), "mine").unwrap();
        let kept = scratch.path.clone();
        drop(scratch);
        assert_eq!(names(&kept), ["notes"]);
        fs::remove_dir_all(kept).unwrap();
        // Of a killed process.
        let killed = draw(&path, ".bench-");
        fs::create_dir(&killed).unwrap();
        fs::write(killed.join("log"), "").unwrap();
        drop(ScratchDir::create(&path, ".bench-", is_own).unwrap());
        assert_eq!(names(dir.path()), [""; 0]);
        // A name that is taken is never used: the directory is made, not found.
        fs::create_dir(dir.path().join("w.bench")).unwrap();
        drop(ScratchDir::create(&path, ".bench-", is_own).unwrap());
        assert_eq!(names(dir.path()), ["w.bench"]);
    }

    #[test]
    fn a_name_of_the_store_is_refused_under_any_spelling() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, link) = (dir.path().join("d"), dir.path().join("link"));
        fs::create_dir(&inside).unwrap();
        std::os::unix::fs::symlink("d", &link).unwrap();
        let (wal, snapshot) = (inside.join("w"), inside.join("s"));
        let store = Store { wal: &wal, snapshot: &snapshot };
        let names = ["w", "s", "w.lock", "s.lock", "w.tmp", "s.tmp", "w.tmp-0123", "w.damaged-1", "w.damaged-2-torn", "w.bench"];
        for exists in [false, true] {
            for name in names.iter().chain(&["w.bench.bare", "w.bench-12", "w.17"]) {
                for way in [inside.join(name), link.join(name), inside.join("../link/.").join(name)] {
                    assert!(store.check(&way).is_err(), "{}", way.display());
                }
            }
            for name in ["x", "w.kv", "w.tmp.kv", "w.benchmark.kv", "ww", "w.", "w.1a", "x.lock", "x.tmp"] {
                assert!(store.check(&inside.join(name)).is_ok(), "{name}");
            }
            assert!(store.check(&dir.path().join("w.tmp")).is_ok(), "in another directory");
            if !exists {
                ["w", "s", "w.lock"].iter().for_each(|name| fs::write(inside.join(name), "").unwrap());
            }
        }
        for name in ["w", "s", "w.lock"] {
            let other = dir.path().join("other");
            fs::hard_link(inside.join(name), &other).unwrap();
            assert!(store.check(&other).is_err(), "{name}");
            fs::remove_file(&other).unwrap();
        }
    }

    #[test]
    fn a_target_replaces_its_own_kind_only_and_leaves_nothing_when_it_fails() {
        let dir = tempfile::tempdir().unwrap();
        let (path, store) = (dir.path().join("x"), Store { wal: Path::new("w"), snapshot: Path::new("s") });
        let claim = || Target::claim(&path, store, &NOTES);
        let mut target = claim().unwrap();
        target.write_all(b"note 1").unwrap();
        assert!(!path.exists());
        target.put_in_place().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"note 1");
        let mut target = claim().unwrap();
        target.write_all(b"note 2").unwrap();
        drop(target);
        assert_eq!((fs::read(&path).unwrap(), names(dir.path())), (b"note 1".to_vec(), vec!["x".to_string()]));

        // Something else came there meanwhile.
        let target = claim().unwrap();
        fs::write(&path, "mine").unwrap();
        assert!(target.put_in_place().is_err());
        assert_eq!((fs::read(&path).unwrap(), names(dir.path())), (b"mine".to_vec(), vec!["x".to_string()]));
        assert!(claim().is_err());

        // An empty file may be a store's log that has just been made.
        fs::write(&path, "").unwrap();
        let held = File::open(&path).unwrap();
        held.lock().unwrap();
        assert!(claim().unwrap_err().to_string().contains("in use"));
        drop(held);
        assert!(claim().is_ok());
        fs::remove_file(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        assert!(claim().unwrap_err().to_string().contains("not a plain file"), "and nobody waits for its other end");
    }
}
