//! Reading a store from its files needs a few MB of memory, however long they are. The peak is measured in a process of
//! its own, which only reads.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]
#![cfg(target_os = "linux")]

use kv_engine::{Options, export};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const STORE: &str = "KV_TEST_EXPORT_OF";
const ENTRIES: u64 = 200_000;
/// The log alone has some 30 MB, and so has the snapshot.
const MOST_KIB: u64 = 10 << 10;

fn paths(dir: &Path) -> (PathBuf, PathBuf) {
    (dir.join("kv.wal"), dir.join("kv.snapshot"))
}

/// The most memory that this process had in use at any time.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn read(dir: &Path) {
    let (wal, snapshot) = paths(dir);
    let before = peak_kib();
    let export = export::read(&wal, &snapshot).unwrap();
    let (mut entries, mut bytes) = (0, 0);
    export
        .each(|key, value| {
            entries += 1;
            bytes += key.len() + value.len();
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!((entries, bytes as u64), (ENTRIES * 3 / 2, ENTRIES * 3 / 2 * 116));
    let mut users = 0;
    export
        .each_with_prefix([0xff], |_, _| {
            users += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(users > 0 && export.get([7; 16]).unwrap().is_none());
    let after = peak_kib();
    println!("peak: {before} KiB before, {after} KiB after");
    assert!(after - before < MOST_KIB, "{before} KiB before, {after} KiB after");
}

#[test]
fn case_44_reading_from_files_needs_little_memory() {
    if let Some(dir) = std::env::var_os(STORE) {
        return read(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let (wal, snapshot) = paths(dir.path());
    let options = Options::new(&wal, &snapshot).batch_size(10_000).flush_interval(Duration::ZERO).checkpoint_log_bytes(0);
    let engine = options.open().unwrap();
    let key = |n: u64| [n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes(), n.to_be_bytes()].concat();
    let fill = |from: u64| (from..from + ENTRIES).for_each(|n| engine.put(key(n), [b'v'; 100]).map(drop).unwrap());
    fill(0);
    engine.snapshot().unwrap();
    fill(ENTRIES / 2); // half of them are in the snapshot too
    engine.close().unwrap();
    assert!(fs::metadata(&wal).unwrap().len() > 24 << 20 && fs::metadata(&snapshot).unwrap().len() > 24 << 20);
    let test = "case_44_reading_from_files_needs_little_memory";
    let child =
        Command::new(std::env::current_exe().unwrap()).args([test, "--exact", "--nocapture"]).env(STORE, dir.path()).output();
    let child = child.unwrap();
    assert!(child.status.success(), "{}{}", String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(said.contains("peak:"), "it did read: {said}");
    print!("{said}");
}
