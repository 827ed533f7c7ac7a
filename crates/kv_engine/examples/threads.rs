//! Many threads, few syncs: writers that wait at the same time share one.
//!
//! `cargo run --example threads [THREADS]`: each thread writes a hundred entries, and every entry is durable when its
//! `put` returns. At the end it prints the number of syncs.

#![allow(clippy::print_stdout, reason = "an example talks")]

use kv_engine::{Options, Result};
use std::thread;

const WRITES: u32 = 100;

fn main() -> Result<()> {
    let threads: u32 = std::env::args().nth(1).map_or(32, |n| n.parse().expect("a number of threads"));
    let dir = std::env::temp_dir().join(format!("kv-threads-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let engine = Options::new(dir.join("wal"), dir.join("snapshot")).open()?;

    thread::scope(|scope| {
        let writers: Vec<_> = (0..threads)
            .map(|thread| {
                let engine = engine.clone(); // the same store
                scope.spawn(move || {
                    (0..WRITES).try_for_each(|n| {
                        let ack = engine.put(format!("{thread}/{n}"), "value")?;
                        assert!(ack.durable, "batch size 1");
                        Ok(())
                    })
                })
            })
            .collect();
        writers.into_iter().try_for_each(|writer| writer.join().expect("did not panic"))
    })?;

    let stats = engine.stats();
    println!("{} durable writes by {threads} threads, {} syncs", stats.durable, stats.syncs);
    if let Some(p99) = stats.sync_times.percentile(99.0) {
        println!("{:.1} writes shared a sync on average; 99 % of the syncs took {p99:?} or less", {
            stats.grouped_writes as f64 / stats.log_writes as f64
        });
    }
    engine.close()?;
    std::fs::remove_dir_all(dir).expect("its own directory");
    Ok(())
}
