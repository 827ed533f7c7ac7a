//! The real engine: sessions of a workload on the simulated disk, with its answers after each call.

use super::random::Random;
use crate::disk::{Seq, Writes};
use crate::replay::LogTail;
use kv_engine::disk::sim::{Change, FaultPlan, Image, SimDisk, World};
use kv_engine::{Batch, Engine, Error, Options, RecoveryReport};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(super) const LOG: &str = "/sim/kv.wal";
pub(super) const SNAPSHOT: &str = "/sim/kv.snapshot";
/// The calls of one session.
const CALLS: usize = 7;
/// The number of keys. A later put of the same key replaces an earlier one.
const KEYS: u8 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Open,
    Put,
    /// A put as an update.
    Update,
    /// A put in a durable batch.
    PutDurably,
    Flush,
    Snapshot,
    Close,
}

/// What the engine reports about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) appended: u64,
    pub(super) durable: u64,
    pub(super) pending: u64,
    pub(super) snapshot_seq: u64,
    pub(super) log_bytes: u64,
    pub(super) failed: bool,
}

/// One call and its result.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) call: Call,
    /// The sequence number of a put, and whether the answer reports it as durable.
    pub(super) ack: Option<(u64, bool)>,
    /// The value that an update saw.
    pub(super) saw: Option<String>,
    /// The error, if the call failed.
    pub(super) error: Option<String>,
    /// None if no store is open after the call.
    pub(super) figures: Option<Figures>,
    /// The number of changes to the disk when the call returned.
    pub(super) ends_at: usize,
}

/// One session: what a process did until something ended it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) trace: Vec<Change>,
    pub(super) calls: Vec<Called>,
}

/// How the store is opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) batch_size: u8,
    /// Whether values stay in the snapshot.
    pub(super) on_disk: bool,
}

/// The beginning of a session.
#[derive(Clone, Debug)]
pub(super) enum Begin {
    /// The files that a power cut has left.
    Image(Image),
    /// The disk that a dead process has left, including the page cache.
    World(World),
}

pub(super) fn options(disk: &SimDisk, setup: Setup) -> Options {
    let options = Options::new(LOG, SNAPSHOT).flush_interval(Duration::ZERO).disk(Arc::new(disk.clone()));
    let options = options.batch_size(setup.batch_size.into());
    if setup.on_disk { options.values_in_snapshot(0) } else { options }
}

/// Runs a session on a disk. With a plan, operations fail as planned, if the session begins after a power cut.
pub(super) fn run_session(
    begin: &Begin,
    plan: Option<FaultPlan>,
    setup: Setup,
    mut put: u8,
    last_put: u8,
    random: &mut Random,
) -> Session {
    let seed = random.below(1 << 30) as u64;
    let disk = match begin {
        Begin::Image(image) => SimDisk::new(image, seed),
        Begin::World(world) => SimDisk::of_world(world.clone(), seed),
    };
    let disk = match plan {
        Some(plan) => disk.with_faults(plan),
        None => disk,
    };
    let mut engine: Option<Engine> = None;
    let mut calls: Vec<Called> = Vec::new();
    for _ in 0..CALLS {
        let call = match (&engine, random.below(10)) {
            (None, _) => Call::Open,
            (Some(_), 0..=5) if put < last_put => [Call::Put, Call::Update, Call::PutDurably, Call::Put][usize::from(put % 4)],
            (Some(_), 6 | 7) => Call::Snapshot,
            (Some(_), 8) => Call::Close,
            (Some(_), _) => Call::Flush,
        };
        let (mut ack, mut saw) = (None, None);
        let done = match (&engine, call) {
            (None, _) => options(&disk, setup).open().map(|opened| engine = Some(opened)),
            (Some(engine), Call::Put) => {
                put += 1;
                let (key, value) = entry(put);
                engine.put(key, value).map(|answer| ack = Some((answer.seq, answer.durable)))
            }
            (Some(engine), Call::Update) => {
                put += 1;
                let (key, value) = entry(put);
                engine.update(key, |_| Some(&value)).map(|updated| {
                    ack = updated.ack.map(|answer| (answer.seq, answer.durable));
                    saw = updated.old.map(|old| String::from_utf8_lossy(&old).into_owned());
                })
            }
            (Some(engine), Call::PutDurably) => {
                put += 1;
                let (key, value) = entry(put);
                let mut batch = Batch::new();
                batch.put(key, value).durable();
                engine.write(batch).map(|answer| ack = Some((answer.seq, answer.durable)))
            }
            (Some(engine), Call::Snapshot) => engine.snapshot().map(drop),
            (Some(engine), Call::Close) => engine.close(),
            (Some(engine), _) => engine.flush().map(drop),
        };
        let ends_at = disk.changes();
        if call == Call::Close {
            engine = None;
        }
        let ended = matches!(done, Err(Error::Poisoned { .. }));
        let error = done.err().map(|error| error.to_string());
        calls.push(Called { call, ack, saw, error, figures: engine.as_ref().map(figures), ends_at });
        if ended {
            break;
        }
    }
    let trace = disk.trace(); // taken before the engine is dropped, because that writes too
    Session { trace, calls }
}

fn figures(engine: &Engine) -> Figures {
    let stats = engine.stats();
    Figures {
        appended: stats.appended,
        durable: stats.durable,
        pending: stats.pending,
        snapshot_seq: stats.snapshot_seq,
        log_bytes: stats.log_bytes,
        failed: stats.failed.is_some(),
    }
}

/// The value that the key of this put has after these writes.
pub(super) fn value_before(put: u8, writes: &Writes) -> Option<String> {
    let same_key = writes.puts().iter().rev().find(|other| **other % KEYS == put % KEYS);
    same_key.map(|other| entry(*other).1)
}

fn entry(put: u8) -> (String, String) {
    (format!("key {}", put % KEYS), format!("put {put}"))
}

/// Whether the engine's map is the result of these writes.
pub(super) fn holds(engine: &Engine, writes: &Writes) -> Result<(), String> {
    let expected: BTreeMap<String, String> = writes.puts().iter().map(|put| entry(*put)).collect();
    let mut found = BTreeMap::new();
    for entry in engine.scan("") {
        let (key, value) = entry.map_err(|error| error.to_string())?;
        found.insert(String::from_utf8_lossy(&key).into_owned(), String::from_utf8_lossy(&value).into_owned());
    }
    if found == expected { Ok(()) } else { Err(format!("the engine holds {found:?}, but the model {expected:?}")) }
}

/// What recovery reports: the last write, the end of the log, the whole frames behind a bad one, the last write of the
/// snapshot, and the number of writes applied from the log.
pub(super) fn found(report: &RecoveryReport) -> (Seq, LogTail, u8, Seq, u8) {
    let (tail, beyond) = match &report.tail {
        kv_engine::LogTail::Clean => (LogTail::Clean, 0),
        kv_engine::LogTail::Torn(cut) => (LogTail::Torn, cut.whole_beyond),
        kv_engine::LogTail::Damaged(cut) => (LogTail::Damaged, cut.whole_beyond),
        _ => unreachable!("the engine has three kinds of end"),
    };
    let small = |number: u64| Seq::try_from(number).expect("few writes");
    (small(report.last_seq), tail, small(beyond), small(report.snapshot_seq), small(report.replayed))
}
