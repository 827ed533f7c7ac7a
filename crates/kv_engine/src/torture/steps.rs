//! The steps of a workload, which follow from its seed, and how a story shows them.

use super::choices::Random;
use super::conditional::How;
use super::store::{CACHE_BYTES, leaves_values_in_snapshot, on_disk};
use super::submission::{Sent, Submission};
use crate::recovery::Keep;
use crate::state::Op;
use std::fmt;
use std::time::Duration;

const STEPS: usize = 30;
pub(super) const KEYS: usize = 6;
/// About this many disk operations happen in a checkpoint of these stores before writers are paused, and in a flush.
const SNAPSHOT_OPERATIONS: usize = 16;
const FLUSH_OPERATIONS: usize = 3;
/// The same for a checkpoint that writes an index and replaces the old snapshot.
const INDEXED_SNAPSHOT_OPERATIONS: usize = 36;

/// One step of a process that uses the store. If the store is not open, a step opens it first, as the last `Open`
/// says.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Open {
        batch_size: u64,
        snapshot_on_close: bool,
        keep: Keep,
    },
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    Batch(Vec<Op>),
    Flush,
    Snapshot,
    BatchSize(u64),
    Close,
    /// The clock advances by this time, and the flusher has its turn.
    Wait(Duration),
    /// A put, delete or batch that is made in another way.
    Conditional(How, Box<Step>),
    /// Others write in the middle of a step. Each write happens before the step's disk operation with this number, or
    /// before the first later one at which the writer need not wait.
    With(Box<Step>, Vec<(usize, Step)>),
    /// Writes whose user does not wait.
    Submit(Submission),
    /// The committer has its turn, and tells.
    Tell,
    /// A user opens a read view, and keeps it. From the third one on, this one of the open views ends first.
    View(usize),
}

/// The steps that follow from `seed`.
pub(super) fn steps(seed: u64) -> Vec<Step> {
    let mut random = Random::new(seed);
    let mut steps = vec![open(&mut random)];
    while steps.len() < STEPS {
        steps.push(step(&mut random));
        if matches!(steps.last(), Some(Step::Close)) {
            steps.push(open(&mut random));
        }
    }
    steps.push(Step::Close);
    let steps = with_others(seed, steps);
    let steps = if leaves_values_in_snapshot(seed) { with_values_in_snapshot(seed, steps) } else { steps };
    let steps = with_conditions(seed, steps);
    if submits(seed) { with_submissions(seed, steps) } else { steps }
}

/// Whether this workload has submissions, read views and durable batches. They read the disk and sync at other times.
/// The seeds in `regressions.txt` have none, so their cases stay what they are.
fn submits(seed: u64) -> bool {
    matches!(seed % 7, 0 | 4 | 6)
}

/// Makes every second write a submission, and gives the committer its turns. Some users open views.
fn with_submissions(seed: u64, steps: Vec<Step>) -> Vec<Step> {
    let random = &mut Random::new(seed ^ 0x5b_317d);
    let mut all = Vec::with_capacity(2 * steps.len());
    for step in steps {
        let may_follow = !matches!(step, Step::Close);
        all.push(match step {
            Step::With(step, others) => {
                let others = others.into_iter().map(|(at, other)| (at, submitted(other, random))).collect();
                Step::With(step, with_views(others, random))
            }
            step => submitted(step, random),
        });
        match random.below(8) {
            0 | 1 if may_follow => all.push(Step::Tell),
            2 if may_follow => {
                let mut others: Vec<_> = (0..1 + random.below(3))
                    .map(|_| (random.below(FLUSH_OPERATIONS), Step::Submit(submission(write(random), random))))
                    .collect();
                others.sort_by_key(|(at, _)| *at);
                all.push(Step::With(Box::new(Step::Tell), with_views(others, random)));
            }
            3 if may_follow => all.push(Step::View(random.below(3))),
            _ => {}
        }
    }
    all
}

/// Perhaps one view is opened in the middle of a step too.
fn with_views(mut others: Vec<(usize, Step)>, random: &mut Random) -> Vec<(usize, Step)> {
    if random.below(3) == 0 {
        let place = random.below(others.len() + 1);
        let at = others.get(place).or(others.last()).map_or(0, |(at, _)| *at);
        others.insert(place, (at, Step::View(random.below(3))));
    }
    others
}

fn submitted(step: Step, random: &mut Random) -> Step {
    let is_write = matches!(step, Step::Put(..) | Step::Delete(_) | Step::Batch(_) | Step::Conditional(..));
    if is_write && random.below(2) == 0 { Step::Submit(submission(step, random)) } else { step }
}

/// A submission that begins with this write. One of ten is empty.
fn submission(first: Step, random: &mut Random) -> Submission {
    let count = [0, 1, 1, 1, 1, 2, 2, 3, 3, 6][random.below(10)];
    let mut next = Some(first);
    let mut one = || {
        let ops = operations(next.take().unwrap_or_else(|| write(random)));
        let ops = if random.below(12) == 0 { Vec::new() } else { ops };
        let requires = [None, None, None, None, None, Some(true), Some(true), Some(false)][random.below(8)];
        let is_durable = random.below(5) == 0;
        Sent { ops, is_durable, requires: requires.map(|holds| (key(random), holds)) }
    };
    Submission((0..count).map(|_| one()).collect())
}

/// What a write does.
fn operations(write: Step) -> Vec<Op> {
    match write {
        Step::Put(key, value) => vec![Op::put(&key, &value)],
        Step::Delete(key) => vec![Op::delete(&key)],
        Step::Batch(ops) => ops,
        Step::Conditional(_, write) => operations(*write),
        _ => unreachable!("only writes are submitted"),
    }
}

/// Makes one write of three in another way. The other steps of a seed do not depend on it.
fn with_conditions(seed: u64, steps: Vec<Step>) -> Vec<Step> {
    let random = &mut Random::new(seed ^ 0x00c0_4d17);
    let change = |step: Step| match step {
        Step::With(step, others) => {
            let others = others.into_iter().map(|(at, other)| (at, conditional(other, false, random)));
            Step::With(step, others.collect())
        }
        step => conditional(step, submits(seed), random),
    };
    steps.into_iter().map(change).collect()
}

/// Perhaps makes a write in another way. `may_sync`: it may be durable at once.
fn conditional(step: Step, may_sync: bool, random: &mut Random) -> Step {
    use How::{Durable, Require, Swap, Transaction, Update};
    let (chosen, choice) = (random.below(3) == 0, random.below(6));
    let how = match &step {
        Step::Put(..) => [Update, Update, Swap, Swap, Transaction, Require][choice],
        Step::Delete(_) => [Update, Swap][choice % 2],
        Step::Batch(_) if may_sync && choice < 3 => Durable,
        Step::Batch(_) => [Transaction, Require][choice % 2],
        _ => return step,
    };
    if chosen { Step::Conditional(how, Box::new(step)) } else { step }
}

/// Changes most openings so that they leave values in the snapshot. The others save a snapshot without an index, which
/// the next one must save anew. Some values become longer, so that snapshots have several blocks.
fn with_values_in_snapshot(seed: u64, steps: Vec<Step>) -> Vec<Step> {
    let random = &mut Random::new(seed ^ 0x00b1_0c45);
    let change = |step: Step| match step {
        Step::Open { batch_size, snapshot_on_close, .. } => {
            let keep = [Keep::InMemory, on_disk(0), on_disk(0), on_disk(CACHE_BYTES)][random.below(4)];
            Step::Open { batch_size, snapshot_on_close, keep }
        }
        Step::Put(key, value) if random.below(4) == 0 => {
            Step::Put(key, vec![value.first().copied().unwrap_or(b'-'); 2000 + random.below(1000)])
        }
        Step::With(step, others) => {
            // Half of them go into the sync that decides what the snapshot will hold.
            let mut moved = |at| match random.below(2) {
                0 => random.below(FLUSH_OPERATIONS),
                _ => at * INDEXED_SNAPSHOT_OPERATIONS / SNAPSHOT_OPERATIONS,
            };
            let mut others: Vec<_> = others.into_iter().map(|(at, other)| (moved(at), other)).collect();
            others.sort_by_key(|(at, _)| *at);
            Step::With(step, others)
        }
        step => step,
    };
    steps.into_iter().map(change).collect()
}

/// Adds waiting and other writers to some steps. It has its own random numbers, so the other steps of a seed do not
/// depend on it.
fn with_others(seed: u64, steps: Vec<Step>) -> Vec<Step> {
    let random = &mut Random::new(seed ^ 0x0007_4e2d);
    let wait = |random: &mut Random| Step::Wait(Duration::from_millis([1, 400, 999, 1000, 2500][random.below(5)]));
    let change = |step: Step| match (step, random.below(8)) {
        (Step::Snapshot, 0..=5) => writes_during(Step::Snapshot, SNAPSHOT_OPERATIONS, random),
        (Step::Flush, 0 | 1) => writes_during(Step::Flush, FLUSH_OPERATIONS, random),
        (Step::Flush, 2..=4) => wait(random),
        (Step::Flush, 5) => writes_during(wait(random), FLUSH_OPERATIONS, random),
        (step, _) => step,
    };
    steps.into_iter().map(change).collect()
}

fn writes_during(step: Step, operations: usize, random: &mut Random) -> Step {
    let mut others: Vec<_> = (0..1 + random.below(5)).map(|_| (random.below(operations), write(random))).collect();
    others.sort_by_key(|(at, _)| *at);
    Step::With(Box::new(step), others)
}

fn open(random: &mut Random) -> Step {
    let sizes = [1, 1, 2, 3, 5, 50];
    let batch_size = sizes[random.below(sizes.len())];
    Step::Open { batch_size, snapshot_on_close: random.below(4) == 0, keep: Keep::InMemory }
}

fn step(random: &mut Random) -> Step {
    match random.below(20) {
        choice @ 0..=14 => write_of(choice, random),
        15 | 16 => Step::Flush,
        17 => Step::Snapshot,
        18 => Step::BatchSize(1 + random.below(6) as u64),
        _ => Step::Close,
    }
}

fn write(random: &mut Random) -> Step {
    write_of(random.below(15), random)
}

fn write_of(choice: usize, random: &mut Random) -> Step {
    match choice {
        0..=9 => Step::Put(key(random), value(random)),
        10 | 11 => Step::Delete(key(random)),
        _ => {
            let op = |random: &mut Random| {
                let key = key(random);
                if random.below(3) == 0 { Op::delete(&key) } else { Op::put(&key, &value(random)) }
            };
            Step::Batch((0..2 + random.below(4)).map(|_| op(random)).collect())
        }
    }
}

fn key(random: &mut Random) -> Vec<u8> {
    format!("k{}", random.below(KEYS)).into_bytes()
}

/// Mostly short; sometimes longer than a sector, or than a block of a snapshot.
fn value(random: &mut Random) -> Vec<u8> {
    let length = match random.below(12) {
        0 => 0,
        1 => 500 + random.below(700),
        2 => 4000 + random.below(2000),
        _ => random.below(40),
    };
    vec![b'a' + u8::try_from(random.below(26)).expect("a letter"); length]
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match self {
            Step::Open { batch_size, snapshot_on_close, keep } => {
                let snapshot = if *snapshot_on_close { ", with a snapshot when closed" } else { "" };
                write!(f, "open with batch size {batch_size}{snapshot}")?;
                match keep {
                    Keep::InMemory => Ok(()),
                    Keep::OnDisk { cache_bytes } => write!(f, ", values in the snapshot, {cache_bytes} B of it in memory"),
                }
            }
            Step::Put(key, value) => write!(f, "put {} ({} B)", text(key), value.len()),
            Step::Delete(key) => write!(f, "delete {}", text(key)),
            Step::Batch(ops) => {
                f.write_str("batch:")?;
                ops.iter().try_for_each(|op| match &op.value {
                    Some(value) => write!(f, " put {} ({} B)", text(&op.key), value.len()),
                    None => write!(f, " delete {}", text(&op.key)),
                })
            }
            Step::Flush => f.write_str("flush"),
            Step::Snapshot => f.write_str("snapshot"),
            Step::BatchSize(n) => write!(f, "set the batch size to {n}"),
            Step::Close => f.write_str("close"),
            Step::Wait(by) => write!(f, "wait {by:?}"),
            Step::Submit(submission) => submission.fmt(f),
            Step::Tell => f.write_str("the committer's turn"),
            Step::View(_) => f.write_str("open a view"),
            Step::Conditional(how, step) => write!(f, "{step}, {how}"),
            Step::With(step, others) => {
                write!(f, "{step}; interleaved with")?;
                others.iter().try_for_each(|(at, other)| write!(f, ", before operation {at}: {other}"))
            }
        }
    }
}
