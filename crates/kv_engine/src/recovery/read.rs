//! Steps 2 to 4 of opening: load the snapshot, replay the log, decide how it ends. No file is changed here.

use super::applier::{Applier, Progress};
use super::log_header::read_header;
use super::log_tail::LogTail;
use super::pair::{check_same_store, find_divergence};
use super::parallel_replay::{Plan, fill};
use super::report::RecoveryReport;
use super::walk::walk;
use crate::disk::{File, ReadMode};
use crate::error::{Error, Result};
use crate::record::{Fault, Kind};
use crate::scan::Frames;
use crate::snapshot::{self, Paged};
use crate::state::{self, Map};
use crate::{Seq, wal};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// The files to read.
pub(super) struct Files<'a> {
    pub(super) wal_path: &'a Path,
    pub(super) wal: Option<Arc<dyn File>>,
    pub(super) snapshot_path: &'a Path,
    pub(super) snapshot: Option<Arc<dyn File>>,
    pub(super) keep: Keep,
}

/// Where the values of the snapshot are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    InMemory,
    /// In the snapshot. This much memory caches the blocks that were read.
    OnDisk {
        cache_bytes: usize,
    },
}

/// What was found in the files.
pub(super) struct Found {
    pub(super) state: Map,
    pub(super) snapshot: Option<snapshot::Header>,
    /// The snapshot, if its values stay in it and it has an index.
    pub(super) base: Option<Paged>,
    pub(super) log: Option<LogEnd>,
}

/// Where the valid part of a log ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LogEnd {
    pub(super) header: wal::Header,
    pub(super) end: u64,
    pub(super) link: u32,
    pub(super) last: Seq,
}

/// Reads both files. `plan` says, from their length, how many cores share the work.
pub(super) fn read(
    files: &Files<'_>,
    plan: impl FnOnce(u64) -> Plan,
    progress: &Progress,
    report: &mut RecoveryReport,
) -> Result<Found> {
    let size =
        |file: &Option<Arc<dyn File>>, path| file.as_ref().map_or(Ok(0), |file| file.size()).map_err(Error::io("reading", path));
    let (snapshot_bytes, log_bytes) = (size(&files.snapshot, files.snapshot_path)?, size(&files.wal, files.wal_path)?);
    let total = snapshot_bytes + log_bytes;
    let plan = plan(total);
    let mut state = Map::default();
    let (snapshot, base, log) = fill(&mut state, plan, |sink| {
        let mut applier = Applier::new(sink, progress, total, files.keep != Keep::InMemory);
        let (snapshot, base) = match files.snapshot.clone() {
            None => (None, None),
            Some(file) => load(file, files, plan, &mut applier)?,
        };
        if let Some(header) = snapshot {
            report.snapshot_seq = header.seq;
            report.snapshot_keys = header.entries;
            report.snapshot_bytes = header.file_len().unwrap_or(0);
            report.last_seq = header.seq;
        }
        applier.next_file(snapshot_bytes);
        // An empty file holds nothing. `mktemp` makes one; a crash never leaves an empty log.
        let file = files.wal.as_ref().filter(|_| log_bytes > 0);
        let log = file.map(|file| replay(file, files, snapshot.as_ref(), plan, &mut applier, report)).transpose()?;
        Ok::<_, Error>((snapshot, base, log))
    })?;
    Ok(Found { state, snapshot, base, log })
}

/// Reads the snapshot: all entries into memory, or only the root of its index.
fn load(
    file: Arc<dyn File>,
    files: &Files<'_>,
    plan: Plan,
    applier: &mut Applier<'_, '_>,
) -> Result<(Option<snapshot::Header>, Option<Paged>)> {
    let path = files.snapshot_path;
    let Keep::OnDisk { cache_bytes } = files.keep else {
        let header = snapshot::load_ahead(file, path, plan.ahead, ReadMode::Cached, |at, op| {
            applier.apply(at, op);
            if applier.has_memory() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        applier.check_memory(path)?;
        return Ok((header, None));
    };
    let base = Paged::open(Arc::clone(&file), path, cache_bytes)?;
    let header = base.as_ref().map_or_else(|| snapshot::read_header(&*file, path), |base| Ok(*base.header()))?;
    Ok((Some(header), base))
}

/// Applies the log and decides how it ends.
fn replay(
    file: &Arc<dyn File>,
    files: &Files<'_>,
    snapshot: Option<&snapshot::Header>,
    plan: Plan,
    applier: &mut Applier<'_, '_>,
    report: &mut RecoveryReport,
) -> Result<LogEnd> {
    let path = files.wal_path;
    let header = read_header(&**file, path)?;
    check_same_store(path, files.snapshot_path, &header, snapshot)?;
    if let Some(held) = &files.snapshot
        && let Some(error) = find_divergence(path, file, &header, files.snapshot_path, held)?
    {
        return Err(error);
    }
    let mut frames = Frames::new(Arc::clone(file), path, Kind::WRITE, header.salt, wal::HEADER_BYTES as u64, header.base)?;
    frames.read_ahead(plan.ahead, ReadMode::Cached);
    let walked = walk(&mut frames, report.snapshot_seq, |frame| {
        applier.look(frame.offset);
        if frame.header.kind != Kind::WRITE {
            return Ok(ControlFlow::Continue(()));
        }
        if frame.header.seq <= report.snapshot_seq {
            report.skipped += 1;
            return Ok(ControlFlow::Continue(()));
        }
        if state::decode_each(frame.body, |op| applier.apply(frame.offset, op)).is_none() {
            let reason = format!("{}, although its checksums hold; not opened, nothing changed", Fault::Content);
            return Err(Error::damaged(path, frame.offset, reason));
        }
        applier.check_memory(path)?;
        report.replayed += 1;
        report.last_seq = frame.header.seq;
        Ok(ControlFlow::Continue(()))
    })?;
    (report.tail, report.ends_bare) = (walked.tail, walked.ends_bare);
    // The file is locked, so it does not change. A read that ended before the end of the file is an error.
    if frames.file_len() < file.size().map_err(Error::io("reading", path))? {
        return Err(Error::io("reading", path)(io::ErrorKind::UnexpectedEof.into()));
    }
    report.log_bytes = frames.offset();
    let nothing_was_written = report.log_bytes == wal::HEADER_BYTES as u64 && report.tail == LogTail::Clean;
    report.closed_cleanly = walked.closed_cleanly || nothing_was_written;
    Ok(LogEnd { header, end: frames.offset(), link: frames.link(), last: frames.last() })
}
