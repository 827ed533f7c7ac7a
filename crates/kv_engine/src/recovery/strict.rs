//! [`Recovery::Strict`](super::Recovery::Strict): refuses to open a store whose log was damaged, emptied or replaced.

use super::log_tail::LogTail;
use super::report::RecoveryReport;
use crate::error::{Error, Result};

const REFUSED: &str = "strict mode refuses this, so the store was not opened and nothing was changed";

/// Refuses a damaged log, and a torn record with whole writes after it.
pub(super) fn check_tail(report: &RecoveryReport) -> Result<()> {
    let wal = report.wal.display();
    match &report.tail {
        LogTail::Damaged(cut) => {
            let reason = format!(
                "{}, and {}; write {} is the last good one; {REFUSED}; to see the log: kv_cli wal {wal}; to open the store \
                 without the damaged part: leave out strict mode",
                cut.fault, cut.proof, report.last_seq
            );
            Err(Error::damaged(&report.wal, cut.offset, reason))
        }
        LogTail::Torn(cut) if cut.writes_beyond > 0 => {
            let writes = if cut.writes_beyond == 1 {
                "1 whole write follows".into()
            } else {
                format!("{} whole writes follow", cut.writes_beyond)
            };
            let reason = format!(
                "{}, and {writes}, up to write {}; no sync is known to cover them; a power cut can leave this, and so can a bad \
                 disk; write {} is the last good one; {REFUSED}; to see the log: kv_cli wal {wal}; to open the store and keep a \
                 copy of the log: leave out strict mode",
                cut.fault, cut.last_beyond, report.last_seq
            );
            Err(Error::damaged(&report.wal, cut.offset, reason))
        }
        _ => Ok(()),
    }
}

/// Refuses a log that is missing, empty, or older than the snapshot.
pub(super) fn check_log_exists(report: &RecoveryReport) -> Result<()> {
    let (seq, wal) = (report.snapshot_seq, &report.wal);
    let reason = match report.log_older {
        Some(last) => {
            format!("the log is older than the snapshot: it ends with write {last}, the snapshot holds the writes up to {seq}")
        }
        None if report.log_missing && report.log_empty => {
            format!("the log is empty, although the snapshot holds the writes up to {seq}")
        }
        None if report.log_missing => format!("there is no log, although the snapshot holds the writes up to {seq}"),
        None if report.log_empty => {
            let reason = format!(
                "the log is an empty file, which no crash causes; {REFUSED}; put the log back, or remove the empty file to begin a \
                 new store"
            );
            return Err(Error::damaged(wal, 0, reason));
        }
        None => return Ok(()),
    };
    let reason = format!("{reason}, and strict mode does not begin a new log");
    Err(Error::Mismatch { wal: wal.clone(), snapshot: report.snapshot.clone(), reason })
}
