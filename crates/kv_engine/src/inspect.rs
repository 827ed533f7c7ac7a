//! The files in a readable form: every record of a log with its place, the verdict on where the log ends, and a check
//! of both files.
//!
//! No lock is taken and no byte is changed, so the store may be running. A group that is being written at that moment
//! looks like a torn tail.

mod fields;
mod follow;
mod head;
mod kept_copies;
mod verify;

pub use crate::state::Operation;
pub use fields::{Field, header_fields, record_fields};
pub use follow::{Follow, Followed};
pub(crate) use head::{LogHead, SnapshotHead, log_head, snapshot_head};
pub use kept_copies::{kept_copies, kept_copy_warnings};
pub use verify::{Health, Verification, find_mismatch, verify};

use crate::disk::{Disk, File, OsDisk};
use crate::error::{Error, Result};
use crate::record::{HEADER_BYTES, Kind};
use crate::recovery::{LogTail, walk};
use crate::scan::Frame;
use crate::state;
use crate::{LOG_FORMAT, Seq, StoreId, snapshot, wal};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// The words for a log with [`LogSummary::ends_bare`], to follow its name.
///
/// ```
/// use kv_engine::inspect::BARE_END;
///
/// println!("kv.wal {BARE_END}");
/// ```
pub const BARE_END: &str = "ends right after its last write, without reserved space and without a mark: a write failed there \
                            (for example on a full disk), or the file was truncated";

/// A part of a log, as [`log`] shows it.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// # let engine = kv_engine::Options::new(&log, &snapshot).open()?;
/// # engine.put("x", "100")?;
/// # engine.delete("x")?;
/// # engine.close()?;
/// use kv_engine::inspect::{self, Entry};
///
/// inspect::log(&log, 0, |entry| {
///     match entry {
///         Entry::Header { base, .. } => println!("a log that begins after write {base}"),
///         Entry::Record(record) => println!("{} write {}", record.offset, record.seq),
///         Entry::Stop(tail) => println!("not valid from here on: {tail:?}"),
///         Entry::Beyond(record) => println!("{} would not be applied", record.offset),
///         _ => {}
///     }
///     std::ops::ControlFlow::Continue(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entry<'a> {
    /// The header of the file.
    Header {
        /// Its length in bytes.
        bytes: u64,
        /// The store it belongs to; `None` if that part of the header is damaged.
        store_id: Option<StoreId>,
        /// The format version.
        version: u32,
        /// The number of the write before the first one of this log.
        base: Seq,
        /// The damage of the header, if the records could be found all the same.
        damage: Option<String>,
    },
    /// A whole record.
    Record(Record<'a>),
    /// The first place that is not a valid record. The bytes from there on are not part of the state.
    Stop(LogTail),
    /// A whole record after that place. It would not be applied.
    Beyond(Record<'a>),
    /// From [`Follow`] only: a checkpoint replaced the log with these writes before they could be shown.
    Missed {
        /// The first of them.
        from: Seq,
        /// The last of them.
        to: Seq,
    },
}

/// A whole record, which passes all its checks; from [`Entry`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// # let engine = kv_engine::Options::new(&log, &snapshot).open()?;
/// # engine.put("x", "100")?;
/// # engine.delete("x")?;
/// # engine.close()?;
/// use kv_engine::inspect::{self, Entry};
/// use std::ops::ControlFlow;
///
/// let mut places = Vec::new();
/// inspect::log(&log, 0, |entry| {
///     if let Entry::Record(record) = entry {
///         places.push((record.offset, record.seq, record.durable));
///     }
///     ControlFlow::Continue(())
/// })?;
/// // opened, a put, a delete, closed
/// assert_eq!(places, [(64, 0, 0), (105, 1, 0), (151, 2, 1), (190, 2, 2)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record<'a> {
    /// Where it begins, in bytes from the start of the file.
    pub offset: u64,
    /// Its length in bytes, with its header.
    pub bytes: u64,
    /// Its sequence number. For a mark, the number of the write before it.
    pub seq: Seq,
    /// The last write that was known to be synced when the record was written.
    pub durable: Seq,
    /// Its CRC-32 values: of the header, of the body, and the link to the record before.
    pub checks: [u32; 3],
    /// Its content.
    pub content: Content<'a>,
}

/// The content of a record; in [`Record::content`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// # let engine = kv_engine::Options::new(&log, &snapshot).open()?;
/// # engine.put("x", "100")?;
/// # engine.delete("x")?;
/// # engine.close()?;
/// use kv_engine::inspect::{self, Content, Entry};
/// use std::ops::ControlFlow;
///
/// let (mut writes, mut marks) = (0, 0);
/// inspect::log(&log, 0, |entry| {
///     match entry {
///         Entry::Record(record) if matches!(record.content, Content::Write(_)) => writes += 1,
///         Entry::Record(_) => marks += 1,
///         _ => {}
///     }
///     ControlFlow::Continue(())
/// })?;
/// assert_eq!((writes, marks), (2, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content<'a> {
    /// A write: one operation, or an atomic batch of several.
    Write(Vec<Operation<'a>>),
    /// A mark: a process opened the log and wrote to it, or continued after a write that had failed for lack of space.
    Opened,
    /// A mark: the store was closed cleanly. Everything before it is durable.
    Closed,
    /// The checks hold, but the content is not possible.
    Impossible,
}

/// The summary of [`log`]. If `each` stopped, the summary ends there, and so do `tail` and `closed_cleanly`.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// # let engine = kv_engine::Options::new(&log, &snapshot).open()?;
/// # engine.put("x", "100")?;
/// # engine.delete("x")?;
/// # engine.close()?;
/// use kv_engine::inspect;
/// use std::ops::ControlFlow;
///
/// let seen = inspect::log(&log, 0, |_| ControlFlow::Continue(()))?;
/// assert_eq!((seen.writes, seen.last_seq, seen.closed_cleanly), (2, 2, true));
/// assert_eq!((seen.valid_bytes, seen.tail), (seen.file_bytes, kv_engine::LogTail::Clean));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogSummary {
    /// The store it belongs to; `None` if that part of the header is damaged.
    pub store_id: Option<StoreId>,
    /// Whole writes, up to the end or the first bad place.
    pub writes: u64,
    /// The number of the write before the first one of this log. If that part of the header is damaged: before the
    /// first one that was found.
    pub base: Seq,
    /// The number of the last write; `base` if there is none.
    pub last_seq: Seq,
    /// Length of the valid part, in bytes.
    pub valid_bytes: u64,
    /// Length of the file, in bytes.
    pub file_bytes: u64,
    /// Zeros at the end of the file: space reserved for later records.
    pub reserved_bytes: u64,
    /// Whether the last record is the mark of a clean close.
    pub closed_cleanly: bool,
    /// Whether the file ends right after a write, without reserved space and without a mark. A failed write leaves
    /// this, and so does a truncation of the file.
    pub ends_bare: bool,
    /// How it ends.
    pub tail: LogTail,
    /// The damage of the header, if the records could be found all the same.
    pub header_damage: Option<String>,
}

/// Shows the log at `path` entry by entry to `each`, which may stop. `snapshot_seq` is the last write that a snapshot
/// is known to hold, or 0 (see [`snapshot_seq`]). It helps to tell torn from damaged.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// use kv_engine::inspect::{self, Entry};
/// use std::ops::ControlFlow;
///
/// kv_engine::Options::new(&log, snapshot).open()?.put("x", "100")?;
/// let mut writes = Vec::new();
/// inspect::log(&log, 0, |entry| {
///     if let Entry::Record(record) = entry {
///         writes.push(record.seq);
///     }
///     ControlFlow::Continue(())
/// })?;
/// assert_eq!(writes, [0, 1, 1]); // opened, the put, closed
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Foreign`] and [`Error::Version`] for a file that cannot be read as a log, [`Error::Damaged`] if its records
/// cannot be found, [`Error::Io`], also if there is no file.
pub fn log(path: &Path, snapshot_seq: Seq, each: impl FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<LogSummary> {
    let file = OsDisk.open_read(path).map_err(Error::io("opening", path))?.ok_or_else(|| Error::missing(path))?;
    log_in(file, path, snapshot_seq, each)
}

/// As [`log`], for a file that is open already, on any [disk](crate::disk). Errors name it `path`.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// use kv_engine::disk::{Disk, OsDisk};
/// use kv_engine::inspect;
/// use std::ops::ControlFlow;
///
/// kv_engine::Options::new(&log, snapshot).open()?.put("x", "100")?;
/// let file = OsDisk.open_read(&log)?.expect("an open store has a log");
/// assert_eq!(inspect::log_in(file, &log, 0, |_| ControlFlow::Continue(()))?.writes, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`log`].
pub fn log_in(
    file: Arc<dyn File>,
    path: &Path,
    snapshot_seq: Seq,
    mut each: impl FnMut(Entry<'_>) -> ControlFlow<()>,
) -> Result<LogSummary> {
    if file.size().map_err(Error::io("reading", path))? == 0 {
        return Err(Error::damaged(path, 0, "the log is an empty file; a crash does not cause this"));
    }
    let head = log_head(&file, path)?;
    let mut frames = head.frames(file, path)?;
    let LogHead { header, is_known, damage, .. } = head;
    let mut summary = LogSummary {
        store_id: is_known.then_some(header.store_id),
        writes: 0,
        base: header.base,
        last_seq: header.base,
        valid_bytes: 0,
        file_bytes: frames.file_len(),
        reserved_bytes: 0,
        closed_cleanly: false,
        ends_bare: false,
        tail: LogTail::Clean,
        header_damage: damage.clone(),
    };
    let mut flow = each(Entry::Header {
        bytes: wal::HEADER_BYTES as u64,
        store_id: summary.store_id,
        version: LOG_FORMAT,
        base: header.base,
        damage,
    });
    let mut stopped = flow.is_break();
    if !stopped {
        let walked = walk(&mut frames, snapshot_seq, |frame| {
            summary.writes += u64::from(frame.header.kind == Kind::WRITE);
            flow = each(Entry::Record(Record::of(frame)));
            Ok(flow)
        })?;
        stopped = walked.stopped;
        (summary.tail, summary.ends_bare, summary.closed_cleanly) = (walked.tail, walked.ends_bare, walked.closed_cleanly);
    }
    if summary.tail != LogTail::Clean {
        flow = each(Entry::Stop(summary.tail.clone()));
        frames.look_beyond(|frame| {
            if flow.is_continue() {
                flow = each(Entry::Beyond(Record::of(&frame)));
            }
        })?;
    }
    summary.last_seq = frames.last();
    summary.valid_bytes = frames.offset();
    if !stopped {
        summary.reserved_bytes = frames.file_len() - frames.content_end()?;
    }
    Ok(summary)
}

impl<'a> Record<'a> {
    fn of(frame: &Frame<'a>) -> Record<'a> {
        let header = &frame.header;
        let content = match header.kind {
            Kind::OPENED => Content::Opened,
            Kind::CLOSED => Content::Closed,
            Kind::WRITE => state::decode(frame.body)
                .map_or(Content::Impossible, |ops| Content::Write(ops.into_iter().map(state::OpRef::into_operation).collect())),
            _ => Content::Impossible,
        };
        Record {
            offset: frame.offset,
            bytes: (HEADER_BYTES + frame.body.len()) as u64,
            seq: header.seq,
            durable: header.durable,
            checks: [header.check, header.body_check, header.link],
            content,
        }
    }
}

/// The last write in the snapshot at `path`, from its header; 0 if there is no snapshot or its header cannot be read.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// use kv_engine::inspect::snapshot_seq;
///
/// let engine = kv_engine::Options::new(log, &snapshot).open()?;
/// assert_eq!(snapshot_seq(&snapshot), 0);
/// engine.put("x", "100")?;
/// engine.snapshot()?;
/// assert_eq!(snapshot_seq(&snapshot), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn snapshot_seq(path: &Path) -> Seq {
    let file = OsDisk.open_read(path).ok().flatten();
    let header = file.and_then(|file| snapshot::read_header(&*file, path).ok());
    header.map_or(0, |header| header.seq)
}
