//! The locks of a store: one file beside the log, one beside the snapshot, each held while the
//! store is open and left in place afterwards.
//!
//! A lock file holds a note, two lines: the process that has or had the lock, for the message of
//! the next one; and, beside the snapshot, the log that it was last used with. By that a snapshot
//! whose log is missing is told from a snapshot that another log is missing from: the latter must
//! not begin a second history over it.

use crate::disk::{Disk, Lock, read_full_at};
use crate::error::{Error, Result};
use crate::recovery::LockNotes;
use crate::with_suffix;
use std::io;
use std::path::Path;

const MOST_BYTES: usize = 8192;

/// Both locks.
#[derive(Debug)]
pub(super) struct Locks {
    wal: Box<dyn Lock>,
    snapshot: Box<dyn Lock>,
    pub(super) notes: LockNotes,
}

impl Locks {
    /// Takes both.
    pub(super) fn take(disk: &dyn Disk, wal: &Path, snapshot: &Path) -> Result<Locks> {
        let wal_lock = lock(disk, wal)?;
        let snapshot_lock = lock(disk, snapshot).inspect_err(|_| wal_lock.undo())?;
        let ((before, _), (_, log)) = (note(disk, wal), note(disk, snapshot));
        wal_lock.write_note(&text(&own(wal)));
        snapshot_lock.write_note(&text(log.as_deref().unwrap_or_default()));
        let other_log = log.filter(|log| !log.is_empty() && *log != own(wal));
        let notes = LockNotes { other_log, opened_before: before.is_some() };
        Ok(Locks { wal: wal_lock, snapshot: snapshot_lock, notes })
    }

    /// Leaves the directory as it was: for an opening that was refused.
    pub(super) fn undo(&self) {
        self.wal.undo();
        self.snapshot.undo();
    }

    /// Refuses where the names of the store are no longer ours: a file put there now would replace
    /// somebody else's.
    pub(super) fn check_in_place(&self, wal: &Path, snapshot: &Path) -> Result<()> {
        for (lock, path) in [(&self.wal, wal), (&self.snapshot, snapshot)] {
            if !lock.is_in_place() {
                let gone = io::Error::new(io::ErrorKind::NotFound, "removed or replaced while the store was open");
                return Err(Error::io("no file was replaced: looking at", &with_suffix(path, ".lock"))(gone));
            }
        }
        Ok(())
    }

    /// Notes that log and snapshot are one store, once they have been opened as one.
    pub(super) fn note_pair(&self, wal: &Path) {
        self.snapshot.write_note(&text(&own(wal)));
    }
}

fn text(log: &str) -> String {
    format!("{}\n{log}\n", std::process::id())
}

/// The log's path as it is noted.
fn own(wal: &Path) -> String {
    std::path::absolute(wal).unwrap_or_else(|_| wal.to_path_buf()).display().to_string()
}

fn lock(disk: &dyn Disk, path: &Path) -> Result<Box<dyn Lock>> {
    let name = with_suffix(path, ".lock");
    let lock = disk.lock(&name).map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock => Error::Locked { path: path.to_path_buf(), pid: note(disk, path).0 },
        io::ErrorKind::NotFound => Error::io("the directory is not there, make it first: locking", &name)(e),
        _ => Error::io("locking", &name)(e),
    })?;
    match is_note(disk, &name).map_err(Error::io("reading", &name))? {
        true => Ok(lock),
        false => Err(Error::foreign(&name, "this name is needed for a lock, and the file there is not one")),
    }
}

/// Whether the file holds nothing, a note, or the zeros that a power cut can leave of one.
fn is_note(disk: &dyn Disk, name: &Path) -> io::Result<bool> {
    let Some(file) = disk.open_read(name)? else { return Ok(true) };
    let mut bytes = [0; 10];
    let got = read_full_at(&*file, 0, &mut bytes)?;
    Ok(bytes[..got].iter().take_while(|&&byte| byte != b'\n').all(|byte| byte.is_ascii_digit() || *byte == 0))
}

/// The process and the log that the note beside `path` names.
fn note(disk: &dyn Disk, path: &Path) -> (Option<u32>, Option<String>) {
    let mut bytes = [0; MOST_BYTES];
    let file = disk.open_read(&with_suffix(path, ".lock")).ok().flatten();
    let got = file.and_then(|file| read_full_at(&*file, 0, &mut bytes).ok()).unwrap_or(0);
    let text = String::from_utf8_lossy(&bytes[..got]);
    let mut lines = text.lines();
    (lines.next().and_then(|line| line.trim().parse().ok()), lines.next().map(str::to_string))
}
