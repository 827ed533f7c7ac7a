//! The stated limit, shown on the real engine: it is a property of the files, not only of the model.

use kv_engine::Options;
use kv_engine::disk::sim::{Change, Image, SimDisk, World};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const LOG: &str = "/sim/kv.wal";

fn options(disk: &SimDisk) -> Options {
    Options::new(LOG, "/sim/kv.snapshot").flush_interval(Duration::ZERO).disk(Arc::new(disk.clone()))
}

/// The log after a life on `image` that puts this, and the number of bytes before its last write.
fn life(image: &Image, seed: u64, puts: &[(&str, &str)]) -> (Vec<u8>, u64) {
    let disk = SimDisk::new(image, seed);
    let engine = options(&disk).open().expect("a whole store");
    for (key, value) in puts {
        engine.put(key, value).expect("a healthy disk");
    }
    let trace = disk.trace();
    let mut world = World::of(image);
    trace.iter().for_each(|change| world.apply(change));
    let last = trace.iter().rev().find_map(|change| match change {
        Change::Write(_, offset, _) => Some(*offset),
        _ => None,
    });
    (world.after_death(None).remove(&PathBuf::from(LOG)).expect("a log"), last.expect("something was written"))
}

#[test]
fn bytes_behind_the_end_that_no_recovery_saw_come_back() {
    // The first life: write 2 reaches the medium, the length that covers it does not.
    let (whole, before) = life(&Image::new(), 1, &[("x", "1"), ("x", "lost")]);
    let end = usize::try_from(before).expect("small");
    let seen = Image::from([(LOG.into(), whole[..end].to_vec())]);
    assert_eq!(options(&SimDisk::new(&seen, 2)).open().expect("a crash").recovery().last_seq, 1);

    // The second life: another write 2. Its length reaches the medium, its bytes do not.
    let (second, _) = life(&seen, 3, &[("y", "2")]);
    let mut shown = whole;
    shown.resize(second.len(), 0);
    let engine = options(&SimDisk::new(&Image::from([(LOG.into(), shown)]), 4)).open().expect("a crash");
    assert_eq!(engine.recovery().last_seq, 2);
    assert_eq!(engine.get("x").expect("open").as_deref(), Some(&b"lost"[..]), "withstood: the limit is none any more");
}
