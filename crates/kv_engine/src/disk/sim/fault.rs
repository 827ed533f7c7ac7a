//! [`FaultPlan`]: which operation of a simulated disk fails, how, and for how long.
//! [`SimDisk::with_faults`](super::SimDisk::with_faults) installs a plan. Operations are counted from 0.

use std::fmt;
use std::str::FromStr;

/// A kind of operation on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Opening a file, if it exists.
    Open,
    /// Reading from a file.
    Read,
    /// Writing to a file.
    Write,
    /// Changing the length of a file.
    SetLen,
    /// Making a file durable.
    Sync,
    /// Creating a file.
    Create,
    /// Giving a file another name.
    Rename,
    /// Removing a name.
    Remove,
    /// Making the names in a directory durable.
    SyncDir,
}

/// How much of a read or a write is done. With a single byte, `Half` and `AllButOne` do that byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// No byte. To a reader that looks like the end of the file.
    Nothing,
    /// One byte.
    One,
    /// Half of the bytes.
    Half,
    /// All bytes but the last.
    AllButOne,
}

impl Part {
    pub(super) fn of(self, count: usize) -> usize {
        match self {
            Part::Nothing => 0,
            Part::One => count.min(1),
            Part::Half => (count / 2).max(1).min(count),
            Part::AllButOne => count.saturating_sub(1).max(1).min(count),
        }
    }
}

/// What a failed sync leaves behind. Each variant names the file systems that do so (Rebello et al., "Can Applications
/// Recover from fsync Failures?", ATC 2020).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncFailure {
    /// ext4 and XFS: the bytes stay in the page cache and never reach the disk, and the next sync succeeds.
    LosesPages,
    /// btrfs: the page cache goes back to the bytes on the disk.
    RevertsPages,
}

/// What a planned fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operation does nothing and fails with this error number of the operating system.
    Errno(i32),
    /// A write or a read does only a part of its bytes.
    Short(Part),
    /// The disk is full: the first write does half of its bytes, and the next ones fail with `ENOSPC`.
    Full,
    /// A sync fails.
    Sync(SyncFailure),
}

impl Fault {
    /// Whether this fault can happen to this kind of operation.
    #[must_use]
    pub fn can_hit(self, operation: Operation) -> bool {
        match self {
            Fault::Errno(_) => true,
            Fault::Full => operation == Operation::Write,
            Fault::Short(_) => matches!(operation, Operation::Read | Operation::Write),
            Fault::Sync(_) => operation == Operation::Sync,
        }
    }
}

/// How long a fault lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// One operation.
    Once,
    /// This number of operations of its kind.
    Times(u32),
    /// All later operations of its kind.
    ForEver,
    /// All later operations of every kind that it can hit: the disk is gone.
    Dead,
}

/// Which operations fail, and how.
///
/// As text, for example `12-eio-once`: operation 12, counted from 0 like
/// [`SimDisk::operations`](super::SimDisk::operations).
///
/// ```
/// use kv_engine::disk::sim::{Fault, FaultPlan, Lasts};
///
/// let plan: FaultPlan = "12-eio-ever".parse()?;
/// assert_eq!((plan.at, plan.fault, plan.lasts), (12, Fault::Errno(5), Lasts::ForEver));
/// assert_eq!(plan.to_string(), "12-eio-ever");
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultPlan {
    /// The number of the operation.
    pub at: usize,
    /// How it fails.
    pub fault: Fault,
    /// For how long.
    pub lasts: Lasts,
}

/// The error of a failed sync, and of a broken disk.
pub(crate) const EIO: i32 = 5;
pub(crate) const EINTR: i32 = 4;
pub(crate) const EMFILE: i32 = 24;
pub(crate) const ENOSPC: i32 = 28;
pub(crate) const EROFS: i32 = 30;
pub(crate) const EDQUOT: i32 = 122;

const NAMES: [(&str, Fault); 13] = [
    ("eio", Fault::Errno(EIO)),
    ("enospc", Fault::Errno(ENOSPC)),
    ("edquot", Fault::Errno(EDQUOT)),
    ("erofs", Fault::Errno(EROFS)),
    ("emfile", Fault::Errno(EMFILE)),
    ("eintr", Fault::Errno(EINTR)),
    ("short0", Fault::Short(Part::Nothing)),
    ("short1", Fault::Short(Part::One)),
    ("half", Fault::Short(Part::Half)),
    ("allbut1", Fault::Short(Part::AllButOne)),
    ("full", Fault::Full),
    ("ext4", Fault::Sync(SyncFailure::LosesPages)),
    ("btrfs", Fault::Sync(SyncFailure::RevertsPages)),
];

impl fmt::Display for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.at)?;
        match (NAMES.iter().find(|(_, fault)| *fault == self.fault), self.fault) {
            (Some((name, _)), _) => f.write_str(name)?,
            (None, Fault::Errno(code)) => write!(f, "errno{code}")?,
            (None, fault) => unreachable!("{fault:?} is in NAMES"),
        }
        match self.lasts {
            Lasts::Once => f.write_str("-once"),
            Lasts::Times(n) => write!(f, "-{n}"),
            Lasts::ForEver => f.write_str("-ever"),
            Lasts::Dead => f.write_str("-dead"),
        }
    }
}

impl FromStr for FaultPlan {
    type Err = String;

    fn from_str(text: &str) -> Result<FaultPlan, String> {
        let wrong = || format!("{text:?} is not a fault plan OPERATION-FAULT-DURATION, for example 12-eio-once");
        let mut parts = text.split('-');
        let (Some(at), Some(name), Some(lasts), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(wrong());
        };
        let named = NAMES.iter().find(|(known, _)| *known == name).map(|(_, fault)| *fault);
        let code = || name.strip_prefix("errno").and_then(|code| code.parse().ok()).map(Fault::Errno);
        Ok(FaultPlan {
            at: at.parse().map_err(|_| wrong())?,
            fault: named.or_else(code).ok_or_else(wrong)?,
            lasts: match lasts {
                "once" => Lasts::Once,
                "ever" => Lasts::ForEver,
                "dead" => Lasts::Dead,
                times => Lasts::Times(times.parse().map_err(|_| wrong())?),
            },
        })
    }
}
