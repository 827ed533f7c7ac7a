//! The figures of an open store, compared with the operations on it.
#![allow(clippy::unwrap_used, missing_docs)]

use kv_engine::{Batch, Engine, Options};
use std::time::Duration;
use tempfile::TempDir;

fn options() -> (TempDir, Options) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new(dir.path().join("log"), dir.path().join("snap"));
    (dir, options.flush_interval(Duration::ZERO))
}

fn put(engine: &Engine, keys: u32, value: &str) {
    (0..keys).for_each(|n| assert!(engine.put(n.to_be_bytes(), value).unwrap().seq > 0));
}

#[test]
fn groups_and_syncs_add_up() {
    let (_dir, options) = options();
    let engine = options.clone().batch_size(5).open().unwrap();
    assert_eq!(engine.stats().sync_times.percentile(50.0), None);
    put(&engine, 12, "value");
    engine.delete(0_u32.to_be_bytes()).unwrap();
    let mut batch = Batch::new();
    batch.put("a", "1").put("b", "2");
    engine.write(batch).unwrap();
    engine.flush().unwrap();

    let stats = engine.stats();
    assert_eq!((stats.puts, stats.deletes, stats.batches), (12, 1, 1));
    assert_eq!((stats.syncs, stats.log_writes, stats.grouped_writes, stats.largest_group), (3, 3, 14, 5));
    let sizes = stats.group_sizes;
    assert_eq!((sizes.count(), sizes.sum(), sizes.percentile(30.0), sizes.percentile(99.0)), (3, 14, Some(4), Some(5)));
    assert_eq!(sizes.cumulative().take(4).collect::<Vec<_>>(), [(1, 0), (2, 0), (4, 1), (8, 3)]);
    assert_eq!((stats.sync_times.count(), stats.sync_times.sum()), (3, stats.sync_total));
    assert_eq!(stats.sync_times.cumulative().last().unwrap().1, 3);
    let at = |percent| stats.sync_times.percentile(percent).unwrap();
    assert!(at(1.0) > Duration::ZERO && at(1.0) <= at(50.0) && at(50.0) <= at(99.9));
    assert_eq!(at(100.0), stats.sync_max);
    assert!(stats.sync_max <= stats.sync_total && stats.sync_total <= 3 * stats.sync_max);

    // The counters begin at the opening.
    engine.close().unwrap();
    let engine = options.open().unwrap();
    let stats = engine.stats();
    assert_eq!((stats.appended, stats.grouped_writes, stats.puts, stats.syncs), (14, 0, 0, 0));
    engine.put("x", "100").unwrap();
    assert_eq!(engine.stats().grouped_writes, 1);
}

#[test]
fn the_figures_of_snapshots() {
    let (dir, options) = options();
    let options = options.checkpoint_log_bytes(1 << 30).checkpoint_interval(Duration::from_secs(3600));
    let engine = options.clone().open().unwrap();
    let stats = engine.stats();
    assert_eq!((stats.snapshot_bytes, stats.checkpoint_read, stats.checkpoint_to_read), (0, 0, 0));
    assert_eq!((stats.checkpoint_log_bytes, stats.checkpoint_interval), (1 << 30, Duration::from_secs(3600)));
    put(&engine, 10, "value");
    let taken = engine.snapshot().unwrap();
    let stats = engine.stats();
    assert_eq!(stats.snapshot_bytes, taken.bytes);
    assert_eq!(stats.snapshot_bytes, std::fs::metadata(dir.path().join("snap")).unwrap().len());
    assert_eq!((stats.checkpointing, stats.checkpoint_read, stats.checkpoint_to_read), (false, 10, 10));

    // The next one reads the ten entries of the old one and the three writes since, also after a restart.
    engine.close().unwrap();
    drop(engine);
    let engine = options.open().unwrap();
    put(&engine, 3, "another");
    engine.snapshot().unwrap();
    let stats = engine.stats();
    assert_eq!((stats.checkpoint_read, stats.checkpoint_to_read), (13, 13));
}
