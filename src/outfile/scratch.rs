//! Scratch files and scratch directories: made beside a file, locked while they are in use, removed when dropped.
//!
//! - The name is `<path><mark>` and 16 hexadecimal digits: 8 random ones, and 8 that check them, the mark and the name
//!   of `path`. A file is created only where there was none (`O_EXCL`), so nothing is overwritten.
//! - While it is in use it is locked. The next command that makes one for the same path removes what a killed process
//!   left over: a name with the right check, owned by this user, and not locked. No other file is removed.
//! - A process that a signal ends in the middle of a command removes its own with [`remove_all`].
//!
//! The library's temporary files (`kv_engine::disk::create_scratch`) cannot be used for this. Only the store's own lock
//! protects them, so opening a store removes all of them that have its name, also those that another process still
//! writes. They also cannot be directories, and a long name has none.

use super::names::{id, is_still, parent, with_suffix};
use kv_engine::disk::{Disk, OsDisk};
use rustix::fs::OFlags;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

const DIGITS: usize = 16;
/// At most this much of the name of `path` is used, so that a long name has room for the rest.
const STEM_BYTES: usize = 200;
/// Two processes rarely draw the same 32 bits. Ten times in a row means that the random numbers are broken.
const DRAWS: usize = 10;

fn check(name: &OsStr, mark: &str, random: u32) -> u32 {
    let mut check = crc32fast::Hasher::new();
    for bytes in [b"a scratch file of kv_cli: ", name.as_encoded_bytes(), mark.as_bytes(), &random.to_le_bytes()] {
        check.update(bytes);
    }
    check.finalize()
}

/// The beginning of every scratch name of `path`.
fn stem(path: &Path) -> &OsStr {
    let name = path.file_name().unwrap_or_default().as_bytes();
    OsStr::from_bytes(&name[..name.len().min(STEM_BYTES)])
}

/// A new scratch name for `path`.
fn draw(path: &Path, mark: &str) -> PathBuf {
    let random = (OsDisk.entropy() >> 32) as u32;
    let check = check(path.file_name().unwrap_or_default(), mark, random);
    with_suffix(&path.with_file_name(stem(path)), &format!("{mark}{random:08x}{check:08x}"))
}

/// Whether `candidate` is the last part of a scratch name of `path`.
fn is_scratch(path: &Path, mark: &str, candidate: &OsStr) -> bool {
    let name = path.file_name().unwrap_or_default();
    let rest = candidate.as_bytes().strip_prefix(stem(path).as_bytes());
    let Some(digits) = rest.and_then(|rest| rest.strip_prefix(mark.as_bytes())) else { return false };
    let plain = digits.len() == DIGITS && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    let number = std::str::from_utf8(digits).ok().filter(|_| plain).and_then(|text| u64::from_str_radix(text, 16).ok());
    number.is_some_and(|number| number as u32 == check(name, mark, (number >> 32) as u32))
}

/// Calls `make` with new scratch names until it has made something that is locked and still there.
fn claim(path: &Path, mark: &str, make: impl Fn(&Path) -> io::Result<File>) -> io::Result<(PathBuf, File)> {
    let mut draws = 0;
    loop {
        let name = draw(path, mark);
        draws += 1;
        match make(&name) {
            // Before it is locked, another process may take it for left over and remove it.
            Ok(file) if !matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && is_still(&name, &file) => {
                return Ok((name, file));
            }
            Ok(_) if draws < DRAWS => {}
            Ok(_) => return Err(io::Error::other("another process removes each temporary file that is made there")),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && draws < DRAWS => {}
            Err(error) => return Err(error),
        }
    }
}

/// Calls `remove` with each scratch file of `path` that a killed process left over. Files that cannot be opened or
/// removed stay.
fn remove_left_over(path: &Path, mark: &str, remove: impl Fn(&Path)) {
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

/// Opens for reading. It follows no link, and does not wait for a writer at the other end of a pipe.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// The scratch files and directories of this process.
static LIVE: Mutex<Vec<Live>> = Mutex::new(Vec::new());

struct Live {
    path: PathBuf,
    id: (u64, u64),
    /// For a directory: which files in it are its own. `None` for a file.
    is_own: Option<fn(&str) -> bool>,
}

impl Live {
    fn begin(path: &Path, file: &File, is_own: Option<fn(&str) -> bool>) -> io::Result<()> {
        let id = id(&file.metadata()?);
        live().push(Live { path: path.to_path_buf(), id, is_own });
        Ok(())
    }

    fn end(path: &Path) {
        let mut live = live();
        if let Some(at) = live.iter().position(|live| live.path == path) {
            live.swap_remove(at).remove();
        }
    }

    /// Removes it, unless it was renamed or another file has its name now.
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

/// Removes every scratch file and directory of this process. Call it when a signal ends the process while a command
/// still runs.
pub(crate) fn remove_all() {
    live().drain(..).for_each(|live| live.remove());
}

/// A scratch file. It is removed when this is dropped, unless it was renamed.
#[derive(Debug)]
pub(super) struct Scratch {
    pub(super) path: PathBuf,
    pub(super) file: File,
}

impl Scratch {
    /// Makes one beside `path`, with `mark` in its name.
    pub(super) fn create(path: &Path, mark: &str, mode: u32) -> io::Result<Scratch> {
        remove_left_over(path, mark, |path| drop(fs::remove_file(path)));
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

/// A file without a name, on the file system of `path`. Its space is free again when it is closed, also after a kill.
pub(crate) fn nameless(path: &Path, mark: &str) -> io::Result<File> {
    let scratch = Scratch::create(path, mark, 0o600)?;
    scratch.file.try_clone()
}

/// A scratch directory, for files whose names are known beforehand. When it is dropped, those files and the directory
/// are removed. The directory stays if another file is in it.
#[derive(Debug)]
pub(crate) struct ScratchDir {
    path: PathBuf,
    /// Holds the lock.
    _dir: File,
    is_own: fn(&str) -> bool,
}

impl ScratchDir {
    /// Makes one beside `path`, with `mark` in its name. `is_own` tells the names of the files that will be in it.
    pub(crate) fn create(path: &Path, mark: &str, is_own: fn(&str) -> bool) -> io::Result<ScratchDir> {
        remove_left_over(path, mark, |path| remove_dir(path, is_own));
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

    /// Removes the files in it.
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_scratch_name_is_known_by_its_check_and_no_other_name_is_taken_for_one() {
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
    fn the_longest_possible_name_has_scratch_names_too() {
        let dir = tempfile::tempdir().unwrap();
        let (path, near) = (dir.path().join("n".repeat(255)), dir.path().join("n".repeat(254)));
        let scratch = Scratch::create(&path, ".tmp-", 0o600).unwrap();
        let name = scratch.path.file_name().unwrap();
        assert!(is_scratch(&path, ".tmp-", name) && !is_scratch(&near, ".tmp-", name));
    }

    #[test]
    fn left_over_files_are_removed_and_files_in_use_and_files_of_others_stay() {
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
        // Another file that has got its name is not removed.
        let path = next.path.clone();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        drop((in_use, next));
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        assert_eq!(names(dir.path()).len(), 5);
    }

    #[test]
    fn a_scratch_directory_is_removed_with_its_own_files_only() {
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
        // A killed process left this one.
        let killed = draw(&path, ".bench-");
        fs::create_dir(&killed).unwrap();
        fs::write(killed.join("log"), "").unwrap();
        drop(ScratchDir::create(&path, ".bench-", is_own).unwrap());
        assert_eq!(names(dir.path()), [""; 0]);
        // An existing directory is never used.
        fs::create_dir(dir.path().join("w.bench")).unwrap();
        drop(ScratchDir::create(&path, ".bench-", is_own).unwrap());
        assert_eq!(names(dir.path()), ["w.bench"]);
    }
}
