//! Steps 2 to 4 of opening: the snapshot, the log, the verdict. Nothing is changed here.

use super::applier::{Applier, Progress};
use super::pair::diverged;
use super::parallel_replay::{Plan, fill};
use super::{LogTail, RecoveryReport, Truncation};
use crate::disk::{File, ReadMode, read_full_at};
use crate::error::{Error, Result};
use crate::record::{Fault, Kind};
use crate::scan::{Frames, Next};
use crate::snapshot::{self, Paged};
use crate::state::{self, Map};
use crate::{Seq, wal};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// What is to be read.
pub(super) struct Files<'a> {
    pub(super) wal_path: &'a Path,
    pub(super) wal: Option<Arc<dyn File>>,
    pub(super) snapshot_path: &'a Path,
    pub(super) snapshot: Option<Arc<dyn File>>,
    pub(super) keep: Keep,
}

/// Where the values of the snapshot are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    InMemory,
    /// In the snapshot; so much memory is for what was read of it.
    OnDisk {
        cache_bytes: usize,
    },
}

/// What was in it.
pub(super) struct Found {
    pub(super) state: Map,
    pub(super) snapshot: Option<snapshot::Header>,
    /// The snapshot, where its values stay in it and it has an index.
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

/// Reads both files, spread over the cores as `plan` says for their length.
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
        // An empty file, as `mktemp` makes one, holds nothing; a log is never left empty by a crash.
        let file = files.wal.as_ref().filter(|_| log_bytes > 0);
        let log = file.map(|file| replay(file, files, snapshot.as_ref(), plan, &mut applier, report)).transpose()?;
        Ok::<_, Error>((snapshot, base, log))
    })?;
    Ok(Found { state, snapshot, base, log })
}

/// The snapshot: its entries in memory, or only what finding them needs.
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

/// Applies the log and judges its end.
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
    check_pair(path, files.snapshot_path, &header, snapshot)?;
    if let Some(held) = &files.snapshot
        && let Some(error) = diverged(path, file, &header, files.snapshot_path, held)?
    {
        return Err(error);
    }
    let mut frames = Frames::new(Arc::clone(file), path, Kind::WRITE, header.salt, wal::HEADER_BYTES as u64, header.base)?;
    frames.read_ahead(plan.ahead, ReadMode::Cached);
    let mut is_behind_write = false;
    loop {
        match frames.next()? {
            Next::End => {
                report.ends_bare = is_behind_write && frames.offset() == frames.file_len();
                break;
            }
            Next::Bad(fault) => {
                report.tail = Truncation::judge(&mut frames, fault, report.snapshot_seq)?;
                report.closed_cleanly = false;
                break;
            }
            Next::Frame(frame) => {
                applier.look(frame.offset);
                is_behind_write = frame.header.kind == Kind::WRITE;
                report.closed_cleanly = frame.header.kind == Kind::CLOSED;
                if frame.header.kind != Kind::WRITE {
                    continue;
                }
                if frame.header.seq <= report.snapshot_seq {
                    report.skipped += 1;
                    continue;
                }
                if state::decode_each(frame.body, |op| applier.apply(frame.offset, op)).is_none() {
                    let reason = format!("{}, although its checksums hold; not opened, nothing changed", Fault::Content);
                    return Err(Error::damaged(path, frame.offset, reason));
                }
                applier.check_memory(path)?;
                report.replayed += 1;
                report.last_seq = frame.header.seq;
            }
        }
    }
    // Nobody else changes the file, so reads that end before it does are no end of the log.
    if frames.file_len() < file.size().map_err(Error::io("reading", path))? {
        return Err(Error::io("reading", path)(io::ErrorKind::UnexpectedEof.into()));
    }
    report.log_bytes = frames.offset();
    report.closed_cleanly |= report.log_bytes == wal::HEADER_BYTES as u64 && report.tail == LogTail::Clean; // nothing was written
    Ok(LogEnd { header, end: frames.offset(), link: frames.link(), last: frames.last() })
}

/// Reads the header of the log `file`.
pub(crate) fn read_header(file: &dyn File, path: &Path) -> Result<wal::Header> {
    let mut bytes = [0; wal::HEADER_BYTES];
    let got = read_full_at(file, 0, &mut bytes).map_err(Error::io("reading", path))?;
    wal::Header::decode(path, &bytes[..got])
}

/// Whether a log and a snapshot can be one store.
pub(crate) fn check_pair(
    wal_path: &Path,
    snapshot_path: &Path,
    log: &wal::Header,
    snapshot: Option<&snapshot::Header>,
) -> Result<()> {
    let mismatch =
        |reason: String| Error::Mismatch { wal: wal_path.to_path_buf(), snapshot: snapshot_path.to_path_buf(), reason };
    match snapshot {
        Some(snapshot) if snapshot.store_id != log.store_id => {
            Err(mismatch(format!("the log is of store {}, the snapshot of store {}", log.store_id, snapshot.store_id)))
        }
        Some(snapshot) if snapshot.seq < log.base => Err(mismatch(format!(
            "the log begins after write {}, the snapshot ends with write {}; the snapshot is older than the one that was here",
            log.base, snapshot.seq
        ))),
        None if log.base > 0 => Err(mismatch(format!(
            "the log begins after write {}, and the snapshot that holds the writes before is missing",
            log.base
        ))),
        _ => Ok(()),
    }
}
