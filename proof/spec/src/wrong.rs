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
    /// The old log is replaced first, the snapshot taken then.
    LogReleasedFirst,
    /// Writers go on while a snapshot is taken.
    SnapshotWhileWriting,
    /// New frames go behind the torn tail.
    AppendedAfterTornTail,
    /// The torn tail is cut, and the cut is not synced. By itself the chain of frames makes up for
    /// that, so the mark that makes the chain new is left out as well.
    CutNotSynced,
    /// A frame need not follow the one before it.
    NoChain,
    /// Nothing marks a new life in the log.
    NoOpenedMark,
    /// The mark of an opening is written with the first group, and not durable before it.
    MarkNotDurableFirst,
    /// The mark of an opening is durable first, but not its beginning before the rest of it.
    MarkInOneStep,
    /// The new log gets its name before the records that were copied last are synced.
    CopyNotSynced,
    /// The records behind the snapshot are not copied into the new log.
    NothingCopied,
    /// Every log has the same salt.
    NoSalt,
    /// Frames say of the writes before them that they are synced.
    FrameClaimsSync,
    /// Recovery reads what the last process wrote, and does not sync it. By itself the sync of the beginning of the mark
    /// makes up for that, so it is left out as well: the mark may then outlive what is before it.
    ReadBeforeSync,
    /// Recovery reads from memory and not from the medium.
    BelievesMemory,
    /// Recovery loads a left-over temporary snapshot.
    LeftOverLoaded,
    /// Recovery applies the writes that the snapshot holds once more.
    ReplayedOverSnapshot,
    /// Recovery skips a bad frame and applies what is behind it.
    BadFrameSkipped,
    /// What is left of a write that was refused is cut off, and the cut is not synced.
    RefusedNotCutDurably,
    /// What is written behind a write that was refused continues the chain in which that one stood.
    RefusedChainGoesOn,
    /// The mark behind the last write is written before the sync of that write has ended.
    ProvenBeforeSync,
}
