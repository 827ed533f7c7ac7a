//! Invariants that must hold in every state, and occurrences that must happen in some state. Without the second, an
//! invariant could hold just because nothing happens.

use crate::disk::{Name, Piece, Seq, Stale};
use crate::model::{Bounds, Broken, Doing, Protocol, State, Step, Task};
use crate::replay::{LogTail, replay_durable};
use stateright::Property;

/// See [`all`].
pub const NOTHING_PROMISED_IS_LOST: &str = "nothing promised is lost";
/// See [`all`].
pub const A_PREFIX_OF_WHAT_WAS_ISSUED: &str = "the state is a prefix of the issued writes";
/// See [`all`].
pub const A_CRASH_IS_NEVER_REFUSED: &str = "a crash is never refused";
/// See [`all`].
pub const A_CRASH_IS_NEVER_CALLED_DAMAGE: &str = "a crash is never called damage";

/// See [`all`].
pub const A_FAILED_SYNC_IS_NEVER_FOLLOWED_BY_AN_OK: &str = "a failed sync is never followed by an OK";
/// See [`all`].
pub const A_CONDITIONAL_WRITE_FOLLOWS_WHAT_IT_WAS_DECIDED_ON: &str = "a conditional write follows what it was decided on";

fn always(name: &'static str, holds: fn(&Protocol, &State) -> bool) -> Property<Protocol> {
    Property::always(name, holds)
}

fn sometimes(name: &'static str, happens: fn(&Protocol, &State) -> bool) -> Property<Protocol> {
    Property::sometimes(name, happens)
}

/// Whether opening is finished, so that the watermarks mean something.
fn is_open(state: &State) -> bool {
    use Task::{Abandoning, Closing, CuttingBack, Snapshot};
    matches!(state.process.doing, Doing::Serving | Doing::Task(Snapshot | Closing | CuttingBack | Abandoning, _))
}

fn found_torn(state: &State) -> bool {
    state.process.tail == Some(LogTail::Torn)
}

/// The invariants, and the occurrences that these bounds must produce.
pub fn all(bounds: &Bounds) -> Vec<Property<Protocol>> {
    let mut all = invariants();
    all.extend(occurrences());
    all.extend(occurrences_of(bounds));
    all
}

fn invariants() -> Vec<Property<Protocol>> {
    vec![
        always("durable ≤ written ≤ appended", |_, state| {
            let process = &state.process;
            process.durable <= process.written && process.written <= process.appended
        }),
        always("applied = min(appended, durable + n − 1), and not beyond a durable batch in flight", |protocol, state| {
            let process = &state.process;
            let before_batch = process.sync_first.first().map_or(Seq::MAX, |batch| batch - 1);
            process.applied == process.appended.min(process.durable + protocol.bounds.batch_size - 1).min(before_batch)
        }),
        always("promised ≤ acknowledged ≤ issued", |_, state| {
            state.promised <= state.acknowledged && state.acknowledged <= state.issued.len()
        }),
        always(NOTHING_PROMISED_IS_LOST, |_, state| !matches!(state.broken, Some(Broken::Lost { .. }))),
        always(A_PREFIX_OF_WHAT_WAS_ISSUED, |_, state| !matches!(state.broken, Some(Broken::NotAPrefix { .. }))),
        always(A_CRASH_IS_NEVER_REFUSED, |_, state| !matches!(state.broken, Some(Broken::Refused(_)))),
        always(A_CRASH_IS_NEVER_CALLED_DAMAGE, |_, state| state.broken != Some(Broken::CalledDamage)),
        always(A_CONDITIONAL_WRITE_FOLLOWS_WHAT_IT_WAS_DECIDED_ON, |_, state| {
            !matches!(state.broken, Some(Broken::DecidedOnAnother { .. }))
        }),
        always(A_FAILED_SYNC_IS_NEVER_FOLLOWED_BY_AN_OK, |_, state| {
            state.process.failed.is_none_or(|answered| state.acknowledged <= answered)
        }),
        always("the snapshot holds only durable writes", |_, state| {
            let snapshots = [Name::Snapshot, Name::SnapshotTmp].into_iter().filter_map(|name| state.disk.read(name));
            !is_open(state)
                || snapshots.flatten().all(|piece| match piece {
                    Piece::Snapshot { seq, writes } => *seq == writes.len() && *seq <= state.process.durable,
                    _ => true,
                })
        }),
        // A log that is certainly there needs only files that are certainly there. Other files may survive too.
        always("the log is released only when a durable snapshot covers it", |_, state| {
            let Some([Piece::Header { base, .. }, ..]) = state.disk.read_durable(Name::Log) else { return true };
            match state.disk.read_durable(Name::Snapshot) {
                Some([Piece::Snapshot { seq, .. }]) => seq >= base,
                _ => *base == 0,
            }
        }),
        always("what is durable is on the medium", |_, state| {
            !is_open(state)
                || state.process.failed.is_some()
                || replay_durable(&state.disk)
                    .is_ok_and(|found| found.writes.len() >= state.process.durable && found.writes.begins(&state.issued))
        }),
        always("recovering again gives the same", |protocol, state| {
            let stale = protocol.bounds.stale > Stale::Zeros; // then reserved space shows bytes that are no record
            let process = &state.process;
            let all_durable = process.doing == Doing::Serving && process.buffer.is_empty() && process.durable == process.appended;
            !all_durable
                || process.failed.is_some()
                || [crate::replay::replay(&state.disk, None), replay_durable(&state.disk)]
                    .iter()
                    .all(|found| found.is_ok_and(|found| found.writes == state.issued && (found.tail == LogTail::Clean || stale)))
        }),
    ]
}

fn occurrences() -> Vec<Property<Protocol>> {
    vec![
        sometimes("every put is promised after the last crash", |protocol, state| {
            state.used.crashes == protocol.bounds.crashes
                && state.used.puts == protocol.bounds.puts
                && state.process.doing == Doing::Serving
                && state.process.opened_in_file
                && state.promised == state.issued.len()
        }),
        sometimes("a crash takes a write back that was not promised", |_, state| {
            state.process.tail.is_some() && state.process.appended < state.issued.len()
        }),
        sometimes("a crash leaves a write that was not promised", |_, state| {
            state.process.tail.is_some() && state.process.appended > state.promised
        }),
        sometimes("a torn tail is found", |_, state| found_torn(state)),
        sometimes("a whole frame is found behind a bad one, and not applied", |_, state| {
            found_torn(state) && state.process.beyond > 0
        }),
        sometimes("a crash in recovery, with a torn tail cut and the cut not durable", |_, state| {
            state.process.doing == Doing::Task(Task::Opening, Step::SyncCut) && state.used.crashes > 0
        }),
    ]
}

/// Occurrences that only some bounds allow.
fn occurrences_of(bounds: &Bounds) -> Vec<Property<Protocol>> {
    let mut also = Vec::new();
    if bounds.snapshots > 0 {
        also.push(sometimes("a crash in the middle of a snapshot", |_, state| {
            state.process.doing == Doing::Nothing && state.disk.named(Name::SnapshotTmp).is_some()
        }));
        also.push(sometimes("a crash between the snapshot and the new log", |_, state| {
            state.process.tail.is_some()
                && state.process.snapshot_seq > 0
                && matches!(state.disk.read(Name::Log), Some([Piece::Header { base: 0, .. }, _, ..]))
        }));
        also.push(sometimes("writes behind the snapshot are copied into the new log", |_, state| {
            matches!(state.process.doing, Doing::Task(Task::Snapshot, Step::LogRename))
                && state.disk.read(Name::LogTmp).is_some_and(|pieces| pieces.len() > 1)
        }));
        also.push(sometimes("a write is acknowledged while a snapshot is taken", |_, state| {
            matches!(state.process.doing, Doing::Task(Task::Snapshot, _)) && state.acknowledged > state.process.snapshot_of
        }));
        also.push(sometimes("a store is opened from its snapshot alone", |_, state| {
            state.process.tail == Some(LogTail::Clean)
                && state.process.appended > 0
                && matches!(state.disk.read(Name::Log), Some([Piece::Header { .. }]))
        }));
    }
    if bounds.looks > 0 {
        also.push(sometimes("a conditional write is decided on a put in flight", |_, state| {
            state.process.looked.is_some_and(|looked| looked.put > 0 && looked.seq > state.process.applied)
        }));
        also.push(sometimes("a look is not the last one any more when it is decided on", |_, state| {
            let last = state.issued.puts().last();
            state.process.looked.is_some_and(|looked| last.is_some_and(|last| *last != looked.put))
        }));
    }
    if bounds.looks > 0 && bounds.full_disks > 0 {
        also.push(sometimes("the put that a client has seen is refused", |_, state| {
            state.used.full_disks > 0 && state.process.looked.is_some_and(|looked| looked.seq > state.process.appended)
        }));
    }
    if bounds.durables > 0 && bounds.batch_size > 1 {
        also.push(sometimes("a write waits behind a durable batch", |_, state| {
            state.process.sync_first.first().is_some_and(|batch| *batch < state.process.appended)
        }));
    }
    if bounds.batch_size > 1 {
        also.push(sometimes("a crash takes an acknowledged write back, as n > 1 allows", |_, state| {
            state.process.tail.is_some() && state.process.appended < state.acknowledged
        }));
    }
    if bounds.sync_failures > 0 {
        also.push(sometimes("a sync fails, and the store is opened again", |_, state| {
            state.used.sync_failures > 0 && state.process.doing == Doing::Serving && state.process.failed.is_none()
        }));
        also.push(sometimes("memory shows a write that the medium lacks", |_, state| {
            let log = state.disk.named(Name::Log).map(|file| state.disk.file(file));
            log.is_some_and(|log| log.is_synced() && log.cache().len() > log.durable().len())
        }));
    }
    if bounds.full_disks > 0 {
        also.push(sometimes("a refused write is cut off, and a later one promised", |_, state| {
            state.used.full_disks > 0 && is_open(state) && state.promised > 0 && state.used.puts > state.issued.len()
        }));
    }
    if bounds.closes > 0 {
        also.push(sometimes("a store is opened that was closed cleanly", |_, state| {
            state.used.closes > 0 && state.process.marked_closed && state.process.appended > 0 && state.process.end > 1
        }));
    }
    also
}
