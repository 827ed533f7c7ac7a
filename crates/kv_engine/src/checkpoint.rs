//! A checkpoint: it makes a new snapshot out of the old one and the log, then a new log that continues after it.
//!
//! It works from the files. So it does not touch the state in memory, and writers go on in the meantime.
//!
//! The steps. Everything is made durable first, and S is the last durable write then. After a crash or an error between
//! any two steps, the store still opens to the same state.
//! 1. [`merge`]: the writes of the log up to S are sorted by key and merged with the entries of the old snapshot. The
//!    result is the new snapshot, the state right after S. `snapshot.rs` describes how it replaces the old one.
//! 2. [`Successor::begin`]: a new log with base S is begun in a scratch file.
//! 3. [`Successor::catch_up`]: the records after S are copied into it and synced. Writers go on, and this is repeated
//!    until little is left.
//! 4. Writers are paused and everything is made durable. The rest is copied and synced.
//! 5. [`Successor::take_over`]: the new log is renamed and the directory synced. Only now are the writes up to S
//!    removed from the log. A crash before this leaves records that the snapshot also holds; opening skips them.
//!
//! Every byte that is read is checked. Damage ends the checkpoint, and nothing is removed.

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

/// At most this much may be left to copy while writers wait.
const LITTLE_BYTES: u64 = 64 << 10;
/// Copied records are written in portions of about this size.
const WRITE_BYTES: usize = 1 << 20;

/// Step 1: saves the state after the last write of `log` as the new snapshot.
///
/// `base` is the header of the snapshot that this store opened or wrote last. The checkpoint builds on that snapshot
/// only. `check_cancel` is called for each write and entry; its error ends the checkpoint.
///
/// # Errors
/// [`Error::Replaced`] if another snapshot has the name now. [`Error::Poisoned`] as [`snapshot::replace`]. After any
/// other error the log and the old snapshot are unchanged.
pub(crate) fn merge(
    disk: &dyn Disk,
    log: &LogEnd,
    wal_path: &Path,
    snapshot_path: &Path,
    form: Form,
    base: Option<&snapshot::Header>,
    check_cancel: &dyn Fn() -> Result<()>,
) -> Result<snapshot::Header> {
    const NOT_TAKEN: &str = "no snapshot was taken, the log and the old snapshot are as they were: reading";
    merged(disk, log, wal_path, snapshot_path, form, base, check_cancel).map_err(|error| match error {
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
    base: Option<&snapshot::Header>,
    check_cancel: &dyn Fn() -> Result<()>,
) -> Result<snapshot::Header> {
    let old = disk.open_read(snapshot_path).map_err(Error::io("opening", snapshot_path))?;
    let found = old.as_ref().map(|file| snapshot::read_header(&**file, snapshot_path)).transpose()?;
    check_base(snapshot_path, base, found.as_ref())?;
    let held = base.map_or(0, |header| header.seq);
    let start = log.start();
    let log_bytes = log.at - start.at;
    let mut delta = Delta::with_capacity(usize::try_from(log_bytes).unwrap_or(usize::MAX));
    read_log(&start, log, wal_path, ahead(log_bytes), |seq, body| {
        check_cancel()?;
        let taken = if seq > held { delta.add(body) } else { Some(()) };
        taken.ok_or_else(|| Error::damaged(wal_path, 0, Fault::Content.to_string()))
    })?;
    let mut failure = None;
    let mut delta = delta.sorted().peekable();
    let saved = snapshot::replace(disk, snapshot_path, Draft::new(form, log.store_id, log.seq), old.as_deref(), |writer| {
        let mut stop = |error| {
            failure = Some(error);
            io::Error::other("cancelled")
        };
        if let Some(file) = old.clone() {
            let file_bytes = file.size()?;
            let mut written = Ok(());
            let merged = snapshot::load_ahead(file, snapshot_path, ahead(file_bytes), ReadMode::Direct, |_, entry| {
                written = check_cancel().map_err(&mut stop).and_then(|()| merge_one(writer, &mut delta, entry));
                if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            written?;
            merged.map_err(stop)?;
        }
        delta.try_for_each(|op| add(writer, op))
    });
    failure.map_or(saved, Err)
}

/// Checks that the snapshot under this name is the one that this store opened or wrote last.
fn check_base(path: &Path, base: Option<&snapshot::Header>, found: Option<&snapshot::Header>) -> Result<()> {
    if base == found {
        return Ok(());
    }
    let reason = match (base, found) {
        (base, None) => {
            let held = base.map_or(0, |header| header.seq);
            format!("the snapshot of write {held}, on which this store builds, is gone")
        }
        (None, Some(found)) => format!("there is a snapshot of write {}, which this store did not write", found.seq),
        (Some(base), Some(found)) if base.store_id != found.store_id => "this is the snapshot of another store".to_string(),
        (Some(base), Some(found)) if base.seq == found.seq => {
            format!("this is not the snapshot of write {} on which this store builds, but another one", base.seq)
        }
        (Some(base), Some(found)) => {
            let age = if found.seq < base.seq { "an older" } else { "a newer" };
            format!("this is {age} snapshot, of write {}; this store builds on the one of write {}", found.seq, base.seq)
        }
    };
    Err(Error::Replaced { path: path.to_path_buf(), reason })
}

/// Writes the operations before an entry of the old snapshot, then the entry, or the operation of the log on its key.
fn merge_one<'a>(writer: &mut Writer, delta: &mut Peekable<impl Iterator<Item = OpRef<'a>>>, entry: OpRef<'_>) -> io::Result<()> {
    while let Some(op) = delta.next_if(|op| op.key < entry.key) {
        add(writer, op)?;
    }
    add(writer, delta.next_if(|op| op.key == entry.key).unwrap_or(entry))
}

fn add(writer: &mut Writer, op: OpRef<'_>) -> io::Result<()> {
    op.value.map_or(Ok(()), |value| writer.add(op.key, value))
}

/// How much a separate thread reads ahead at once, for a file of this length; 0: there is none.
fn ahead(bytes: u64) -> usize {
    /// A thread is started only for work of some milliseconds.
    const ALONE_BYTES: u64 = 4 << 20;
    // The exploration of schedules does not know this thread.
    if bytes < ALONE_BYTES || cfg!(shuttle) { 0 } else { WINDOW_BYTES }
}

/// Gives the sequence number and the body of each write between two places of a log to `each`.
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
                let reason = format!("{what}, although this place had been synced; no checkpoint was taken, and the log is kept");
                return Err(Error::damaged(path, frames.offset(), reason));
            }
        }
    }
    Ok(())
}

/// A log that will replace the present one.
pub(crate) struct Successor<'a> {
    begun: NewLog<'a>,
    /// The place up to which the present log is copied.
    copied: LogEnd,
    /// Whether everything in it is durable.
    synced: bool,
}

impl<'a> Successor<'a> {
    /// Step 2. `end` is the end of the writes that the snapshot holds.
    pub(crate) fn begin(disk: &'a dyn Disk, path: &Path, end: LogEnd) -> Result<Successor<'a>> {
        Ok(Successor { begun: Wal::begin(disk, path, end.store_id, end.seq)?, copied: end, synced: false })
    }

    /// Whether little is left up to `end`.
    pub(crate) fn is_close_to(&self, end: &LogEnd) -> bool {
        end.at - self.copied.at <= LITTLE_BYTES
    }

    /// Steps 3 and 4: copies the records up to `end`, which are synced.
    pub(crate) fn catch_up(&mut self, disk: &dyn Disk, path: &Path, end: LogEnd) -> Result<()> {
        let tmp = self.begun.scratch_path().to_path_buf();
        let copying = || Error::io("the new snapshot is in place, the log is unchanged: copying the end of the log to", &tmp);
        let (wal, synced) = (&mut self.begun.wal, &mut self.synced);
        read_log(&self.copied, &end, path, 0, |seq, body| {
            // The write is durable in the present log, and will be durable in this one before it gets the log's name.
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
        assert!(self.synced, "a log gets its name only when everything in it is durable");
        self.begun.put_in_place()
    }
}

fn copy_out(wal: &mut Wal) -> io::Result<()> {
    let mut group = wal.take();
    group.write_tmp()?;
    wal.complete(group);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
