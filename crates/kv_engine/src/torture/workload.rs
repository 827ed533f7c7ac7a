//! A workload: a list of steps that follows from a seed, run on a simulated disk. Every change to the disk is
//! recorded, with the writes issued and promised at that moment.
//!
//! A write is promised if one of these holds:
//!
//! - it was answered as durable,
//! - a later flush, snapshot or close succeeded,
//! - it is not among the last n − 1 writes,
//! - it is as old as the flush interval, and the flusher has had its turn,
//! - the statistics report it as durable,
//! - it is a durable batch.
//!
//! Some workloads leave their values in the snapshot, with a cache that is too small, or with none. Then reads go to
//! the disk and are tried too. A reader looks at a key after each step. If others write in the middle of a step, it
//! also looks before each disk operation. It must see the last value that may be shown (`model.rs`), and each open
//! view must show what it showed at first.
//!
//! Submissions are told when the committer has its turn, or when the store is closed. Each must be told once, in
//! order, and exactly what is true. Being told is a promise from this moment on.

use super::interleaved::Interleaved;
use super::model::Recorded;
use super::steps::Step;
use super::store::{FLUSH_INTERVAL, options};
use super::user::User;
use crate::disk::sim::{Image, SimDisk};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::recovery::Keep;
use std::collections::VecDeque;
use std::sync::Arc;

/// In the middle of a step with a fault, a reader looks at most this often: reads of one byte at a time take long.
const LOOKS_BEHIND_FAULT: usize = 12;

/// Runs the steps on a healthy disk.
pub(super) fn record(seed: u64, steps: &[Step]) -> Recorded {
    run(steps, &SimDisk::new(&Image::new(), seed), |error| panic!("an error on a healthy disk: {error}"))
}

/// Runs the steps on `disk`, as a process that sees errors, continues as long as the store allows it, and then dies.
pub(super) fn run(steps: &[Step], disk: &SimDisk, mut on_error: impl FnMut(&Error)) -> Recorded {
    let user = User::new(disk);
    let seam = Interleaved::new(disk);
    let mut process = Process { user, seam, engine: None, batch_size: 1, snapshot_on_close: false, keep: Keep::InMemory };
    let mut failed_by = None;
    for (number, step) in steps.iter().enumerate() {
        process.user.model().step = number;
        let done = process.step(step);
        let ended = process.user.model().ended.take();
        process.user.model().mark(disk);
        if failed_by.is_none() && disk.has_failed() {
            failed_by = Some(disk.changes());
        }
        // Both may have failed, with different errors. A write in doubt ends the process, independent of the step's
        // result.
        let errors = [done.err(), ended];
        errors.iter().flatten().for_each(&mut on_error);
        if errors.iter().flatten().any(|error| matches!(error, Error::Poisoned { .. })) {
            break;
        }
    }
    let trace = disk.trace(); // taken before the engine is dropped, because that writes too
    let (marks, digests) = {
        let mut model = process.user.model();
        (std::mem::take(&mut model.marks), model.digests.clone())
    };
    process.end();
    let mut model = process.user.model();
    let mut misread = model.misread.take();
    misread.iter_mut().for_each(|misread| misread.changes = misread.changes.min(trace.len()));
    Recorded { trace, marks, digests, failed_by, counts: model.counts, misread }
}

struct Process {
    user: User,
    seam: Interleaved,
    engine: Option<Engine>,
    batch_size: u64,
    snapshot_on_close: bool,
    keep: Keep,
}

impl Process {
    fn step(&mut self, step: &Step) -> Result<()> {
        if let Step::Open { batch_size, snapshot_on_close, keep } = step {
            (self.batch_size, self.snapshot_on_close, self.keep) = (*batch_size, *snapshot_on_close, *keep);
        }
        let engine = match &self.engine {
            Some(engine) => engine.clone(),
            None => {
                let options =
                    options(&self.user.disk, self.keep).disk(Arc::new(self.seam.clone())).flush_interval(FLUSH_INTERVAL);
                let options = options.batch_size(self.batch_size).snapshot_on_close(self.snapshot_on_close).by_hand();
                self.engine.insert(options.open()?).clone()
            }
        };
        if let Step::With(step, others) = step {
            self.with_others(&engine, step, others)?;
        } else {
            self.user.call(&engine, step)?;
            let number = self.user.model().step;
            self.user.look(&engine, number);
        }
        if matches!(step, Step::Tell) {
            self.user.try_again(&engine)?;
        }
        self.user.read_views();
        if matches!(step, Step::Close) {
            self.engine = None;
        }
        Ok(())
    }

    fn with_others(&self, engine: &Engine, step: &Step, others: &[(usize, Step)]) -> Result<()> {
        let (other, others_engine) = (self.user.clone(), engine.clone());
        let mut others: VecDeque<_> = others.iter().cloned().collect();
        let (mut operation, mut looks_behind_fault) = (0, 0);
        let visit = move || {
            while let Some((at, step)) = others.front()
                && *at <= operation
                && !would_wait(&others_engine, step)
            {
                let (_, step) = others.pop_front().expect("`front` returned it");
                other.interleaved(&others_engine, &step);
            }
            looks_behind_fault += usize::from(other.disk.has_failed());
            if looks_behind_fault <= LOOKS_BEHIND_FAULT {
                other.look(&others_engine, operation);
            }
            operation += 1;
        };
        self.user.model().in_the_middle = true;
        let done = self.seam.during(visit, || self.user.call(engine, step));
        self.user.model().in_the_middle = false;
        done
    }

    /// The process ends. Every submission must be told first. It is not promised any more.
    fn end(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.committer_turn();
            self.user.model().all_told(&self.user.disk);
        }
        let views = std::mem::take(&mut self.user.model().views);
        drop(views);
    }
}

/// Whether this call would have to wait for the one under way. A submission and a view only need the log's lock.
fn would_wait(engine: &Engine, step: &Step) -> bool {
    match step {
        Step::Submit(_) | Step::View(_) => engine.is_locked(),
        _ => engine.would_wait(),
    }
}
