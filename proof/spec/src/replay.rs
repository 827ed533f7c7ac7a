//! The reading of recovery: snapshot + log → state, the end of the log, and whether that end is torn or damaged. It is
//! a pure function of the bytes that the process reads, and changes nothing.

use crate::disk::{Disk, Frame, Kind, Name, Piece, Seq, Writes};
use crate::wrong::Wrong;

/// The end of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogTail {
    /// It ends with its last frame.
    Clean,
    /// It ends with pieces that may never have been synced. They are cut off.
    Torn,
    /// It has a bad frame, and something proves that this frame had been synced.
    Damaged,
}

/// Why a store does not open, or reports that something is missing. A crash alone must never cause this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The snapshot does not pass its checks.
    Snapshot,
    /// The header of the log does not pass its check.
    LogHeader,
    /// The log begins behind the snapshot, so the writes between them are lost.
    Gap,
    /// A snapshot without a log.
    LogMissing,
}

/// What recovery found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The state, as the writes that made it.
    pub writes: Writes,
    /// The last write in the snapshot.
    pub snapshot_seq: Seq,
    /// The log to continue. None if a new one must be made.
    pub log: Option<FoundLog>,
    /// How the log ends.
    pub tail: LogTail,
    /// Whole frames behind the bad one.
    pub beyond: u8,
}

/// The log, as found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundLog {
    /// The salt in the header.
    pub salt: u8,
    /// The position behind the last good frame.
    pub end: u8,
    /// The check of that frame.
    pub link: u32,
    /// Whether the log ends like a clean close.
    pub closed: bool,
}

/// Reads the files under the names now.
///
/// # Errors
///
/// If the code refuses to open.
pub fn replay(disk: &Disk, wrong: Option<Wrong>) -> Result<Found, Refusal> {
    let left_over = (wrong == Some(Wrong::LeftOverLoaded)).then(|| disk.read(Name::SnapshotTmp)).flatten();
    let log = disk.read(Name::Log).filter(|_| disk.len_of(Name::Log) > 0);
    read(left_over.or(disk.read(Name::Snapshot)), log, wrong)
}

/// Reads the disk as if only durable changes were left.
///
/// # Errors
///
/// As [`replay`].
pub fn replay_durable(disk: &Disk) -> Result<Found, Refusal> {
    let log = disk.read_durable(Name::Log).filter(|_| disk.durable_len_of(Name::Log) > 0);
    read(disk.read_durable(Name::Snapshot), log, None)
}

fn read(snapshot: Option<&[Piece]>, log: Option<&[Piece]>, wrong: Option<Wrong>) -> Result<Found, Refusal> {
    let (snapshot_seq, writes) = match snapshot {
        None => (0, Writes::default()),
        Some([Piece::Snapshot { seq, writes }]) => (*seq, *writes),
        Some(_) => return Err(Refusal::Snapshot),
    };
    let mut found = Found { writes, snapshot_seq, log: None, tail: LogTail::Clean, beyond: 0 };
    let Some(pieces) = log else {
        return if snapshot.is_some() { Err(Refusal::LogMissing) } else { Ok(found) };
    };
    let Some(&Piece::Header { salt, base }) = pieces.first() else { return Err(Refusal::LogHeader) };
    if snapshot_seq < base {
        return Err(Refusal::Gap);
    }

    let (mut at, mut last, mut link) = (1, base, u32::from(salt));
    let mut closed = pieces.len() == 1;
    while let Some(piece) = pieces.get(at) {
        let due = |frame: &&Frame| {
            let seq = if matches!(frame.kind, Kind::Write(_)) { last + 1 } else { last };
            let chained = frame.link == link || wrong == Some(Wrong::NoChain);
            frame.salt == salt && chained && frame.seq == seq && frame.durable <= frame.seq
        };
        let Some(frame) = whole(piece).filter(due) else {
            closed = false;
            judge(&mut found, &pieces[at..], salt, last, wrong);
            break;
        };
        closed = frame.kind == Kind::Closed;
        if let Kind::Write(put) = frame.kind
            && (frame.seq > snapshot_seq || wrong == Some(Wrong::ReplayedOverSnapshot))
        {
            found.writes.push(put);
        }
        (at, last, link) = (at + 1, frame.seq, frame.check());
    }
    if last >= snapshot_seq {
        found.log = Some(FoundLog { salt, end: u8::try_from(at).expect("few pieces"), link, closed });
    }
    Ok(found)
}

fn whole(piece: &Piece) -> Option<&Frame> {
    match piece {
        Piece::Frame(frame) => Some(frame),
        _ => None,
    }
}

/// The verdict on a log whose first bad piece is the first of `rest`, behind write `last`.
fn judge(found: &mut Found, rest: &[Piece], salt: u8, last: Seq, wrong: Option<Wrong>) {
    let expected = last + 1;
    let mut proven = expected <= found.snapshot_seq;
    for frame in rest.iter().filter_map(whole).filter(|frame| frame.salt == salt && frame.seq >= last) {
        found.beyond += 1;
        proven |= frame.kind.is_opened() || frame.durable >= expected;
        if let (Kind::Write(put), Some(Wrong::BadFrameSkipped)) = (frame.kind, wrong) {
            found.writes.push(put);
        }
    }
    found.tail = if proven { LogTail::Damaged } else { LogTail::Torn };
}
