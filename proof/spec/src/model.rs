//! The protocol that keeps the store's promise, as a model in which every state can be visited.
//!
//! **The promise.** After any crash, the state is the one after the first k writes for some k, and every write that
//! was promised durable is among them.
//!
//! **The files.** There are two: a *log* of frames, and a *snapshot*, which is the state after exactly one write. Each
//! is replaced as a whole, always in the same way: write a scratch file, sync it, rename it, sync the directory. The
//! log has no sealed segments. When a snapshot covers it, the whole log is released at once, by putting a new, empty
//! one in its place. So "seal" is not a step of this protocol, and "release" is the last directory sync of a new log.
//!
//! **The watermarks.** Each is a sequence number:
//!
//! | name | the last write that is … |
//! |---|---|
//! | `appended` | given a number and a frame in the buffer |
//! | `written` | handed to the operating system: the death of the process does not lose it |
//! | `durable` | covered by a sync that returned: a power cut does not lose it |
//! | `applied` | in the map and visible |
//! | `acknowledged` | answered OK, or seen by a reader |
//! | `promised` | answered with a report that it is durable |
//! | `snapshot_seq` | in the newest snapshot |
//!
//! `durable ≤ written ≤ appended`, and with batch size n `applied = min(appended, durable + n − 1)`. So a write is
//! applied once fewer than n writes up to and including it are not durable.
//!
//! **Writing.** *append* (buffer) → *write* (file) → *sync* (medium) → *apply* (map) → *acknowledge*. Any number of
//! writers append while a sync is under way, and the next sync covers them all. Applying is part of appending and of
//! the end of a sync, because no lock is released in between.
//!
//! A sync that fails is not repeated: nothing is accepted and nothing is promised until the store is opened again. A
//! write that fails for lack of room is refused. Its bytes are cut off, and the cut is synced. The writes after it
//! begin with an OPENED mark, like a new session.
//!
//! **Conditional writes.** What a conditional write does follows from the *effective value*: the one after everything
//! that is appended, applied or not. In this model there is one key, so the effective value is the last put. A client
//! *looks* at it, without a lock. Then it *decides*: if the last put is still the one that it saw, its own put is
//! appended in the same step. If not, the attempt is lost, and it looks again. A client that writes nothing is *told*
//! what it saw, but only when that put is applied: until then a failure may take it back, and the client decides again
//! if it does.
//!
//! **Durable batches.** A batch may ask to be durable before its answer, with any n. It is applied only when it is
//! durable. Writes after it wait behind it, so with one of them in flight `applied` may be lower than the rule says.
//!
//! **Idle.** When everything is durable and there are no writers, an OPENED mark is written behind the last write,
//! without a sync. It proves to recovery that the frames before it were synced. A power cut may take it.
//!
//! **Snapshot.** ([`SNAPSHOT`]) It holds everything up to a durable write S, and writers continue while it is made.
//! Create a scratch file, write, sync, verify (read back), rename, sync the directory. Only then comes the new log
//! with base S. The records behind S are copied into it and synced. Then writers are paused with everything durable,
//! the remaining records are copied, and the new log gets its name. Between the two renames the log holds writes that
//! the snapshot has too. Recovery skips them.
//!
//! **Opening.** ([`OPENING`]) Sync both files and the directory, and drop their page cache, because after a failed
//! sync the cache shows bytes that the medium lacks. Replay the snapshot, then the writes of the log above it, up to
//! the first frame that is not the expected one. The rest is *torn* (it was never promised) or *damaged* (something
//! proves that it had been synced). A torn tail is cut and the cut is synced. Only then is the store open: every
//! recovered write is durable.
//!
//! An OPENED mark begins a new chain of frames. It is durable before anything else is written and before space is
//! reserved. Its beginning is durable before the rest of it, because new space may show old bytes. If the log does not
//! end with CLOSED, or is just a header, the mark is durable before the store is open. Zeros up to the end of the file
//! are reserved space, and the end of the log.
//!
//! **The disk.** ([`crate::disk`]) A process may die between any two steps, or in the middle of a write. Its writes
//! are then still in memory. The power may be cut at any moment. Then each piece that was written since the last sync
//! is there, not there, or half there. The length is any that the file had. Each name that was changed since the last
//! directory sync is changed or not. All of these are independent. A failed sync leaves what a power cut may leave,
//! and all pages count as clean.
//!
//! **The checks** are in [`crate::properties`]. [`crate::cases`] lists protocols that leave out one step; for each of
//! them the model finds the shortest history that ends in a loss. [`crate::conform`] checks the code: it follows the
//! real engine on the simulated disk, change by change, along a path of this model, and lets the real recovery read
//! the disks that the model's crashes leave.
//!
//! **Not in the model:**
//!
//! - keys and values (a put is its number),
//! - atomic batches (one frame, so one write here),
//! - bit rot,
//! - a background flush (a write and a sync may happen at any time here),
//! - two processes (there is a lock).
//!
//! States are distinguished by a hash of 64 bits, as the checker does it.

use crate::disk::{Disk, FileId, Frame, Seq, Stale, Writes};
use crate::replay::{LogTail, Refusal};
use crate::wrong::Wrong;
use std::collections::BTreeSet;

/// How much may happen in one history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// The batch size, n.
    pub batch_size: u8,
    /// Puts in all sessions together.
    pub puts: u8,
    /// Snapshots begun.
    pub snapshots: u8,
    /// Deaths of the process and power cuts.
    pub crashes: u8,
    /// Syncs that fail, of a file or of the directory.
    pub sync_failures: u8,
    /// Writes that fail for lack of room.
    pub full_disks: u8,
    /// Clean closes.
    pub closes: u8,
    /// Marks behind the last write of an idle store.
    pub proofs: u8,
    /// What new space of a file shows until something is written there.
    pub stale: Stale,
    /// Whether the file system reserves space in advance.
    pub reserve: bool,
    /// Whether a client may repeat a put that a crash took back.
    pub again: bool,
    /// How often a client looks at the effective value, to write or to be told.
    pub looks: u8,
    /// Durable batches, among the puts.
    pub durables: u8,
}

impl Bounds {
    /// Batch size 1, and nothing happens.
    pub const NONE: Bounds = Bounds {
        batch_size: 1,
        puts: 0,
        snapshots: 0,
        crashes: 0,
        sync_failures: 0,
        full_disks: 0,
        closes: 0,
        proofs: 0,
        stale: Stale::Zeros,
        reserve: false,
        again: false,
        looks: 0,
        durables: 0,
    };
}

/// One step of the process on the disk, besides the steps of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names describe the steps, and the tables below their order")]
pub enum Step {
    SyncSnapshot,
    DropSnapshotCache,
    SyncSnapshotDir,
    SyncLog,
    DropLogCache,
    SyncLogDir,
    Replay,
    RemoveLogTmp,
    RemoveSnapshotTmp,
    CutTail,
    SyncCut,
    HeadWrite,
    HeadSync,
    MarkWrite,
    MarkSync,
    SnapshotCreate,
    SnapshotWrite,
    SnapshotSync,
    SnapshotVerify,
    SnapshotRename,
    SnapshotSyncDir,
    LogCreate,
    LogWrite,
    CopyReserve,
    CopyWrite,
    CopySync,
    Pause,
    RestReserve,
    RestWrite,
    RestSync,
    LogSync,
    LogRename,
    LogSyncDir,
    CloseReserve,
    CloseWrite,
    CloseGiveBack,
    CloseSync,
    CutBack,
    SyncCutBack,
    Open,
}

use Step::*;

/// Opening a store. Steps that have nothing to do are skipped. The five steps that make a log are done only if there
/// is none.
pub const OPENING: &[Step] = &[
    SyncSnapshot,
    DropSnapshotCache,
    SyncSnapshotDir,
    SyncLog,
    DropLogCache,
    SyncLogDir,
    Replay,
    RemoveLogTmp,
    RemoveSnapshotTmp,
    CutTail,
    SyncCut,
    HeadWrite,
    HeadSync,
    MarkWrite,
    MarkSync,
    LogCreate,
    LogWrite,
    LogSync,
    LogRename,
    LogSyncDir,
    Open,
];

/// Taking a snapshot, and then replacing the log.
pub const SNAPSHOT: &[Step] = &[
    SnapshotCreate,
    SnapshotWrite,
    SnapshotSync,
    SnapshotVerify,
    SnapshotRename,
    SnapshotSyncDir,
    LogCreate,
    LogWrite,
    CopyReserve,
    CopyWrite,
    CopySync,
    Pause,
    RestReserve,
    RestWrite,
    RestSync,
    LogRename,
    LogSyncDir,
];

/// The wrong order of [`Wrong::LogReleasedFirst`].
const SNAPSHOT_LAST: &[Step] = &[
    LogCreate,
    LogWrite,
    CopyReserve,
    CopyWrite,
    CopySync,
    Pause,
    RestReserve,
    RestWrite,
    RestSync,
    LogRename,
    LogSyncDir,
    SnapshotCreate,
    SnapshotWrite,
    SnapshotSync,
    SnapshotVerify,
    SnapshotRename,
    SnapshotSyncDir,
];

/// A clean close, with everything durable. The mark is not necessary, so its sync may fail.
pub const CLOSING: &[Step] = &[HeadWrite, HeadSync, MarkWrite, MarkSync, CloseReserve, CloseWrite, CloseGiveBack, CloseSync];

/// Taking back a failed write.
pub const CUTTING_BACK: &[Step] = &[CutBack, SyncCutBack];

/// Taking back an unfinished snapshot or new log, while writers continue.
pub const ABANDONING: &[Step] = &[RemoveLogTmp, RemoveSnapshotTmp];

/// A sequence of steps of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// See [`OPENING`].
    Opening,
    /// See [`SNAPSHOT`].
    Snapshot,
    /// See [`CLOSING`].
    Closing,
    /// See [`CUTTING_BACK`].
    CuttingBack,
    /// See [`ABANDONING`].
    Abandoning,
}

impl Task {
    /// Its steps in order.
    pub fn steps(self, wrong: Option<Wrong>) -> &'static [Step] {
        match self {
            Task::Opening => OPENING,
            Task::Snapshot if wrong == Some(Wrong::LogReleasedFirst) => SNAPSHOT_LAST,
            Task::Snapshot => SNAPSHOT,
            Task::Closing => CLOSING,
            Task::CuttingBack => CUTTING_BACK,
            Task::Abandoning => ABANDONING,
        }
    }
}

/// The OPENED mark of a group that is being written, if old bytes may be behind the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mark {
    /// The group has no mark, has not written it yet, or is completely in the file.
    #[default]
    None,
    /// The beginning of the mark is in the file, but not synced.
    Head,
    /// The beginning is durable. The rest may follow.
    HeadDurable,
    /// The mark is in the file, but not synced. The group waits.
    Written,
    /// The mark is durable. The rest of the group may follow.
    Durable,
}

/// What the process does next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Doing {
    /// There is no process.
    #[default]
    Nothing,
    /// The next step of a task.
    Task(Task, Step),
    /// It serves callers.
    Serving,
}

/// The process, which is lost when it dies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Process {
    /// What it does next.
    pub doing: Doing,
    /// The log that it writes to.
    pub log: Option<FileId>,
    /// The salt of that log.
    pub salt: u8,
    /// The place of the next group, in pieces.
    pub end: u8,
    /// The check of the last frame before `end`.
    pub end_link: u32,
    /// Frames that are not written yet.
    pub buffer: Vec<Frame>,
    /// Whether old bytes may be behind the log: it existed before this session, or a write was refused.
    pub resumed: bool,
    /// The mark of the group that is being written.
    pub mark: Mark,
    /// Whether the OPENED mark for this is in the file.
    pub opened_in_file: bool,
    /// Whether the log ends like a clean close.
    pub marked_closed: bool,
    /// Whether a mark is behind the last write in the file.
    pub proven: bool,
    /// The last write that has a number.
    pub appended: Seq,
    /// The last write handed to the operating system.
    pub written: Seq,
    /// The last write that a successful sync covers.
    pub durable: Seq,
    /// The last visible write.
    pub applied: Seq,
    /// Durable batches that are not durable yet.
    pub sync_first: BTreeSet<Seq>,
    /// The last durable batch. Its OK promises it.
    pub answer_durable: Seq,
    /// What a client has seen, before it decides.
    pub looked: Option<Looked>,
    /// The last write in the newest snapshot.
    pub snapshot_seq: Seq,
    /// The last write of the snapshot that is being taken.
    pub snapshot_of: Seq,
    /// How far the log is being copied into the new one.
    pub copy_to: Seq,
    /// A write failed. The acknowledged writes must be written before anything else.
    pub stalled: bool,
    /// A sync has failed: the number of writes that were answered or durable at that moment.
    pub failed: Option<Seq>,
    /// How the log ended, as opening found it.
    pub tail: Option<LogTail>,
    /// Whole frames behind a bad one, as opening found them.
    pub beyond: u8,
}

/// The effective value as a client has seen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Looked {
    /// The last put, or 0 if there was none.
    pub put: u8,
    /// The sequence number of that put.
    pub seq: Seq,
}

/// A finding that must never happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// Recovery ends before a promised write.
    Lost {
        /// The last write that recovery found.
        found: Seq,
    },
    /// Recovery ends with a state that is not a prefix of the issued writes.
    NotAPrefix {
        /// The state that recovery found.
        found: Writes,
    },
    /// The store does not open, or reports that something is missing.
    Refused(Refusal),
    /// A crash is reported as damage.
    CalledDamage,
    /// A conditional write follows another put than the one that it was decided on.
    DecidedOnAnother {
        /// The put that it was decided on.
        on: u8,
    },
}

/// How much has happened; see [`Bounds`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "as in `Bounds`")]
pub struct Used {
    pub puts: u8,
    pub snapshots: u8,
    pub crashes: u8,
    pub sync_failures: u8,
    pub full_disks: u8,
    pub closes: u8,
    pub proofs: u8,
    pub nonces: u8,
    pub looks: u8,
    pub durables: u8,
}

/// Everything at one moment: disk, process, and what the clients know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// The disk.
    pub disk: Disk,
    /// The process.
    pub process: Process,
    /// The issued writes that were not refused and not taken back by a crash, in order.
    pub issued: Writes,
    /// How many of them were answered OK or seen by a reader.
    pub acknowledged: Seq,
    /// How many of them must never be lost.
    pub promised: Seq,
    /// The writes issued before the last crash, if a client may repeat them.
    pub before_crash: Writes,
    /// The finding that must never happen, if it happened.
    pub broken: Option<Broken>,
    /// How much has happened.
    pub used: Used,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A process starts and opens the store.
    Start,
    /// A client puts something new, or repeats a put that a crash took back. The write is appended.
    Append {
        /// Whether it repeats the put that had this number before the crash.
        again: bool,
    },
    /// A client puts something new in a durable batch. The write is appended.
    AppendDurable,
    /// A client looks at the effective value, to make a conditional write.
    Look,
    /// That client decides: its write is appended, or the attempt is lost because another write came first.
    Decide,
    /// That client writes nothing, and is told what it saw.
    Tell,
    /// The beginning of the buffer's OPENED mark is handed to the operating system.
    WriteHead,
    /// The sync of that beginning returns 0.
    SyncHead,
    /// The rest of the OPENED mark is handed to the operating system.
    WriteMark,
    /// The sync of the OPENED mark returns 0.
    SyncMark,
    /// Space is reserved behind the written frames.
    Reserve,
    /// The whole buffer is handed to the operating system.
    Write,
    /// The disk is full: the operating system takes only some pieces of the buffer, and maybe a part of one more.
    WriteFails {
        /// Whole pieces.
        wrote: u8,
        /// Whether a part of the next piece too.
        torn: bool,
    },
    /// Everything is durable and there are no writers: an OPENED mark is handed to the operating system, and not
    /// synced.
    Prove,
    /// The sync of the log returns 0. Durable writes are applied as far as the batch size allows.
    Sync,
    /// The due sync of a file or the directory fails, and leaves the disk like this.
    SyncFails(Box<Disk>),
    /// The sync of the log by a writer fails, and leaves the disk like this.
    LogSyncFails(Box<Disk>),
    /// Every write that may be answered OK is answered.
    Acknowledge,
    /// A reader sees everything that is applied (batch size 1, where visible writes stay).
    Read,
    /// A snapshot is requested. Its first step is next.
    Snapshot,
    /// A clean close is requested.
    Close,
    /// The next step of the task under way.
    Step(Step),
    /// Like `Step(LogSyncDir)`, and the new log grows into the space of the old one, from this piece on.
    Release {
        /// The first piece of the old log whose space the new one gets.
        space_from: u8,
    },
    /// The process dies in the middle of a write.
    Die {
        /// Whole pieces that were written.
        wrote: u8,
        /// Whether a part of the next piece too.
        torn: bool,
    },
    /// The power is cut, and the disk keeps this.
    PowerCut(Box<Disk>),
}

/// The protocol within bounds: without a mistake, or with one.
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    /// How much may happen.
    pub bounds: Bounds,
    /// The mistake, if there is one.
    pub wrong: Option<Wrong>,
}
