//! [`Wrong`]: protocols that look almost like the right one, each with one mistake. [`crate::cases`] says what each of
//! them loses.

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wrong {
    /// OK is given when the write is handed to the operating system.
    AcknowledgedBeforeSync,
    /// At batch size 1 a write is applied before it is durable.
    VisibleBeforeDurable,
    /// A failed sync is called again.
    SyncRetried,
    /// The snapshot gets its name before its bytes are durable.
    SnapshotRenamedBeforeSync,
    /// The new log gets its name before its bytes are durable.
    LogRenamedBeforeSync,
    /// The old log is released before the snapshot's name is durable.
    ReleasedBeforeDirSync,
    /// Writes go into the new log before its name is durable.
    LogDirNotSynced,
    /// The old log is replaced first, and the snapshot is taken after that.
    LogReleasedFirst,
    /// Writers go on while a snapshot is taken.
    SnapshotWhileWriting,
    /// New frames are written behind the torn tail.
    AppendedAfterTornTail,
    /// The torn tail is cut, but the cut is not synced. The mark that begins a new chain is left out as well, because
    /// the chain alone would make up for the missing sync.
    CutNotSynced,
    /// A frame need not be linked to the one before it.
    NoChain,
    /// No mark begins a new session in the log.
    NoOpenedMark,
    /// The mark of an opening is written with the first group, and is not durable before it.
    MarkNotDurableFirst,
    /// The mark of an opening is durable first, but it is written in one step.
    MarkInOneStep,
    /// The new log gets its name before the last copied records are synced.
    CopyNotSynced,
    /// The records behind the snapshot are not copied into the new log.
    NothingCopied,
    /// Every log has the same salt.
    NoSalt,
    /// Frames claim that the writes before them are synced.
    FrameClaimsSync,
    /// Recovery reads the bytes of the last process without syncing them. The sync of the beginning of the mark is
    /// left out as well, because it would make up for that: the mark may then outlive the bytes before it.
    ReadBeforeSync,
    /// Recovery reads from memory and not from the medium.
    BelievesMemory,
    /// Recovery loads a left-over temporary snapshot.
    LeftOverLoaded,
    /// Recovery applies writes again that the snapshot holds.
    ReplayedOverSnapshot,
    /// Recovery skips a bad frame and applies the frames behind it.
    BadFrameSkipped,
    /// The rest of a refused write is cut off, but the cut is not synced.
    RefusedNotCutDurably,
    /// The writes after a refused write continue the chain of the refused one.
    RefusedChainGoesOn,
    /// The mark behind the last write is written before the sync of that write has ended.
    ProvenBeforeSync,
    /// A conditional write is appended without a second look at the effective value.
    DecidedBeforeLock,
    /// A conditional write looks at what is applied, and not at what is in flight.
    DecidedOnMap,
    /// The second look compares only the number of the last write. A refused write gives its number back.
    DecidedByNumber,
    /// A client that writes nothing is told a value in flight.
    ToldInFlight,
    /// Writes whose sync has failed are answered OK.
    AnsweredAfterFailedSync,
    /// A durable batch is answered like any other write.
    DurableBatchNotSynced,
}
