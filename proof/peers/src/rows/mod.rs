//! The rows: what is measured, in which units, and what is asked of it.
//!
//! A row runs in one or two processes of its own for each store and round: nothing that a store leaves behind,
//! in memory or as a thread, is there when the next one runs.

mod checkpoint;
pub(crate) mod durable;
mod growth;
mod memory;
mod mixed;
mod put;
mod read;
mod reopen;
mod table;

pub(crate) use table::ROWS;

use crate::stores::{Kind, NO_STORES, Setup, Store};
use anyhow::Result;
use std::path::Path;
use std::time::Duration;

/// What one process is to do.
pub(crate) struct Task<'a> {
    pub(crate) kind: &'a Kind,
    /// Empty, on the disk to be measured.
    pub(crate) dir: &'a Path,
    /// For a look only: less of everything.
    pub(crate) quick: bool,
}

impl Task<'_> {
    fn open(&self, setup: &Setup) -> Result<Box<dyn Store>> {
        (self.kind.open)(self.dir, setup)
    }

    /// A count, or a twentieth of it.
    fn count(&self, full: u64) -> u64 {
        if self.quick { (full / 20).max(64) } else { full }
    }

    fn time(&self, full: Duration) -> Duration {
        if self.quick { full / 5 } else { full }
    }
}

/// Names and values of what a process measured.
pub(crate) type Figures = Vec<(&'static str, f64)>;

/// Makes everything that was written before durable, so that it is not in the way of what is measured.
fn quiet_disk() {
    rustix::fs::sync();
}

pub(crate) type Run = fn(&Task<'_>) -> Result<Figures>;

pub(crate) enum Steps {
    /// Everything in one process.
    One(Run),
    /// The first, once for each store, leaves files; the second, in each round, opens a copy of them.
    FillThenCopies(Run, Run),
    /// The second opens the files themselves, and leaves them as they were.
    FillThenSame(Run, Run),
}

/// What a figure is.
#[derive(Clone, Copy)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
}

const fn more(name: &'static str, unit: &'static str) -> Metric {
    Metric { name, unit, better: Better::More }
}

const fn less(name: &'static str, unit: &'static str) -> Metric {
    Metric { name, unit, better: Better::Less }
}

/// What is asked of this store.
pub(crate) struct Goal {
    pub(crate) metric: &'static str,
    pub(crate) asked: Asked,
}

pub(crate) enum Asked {
    /// At least, or where less is better at most, so many times the floor's figure.
    OfFloor(f64),
    /// So many times better than the best other store.
    TimesBest(f64),
    /// So many times better than the best of these.
    TimesBestOf(f64, &'static [&'static str]),
    /// At least, or at most, this much.
    Absolute(f64),
}

pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) steps: Steps,
    /// The first one ranks the stores.
    pub(crate) metrics: &'static [Metric],
    pub(crate) goals: &'static [Goal],
    /// Which stores have something to show here; all when empty.
    pub(crate) only: &'static [&'static str],
    /// What is shown here although it is no store.
    pub(crate) also: &'static [&'static str],
}

impl Row {
    pub(crate) fn shows(&self, store: &str) -> bool {
        self.also.contains(&store) || !NO_STORES.contains(&store) && (self.only.is_empty() || self.only.contains(&store))
    }
}

const fn goal(metric: &'static str, asked: Asked) -> Goal {
    Goal { metric, asked }
}
