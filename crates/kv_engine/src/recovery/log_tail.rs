//! [`LogTail`]: how a log ends, cleanly, torn or damaged, and the verdict between the last two.

use crate::Seq;
use crate::error::Result;
use crate::record::{Fault, Kind};
use crate::scan::Frames;
use std::path::PathBuf;

/// How a log ends; in [`RecoveryReport::tail`](crate::RecoveryReport::tail).
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// use kv_engine::LogTail;
///
/// match &engine.recovery().tail {
///     LogTail::Clean => {}
///     LogTail::Torn(cut) => println!("{} B were cut off; no sync covered them", cut.bytes),
///     LogTail::Damaged(cut) => println!("damaged; the whole log is kept as {:?}", cut.kept_as),
///     _ => println!("see the warnings"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogTail {
    /// It ends with its last record.
    Clean,
    /// It ends with bytes that no sync is known to cover, as a crash leaves them. As far as the log shows, no write in
    /// them was promised durable.
    Torn(Truncation),
    /// It has a bad record that had been synced. [`Truncation::proof`] tells how this is known.
    Damaged(Truncation),
}

/// The place from which on a log is not valid; from [`LogTail`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// # use kv_engine::disk::{Disk, OsDisk};
/// # let options = kv_engine::Options::new(&log, snapshot);
/// # let engine = options.clone().open()?; engine.put("x", "100")?; engine.close()?;
/// let file = OsDisk.open(&log)?.expect("a log");
/// file.set_len(140)?; // as a crash in the middle of a write can leave it
/// let engine = options.open()?;
/// let kv_engine::LogTail::Torn(cut) = &engine.recovery().tail else { panic!("not torn") };
/// assert_eq!((cut.offset, cut.bytes, cut.expected), (105, 35, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Truncation {
    /// Where the first bad record begins, in bytes from the start of the file.
    pub offset: u64,
    /// Bytes from there on, without the zeros at the end of the file.
    pub bytes: u64,
    /// The check that failed.
    pub fault: Fault,
    /// The sequence number that was expected there.
    pub expected: Seq,
    /// Whole records found after it. They are not applied.
    pub whole_beyond: u64,
    /// The highest sequence number among them; 0 if there are none.
    pub last_beyond: Seq,
    /// The whole writes among them that may continue this log. Those of an earlier session of the file are not counted.
    pub writes_beyond: u64,
    /// The proof that the bad record had been synced, in words; empty for a torn tail.
    pub proof: String,
    /// The last write that a later record proves to have been synced; 0 if none does.
    pub promised: Seq,
    /// The copy of the log that opening kept. `None` if only a torn record was cut off, and always from
    /// [`inspect`](crate::inspect).
    pub kept_as: Option<PathBuf>,
}

impl Truncation {
    /// The verdict on a log that fails with `fault` where the reader is. `snapshot_seq` is the last write that a
    /// snapshot holds.
    pub(crate) fn judge(frames: &mut Frames, fault: Fault, snapshot_seq: Seq) -> Result<LogTail> {
        let (at, expected) = (frames.offset(), frames.last() + 1);
        // A whole record that is not linked to the one before it is from an earlier session of the file. So are the
        // records that are linked to it.
        let mut stale = (fault == Fault::Chain).then_some((at, None));
        let mut writes_beyond = 0;
        let beyond = frames.look_beyond(|frame| {
            let header = &frame.header;
            match stale {
                Some((at, link)) if frame.offset == at && link.is_none_or(|link| link == header.link) => {
                    stale = Some((at + frame.bytes(), Some(header.check)));
                }
                _ => writes_beyond += u64::from(header.kind == Kind::WRITE && header.seq >= expected),
            }
        })?;
        let mut cut = Truncation {
            offset: frames.offset(),
            bytes: frames.content_end()? - frames.offset(),
            fault,
            expected,
            whole_beyond: beyond.whole,
            last_beyond: beyond.last,
            writes_beyond,
            proof: String::new(),
            promised: beyond.promised,
            kept_as: None,
        };
        if let Some((at, seq)) = beyond.witness {
            cut.proof = format!("the record at byte {at} (sequence number {seq}) proves that it had been synced");
        } else if expected <= snapshot_seq {
            cut.proof = format!("the snapshot of write {snapshot_seq} proves that it had been synced");
        } else {
            return Ok(LogTail::Torn(cut));
        }
        Ok(LogTail::Damaged(cut))
    }

    /// The last write that is known to be lost. `recovered` is the last one that was recovered.
    pub(crate) fn lost_to(&self, recovered: Seq) -> Option<Seq> {
        let last = self.last_beyond.max(self.promised);
        (last > recovered).then_some(last)
    }
}
