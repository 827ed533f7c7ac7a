//! Applying writes with several cores. The thread that reads the files decides, alone and in order, what is
//! applied; others only insert what it hands them:
//!
//! ```text
//! reader: read → check → verdict → decode → hash ─┬─ batch ─▶ worker 1: the first shards
//!                                                 ├─ batch ─▶ worker 2: the next ones
//!                                                 ⋮
//! ```
//!
//! - A key belongs to one shard, a shard to one worker, and a worker applies in the order in which it was handed
//!   the operations: so the operations on a key keep their order, and the state is the same as without workers.
//! - Whatever is handed over is applied, so only what has been checked may be. Where the reader ends with an
//!   error, the map is of no use.
//! - Memory: [`BUFFERS`] batches of [`BATCH_BYTES`] for each worker, and of operations that are longer than
//!   [`LARGE_BYTES`] one at a time.
//! - Little is applied without workers, and so is everything where there is one core, no thread to be had, or few
//!   addresses (`memory.rs`).

use crate::disk::WINDOW_BYTES;
use crate::memory;
use crate::state::{Map, OpRef, Part, Router, decode_maybe_tagged};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, Scope};

/// A worker is woken for so much.
const BATCH_BYTES: usize = 256 << 10;
/// So many batches of one worker are under way.
const BUFFERS: usize = 4;
const LARGE_BYTES: usize = 4 << 20;
const HASH_BYTES: usize = 8;

/// How to spread the work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// 0: no worker, the reader applies.
    pub(super) workers: usize,
    /// How much another thread reads at once, ahead of the reader; 0: there is none.
    pub(super) ahead: usize,
    pub(super) batch_bytes: usize,
    pub(super) large_bytes: usize,
}

impl Plan {
    /// For files of this length together.
    pub(super) fn of(bytes: u64) -> Plan {
        /// Threads are started for some milliseconds of work, not for less.
        const SPREAD_BYTES: u64 = 4 << 20;
        const MOST_WORKERS: usize = 4;
        // Threads are not known to those who explore schedules.
        let alone = bytes < SPREAD_BYTES || cfg!(shuttle) || memory::is_scarce();
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

/// The way to one part of the map.
enum Lane<'a> {
    Here(Part<'a>),
    Worker { batch: Batch, full: SyncSender<Batch>, home: Receiver<Batch>, away: usize },
}

/// Operations, each behind the hash of its key.
#[derive(Default)]
struct Batch(Vec<u8>);

/// Lets `read` fill `map`; where no worker is wanted, or to be had, without one. All that went into the sink is applied when this returns.
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

/// A worker without its part: how many there are to be is not known before they are started.
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
                let _ = done.send(batch); // nobody wants the last ones
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
    /// The bytes of the keys and values that are in the map, as far as no worker has it.
    pub(super) fn data_bytes(&mut self) -> u64 {
        let here = |lane: &mut Lane<'_>| if let Lane::Here(part) = lane { part.data_bytes() } else { 0 };
        self.lanes.iter_mut().map(here).sum()
    }

    /// Takes the next operation.
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
    /// Returns how long the batch is now.
    fn add(&mut self, hash: u64, op: OpRef<'_>) -> usize {
        let Lane::Worker { batch, .. } = self else { unreachable!("a lane with a worker") };
        batch.0.extend_from_slice(&hash.to_le_bytes());
        op.encode(&mut batch.0);
        batch.0.len()
    }

    /// Hands the batch over.
    fn send(&mut self) {
        const ENDED: &str = "a worker works as long as there may be more";
        let Lane::Worker { batch, full, home, away } = self else { return };
        if batch.0.is_empty() {
            return;
        }
        let empty = if *away + 1 < BUFFERS { Batch::default() } else { home.recv().expect(ENDED) };
        *away = (*away + 1).min(BUFFERS - 1);
        full.send(std::mem::replace(batch, empty)).expect(ENDED);
    }

    /// Waits until everything is applied.
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
        self.0.shrink_to(2 * BATCH_BYTES); // where there was a long one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is long is applied before anything else is handed over, so that little of it waits in memory.
    #[test]
    fn of_what_is_long_there_is_one_at_a_time() {
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
