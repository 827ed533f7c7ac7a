//! [`ROWS`]: every row, with its units and its goals.

use super::Steps::{FillThenCopies, FillThenSame, One};
use super::Target::{Absolute, OfFloor, TimesBest, TimesBestOf};
use super::{Metric, Row, checkpoint, goal, growth, less, memory, mixed, more, put, read, reopen};
use crate::stores::{ENGINE, FLOOR, FLOOR_FROM_DISK, PLAIN};

/// The stores that replay a log when they are opened.
const REPLAYING: &[&str] = &["fjall", "raft-engine", "rocksdb", "rocksdb-recycled"];

const OPS: Metric = more("ops", "/s");
const P50: Metric = less("p50", "µs");
const P99: Metric = less("p99", "µs");
const P999: Metric = less("p99.9", "µs");
const LATENCIES: &[Metric] = &[OPS, P50, P99, P999];

pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "put-1",
        about: "durable put, 1 thread",
        steps: One(put::sync_1),
        metrics: &[OPS, P50, P99, P999, less("written", "B/put")],
        goals: &[goal("ops", OfFloor(1.0)), goal("ops", TimesBest(1.0)), goal("ops", TimesBestOf(1.4, &[PLAIN]))],
        only: &[],
        also: &[FLOOR, PLAIN],
    },
    Row {
        name: "put-5",
        about: "put, sync every 5, 1 thread",
        steps: One(put::sync_5),
        metrics: &[OPS],
        goals: &[goal("ops", OfFloor(1.0)), goal("ops", TimesBest(1.0)), goal("ops", TimesBestOf(1.4, &[PLAIN]))],
        only: &[],
        also: &[FLOOR, PLAIN],
    },
    Row {
        name: "put-100",
        about: "put, sync every 100, 1 thread",
        steps: One(put::sync_100),
        metrics: &[OPS],
        goals: &[goal("ops", OfFloor(0.8))],
        only: &[],
        also: &[FLOOR],
    },
    Row {
        name: "put-1000",
        about: "put, sync every 1000, 1 thread",
        steps: One(put::sync_1000),
        metrics: &[OPS],
        goals: &[goal("ops", OfFloor(0.6))],
        only: &[],
        also: &[FLOOR],
    },
    Row {
        name: "put-nosync",
        about: "put without sync, 1 thread",
        steps: One(put::no_sync),
        metrics: &[OPS],
        goals: &[goal("ops", TimesBest(4.0))],
        only: &[],
        also: &[FLOOR],
    },
    Row {
        name: "put-2-threads",
        about: "durable put, 2 threads",
        steps: One(put::threads_2),
        metrics: LATENCIES,
        goals: &[goal("ops", OfFloor(0.9)), goal("ops", TimesBest(1.5))],
        only: &[],
        also: &[FLOOR],
    },
    Row {
        name: "put-8-threads",
        about: "durable put, 8 threads",
        steps: One(put::threads_8),
        metrics: LATENCIES,
        goals: &[goal("ops", OfFloor(0.9)), goal("ops", TimesBest(1.5))],
        only: &[],
        also: &[FLOOR],
    },
    Row {
        name: "put-64-threads",
        about: "durable put, 64 threads",
        steps: One(put::threads_64),
        metrics: LATENCIES,
        goals: &[
            goal("ops", OfFloor(0.9)),
            goal("ops", TimesBest(1.1)),
            goal("p99.9", TimesBest(1.0)),
            goal("p99.9", Absolute(2300.0)),
        ],
        only: &[],
        also: &[FLOOR],
    },
    Row {
        name: "get",
        about: "get of random keys out of 1,000,000; 1 thread, then 2",
        steps: One(read::get),
        metrics: &[OPS, more("ops-2-threads", "/s")],
        goals: &[
            goal("ops", OfFloor(0.6)),
            goal("ops", TimesBest(6.0)),
            goal("ops-2-threads", OfFloor(0.6)),
            goal("ops-2-threads", TimesBest(6.0)),
        ],
        only: &[],
        also: &[FLOOR],
    },
    Row {
        name: "get-beside-writer",
        about: "a reader alone, then beside a writer of durable puts",
        steps: One(read::beside_writer),
        metrics: &[less("slower", "×"), less("p99-alone", "µs"), less("p99-beside", "µs"), less("p99.9-beside", "µs")],
        goals: &[goal("slower", Absolute(2.0))],
        only: &[],
        also: &[FLOOR],
    },
    Row {
        name: "mixed-nosync",
        about: "half put, half get, 2 threads, no sync",
        steps: One(mixed::no_sync),
        metrics: &[OPS],
        goals: &[],
        only: &[],
        also: &[FLOOR],
    },
    Row {
        name: "mixed-100",
        about: "half put, half get, 2 threads, sync every 100",
        steps: One(mixed::sync_100),
        metrics: &[OPS],
        goals: &[goal("ops", TimesBest(2.0))],
        only: &[],
        also: &[FLOOR],
    },
    Row {
        name: "reopen-crash",
        about: "reopening after SIGKILL, 1,000,000 puts in the log",
        steps: FillThenCopies(reopen::fill_and_crash, reopen::open_crashed),
        metrics: &[less("open", "ms"), less("first-get", "µs")],
        goals: &[
            goal("open", OfFloor(1.2)),
            goal("open", TimesBestOf(1.0 / 1.2, &[FLOOR_FROM_DISK])),
            goal("open", TimesBestOf(5.0, REPLAYING)),
        ],
        only: &[],
        also: &[FLOOR, FLOOR_FROM_DISK],
    },
    Row {
        name: "reopen-5m",
        about: "reopening after a clean close, 5,000,000 keys",
        steps: FillThenSame(reopen::fill_and_close, reopen::open_closed),
        metrics: &[less("open", "ms"), less("first-get", "µs")],
        goals: &[goal("open", Absolute(10.0))],
        only: &[ENGINE, "fjall", "lmdb", "raft-engine", "redb", "rocksdb", "sqlite"],
        also: &[],
    },
    Row {
        name: "checkpoint",
        about: "a checkpoint of 1,000,000 keys beside a writer of durable puts",
        steps: One(checkpoint::beside_writer),
        metrics: &[
            less("stall", "ms"),
            less("stall-without", "ms"),
            less("longer", "×"),
            less("took", "ms"),
            more("rate", "MB/s"),
            more("of-disk", "×"),
        ],
        goals: &[goal("longer", Absolute(2.0)), goal("of-disk", Absolute(0.7))],
        only: &[ENGINE, "fjall", "lmdb", "rocksdb", "sqlite"],
        also: &[FLOOR],
    },
    Row {
        name: "memory",
        about: "memory for an entry of 116 bytes, 1,000,000 keys",
        steps: One(memory::filled),
        metrics: &[less("entry", "B"), less("entry-with-files", "B"), less("peak", "B")],
        goals: &[goal("entry", Absolute(150.0))],
        only: &[],
        also: &[FLOOR],
    },
    Row {
        name: "growth",
        about: "the cost of an operation and of opening, 10^4 to 10^7 keys; the same few keys, then any",
        steps: One(growth::all_sizes),
        metrics: growth::METRICS,
        goals: &[goal("put-grows", Absolute(1.5)), goal("get-grows", Absolute(1.5))],
        only: &[ENGINE],
        also: &[FLOOR],
    },
];
