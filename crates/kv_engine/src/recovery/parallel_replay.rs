//! Applying writes with several cores. One thread reads the files and decides, in order, which operations are applied.
//! The workers only insert the operations that it passes to them:
//!
//! ```text
//! reader: read → check → verdict → decode → hash ─┬─ batch ─▶ worker 1: the first shards
//!                                                 ├─ batch ─▶ worker 2: the next ones
//!                                                 ⋮
//! ```
//!
//! - A key belongs to one shard and a shard to one worker. A worker applies operations in the order in which it gets
//!   them. So the operations on one key keep their order, and the state is the same as without workers.
//! - Every operation that is passed on is applied, so it must have been checked. If the reader ends with an error, the
//!   map is not usable.
//! - Memory: [`BUFFERS`] batches of [`BATCH_BYTES`] for each worker. Operations longer than [`LARGE_BYTES`] are passed
//!   on one at a time.
//! - Short files are applied without workers. So is everything if there is only one core, no thread can be started, or
//!   the address space is small (`memory.rs`).

use crate::disk::WINDOW_BYTES;
use crate::memory;
use crate::state::{Map, OpRef, Part, Router, decode_maybe_tagged};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, Scope};

/// A worker is woken for a batch of this size.
const BATCH_BYTES: usize = 256 << 10;
/// The number of batches for each worker.
const BUFFERS: usize = 4;
const LARGE_BYTES: usize = 4 << 20;
const HASH_BYTES: usize = 8;

/// How to divide the work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// 0: no worker, the reader itself applies.
    pub(super) workers: usize,
    /// How much a separate thread reads at once, ahead of the reader; 0: there is none.
    pub(super) ahead: usize,
    pub(super) batch_bytes: usize,
    pub(super) large_bytes: usize,
}

impl Plan {
    /// For files with this total length.
    pub(super) fn of(bytes: u64) -> Plan {
        /// Threads are started only for work of some milliseconds.
        const PARALLEL_BYTES: u64 = 4 << 20;
        const MOST_WORKERS: usize = 4;
        // The exploration of schedules does not know these threads.
        let alone = bytes < PARALLEL_BYTES || cfg!(shuttle) || memory::is_scarce();
        let cores = if alone { 1 } else { thread::available_parallelism().map_or(1, usize::from) };
        let workers = if cores == 1 { 0 } else { cores.min(MOST_WORKERS) };
        Plan { workers, ahead: if workers > 0 { WINDOW_BYTES } else { 0 }, batch_bytes: BATCH_BYTES, large_bytes: LARGE_BYTES }
    }
}

/// Takes operations, in order.
pub(super) struct Sink<'a> {
    router: Router<'a>,
    lanes: Vec<Lane<'a>>,
    plan: Plan,
}

/// One part of the map: applied here, or by a worker.
enum Lane<'a> {
    Here(Part<'a>),
    Worker { batch: Batch, full: SyncSender<Batch>, home: Receiver<Batch>, away: usize },
}

/// Operations, each after the hash of its key.
#[derive(Default)]
struct Batch(Vec<u8>);

/// Lets `read` fill `map` through a [`Sink`], with as many workers as planned, or as many as could be started. When
/// this returns, everything is applied.
pub(super) fn fill<T>(map: &mut Map, plan: Plan, read: impl FnOnce(&mut Sink<'_>) -> T) -> T {
    thread::scope(|scope| {
        let starts: Vec<_> = (0..plan.workers).map_while(|n| Start::new(scope, n).ok()).collect();
        let (router, parts) = map.split(starts.len().max(1));
        let mut starts = starts.into_iter();
        let lanes = parts.into_iter().map(|part| match starts.next() {
            Some(start) => start.with(part),
            None => Lane::Here(part),
        });
        let mut sink = Sink { router, lanes: lanes.collect(), plan };
        let read = read(&mut sink);
        sink.lanes.iter_mut().for_each(Lane::send);
        read
    })
}

/// A worker that has not got its part yet: the parts can be made only when the number of started workers is known.
struct Start<'a> {
    part: Sender<Part<'a>>,
    full: SyncSender<Batch>,
    home: Receiver<Batch>,
}

impl<'a> Start<'a> {
    fn new<'scope>(scope: &'scope Scope<'scope, '_>, n: usize) -> std::io::Result<Start<'a>>
    where
        'a: 'scope,
    {
        let (part, its_part) = channel::<Part<'a>>();
        let (full, batches) = sync_channel::<Batch>(BUFFERS);
        let (done, home) = channel();
        let body = move || {
            let Ok(mut part) = its_part.recv() else { return };
            for mut batch in batches {
                batch.apply(&mut part);
                let _ = done.send(batch); // the reader does not take the last ones back
            }
        };
        thread::Builder::new().name(format!("kv-recovery-{n}")).spawn_scoped(scope, body)?;
        Ok(Start { part, full, home })
    }

    fn with(self, part: Part<'a>) -> Lane<'a> {
        self.part.send(part).expect("it waits for its part");
        Lane::Worker { batch: Batch::default(), full: self.full, home: self.home, away: 0 }
    }
}

impl Sink<'_> {
    /// The bytes of the keys and values in the map, without the parts that workers have.
    pub(super) fn data_bytes(&mut self) -> u64 {
        let here = |lane: &mut Lane<'_>| if let Lane::Here(part) = lane { part.data_bytes() } else { 0 };
        self.lanes.iter_mut().map(here).sum()
    }

    /// Passes on the next operation.
    pub(super) fn apply(&mut self, op: OpRef<'_>) {
        let (hash, part) = self.router.route(op.key);
        let large = op.encoded_len() > self.plan.large_bytes;
        if large {
            self.lanes.iter_mut().for_each(Lane::settle);
        }
        match &mut self.lanes[part] {
            Lane::Here(part) => part.apply(hash, op),
            lane @ Lane::Worker { .. } => {
                if lane.add(hash, op) >= self.plan.batch_bytes {
                    lane.send();
                }
                if large {
                    lane.settle();
                }
            }
        }
    }
}

impl Lane<'_> {
    /// Adds an operation to the batch. Returns the length of the batch.
    fn add(&mut self, hash: u64, op: OpRef<'_>) -> usize {
        let Lane::Worker { batch, .. } = self else { unreachable!("a lane with a worker") };
        batch.0.extend_from_slice(&hash.to_le_bytes());
        op.encode(&mut batch.0);
        batch.0.len()
    }

    /// Gives the batch to the worker.
    fn send(&mut self) {
        const ENDED: &str = "a worker runs until the last batch";
        let Lane::Worker { batch, full, home, away } = self else { return };
        if batch.0.is_empty() {
            return;
        }
        let empty = if *away + 1 < BUFFERS { Batch::default() } else { home.recv().expect(ENDED) };
        *away = (*away + 1).min(BUFFERS - 1);
        full.send(std::mem::replace(batch, empty)).expect(ENDED);
    }

    /// Gives the batch to the worker and waits until everything is applied.
    fn settle(&mut self) {
        self.send();
        if let Lane::Worker { home, away, .. } = self {
            (0..std::mem::take(away)).for_each(|_| drop(home.recv()));
        }
    }
}

impl Batch {
    fn apply(&mut self, part: &mut Part<'_>) {
        let mut rest = &self.0[..];
        while let Some((hash, ops)) = rest.split_first_chunk::<HASH_BYTES>() {
            rest = ops;
            let op = decode_maybe_tagged(&mut rest).expect("encoded by the reader");
            part.apply(u64::from_le_bytes(*hash), op);
        }
        self.0.clear();
        self.0.shrink_to(2 * BATCH_BYTES); // after a long operation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A long operation is applied before anything else is passed on, so that only one of them is in memory.
    #[test]
    fn long_operations_are_passed_on_one_at_a_time() {
        let plan = Plan { workers: 3, ahead: 0, batch_bytes: 200, large_bytes: 1000 };
        let mut map = Map::default();
        fill(&mut map, plan, |sink| {
            for n in 0..300_u64 {
                let long = n % 10 == 9;
                let value = vec![7; if long { 1001 } else { 50 }];
                sink.apply(OpRef { key: &n.to_be_bytes(), value: Some(&value) });
                let waiting = |lane: &Lane<'_>| match lane {
                    Lane::Worker { batch, away, .. } => batch.0.len() + away,
                    Lane::Here(_) => 0,
                };
                let waits: usize = sink.lanes.iter().map(waiting).sum();
                assert_eq!(waits == 0, long, "after operation {n}");
            }
        });
        assert_eq!(map.len(), 300);
    }
}
