//! [`walk`]: the loop that reads a log from record to record. Opening, export, replay, `kv_cli wal` and its `--follow`
//! use it, so they all agree on where a log ends and why.

use super::log_tail::{LogTail, Truncation};
use crate::Seq;
use crate::error::Result;
use crate::record::Kind;
use crate::scan::{Frame, Frames, Next};
use std::ops::ControlFlow;

/// Where a walk ended, and how.
pub(crate) struct Walked {
    /// The verdict on the end of the log; [`LogTail::Clean`] also if `each` stopped the walk.
    pub(crate) tail: LogTail,
    /// Whether the file ends right after a write, without reserved space and without a mark.
    pub(crate) ends_bare: bool,
    /// Whether the last record is the mark of a clean close.
    pub(crate) closed_cleanly: bool,
    /// Whether `each` stopped the walk.
    pub(crate) stopped: bool,
}

/// Gives each whole record to `each`, up to the end of the log, the first bad place, or until `each` stops.
/// `snapshot_seq` is the last write that a snapshot holds: it helps to tell torn from damaged.
pub(crate) fn walk(
    frames: &mut Frames,
    snapshot_seq: Seq,
    mut each: impl FnMut(&Frame<'_>) -> Result<ControlFlow<()>>,
) -> Result<Walked> {
    let mut last_kind = None;
    loop {
        match frames.next()? {
            Next::End => {
                let ends_bare = last_kind == Some(Kind::WRITE) && frames.offset() == frames.file_len();
                let closed_cleanly = last_kind == Some(Kind::CLOSED);
                return Ok(Walked { tail: LogTail::Clean, ends_bare, closed_cleanly, stopped: false });
            }
            Next::Bad(fault) => {
                let tail = Truncation::judge(frames, fault, snapshot_seq)?;
                return Ok(Walked { tail, ends_bare: false, closed_cleanly: false, stopped: false });
            }
            Next::Frame(frame) => {
                last_kind = Some(frame.header.kind);
                if each(&frame)?.is_break() {
                    let closed_cleanly = last_kind == Some(Kind::CLOSED);
                    return Ok(Walked { tail: LogTail::Clean, ends_bare: false, closed_cleanly, stopped: true });
                }
            }
        }
    }
}
