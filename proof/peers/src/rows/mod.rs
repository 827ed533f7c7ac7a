//! The rows: what each of them measures, in which units, and its goals.
//!
//! For each store and round, a row runs in one or two processes of its own. So nothing that a store leaves behind, in
//! memory or as a thread, affects the next one.

mod checkpoint;
pub(crate) mod durable;
mod growth;
mod many;
mod memory;
mod mixed;
mod put;
mod read;
mod reopen;
mod table;
mod update;

pub(crate) use table::ROWS;

use crate::stores::{Kind, NO_STORES, Setup, Store};
use anyhow::Result;
use std::path::Path;
use std::time::Duration;

/// The task of one process.
pub(crate) struct Task<'a> {
    pub(crate) kind: &'a Kind,
    /// An empty directory on the disk to measure.
    pub(crate) dir: &'a Path,
    /// Less of everything, for a quick look.
    pub(crate) quick: bool,
}

impl Task<'_> {
    fn open(&self, setup: &Setup) -> Result<Box<dyn Store>> {
        (self.kind.open)(self.dir, setup)
    }

    /// The count, or a twentieth of it.
    fn count(&self, full: u64) -> u64 {
        if self.quick { (full / 20).max(64) } else { full }
    }

    fn time(&self, full: Duration) -> Duration {
        if self.quick { full / 5 } else { full }
    }
}

/// The names and values that a process measured.
pub(crate) type Figures = Vec<(&'static str, f64)>;

/// Makes all earlier writes durable, so that they do not disturb the measurement.
fn quiet_disk() {
    rustix::fs::sync();
}

pub(crate) type Run = fn(&Task<'_>) -> Result<Figures>;

pub(crate) enum Steps {
    /// Everything in one process.
    One(Run),
    /// The first function runs once for each store and leaves files. The second runs in each round and opens a copy of
    /// them.
    FillThenCopies(Run, Run),
    /// The second function opens the files themselves and leaves them unchanged.
    FillThenSame(Run, Run),
}

/// The name and unit of a figure.
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

/// A goal for this store.
pub(crate) struct Goal {
    pub(crate) metric: &'static str,
    pub(crate) target: Target,
}

pub(crate) enum Target {
    /// At least this multiple of the floor's figure; at most, if less is better.
    OfFloor(f64),
    /// This many times better than the best other store.
    TimesBest(f64),
    /// This many times better than the best of these stores.
    TimesBestOf(f64, &'static [&'static str]),
    /// At least this value; at most, if less is better.
    Absolute(f64),
}

pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) steps: Steps,
    /// The first metric ranks the stores.
    pub(crate) metrics: &'static [Metric],
    pub(crate) goals: &'static [Goal],
    /// The stores that can run this row. Empty: all.
    pub(crate) only: &'static [&'static str],
    /// Shown in this row although it is not a store.
    pub(crate) also: &'static [&'static str],
}

impl Row {
    pub(crate) fn shows(&self, store: &str) -> bool {
        self.also.contains(&store) || !NO_STORES.contains(&store) && (self.only.is_empty() || self.only.contains(&store))
    }
}

const fn goal(metric: &'static str, target: Target) -> Goal {
    Goal { metric, target }
}
