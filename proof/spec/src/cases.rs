//! The wrong protocols, each with the bounds within which it must lose something. A model in which a wrong protocol
//! passes proves nothing about the right one.

use crate::disk::Stale;
use crate::model::Bounds;
use crate::properties as must;
use crate::wrong::Wrong;

/// A mistake, its consequence, and the bounds within which to look for it.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The mistake.
    pub wrong: Option<Wrong>,
    /// The mistake in words.
    pub title: &'static str,
    /// The property that must turn out to be violated.
    pub breaks: &'static str,
    /// The bounds of the search.
    pub bounds: Bounds,
}

/// Small bounds are enough for most mistakes: one writer, two puts, one snapshot, two crashes.
const SMALL: Bounds = Bounds { puts: 2, snapshots: 1, crashes: 2, ..Bounds::NONE };

/// Every case, in the order of the protocol.
pub const CASES: &[Case] = &[
    Case {
        wrong: Some(Wrong::AcknowledgedBeforeSync),
        title: "acknowledge before sync",
        breaks: must::NOTHING_PROMISED_IS_LOST,
        bounds: SMALL,
    },
    Case {
        wrong: Some(Wrong::VisibleBeforeDurable),
        title: "a write is visible before it is durable, at batch size 1",
        breaks: must::NOTHING_PROMISED_IS_LOST,
        bounds: SMALL,
    },
    Case {
        wrong: Some(Wrong::SyncRetried),
        title: "retry of a failed sync",
        breaks: must::NOTHING_PROMISED_IS_LOST,
        bounds: Bounds { sync_failures: 1, ..SMALL },
    },
    Case {
        wrong: Some(Wrong::SnapshotRenamedBeforeSync),
        title: "the snapshot is renamed before it is synced",
        breaks: must::A_CRASH_IS_NEVER_REFUSED,
        bounds: SMALL,
    },
    Case {
        wrong: Some(Wrong::LogRenamedBeforeSync),
        title: "the new log is renamed before it is synced",
        breaks: must::A_CRASH_IS_NEVER_REFUSED,
        bounds: SMALL,
    },
    Case {
        wrong: Some(Wrong::ReleasedBeforeDirSync),
        title: "the log is released before the directory is synced after the snapshot's rename",
        breaks: must::A_CRASH_IS_NEVER_REFUSED,
        bounds: SMALL,
    },
    Case {
        wrong: Some(Wrong::LogDirNotSynced),
        title: "the directory is not synced after the new log's rename",
        breaks: must::NOTHING_PROMISED_IS_LOST,
        bounds: SMALL,
    },
    Case {
        wrong: Some(Wrong::LogReleasedFirst),
        title: "the log is released before the snapshot is taken",
        breaks: must::A_CRASH_IS_NEVER_REFUSED,
        bounds: SMALL,
    },
    Case {
        wrong: Some(Wrong::SnapshotWhileWriting),
        title: "writers are not held back while a snapshot is taken, so it is not the state at one sequence number",
        breaks: must::A_PREFIX_OF_WHAT_WAS_ISSUED,
        bounds: SMALL,
    },
    Case {
        wrong: Some(Wrong::AppendedAfterTornTail),
        title: "append after a torn tail",
        breaks: must::NOTHING_PROMISED_IS_LOST,
        bounds: SMALL,
    },
    Case {
        wrong: Some(Wrong::CutNotSynced),
        title: "the cut of a torn tail is not synced, and no mark makes the chain new",
        breaks: must::A_PREFIX_OF_WHAT_WAS_ISSUED,
        bounds: Bounds { puts: 4, again: true, ..SMALL },
    },
    Case {
        wrong: Some(Wrong::NoChain),
        title: "no chain: a frame of an earlier session becomes valid again",
        breaks: must::A_PREFIX_OF_WHAT_WAS_ISSUED,
        bounds: Bounds { puts: 4, snapshots: 0, stale: Stale::CutOff, ..SMALL },
    },
    Case {
        wrong: Some(Wrong::NoOpenedMark),
        title: "a chain that does not begin anew in each session: a stale frame continues it",
        breaks: must::A_PREFIX_OF_WHAT_WAS_ISSUED,
        bounds: Bounds { puts: 4, snapshots: 0, stale: Stale::CutOff, again: true, ..SMALL },
    },
    Case {
        wrong: Some(Wrong::MarkNotDurableFirst),
        title: "the mark of an opening is not durable first: bytes that no recovery saw come back with a later length",
        breaks: must::A_PREFIX_OF_WHAT_WAS_ISSUED,
        bounds: Bounds { puts: 3, crashes: 2, stale: Stale::NeverSeen, ..Bounds::NONE },
    },
    Case {
        wrong: Some(Wrong::MarkInOneStep),
        title: "the mark that begins a new chain is written in one step: if it is lost, a refused write shows",
        breaks: must::A_PREFIX_OF_WHAT_WAS_ISSUED,
        bounds: Bounds { puts: 3, crashes: 2, full_disks: 1, stale: Stale::CutOff, ..Bounds::NONE },
    },
    Case {
        wrong: Some(Wrong::CopyNotSynced),
        title: "the new log gets its name before the copied records are synced",
        breaks: must::NOTHING_PROMISED_IS_LOST,
        bounds: SMALL,
    },
    Case {
        wrong: Some(Wrong::NothingCopied),
        title: "the new log lacks the records after the snapshot",
        breaks: must::NOTHING_PROMISED_IS_LOST,
        bounds: SMALL,
    },
    Case {
        wrong: Some(Wrong::NoSalt),
        title: "no salt: a frame of the released log is taken for one of the new log",
        breaks: must::A_CRASH_IS_NEVER_CALLED_DAMAGE,
        bounds: Bounds { closes: 1, stale: Stale::CutOff, ..SMALL },
    },
    Case {
        wrong: Some(Wrong::FrameClaimsSync),
        title: "frames claim a sync that has not ended",
        breaks: must::A_CRASH_IS_NEVER_CALLED_DAMAGE,
        bounds: SMALL,
    },
    Case {
        wrong: Some(Wrong::ReadBeforeSync),
        title: "recovery reads before it syncs",
        breaks: must::A_CRASH_IS_NEVER_CALLED_DAMAGE,
        bounds: SMALL,
    },
    Case {
        wrong: Some(Wrong::BelievesMemory),
        title: "recovery believes memory instead of the medium after a failed sync",
        breaks: must::NOTHING_PROMISED_IS_LOST,
        bounds: Bounds { sync_failures: 1, ..SMALL },
    },
    Case {
        wrong: Some(Wrong::LeftOverLoaded),
        title: "a left-over temporary snapshot is loaded",
        breaks: must::A_CRASH_IS_NEVER_REFUSED,
        bounds: SMALL,
    },
    Case {
        wrong: Some(Wrong::ReplayedOverSnapshot),
        title: "writes that the snapshot holds are replayed over it",
        breaks: must::A_PREFIX_OF_WHAT_WAS_ISSUED,
        bounds: SMALL,
    },
    Case {
        wrong: Some(Wrong::BadFrameSkipped),
        title: "a bad frame is skipped and the frames behind it are applied",
        breaks: must::A_PREFIX_OF_WHAT_WAS_ISSUED,
        bounds: SMALL,
    },
    Case {
        wrong: Some(Wrong::RefusedNotCutDurably),
        title: "the rest of a refused write is cut off, but the cut is not synced",
        breaks: must::A_PREFIX_OF_WHAT_WAS_ISSUED,
        bounds: Bounds { full_disks: 1, ..SMALL },
    },
    Case {
        wrong: Some(Wrong::RefusedChainGoesOn),
        title: "the chain continues after a refused write: that write comes back in the place of a later one",
        breaks: must::A_PREFIX_OF_WHAT_WAS_ISSUED,
        bounds: Bounds { batch_size: 2, puts: 4, crashes: 1, full_disks: 1, stale: Stale::CutOff, ..Bounds::NONE },
    },
    Case {
        wrong: Some(Wrong::ProvenBeforeSync),
        title: "the mark behind the last write does not wait for the sync of that write",
        breaks: must::A_CRASH_IS_NEVER_CALLED_DAMAGE,
        bounds: Bounds { proofs: 1, ..SMALL },
    },
    Case {
        wrong: Some(Wrong::DecidedBeforeLock),
        title: "a conditional write is decided before the lock, and appended although another write came in between",
        breaks: must::A_CONDITIONAL_WRITE_FOLLOWS_WHAT_IT_WAS_DECIDED_ON,
        bounds: Bounds { looks: 1, ..SMALL },
    },
    Case {
        wrong: Some(Wrong::DecidedOnMap),
        title: "a conditional write is decided against the map alone, without the writes in flight",
        breaks: must::A_CONDITIONAL_WRITE_FOLLOWS_WHAT_IT_WAS_DECIDED_ON,
        bounds: Bounds { looks: 1, ..SMALL },
    },
    Case {
        wrong: Some(Wrong::DecidedByNumber),
        title: "a conditional write compares only the number of the last write, which a refused write has given back",
        breaks: must::A_CONDITIONAL_WRITE_FOLLOWS_WHAT_IT_WAS_DECIDED_ON,
        bounds: Bounds { puts: 3, full_disks: 1, looks: 1, ..SMALL },
    },
    Case {
        wrong: Some(Wrong::ToldInFlight),
        title: "a client is told a value in flight, and a crash takes it back",
        breaks: must::NOTHING_PROMISED_IS_LOST,
        bounds: Bounds { looks: 1, ..SMALL },
    },
    Case {
        wrong: Some(Wrong::AnsweredAfterFailedSync),
        title: "a write is answered OK although its sync has failed",
        breaks: must::A_FAILED_SYNC_IS_NEVER_FOLLOWED_BY_AN_OK,
        bounds: Bounds { sync_failures: 1, ..SMALL },
    },
    Case {
        wrong: Some(Wrong::DurableBatchNotSynced),
        title: "a durable batch is answered before its sync",
        breaks: must::NOTHING_PROMISED_IS_LOST,
        bounds: Bounds { batch_size: 2, durables: 1, ..SMALL },
    },
];
