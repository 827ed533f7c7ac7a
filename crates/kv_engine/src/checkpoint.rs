//! Checkpoints: a new snapshot out of the old one and the log, and a new log that goes on behind it. Both are
//! made from the files, so the state in memory is not touched and writers go on meanwhile.
//!
//! Order of steps; a crash or an error between any two of them leaves a store that opens to the
//! same state:
//! 1. [`merge`]: everything up to write S is durable. The writes of the log up to S are sorted by key and merged
//!    with the entries of the old snapshot into the new one, which is the state after exactly S; see
//!    `snapshot` for how it takes the old one's place;
//! 2. [`Successor::begin`]: a new log with base S is made in a scratch file;
//! 3. [`Successor::catch_up`]: the records behind S are copied into it, and synced, while writers go on, until
//!    little is left;
//! 4. with writers paused and everything durable: the rest is copied and synced;
//! 5. [`Successor::take_over`]: renamed, directory synced. Only now has the log let go of what the
//!    snapshot holds. A crash before leaves records that the snapshot holds too; opening skips them.
//!
//! Every byte that is read on the way is checked: damage ends the checkpoint and releases nothing.

mod delta;

use crate::Seq;
use crate::disk::{Disk, ReadMode, WINDOW_BYTES};
use crate::error::{Error, Result};
use crate::record::{Body, Fault, Kind};
use crate::scan::{Frames, Next};
use crate::snapshot::{self, Draft, Form, Writer};
use crate::state::OpRef;
use crate::wal::{LogEnd, NewLog, Wal};
use delta::Delta;
use std::io;
use std::iter::Peekable;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// So little may be left to copy while writers wait.
const LITTLE_BYTES: u64 = 64 << 10;
/// Copied records are handed to the operating system when they are so many bytes.
const WRITE_BYTES: usize = 1 << 20;

/// Step 1: saves the state after the last write of `log` as the new snapshot.
///
/// `held` is what the snapshot says of itself that this store opened or wrote last. The checkpoint builds on that one and
/// on nothing else that may have its name by now.
///
/// # Errors
/// [`Error::Replaced`] where it is another one. [`Error::Poisoned`] as [`snapshot::replace`]; after any other
/// error log and old snapshot are as they were.
pub(crate) fn merge(
    disk: &dyn Disk,
    log: &LogEnd,
    wal_path: &Path,
    snapshot_path: &Path,
    form: Form,
    held: Option<&snapshot::Header>,
    go_on: &dyn Fn() -> Result<()>,
) -> Result<snapshot::Header> {
    const NOT_TAKEN: &str = "no snapshot was taken, the log and the old snapshot are as they were: reading";
    merged(disk, log, wal_path, snapshot_path, form, held, go_on).map_err(|error| match error {
        Error::Io { doing: "reading" | "opening", path, source } => Error::Io { doing: NOT_TAKEN, path, source },
        error => error,
    })
}

fn merged(
    disk: &dyn Disk,
    log: &LogEnd,
    wal_path: &Path,
    snapshot_path: &Path,
    form: Form,
    held: Option<&snapshot::Header>,
    go_on: &dyn Fn() -> Result<()>,
) -> Result<snapshot::Header> {
    let old = disk.open_read(snapshot_path).map_err(Error::io("opening", snapshot_path))?;
    let found = old.as_ref().map(|file| snapshot::read_header(&**file, snapshot_path)).transpose()?;
    check_held(snapshot_path, held, found.as_ref())?;
    let held = held.map_or(0, |header| header.seq);
    let start = log.start();
    let log_bytes = log.at - start.at;
    let mut delta = Delta::with_capacity(usize::try_from(log_bytes).unwrap_or(usize::MAX));
    read_log(&start, log, wal_path, ahead(log_bytes), |seq, body| {
        go_on()?;
        let taken = if seq > held { delta.add(body) } else { Some(()) };
        taken.ok_or_else(|| Error::damaged(wal_path, 0, Fault::Content.to_string()))
    })?;
    let mut failure = None;
    let mut delta = delta.sorted().peekable();
    let saved = snapshot::replace(disk, snapshot_path, Draft::new(form, log.store_id, log.seq), old.as_deref(), |writer| {
        let mut stop = |error| {
            failure = Some(error);
            io::Error::other("broken off")
        };
        if let Some(file) = old.clone() {
            let file_bytes = file.size()?;
            let mut written = Ok(());
            let merged = snapshot::load_ahead(file, snapshot_path, ahead(file_bytes), ReadMode::Direct, |_, entry| {
                written = go_on().map_err(&mut stop).and_then(|()| merge_one(writer, &mut delta, entry));
                if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            written?;
            merged.map_err(stop)?;
        }
        delta.try_for_each(|op| add(writer, op))
    });
    failure.map_or(saved, Err)
}

/// Whether the snapshot that was found is the one that this store opened or wrote last.
fn check_held(path: &Path, held: Option<&snapshot::Header>, found: Option<&snapshot::Header>) -> Result<()> {
    if held == found {
        return Ok(());
    }
    let reason = match (held, found) {
        (held, None) => {
            let held = held.map_or(0, |header| header.seq);
            format!("the snapshot of write {held}, from which this store goes on, is gone")
        }
        (None, Some(found)) => format!("a snapshot of write {} is there, which this store did not write", found.seq),
        (Some(held), Some(found)) if held.store_id != found.store_id => "this is the snapshot of another store".to_string(),
        (Some(held), Some(found)) if held.seq == found.seq => {
            format!("this is another snapshot of write {} than the one from which this store goes on", held.seq)
        }
        (Some(held), Some(found)) => {
            let age = if found.seq < held.seq { "an older" } else { "a newer" };
            format!("this is {age} snapshot, of write {}; this store goes on from the one of write {}", found.seq, held.seq)
        }
    };
    Err(Error::Replaced { path: path.to_path_buf(), reason })
}

/// Writes what comes before an entry of the old snapshot, and the entry unless the log knows better.
fn merge_one<'a>(writer: &mut Writer, delta: &mut Peekable<impl Iterator<Item = OpRef<'a>>>, entry: OpRef<'_>) -> io::Result<()> {
    while let Some(op) = delta.next_if(|op| op.key < entry.key) {
        add(writer, op)?;
    }
    add(writer, delta.next_if(|op| op.key == entry.key).unwrap_or(entry))
}

fn add(writer: &mut Writer, op: OpRef<'_>) -> io::Result<()> {
    op.value.map_or(Ok(()), |value| writer.add(op.key, value))
}

/// How much another thread reads at once of so many bytes, ahead of whoever needs them; 0: there is none.
fn ahead(bytes: u64) -> usize {
    /// A thread is started for some milliseconds of work, not for less.
    const ALONE_BYTES: u64 = 4 << 20;
    // Threads are not known to those who explore schedules.
    if bytes < ALONE_BYTES || cfg!(shuttle) { 0 } else { WINDOW_BYTES }
}

/// Hands over the sequence number and the body of each write between two places of a log.
fn read_log(from: &LogEnd, to: &LogEnd, path: &Path, ahead: usize, mut each: impl FnMut(Seq, &[u8]) -> Result<()>) -> Result<()> {
    let mut frames = Frames::new(Arc::clone(&from.file), path, Kind::WRITE, from.salt, from.at, from.seq)?.behind(from.link);
    frames.read_ahead(ahead, ReadMode::Cached); // it was just written
    while frames.offset() < to.at {
        match frames.next()? {
            Next::Frame(frame) if frame.header.kind == Kind::WRITE => {
                each(frame.header.seq, frame.body)?;
            }
            Next::Frame(_) => {}
            stop @ (Next::Bad(_) | Next::End) => {
                let what = if let Next::Bad(fault) = stop { fault.to_string() } else { "the log ends early".to_string() };
                let reason = format!("{what}, where it had been synced; no checkpoint was made, nothing was released");
                return Err(Error::damaged(path, frames.offset(), reason));
            }
        }
    }
    Ok(())
}

/// A log that will take the place of the present one.
pub(crate) struct Successor<'a> {
    begun: NewLog<'a>,
    /// How far the present log is copied.
    copied: LogEnd,
    /// Whether all that is in it is durable.
    synced: bool,
}

impl<'a> Successor<'a> {
    /// Step 2: `behind` is the end of the writes that the snapshot holds.
    pub(crate) fn begin(disk: &'a dyn Disk, path: &Path, behind: LogEnd) -> Result<Successor<'a>> {
        Ok(Successor { begun: Wal::begin(disk, path, behind.store_id, behind.seq)?, copied: behind, synced: false })
    }

    /// Whether little is left up to `end`.
    pub(crate) fn is_close_to(&self, end: &LogEnd) -> bool {
        end.at - self.copied.at <= LITTLE_BYTES
    }

    /// Steps 3 and 4: copies what was synced up to `end`.
    pub(crate) fn catch_up(&mut self, disk: &dyn Disk, path: &Path, end: LogEnd) -> Result<()> {
        let tmp = self.begun.scratch_path().to_path_buf();
        let copying = || Error::io("the log is as it was, the snapshot is new: copying the end of the log to", &tmp);
        let (wal, synced) = (&mut self.begun.wal, &mut self.synced);
        read_log(&self.copied, &end, path, 0, |seq, body| {
            // Durable in the present log, and in this one before it gets the log's name.
            let body = Body::new(body, wal.salt());
            *synced = false;
            wal.append(Kind::WRITE, seq, seq - 1, || disk.entropy(), &body);
            if wal.buffered_bytes() >= WRITE_BYTES { copy_out(wal).map_err(copying()) } else { Ok(()) }
        })?;
        self.copied = end;
        if !*synced {
            copy_out(wal).and_then(|()| wal.file().sync()).map_err(copying())?;
            *synced = true;
        }
        Ok(())
    }

    /// Step 5.
    pub(crate) fn take_over(self) -> Result<Wal> {
        assert!(self.synced, "a log gets its name when what is in it is durable");
        self.begun.put_in_place()
    }
}

fn copy_out(wal: &mut Wal) -> io::Result<()> {
    let mut group = wal.take();
    group.write_tmp()?;
    wal.complete(group);
    Ok(())
}

impl LogEnd {
    /// The beginning of the same log.
    fn start(&self) -> LogEnd {
        LogEnd { file: Arc::clone(&self.file), at: crate::wal::HEADER_BYTES as u64, link: self.salt, seq: self.base, ..*self }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
