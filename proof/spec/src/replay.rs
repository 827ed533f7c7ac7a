//! Recovery's reading: snapshot + log → state, where the log ends, and whether that is torn or
//! damaged. A pure function of what the process reads; nothing is changed.

use crate::disk::{Disk, Frame, Kind, Name, Piece, Seq, Writes};
use crate::wrong::Wrong;

/// How a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogTail {
    /// With its last frame.
    Clean,
    /// With pieces that no sync is known to cover: cut.
    Torn,
    /// With a bad frame of which something proves that it had been synced.
    Damaged,
}

/// Why a store is not opened, or said to lack something. No crash may cause any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The snapshot does not pass its checks.
    Snapshot,
    /// The header of the log does not pass its check.
    LogHeader,
    /// The log begins behind the snapshot, so that writes between them are gone.
    Gap,
    /// A snapshot without a log.
    LogMissing,
}

/// What recovery found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The state: the writes that made it.
    pub writes: Writes,
    /// The last write in the snapshot.
    pub snapshot_seq: Seq,
    /// The log to go on with; none where a new one is due.
    pub log: Option<FoundLog>,
    /// How the log ends.
    pub tail: LogTail,
    /// Whole frames behind the bad one.
    pub beyond: u8,
}

/// The log, as found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundLog {
    /// In its header.
    pub salt: u8,
    /// Behind the last good frame.
    pub end: u8,
    /// The check of that frame.
    pub link: u32,
    /// Whether it ends as an orderly close leaves it.
    pub closed: bool,
}

/// Reads what is under the names now.
///
/// # Errors
/// Where the code refuses to open.
pub fn replay(disk: &Disk, wrong: Option<Wrong>) -> Result<Found, Refusal> {
    let left_over = (wrong == Some(Wrong::LeftOverLoaded)).then(|| disk.read(Name::SnapshotTmp)).flatten();
    let log = disk.read(Name::Log).filter(|_| disk.len_of(Name::Log) > 0);
    read(left_over.or(disk.read(Name::Snapshot)), log, wrong)
}

/// What would be read if nothing that is not durable were left.
///
/// # Errors
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

/// The verdict on a log that stops making sense where `rest` begins, behind write `last`.
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
