//! Files that the shell writes for its user: exports and the pages of BENCH. No other file is ever lost to one of them.
//!
//! - A [`Target`] is written to a scratch file in the same directory, synced, and only then renamed. Until then the
//!   name keeps its old file. Afterwards it has the whole new one. A failure leaves nothing behind (`scratch`).
//! - It never takes a name of the store: the log, the snapshot, or a file that the store makes beside them (`names`).
//! - It replaces only an empty file, or a file of its own [`Kind`] (an export replaces an export), and none that
//!   another program has locked.

mod names;
mod scratch;

pub(crate) use names::{StoreFiles, begins_like_store_suffix, directory, id, is_store_suffix, parent, with_suffix};
pub(crate) use scratch::{ScratchDir, nameless, remove_all};

use names::{CHOOSE, Refusal, refusal};
use scratch::Scratch;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

const BEING_WRITTEN: &str = ".tmp-";

/// A kind of file.
#[derive(Debug)]
pub(crate) struct Kind {
    /// The error for an existing file of another kind, and what to do.
    pub(crate) refusal: (&'static str, &'static str),
    /// Whether a file is of this kind, by its first 4096 bytes.
    pub(crate) is_one: fn(&[u8]) -> bool,
    pub(crate) mode: u32,
}

impl Kind {
    /// Refuses a path whose file is not to be replaced: a mistyped name must not cost the user a file.
    fn check(&self, path: &Path) -> io::Result<()> {
        let about = match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            about => about?,
        };
        if !about.is_file() {
            return Err(refusal("this is not a regular file", CHOOSE));
        }
        let (file, mut begin) = (scratch::open(path)?, Vec::new());
        // An empty file may be the log of a store that is just being created.
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            return Err(refusal("the file is in use by another program", CHOOSE));
        }
        (&file).take(4096).read_to_end(&mut begin)?;
        if begin.is_empty() || (self.is_one)(&begin) {
            return Ok(());
        }
        Err(refusal(self.refusal.0, self.refusal.1))
    }
}

/// The text of an error of a [`Target`], and the advice that follows it, with `; ` before it. The advice may be empty.
pub(crate) fn what_and_advice(error: &io::Error) -> (String, String) {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Refusal>()) {
        Some(Refusal { what, advice }) => (what.clone(), format!("; {advice}")),
        None => (error.to_string(), String::new()),
    }
}

/// A file that is being written under a scratch name.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    scratch: Scratch,
    path: PathBuf,
    store: StoreFiles<'a>,
    kind: &'static Kind,
}

impl<'a> Target<'a> {
    /// Checks the name, and makes the scratch file.
    pub(crate) fn claim(path: &Path, store: StoreFiles<'a>, kind: &'static Kind) -> io::Result<Target<'a>> {
        store.check(path)?;
        kind.check(path)?;
        if path.file_name().is_none() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let scratch = Scratch::create(path, BEING_WRITTEN, kind.mode)?;
        Ok(Target { scratch, path: path.to_path_buf(), store, kind })
    }

    /// Syncs the file and renames it. When this returns, the new name is durable.
    pub(crate) fn put_in_place(self) -> io::Result<()> {
        self.scratch.file.sync_all()?;
        // Another process may have made a file there since.
        self.store.check(&self.path)?;
        self.kind.check(&self.path)?;
        if !names::is_still(&self.scratch.path, &self.scratch.file) {
            return Err(io::Error::other("the temporary file was removed while it was written"));
        }
        // Opened first, so that an error leaves the old file in place.
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

    static NOTES: Kind = Kind { refusal: ("not a note", "rename it"), is_one: |begin| begin.starts_with(b"note"), mode: 0o600 };

    #[test]
    fn a_target_replaces_its_own_kind_only_and_leaves_nothing_when_it_fails() {
        let dir = tempfile::tempdir().unwrap();
        let names = || fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        let (path, store) = (dir.path().join("x"), StoreFiles { wal: Path::new("w"), snapshot: Path::new("s") });
        let claim = || Target::claim(&path, store, &NOTES);
        let mut target = claim().unwrap();
        target.write_all(b"note 1").unwrap();
        assert!(!path.exists());
        target.put_in_place().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"note 1");
        let mut target = claim().unwrap();
        target.write_all(b"note 2").unwrap();
        drop(target);
        assert_eq!((fs::read(&path).unwrap(), names()), (b"note 1".to_vec(), vec!["x".into()]));

        // Another file came there since.
        let target = claim().unwrap();
        fs::write(&path, "mine").unwrap();
        assert!(target.put_in_place().is_err());
        assert_eq!((fs::read(&path).unwrap(), names()), (b"mine".to_vec(), vec!["x".into()]));
        assert!(claim().is_err());

        fs::write(&path, "").unwrap();
        let held = File::open(&path).unwrap();
        held.lock().unwrap();
        assert!(claim().unwrap_err().to_string().contains("in use"));
        drop(held);
        assert!(claim().is_ok());
        fs::remove_file(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        assert!(claim().unwrap_err().to_string().contains("not a regular file"), "it does not wait for the pipe's other end");
    }
}
