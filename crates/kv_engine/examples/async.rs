//! The store in an async program, with tokio.
//!
//! `cargo run --example async [TASKS]`: each task writes ten entries, and every entry is durable when its write is
//! answered. Another task gets each change as it becomes durable.
//!
//! - A write waits for the disk, so it runs on tokio's threads for blocking work. Writes that wait at the same time
//!   share a sync, as with other threads.
//! - `get` and `scan` never wait for a sync, so a task may call them directly. With values in the snapshot they read
//!   the disk: then they belong on the other threads, too.

#![allow(clippy::print_stdout, reason = "an example talks")]

use kv_engine::{Ack, Change, Changes, Engine, Options, Result};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};

const WRITES: u32 = 10;

async fn put(engine: &Engine, key: String, value: &'static str) -> Result<Ack> {
    let engine = engine.clone(); // the same store
    spawn_blocking(move || engine.put(key, value)).await.expect("did not panic")
}

/// The changes as a channel. One thread waits for them until the store is closed. If the receiver is slow, the changes
/// wait in the log, and not in memory.
fn channel(changes: Changes) -> mpsc::Receiver<Result<Change>> {
    let (sender, receiver) = mpsc::channel(16);
    spawn_blocking(move || {
        for change in changes {
            if sender.blocking_send(change).is_err() {
                return; // nobody listens any more
            }
        }
    });
    receiver
}

async fn run(tasks: u32) -> Result<()> {
    let dir = std::env::temp_dir().join(format!("kv-async-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    // Opening reads the files. A large store takes a moment.
    let options = Options::new(dir.join("wal"), dir.join("snapshot"));
    let engine = spawn_blocking(|| options.open()).await.expect("did not panic")?;

    let mut changes = channel(engine.changes_from_now());
    let follower = tokio::spawn(async move {
        let mut told = 0;
        while let Some(change) = changes.recv().await {
            told = change?.seq();
        }
        Ok::<_, kv_engine::Error>(told)
    });

    let mut writers = JoinSet::new();
    for task in 0..tasks {
        let engine = engine.clone();
        writers.spawn(async move {
            for n in 0..WRITES {
                assert!(put(&engine, format!("{task}/{n}"), "value").await?.durable, "batch size 1");
            }
            assert!(engine.get(format!("{task}/0"))?.is_some());
            Ok::<_, kv_engine::Error>(())
        });
    }
    while let Some(done) = writers.join_next().await {
        done.expect("did not panic")?;
    }

    let stats = engine.stats();
    // This also ends the feed. Without it, the runtime would wait for its thread.
    spawn_blocking(move || engine.close()).await.expect("did not panic")?;
    let told = follower.await.expect("did not panic")?;
    println!("{} durable writes by {tasks} tasks, {} syncs, {told} changes told", stats.durable, stats.syncs);
    std::fs::remove_dir_all(dir).expect("its own directory");
    Ok(())
}

fn main() -> Result<()> {
    let tasks = std::env::args().nth(1).map_or(32, |n| n.parse().expect("a number of tasks"));
    Builder::new_current_thread().build().expect("a runtime").block_on(run(tasks))
}
