//! Prints a history as numbered sentences. The puts are called a, b, c …. A write is a put with its sequence number.

use crate::check::History;
use crate::disk::{Disk, Kind, Name, Piece, Seq, Writes};
use crate::model::{Action, Broken, Doing, State, Step, Task};
use crate::replay::{LogTail, Refusal};

/// The sentences. Consecutive steps of one task become one sentence.
pub fn sentences(history: &History) -> Vec<String> {
    let mut sentences: Vec<String> = Vec::new();
    let mut in_task = false;
    for pair in history.windows(2) {
        let [(before, Some(action)), (after, _)] = pair else { continue };
        let clause = clause(before, action, after);
        let goes_on = in_task && matches!(action, Action::Step(_) | Action::Release { .. });
        in_task = matches!(action, Action::Start | Action::Snapshot | Action::Close | Action::WriteFails { .. }) || goes_on;
        match sentences.last_mut() {
            Some(last) if goes_on => *last = format!("{last}, {clause}"),
            _ if matches!(action, Action::Step(_)) => sentences.push(format!("the snapshot continues: {clause}")),
            _ => sentences.push(clause),
        }
    }
    if let Some((last, _)) = history.last() {
        sentences.extend(last.broken.map(|broken| end(last, broken)));
    }
    sentences
}

/// The sentences, numbered, one to a line.
pub fn tell(history: &History) -> String {
    (1..).zip(sentences(history)).map(|(number, sentence)| format!("  {number}. {}.\n", capital(&sentence))).collect()
}

fn capital(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

fn letter(put: u8) -> char {
    char::from(b'a' + put - 1)
}

fn row(writes: &Writes) -> String {
    if writes.is_empty() { "nothing".into() } else { writes.puts().iter().map(|put| letter(*put)).collect() }
}

/// The last write: its number and its put.
fn last(state: &State) -> (Seq, char) {
    let seq = state.issued.len();
    (seq, letter(state.issued.puts()[seq as usize - 1]))
}

fn clause(before: &State, action: &Action, after: &State) -> String {
    let process = &before.process;
    match action {
        Action::Start => "a process starts and opens the store".into(),
        Action::Append { again } => {
            let (seq, put) = last(after);
            let what = if *again { "repeats the lost put" } else { "puts" };
            format!("a client {what} {put}: write {seq} is appended to the buffer")
        }
        Action::Write => format!("the buffer is written to the log, up to write {}; it is not synced", process.appended),
        Action::WriteFails { wrote, torn } => {
            format!("the buffer is written to the log, and the disk is full{}", part(*wrote, *torn))
        }
        Action::AppendDurable => {
            let (seq, put) = last(after);
            format!("a client puts {put} in a durable batch: write {seq} is appended to the buffer")
        }
        Action::Look => match after.process.looked.map_or(0, |looked| looked.put) {
            0 => "a client looks: there is no put yet".into(),
            put => format!("a client looks: the last put is {}", letter(put)),
        },
        Action::Decide if after.process.appended == process.appended => {
            "that client decides: another write came first, so it looks again".into()
        }
        Action::Decide => {
            let (seq, put) = last(after);
            format!("that client decides and puts {put}: write {seq} is appended to the buffer")
        }
        Action::Tell => "that client writes nothing and is told what it saw".into(),
        Action::WriteHead => "the beginning of the OPENED mark is written to the log; it is not synced".into(),
        Action::SyncHead => "the log is synced: its beginning is durable".into(),
        Action::WriteMark => "all of the OPENED mark is written to the log; it is not synced".into(),
        Action::SyncMark => "the log is synced: the mark is durable".into(),
        Action::Reserve => "space is reserved behind it".into(),
        Action::Prove => "there are no writers: an OPENED mark is written behind the last write; it is not synced".into(),
        Action::Sync if process.failed.is_some() => "the sync is repeated, and returns 0 because the pages count as clean".into(),
        Action::Sync => format!("the log is synced: durable up to write {}", process.written),
        Action::SyncFails(_) => match process.doing {
            Doing::Task(_, step) => format!("the sync fails ({})", phrase(before, step)),
            _ => unreachable!("another action"),
        },
        Action::LogSyncFails(_) => "the sync of the log fails; the bytes stay in memory and count as clean".into(),
        Action::Acknowledge => match after.promised {
            promised if promised == before.promised => format!("writes up to {} are answered OK", after.acknowledged),
            promised => format!("OK: writes up to {promised} are promised to be durable"),
        },
        Action::Read => format!("a reader sees the state {}", row(&before.issued.prefix(process.applied))),
        Action::Snapshot => "a snapshot is requested".into(),
        Action::Close => "the store is closed".into(),
        Action::Step(step) => step_clause(before, *step, after),
        Action::Release { space_from } => {
            format!(
                "{}, and its space from piece {space_from} on is given to the new one",
                step_clause(before, Step::LogSyncDir, after)
            )
        }
        Action::Die { wrote: 0, torn: false } => "the process dies".into(),
        Action::Die { wrote, torn } => format!("the process dies in the middle of a write to the log{}", part(*wrote, *torn)),
        Action::PowerCut(left) => format!("power is cut; the disk keeps {}", shown(left)),
    }
}

fn part(wrote: u8, torn: bool) -> String {
    match (wrote, torn) {
        (0, false) => String::new(),
        (wrote, false) => format!("; {wrote} frames of it are taken"),
        (0, true) => "; a part of its first frame is taken".into(),
        (wrote, true) => format!("; {wrote} frames and a part of one are taken"),
    }
}

fn step_clause(before: &State, step: Step, after: &State) -> String {
    if step != Step::Replay || after.process.tail.is_none() {
        return phrase(before, step);
    }
    let found = match after.broken {
        Some(Broken::NotAPrefix { found }) => row(&found),
        _ => row(&after.issued.prefix(after.process.appended)),
    };
    let tail = match after.process.tail {
        Some(LogTail::Torn) => ", followed by a torn tail",
        Some(LogTail::Damaged) => ", followed by something that it reports as damage",
        _ => "",
    };
    format!("finds {found}{tail}")
}

fn phrase(before: &State, step: Step) -> String {
    let due = match step {
        Step::SyncSnapshot => "syncs the snapshot",
        Step::DropSnapshotCache => "drops its page cache",
        Step::SyncSnapshotDir | Step::SyncLogDir => "syncs its directory",
        Step::SyncLog => "syncs the log",
        Step::DropLogCache => "drops its page cache",
        Step::Replay => "reads both files",
        Step::RemoveLogTmp if !before.process.is_opening() => "log.tmp is removed",
        Step::RemoveSnapshotTmp if !before.process.is_opening() => "snapshot.tmp is removed",
        Step::RemoveLogTmp => "removes the left-over log.tmp",
        Step::RemoveSnapshotTmp => "removes the left-over snapshot.tmp",
        Step::CutTail => "cuts the tail off",
        Step::SyncCut | Step::SyncCutBack => "syncs the cut",
        Step::CutBack => "the part that was written is cut off again",
        Step::SnapshotCreate => "snapshot.tmp is created",
        Step::SnapshotWrite => return format!("written (up to write {})", before.process.snapshot_of),
        Step::HeadWrite => "writes the beginning of an OPENED mark",
        Step::MarkWrite => "writes all of the OPENED mark",
        Step::HeadSync | Step::MarkSync => "syncs it",
        Step::CopyReserve | Step::RestReserve => "space is reserved in it",
        Step::CopyWrite => "the records behind the snapshot are copied into it",
        Step::Pause => "writers are paused",
        Step::RestWrite => "the rest is copied",
        Step::CloseReserve => "space is reserved",
        Step::CloseGiveBack => "reserved space is given back",
        Step::SnapshotSync | Step::LogSync | Step::CopySync | Step::RestSync => "synced",
        Step::SnapshotVerify => "read back",
        Step::SnapshotRename => "renamed to snapshot",
        Step::SnapshotSyncDir => "the directory synced",
        Step::LogCreate => "log.tmp is created",
        Step::LogWrite => "its header written",
        Step::LogRename => "renamed to log",
        Step::LogSyncDir if matches!(before.process.doing, Doing::Task(Task::Snapshot, _)) => {
            "the directory synced: the old log is released"
        }
        Step::LogSyncDir => "the directory synced",
        Step::CloseWrite => "a CLOSED mark is written",
        Step::CloseSync => "the log is synced",
        Step::Open => return format!("and is open: {} is promised", row(&before.issued.prefix(before.process.appended))),
    };
    due.into()
}

fn shown(disk: &Disk) -> String {
    let names =
        [(Name::Log, "log"), (Name::LogTmp, "log.tmp"), (Name::Snapshot, "snapshot"), (Name::SnapshotTmp, "snapshot.tmp")];
    let each = names.into_iter().filter_map(|(name, called)| {
        let pieces: Vec<String> = disk.read(name)?.iter().map(piece).collect();
        Some(if pieces.is_empty() { format!("{called} (empty)") } else { format!("{called} ({})", pieces.join(", ")) })
    });
    let each: Vec<String> = each.collect();
    if each.is_empty() { "no file".into() } else { each.join(" and ") }
}

fn piece(piece: &Piece) -> String {
    match piece {
        Piece::Bad => "bad bytes".into(),
        Piece::Header { base: 0, .. } => "header".into(),
        Piece::Header { base, .. } => format!("header: after write {base}"),
        Piece::Frame(frame) => match frame.kind {
            Kind::Write(put) => format!("write {} = {}", frame.seq, letter(put)),
            Kind::Opened(_) => "OPENED".into(),
            Kind::Closed => "CLOSED".into(),
        },
        Piece::Snapshot { seq, writes } => format!("the state {} as after write {seq}", row(writes)),
    }
}

fn end(state: &State, broken: Broken) -> String {
    match broken {
        Broken::Lost { found } => {
            let lost: Vec<String> = (found + 1..=state.promised).map(|seq| seq.to_string()).collect();
            format!("Write {} was promised and is lost", lost.join(" and "))
        }
        Broken::NotAPrefix { found } => {
            format!("The state is {}, which never existed: the issued writes, in order, are {}", row(&found), row(&state.issued))
        }
        Broken::Refused(refusal) => format!("The store does not open, although there were only crashes: {}", refused(refusal)),
        Broken::DecidedOnAnother { on: 0 } => "That write was decided on an empty store, but another write came before it".into(),
        Broken::DecidedOnAnother { on } => {
            format!("That write was decided on put {}, but another write came before it", letter(on))
        }
        Broken::CalledDamage => "The crash is reported as damage".into(),
    }
}

fn refused(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Snapshot => "the snapshot does not pass its checks",
        Refusal::LogHeader => "the header of the log does not pass its check",
        Refusal::Gap => "the log begins behind the snapshot, and the writes before it are lost",
        Refusal::LogMissing => "there is a snapshot but no log",
    }
}
