//! The files as a person reads them: every record of a log in order, with its place and the
//! verdict on where the log stops; and a check of both files. Nothing here takes a lock or changes
//! a byte, so it may look at the files of a running store; a group that is just being written then
//! looks like a torn tail.

mod fields;
mod follow;
mod head;
mod kept_copies;
mod verify;

pub use fields::{Field, header_fields, record_fields};
pub use follow::{Follow, Followed};
pub(crate) use head::{LogHead, SnapshotHead, log_head, snapshot_head};
pub use kept_copies::{kept_copies, said_of_kept_copies};
pub use verify::{Health, Verification, lacking, verify};

use crate::disk::{Disk, File, OsDisk, read_full_at};
use crate::error::{Error, Result};
use crate::record::{HEADER_BYTES, Kind};
use crate::recovery::{LogTail, Truncation};
use crate::scan::{Frame, Next};
use crate::state;
use crate::{LOG_FORMAT, Seq, StoreId, snapshot, wal};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// Something that stands in a log, as [`log`] shows it.
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
///         Entry::Stop(tail) => println!("stops here: {tail:?}"),
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
    /// The head of the file.
    Header {
        /// Its length in bytes.
        bytes: u64,
        /// The store it belongs to; `None` when the header is damaged and does not say it any more.
        store_id: Option<StoreId>,
        /// The format version.
        version: u32,
        /// Sequence number of the write before the first one of this log.
        base: Seq,
        /// What is wrong with it, when the records could be found all the same.
        damage: Option<String>,
    },
    /// A whole record.
    Record(Record<'a>),
    /// The first place that is not a record; what follows is not part of the state.
    Stop(LogTail),
    /// A whole record behind that place. It would not be applied.
    Beyond(Record<'a>),
    /// From [`Follow`] only: these writes were checkpointed, and their log replaced, before they could be shown.
    Missed {
        /// The first of them.
        from: Seq,
        /// The last of them.
        to: Seq,
    },
}

/// A whole record: all its checks hold. From [`Entry`].
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
    /// Its length with its head, in bytes.
    pub bytes: u64,
    /// Its sequence number; that of the write before for anything but a write.
    pub seq: Seq,
    /// The last write that was known to be synced when the record was made.
    pub durable: Seq,
    /// Its CRC-32 values: of the head, of the body, and the link to the record before.
    pub checks: [u32; 3],
    /// What it says.
    pub content: Content<'a>,
}

/// What a record says; in [`Record::content`].
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
    /// A process opened the log and wrote to it, or went on behind a write that had found no room.
    Opened,
    /// The store was closed in order; everything before is durable.
    Closed,
    /// The checks hold and yet it makes no sense.
    Impossible,
}

/// One operation of a write; in [`Content::Write`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// # let engine = kv_engine::Options::new(&log, &snapshot).open()?;
/// # engine.put("x", "100")?;
/// # engine.delete("x")?;
/// # engine.close()?;
/// use kv_engine::inspect::{self, Content, Entry, Operation, Record};
/// use std::ops::ControlFlow;
///
/// let mut said = Vec::new();
/// inspect::log(&log, 0, |entry| {
///     if let Entry::Record(Record { content: Content::Write(operations), .. }) = entry {
///         said.extend(operations.iter().map(|operation| match operation {
///             Operation::Put { key, value } => format!("put {} B, {} B", key.len(), value.len()),
///             Operation::Delete { key } => format!("delete {} B", key.len()),
///             _ => "?".into(),
///         }));
///     }
///     ControlFlow::Continue(())
/// })?;
/// assert_eq!(said, ["put 1 B, 3 B", "delete 1 B"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation<'a> {
    /// Stores a value.
    Put {
        /// Under this key.
        key: &'a [u8],
        /// The value.
        value: &'a [u8],
    },
    /// Removes a key.
    Delete {
        /// The key.
        key: &'a [u8],
    },
}

/// What [`log`] saw in all; up to where `each` broke off, when it did, and then `tail` and
/// `closed_cleanly` speak of that place and not of the file's end.
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
    /// The store it belongs to; `None` when the header is damaged and does not say it any more.
    pub store_id: Option<StoreId>,
    /// Whole writes before the end or the first bad place.
    pub writes: u64,
    /// Sequence number of the write before the first one of this log; where the header is damaged and does not say it
    /// any more, before the first one that was found.
    pub base: Seq,
    /// Sequence number of the last write; `base` when there is none.
    pub last_seq: Seq,
    /// Length of the part that is valid, in bytes.
    pub valid_bytes: u64,
    /// Length of the file, in bytes.
    pub file_bytes: u64,
    /// Zeros that the file ends with: space reserved for what is to come.
    pub reserved_bytes: u64,
    /// Whether the last record is the mark of an orderly close.
    pub closed_cleanly: bool,
    /// Whether it ends with a write, and the file with it: without reserved space and without a mark, as a write that failed
    /// leaves it, or somebody who cut the file.
    pub ends_bare: bool,
    /// How it ends.
    pub tail: LogTail,
    /// What is wrong with the header, when the records could be found all the same.
    pub header_damage: Option<String>,
}

/// Shows the log at `path` entry by entry to `each`, which may break off. `snapshot_seq` is the
/// last write that a snapshot is known to hold, or 0 (see [`snapshot_seq`]): it helps to tell torn
/// from damaged.
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
/// [`Error::Foreign`] and [`Error::Version`] for a file that cannot be read as a log,
/// [`Error::Damaged`] for one whose records cannot be found, [`Error::Io`], also when there is none.
pub fn log(path: &Path, snapshot_seq: Seq, each: impl FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<LogSummary> {
    let missing = || Error::io("opening", path)(std::io::Error::new(std::io::ErrorKind::NotFound, "there is no such file"));
    let file = OsDisk.open_read(path).map_err(Error::io("opening", path))?.ok_or_else(missing)?;
    log_in(file, path, snapshot_seq, each)
}

/// As [`log`], of a file that is open already, on whatever [disk](crate::disk); errors call it `path`.
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
        return Err(Error::damaged(path, 0, "the log is an empty file, which no crash leaves"));
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
    let (mut broke_off, mut is_behind_write) = (false, false);
    let fault = loop {
        if flow.is_break() {
            broke_off = true;
            break None;
        }
        match frames.next()? {
            Next::End => {
                summary.ends_bare = is_behind_write && frames.offset() == frames.file_len();
                break None;
            }
            Next::Bad(fault) => break Some(fault),
            Next::Frame(frame) => {
                is_behind_write = frame.header.kind == Kind::WRITE;
                let record = Record::of(&frame);
                summary.writes += u64::from(frame.header.kind == Kind::WRITE);
                summary.closed_cleanly = record.content == Content::Closed;
                flow = each(Entry::Record(record));
            }
        }
    };
    if let Some(fault) = fault {
        summary.closed_cleanly = false;
        summary.tail = Truncation::judge(&mut frames, fault, snapshot_seq)?;
        flow = each(Entry::Stop(summary.tail.clone()));
        frames.look_beyond(|frame| {
            if flow.is_continue() {
                flow = each(Entry::Beyond(Record::of(&frame)));
            }
        })?;
    }
    summary.last_seq = frames.last();
    summary.valid_bytes = frames.offset();
    if !broke_off {
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
            Kind::WRITE => state::decode(frame.body).map_or(Content::Impossible, |ops| {
                let operation = |op: state::OpRef<'a>| match op.value {
                    Some(value) => Operation::Put { key: op.key, value },
                    None => Operation::Delete { key: op.key },
                };
                Content::Write(ops.into_iter().map(operation).collect())
            }),
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

/// The last write in the snapshot at `path`, as its header says; 0 when there is none or it cannot
/// be read.
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
    let header = || {
        let file = OsDisk.open_read(path).ok()??;
        let mut bytes = [0; snapshot::HEADER_BYTES];
        let got = read_full_at(&*file, 0, &mut bytes).ok()?;
        snapshot::Header::decode(path, &bytes[..got]).ok()
    };
    header().map_or(0, |header| header.seq)
}
