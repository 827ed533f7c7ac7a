//! [`Recovery::Strict`](super::Recovery::Strict): refuses to open a store whose log was damaged, emptied or replaced.

use super::log_tail::LogTail;
use super::report::RecoveryReport;
use crate::Seq;
use crate::error::{Error, Result};

const REFUSED: &str = "--recovery strict refused to open the store; nothing was changed";

/// Refuses a damaged log, and a torn record with whole writes after it.
pub(super) fn check_tail(report: &RecoveryReport) -> Result<()> {
    let wal = report.wal.display();
    match &report.tail {
        LogTail::Damaged(cut) => {
            let reason = format!(
                "{}, and {}; {REFUSED}; to see the log: kv_cli wal {wal}; {}",
                cut.fault,
                cut.proof,
                open_anyway(report.last_seq)
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
                "{}, and {writes}, up to write {}; no sync is known to cover them; a power cut or a bad disk can leave this; \
                 {REFUSED}; to see the log: kv_cli wal {wal}; {}",
                cut.fault,
                cut.last_beyond,
                open_anyway(report.last_seq)
            );
            Err(Error::damaged(&report.wal, cut.offset, reason))
        }
        _ => Ok(()),
    }
}

/// How to open the store all the same. `last` is the last write before the bad record.
fn open_anyway(last: Seq) -> String {
    let what = if last == 0 { "it without a write".to_string() } else { format!("it up to write {last}") };
    format!("to open {what} and keep a copy of the log: --recovery prefix")
}

/// Refuses a log that is missing, empty, or older than the snapshot.
pub(super) fn check_log_exists(report: &RecoveryReport) -> Result<()> {
    let (seq, wal) = (report.snapshot_seq, &report.wal);
    let reason = match report.log_older {
        Some(last) => {
            format!("the log is older than the snapshot: it ends with write {last}, the snapshot with write {seq}")
        }
        None if report.log_missing && report.log_empty => {
            format!("the log is empty, and the snapshot has the writes up to {seq}")
        }
        None if report.log_missing => format!("the log is missing, and the snapshot has the writes up to {seq}"),
        None if report.log_empty => {
            let reason = format!(
                "the log is an empty file; a crash does not cause this; {REFUSED}; put the log back, or remove the empty file to \
                 begin a new store"
            );
            return Err(Error::damaged(wal, 0, reason));
        }
        None => return Ok(()),
    };
    let reason = format!("{reason}; --recovery strict does not begin a new log; put the log back, or use --recovery prefix");
    Err(Error::Mismatch { wal: wal.clone(), snapshot: report.snapshot.clone(), reason })
}
