//! The bounds of the check, for the tests and for the long run.

use crate::disk::Stale;
use crate::model::Bounds;
use std::fmt;

/// One set of bounds.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The bounds.
    pub bounds: Bounds,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bounds {
            batch_size,
            puts,
            snapshots,
            crashes,
            sync_failures,
            full_disks,
            closes,
            proofs,
            stale,
            reserve,
            again,
            looks,
            durables,
        } = self.bounds;
        write!(f, "batch size {batch_size}, at most {puts} puts, {snapshots} snapshots, {crashes} crashes")?;
        for (count, what) in [
            (sync_failures, "failed syncs"),
            (full_disks, "full disks"),
            (closes, "closes"),
            (proofs, "marks of an idle store"),
            (looks, "looks of conditional writes"),
            (durables, "durable batches"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        match stale {
            Stale::Zeros => {}
            Stale::CutOff => write!(f, ", new space shows what was cut off or released")?,
            Stale::NeverSeen => write!(f, ", new space shows everything that reached the medium")?,
        }
        if reserve {
            write!(f, ", space is reserved")?;
        }
        if again { write!(f, ", clients repeat lost puts") } else { Ok(()) }
    }
}

const fn run(bounds: Bounds) -> Run {
    Run { bounds }
}

const SHORT: &[Run] = &[
    run(Bounds { batch_size: 1, puts: 2, crashes: 3, stale: Stale::NeverSeen, ..Bounds::NONE }),
    run(Bounds { batch_size: 1, puts: 3, crashes: 2, stale: Stale::NeverSeen, reserve: true, ..Bounds::NONE }),
    run(Bounds { batch_size: 1, puts: 2, snapshots: 1, crashes: 2, closes: 1, reserve: true, ..Bounds::NONE }),
    run(Bounds { batch_size: 2, puts: 2, snapshots: 1, crashes: 2, closes: 1, ..Bounds::NONE }),
    run(Bounds { batch_size: 1, puts: 2, snapshots: 2, crashes: 2, ..Bounds::NONE }),
    run(Bounds { batch_size: 2, puts: 2, snapshots: 1, crashes: 2, proofs: 2, stale: Stale::CutOff, ..Bounds::NONE }),
    run(Bounds { batch_size: 1, puts: 3, crashes: 2, proofs: 2, stale: Stale::NeverSeen, reserve: true, ..Bounds::NONE }),
    run(Bounds { batch_size: 1, puts: 2, snapshots: 1, crashes: 2, sync_failures: 1, ..Bounds::NONE }),
    run(Bounds { batch_size: 2, puts: 3, crashes: 2, full_disks: 1, stale: Stale::CutOff, ..Bounds::NONE }),
    run(Bounds { batch_size: 1, puts: 3, snapshots: 1, crashes: 2, stale: Stale::CutOff, again: true, ..Bounds::NONE }),
    run(Bounds { batch_size: 1, puts: 3, crashes: 1, sync_failures: 1, looks: 2, ..Bounds::NONE }),
    run(Bounds { batch_size: 2, puts: 3, crashes: 1, full_disks: 1, looks: 2, durables: 1, ..Bounds::NONE }),
];

const LONG: &[Run] = &[
    run(Bounds { batch_size: 1, puts: 3, snapshots: 1, crashes: 2, closes: 1, ..Bounds::NONE }),
    run(Bounds { batch_size: 2, puts: 3, snapshots: 1, crashes: 2, closes: 1, reserve: true, ..Bounds::NONE }),
    run(Bounds { batch_size: 1, puts: 2, snapshots: 1, crashes: 3, ..Bounds::NONE }),
    run(Bounds { batch_size: 1, puts: 3, snapshots: 2, crashes: 3, ..Bounds::NONE }),
    run(Bounds { batch_size: 2, puts: 4, snapshots: 1, crashes: 2, closes: 1, ..Bounds::NONE }),
    run(Bounds { batch_size: 3, puts: 4, snapshots: 1, crashes: 2, ..Bounds::NONE }),
    run(Bounds { batch_size: 2, puts: 3, snapshots: 1, crashes: 2, sync_failures: 2, ..Bounds::NONE }),
    run(Bounds { batch_size: 2, puts: 3, snapshots: 1, crashes: 2, full_disks: 1, sync_failures: 1, ..Bounds::NONE }),
    run(Bounds { batch_size: 2, puts: 4, crashes: 2, full_disks: 2, closes: 1, stale: Stale::CutOff, ..Bounds::NONE }),
    run(Bounds { batch_size: 2, puts: 4, snapshots: 1, crashes: 2, stale: Stale::CutOff, again: true, ..Bounds::NONE }),
    run(Bounds { batch_size: 1, puts: 2, snapshots: 2, crashes: 3, sync_failures: 1, ..Bounds::NONE }),
    run(Bounds { batch_size: 2, puts: 3, snapshots: 1, crashes: 2, proofs: 2, stale: Stale::CutOff, ..Bounds::NONE }),
    run(Bounds { batch_size: 1, puts: 3, snapshots: 1, crashes: 2, sync_failures: 1, looks: 2, ..Bounds::NONE }),
    run(Bounds { batch_size: 2, puts: 4, crashes: 2, full_disks: 2, looks: 2, durables: 2, ..Bounds::NONE }),
];

/// The bounds within which every state of the right protocol is visited.
pub fn right(long: bool) -> &'static [Run] {
    if long { LONG } else { SHORT }
}

/// The number of workloads of the real engine that are followed.
pub fn workloads(long: bool) -> u64 {
    if long { 1_000 } else { 500 }
}
