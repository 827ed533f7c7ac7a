//! The locks of a store: one file beside the log and one beside the snapshot. They are locked while the store is open,
//! and the files stay afterwards.
//!
//! A lock file holds a note of two or three lines:
//! 1. the number of the process that has or had the lock, for the error message of the next process;
//! 2. beside the snapshot: the log that the snapshot was last used with. If that is another log and there is none here,
//!    the store is not opened: a new log would begin a second history on the same snapshot;
//! 3. beside the log, if the process offers the store to others: where to reach it.

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
        let (Note { pid: before, .. }, Note { log, .. }) = (note(disk, wal), note(disk, snapshot));
        wal_lock.write_note(&text(&own(wal)));
        snapshot_lock.write_note(&text(log.as_deref().unwrap_or_default()));
        let other_log = log.filter(|log| !log.is_empty() && *log != own(wal));
        let notes = LockNotes { other_log, opened_before: before.is_some() };
        Ok(Locks { wal: wal_lock, snapshot: snapshot_lock, notes })
    }

    /// Leaves the directory as it was before. Used if opening is refused.
    pub(super) fn undo(&self) {
        self.wal.undo();
        self.snapshot.undo();
    }

    /// Refuses if the lock files were removed or replaced: a file renamed into place now could replace a file of
    /// another store.
    pub(super) fn check_in_place(&self, wal: &Path, snapshot: &Path) -> Result<()> {
        for (lock, path) in [(&self.wal, wal), (&self.snapshot, snapshot)] {
            if !lock.is_in_place() {
                let gone =
                    io::Error::new(io::ErrorKind::NotFound, "this lock file was removed or replaced while the store was open");
                return Err(Error::io("no file was replaced: looking at", &with_suffix(path, ".lock"))(gone));
            }
        }
        Ok(())
    }

    /// Notes where other processes can reach this one.
    pub(super) fn note_contact(&self, wal: &Path, contact: &str) {
        let line = contact.lines().next().unwrap_or_default();
        self.wal.write_note(&format!("{}{line}\n", text(&own(wal))));
    }

    /// Notes that log and snapshot were opened as one store.
    pub(super) fn note_pair(&self, wal: &Path) {
        self.snapshot.write_note(&text(&own(wal)));
    }
}

fn text(log: &str) -> String {
    format!("{}\n{log}\n", std::process::id())
}

/// The path of the log as it is written in the note.
fn own(wal: &Path) -> String {
    std::path::absolute(wal).unwrap_or_else(|_| wal.to_path_buf()).display().to_string()
}

fn lock(disk: &dyn Disk, path: &Path) -> Result<Box<dyn Lock>> {
    let name = with_suffix(path, ".lock");
    let lock = disk.lock(&name).map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock => {
            let Note { pid, contact, .. } = note(disk, path);
            Error::Locked { path: path.to_path_buf(), pid, contact }
        }
        io::ErrorKind::NotFound => Error::io("the directory does not exist, create it first: locking", &name)(e),
        _ => Error::io("locking", &name)(e),
    })?;
    match is_note(disk, &name).map_err(Error::io("reading", &name))? {
        true => Ok(lock),
        false => Err(Error::foreign(&name, "the store needs this name for a lock file, but another file has it")),
    }
}

/// Whether the file is empty or holds a note. A power cut can leave zeros in place of a note, so they count as one.
fn is_note(disk: &dyn Disk, name: &Path) -> io::Result<bool> {
    let Some(file) = disk.open_read(name)? else { return Ok(true) };
    let mut bytes = [0; 10];
    let got = read_full_at(&*file, 0, &mut bytes)?;
    Ok(bytes[..got].iter().take_while(|&&byte| byte != b'\n').all(|byte| byte.is_ascii_digit() || *byte == 0))
}

/// What a note says.
struct Note {
    pid: Option<u32>,
    log: Option<String>,
    contact: Option<String>,
}

/// The note beside `path`.
fn note(disk: &dyn Disk, path: &Path) -> Note {
    let mut bytes = [0; MOST_BYTES];
    let file = disk.open_read(&with_suffix(path, ".lock")).ok().flatten();
    let got = file.and_then(|file| read_full_at(&*file, 0, &mut bytes).ok()).unwrap_or(0);
    let text = String::from_utf8_lossy(&bytes[..got]);
    let mut lines = text.lines();
    let pid = lines.next().and_then(|line| line.trim().parse().ok());
    let mut line = || lines.next().map(str::to_string);
    Note { pid, log: line(), contact: line().filter(|line| !line.is_empty()) }
}
