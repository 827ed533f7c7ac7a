//! The protocol that keeps the store's promise, as a model of which every state can be visited.
//!
//! **The promise.** After any crash the state is that after the first k writes for some k, and every
//! write that was promised durable is among them.
//!
//! **The files.** There are two, and nothing else: a *log* of frames, and a *snapshot*, the state
//! after exactly one write. Each is replaced whole, in one way: written as a scratch file,
//! synced, renamed, directory synced. The log has no sealed segments: when a snapshot covers it, all of it
//! is released at once, by putting a new, empty one in its place. So "seal" is no step of this
//! protocol, and "release" is the last directory sync of a new log.
//!
//! **The watermarks**, all of them sequence numbers:
//!
//! | name | the last write that is … |
//! |---|---|
//! | `appended` | given a number and a frame in the buffer |
//! | `written` | handed to the operating system: a dead process does not lose it |
//! | `durable` | covered by a sync that returned: a power cut does not lose it |
//! | `applied` | in the map and visible |
//! | `acknowledged` | answered OK, or seen by a reader |
//! | `promised` | answered in a way that says it is durable |
//! | `snapshot_seq` | in the newest snapshot |
//!
//! `durable ≤ written ≤ appended`, and with batch size n `applied = min(appended, durable + n − 1)`:
//! a write is applied once fewer than n writes up to and including it are not durable.
//!
//! **Writing.** *append* (buffer) → *write* (file) → *sync* (medium) → *apply* (map) → *acknowledge*.
//! Any number of writers append while a sync is under way; the next sync covers them all. Applying
//! is part of appending and of the end of a sync, since no lock is let go between. A sync that fails
//! is not repeated: nothing is accepted and nothing is promised until the store is opened again. A
//! write that fails for lack of room is refused, its bytes are cut off, and the cut is synced; what goes on behind it
//! begins with an OPENED mark, as a new life does.
//!
//! **Idle.** When all is durable and nobody writes, an OPENED mark is written behind the last write, without a sync. It
//! proves to recovery that the frames before it were synced. A power cut may take it.
//!
//! **Snapshot.** Of everything up to write S, which is durable, while writers go on ([`SNAPSHOT`]): create a scratch file,
//! write, sync, verify (read back), rename, sync the directory. Only then the new log with base S: the records
//! behind S are copied into it and synced; in a pause, with everything durable, the rest; then it gets its name.
//! Between the two the log holds writes that the snapshot has too; recovery skips them.
//!
//! **Opening** ([`OPENING`]). Sync both files and the directory and forget what memory has of them,
//! because after a failed sync memory shows bytes that the medium lacks. Replay: the snapshot, then
//! the log's writes above it, up to the first frame that is not the one due. What follows is *torn*
//! (promised to nobody) or *damaged* (something proves that it had been synced). A torn tail is
//! cut, the cut synced, and only then the store is open: all that was recovered is durable. An
//! OPENED mark makes the chain of frames new. It is durable before anything else is written or space is reserved,
//! and its beginning before the rest of it, since new space may show what stood there;
//! where the log does not end with CLOSED, a bare header too, before the store is open. Zeros up to the end of
//! the file are reserved space, and the end of the log.
//!
//! **The disk** ([`crate::disk`]). A process may die between any two steps, or in the middle of a
//! write; what it wrote is then still in memory. The power may be cut at any moment: each piece that
//! was written since the last sync is there, not there, or half there; the length is any that the
//! file had; each name that was changed since the last directory sync is changed or not, all
//! independently. A failed sync leaves what a power cut may leave, and says that nothing is pending.
//!
//! **What is checked**: [`crate::properties`]. **What happens otherwise**: [`crate::wrong`] names
//! protocols that leave out one step, and for each of them the model finds the shortest history
//! that ends in a loss. **Whether the code does this**: [`crate::conform`] follows the real
//! engine on the simulated disk, change by change, along a path of this model, and lets the real
//! recovery read the disks that this model's crashes leave.
//!
//! **Not in it**: what a key or a value is (a put is its number); atomic groups (one frame, so one
//! write here); bit rot; a background flush (a write and a sync may happen at any time here); two
//! processes (there is a lock). States are told apart by a hash of 64 bits, as the checker does it.

use crate::disk::{Disk, FileId, Frame, Seq, Stale, Writes};
use crate::replay::{LogTail, Refusal};
use crate::wrong::Wrong;

/// How much may happen in one history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// The batch size, n.
    pub batch_size: u8,
    /// Puts in all lives together.
    pub puts: u8,
    /// Snapshots begun.
    pub snapshots: u8,
    /// Deaths of the process and power cuts.
    pub crashes: u8,
    /// Syncs that fail, of a file or of the directory.
    pub sync_failures: u8,
    /// Writes that fail for lack of room.
    pub full_disks: u8,
    /// Orderly closes.
    pub closes: u8,
    /// Marks behind the last write of a store in which nobody writes.
    pub proofs: u8,
    /// What new space of a file shows until something is written there.
    pub stale: Stale,
    /// Whether the file system reserves space ahead of what is written.
    pub reserve: bool,
    /// Whether a client may put once more what a crash took back.
    pub again: bool,
}

impl Bounds {
    /// One writer's batch size, and nothing happens.
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
    };
}

/// One step of the process on the disk, besides those of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it, and the tables below when")]
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

/// Opening a store. Steps that have nothing to do are passed over; the five that make a log are done
/// only where there is none.
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

/// The other way round: what [`Wrong::LogReleasedFirst`] does.
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

/// Closing in order, with everything durable. The mark is not needed, so its sync may fail.
pub const CLOSING: &[Step] = &[HeadWrite, HeadSync, MarkWrite, MarkSync, CloseReserve, CloseWrite, CloseGiveBack, CloseSync];

/// Taking back a write that failed.
pub const CUTTING_BACK: &[Step] = &[CutBack, SyncCutBack];

/// Taking back a snapshot, or a new log, that could not be finished; writers go on.
pub const ABANDONING: &[Step] = &[RemoveLogTmp, RemoveSnapshotTmp];

/// A row of steps that the process goes through.
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

/// The OPENED mark of a group that is being written, where old bytes may stand behind the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mark {
    /// The group has none, or has not come to it, or is in the file as a whole.
    #[default]
    None,
    /// Its beginning is in the file, and not synced.
    Head,
    /// Its beginning is durable: the rest of it may follow.
    HeadDurable,
    /// In the file, and not synced: the group waits.
    Written,
    /// Durable: the rest of the group may follow.
    Durable,
}

/// What the process does next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Doing {
    /// There is no process.
    #[default]
    Nothing,
    /// The step that is next, of a task.
    Task(Task, Step),
    /// It serves callers.
    Serving,
}

/// The process: what is lost when it dies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Process {
    /// What it does next.
    pub doing: Doing,
    /// The log it writes to.
    pub log: Option<FileId>,
    /// That log's salt.
    pub salt: u8,
    /// Where the next group goes, in pieces.
    pub end: u8,
    /// Check of the last frame before `end`.
    pub end_link: u32,
    /// Frames that are not written yet.
    pub buffer: Vec<Frame>,
    /// Whether old bytes may stand behind the log: it was there before this life, or a write was refused.
    pub resumed: bool,
    /// The mark of the group that is being written.
    pub mark: Mark,
    /// Whether the OPENED mark behind that is in the file.
    pub opened_in_file: bool,
    /// Whether the log ends as an orderly close leaves it.
    pub marked_closed: bool,
    /// Whether a mark stands behind the last write in the file.
    pub proven: bool,
    /// The last write given a number.
    pub appended: Seq,
    /// The last one handed to the operating system.
    pub written: Seq,
    /// The last one that a successful sync covers.
    pub durable: Seq,
    /// The last one visible.
    pub applied: Seq,
    /// The last one in the newest snapshot.
    pub snapshot_seq: Seq,
    /// What the snapshot being taken says it holds.
    pub snapshot_of: Seq,
    /// How far the log is being copied into the new one.
    pub copy_to: Seq,
    /// A write failed, and what was acknowledged has to be written before anything else.
    pub stalled: bool,
    /// A sync has failed: so many writes had been answered, or were durable, at that moment.
    pub failed: Option<Seq>,
    /// How the log ended, while opening.
    pub tail: Option<LogTail>,
    /// Whole frames seen behind a bad one, while opening.
    pub beyond: u8,
}

/// What must never be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// Recovery ends before a promised write.
    Lost {
        /// Where it ends.
        found: Seq,
    },
    /// What it ends with is not how the writes began that were issued.
    NotAPrefix {
        /// What it is.
        found: Writes,
    },
    /// The store is not opened, or says that something is missing.
    Refused(Refusal),
    /// A crash is taken for damage.
    CalledDamage,
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
}

/// Everything at one moment: disk, process, and what the clients know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// The disk.
    pub disk: Disk,
    /// The process.
    pub process: Process,
    /// The writes that were issued and neither refused nor taken back by a crash, in order.
    pub issued: Writes,
    /// How many of them were answered OK, or seen by a reader.
    pub acknowledged: Seq,
    /// How many of them nobody may ever lose.
    pub promised: Seq,
    /// What was issued before the last crash, where a client may put it again.
    pub before_crash: Writes,
    /// What should never have happened.
    pub broken: Option<Broken>,
    /// How much has happened.
    pub used: Used,
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A process is started and opens the store.
    Start,
    /// A client puts something new, or once more what a crash took back; the write is appended.
    Append {
        /// Whether it is what had this number before the crash.
        again: bool,
    },
    /// Of the buffer, the beginning of the OPENED mark is handed to the operating system.
    WriteHead,
    /// The sync of that returns 0.
    SyncHead,
    /// The rest of the OPENED mark is handed to the operating system.
    WriteMark,
    /// The sync of the OPENED mark returns 0.
    SyncMark,
    /// Space is reserved behind what is written.
    Reserve,
    /// The whole buffer is handed to the operating system.
    Write,
    /// Of that write only so many pieces are taken, and maybe a part of one more: the disk is full.
    WriteFails {
        /// Whole pieces.
        wrote: u8,
        /// Whether a part of the next.
        torn: bool,
    },
    /// All is durable and nobody writes: an OPENED mark is handed to the operating system, and not synced.
    Prove,
    /// The sync of the log returns 0; what is durable is applied as far as the batch size allows.
    Sync,
    /// The sync that is due, of a file or the directory, fails, and leaves the disk like this.
    SyncFails(Box<Disk>),
    /// The sync of the log of a writer fails.
    LogSyncFails(Box<Disk>),
    /// All that may be answered OK is.
    Acknowledge,
    /// A reader sees all that is applied (batch size 1, where what is seen stays).
    Read,
    /// A snapshot is asked for; its first step is next.
    Snapshot,
    /// An orderly close is asked for.
    Close,
    /// The next step of the task under way.
    Step(Step),
    /// As `Step(LogSyncDir)`, and the new log grows into the old one's space, from this piece on.
    Release {
        /// The first of the old log's pieces that the new one gets.
        space_from: u8,
    },
    /// The process dies; of a write under way so much was taken.
    Die {
        /// Whole pieces.
        wrote: u8,
        /// Whether a part of the next.
        torn: bool,
    },
    /// The power is cut, and the disk keeps this.
    PowerCut(Box<Disk>),
}

/// The protocol within bounds: the right one, or with one mistake.
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    /// How much may happen.
    pub bounds: Bounds,
    /// The mistake.
    pub wrong: Option<Wrong>,
}
