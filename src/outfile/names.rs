//! Paths compared as files, and the names that belong to a store.
//!
//! A user may give any path for an export or a history file. It must never be a file of the store. Existing files are
//! compared by device and inode. A file that does not exist yet is compared by its directory (device and inode) and
//! the last part of its name. So another spelling, a link, or another way to the directory makes no difference.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

/// What the store, of this version or an older one, appends to the names of its log and its snapshot. BENCH and IMPORT
/// append their own to the name of the log.
const HELPERS: [&[u8]; 3] = [b".lock", b".tmp", b".bench"];
/// The same, with anything after them.
const HELPER_STEMS: [&[u8]; 5] = [b".tmp-", b".damaged-", b".bench-", b".bench.", b".import-"];

/// The advice of most refusals.
pub(super) const CHOOSE: &str = "choose another name";

/// Why a name is refused, and what to do: apart, so that a command can say in between what is still true.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) what: String,
    pub(super) advice: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.advice)
    }
}

impl std::error::Error for Refusal {}

pub(super) fn refusal(what: impl Into<String>, advice: &'static str) -> io::Error {
    io::Error::other(Refusal { what: what.into(), advice })
}

/// `path` with `suffix` appended to its name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The directory that `path` is in.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Identifies a file under any name: device and inode.
pub(crate) fn id(about: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (about.dev(), about.ino())
}

/// Identifies the directory that `path` is in.
pub(crate) fn directory(path: &Path) -> Option<(u64, u64)> {
    parent(path).metadata().ok().map(|about| id(&about))
}

/// Whether `path` still names the open `file`. A link to it does not count.
pub(super) fn is_still(path: &Path, file: &File) -> bool {
    matches!((path.symlink_metadata(), file.metadata()), (Ok(named), Ok(open)) if id(&named) == id(&open))
}

/// Whether two paths name one file or directory, or would if it existed.
fn is_same(one: &Path, other: &Path) -> bool {
    match (one.metadata(), other.metadata()) {
        (Ok(one), Ok(other)) => id(&one) == id(&other),
        _ => one.file_name() == other.file_name() && directory(one).is_some_and(|dir| Some(dir) == directory(other)),
    }
}

/// Whether `suffix`, appended to the name of a log or a snapshot, gives a name that the store may create or remove.
pub(crate) fn is_store_suffix(suffix: &[u8]) -> bool {
    let is_segment = suffix.strip_prefix(b".").is_some_and(|seq| !seq.is_empty() && seq.iter().all(u8::is_ascii_digit));
    HELPERS.contains(&suffix) || HELPER_STEMS.iter().any(|stem| suffix.starts_with(stem)) || is_segment
}

/// As [`is_store_suffix`], and also for every suffix that begins like one. For a file whose name need not be close to
/// those of the store.
pub(crate) fn begins_like_store_suffix(suffix: &[u8]) -> bool {
    is_store_suffix(suffix) || HELPERS.iter().any(|helper| suffix.starts_with(helper))
}

fn is_helper_of(own: &Path, name: &OsStr) -> bool {
    let suffix = name.as_encoded_bytes().strip_prefix(own.file_name().unwrap_or_default().as_encoded_bytes());
    suffix.is_some_and(is_store_suffix)
}

/// The store whose names no other file may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreFiles<'a> {
    pub(crate) wal: &'a Path,
    pub(crate) snapshot: &'a Path,
}

impl StoreFiles<'_> {
    /// Refuses a path that is one of the store's files, or may become one.
    pub(crate) fn check(&self, path: &Path) -> io::Result<()> {
        for (own, what) in [(self.wal, "log"), (self.snapshot, "snapshot")] {
            if is_same(path, own) {
                return Err(refusal(format!("this is the {what} of the store"), CHOOSE));
            }
            let in_its_directory = is_same(parent(path), parent(own));
            let name = path.file_name().unwrap_or_default();
            if is_same(path, &with_suffix(own, ".lock")) || (in_its_directory && is_helper_of(own, name)) {
                return Err(refusal(format!("the store uses this name for a file beside {}", own.display()), CHOOSE));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_name_of_the_store_is_refused_under_any_spelling() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, link) = (dir.path().join("d"), dir.path().join("link"));
        fs::create_dir(&inside).unwrap();
        std::os::unix::fs::symlink("d", &link).unwrap();
        let (wal, snapshot) = (inside.join("w"), inside.join("s"));
        let store = StoreFiles { wal: &wal, snapshot: &snapshot };
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
}
