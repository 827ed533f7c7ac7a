//! Which process has a store open, without taking its lock.
//!
//! To try the lock would be simple, but a process that opens the store at that moment would find it in use. The system
//! lists the locks that are held, with the number of the process and of the file.

use crate::outfile::with_suffix;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The number of the process that has the store with this log open. `None` if there is none, or if the system does not
/// show it.
pub(crate) fn holder(wal: &Path) -> Option<u32> {
    let lock = with_suffix(wal, ".lock");
    let inode = lock.metadata().ok()?.ino();
    let pid = fs::read_to_string(&lock).ok()?.lines().next()?.trim().parse().ok()?;
    let held = fs::read_to_string("/proc/locks").ok()?;
    held.lines().any(|line| is_held(line, pid, inode)).then_some(pid)
}

/// Whether this line of `/proc/locks` is a lock of the whole file by this process. The number of the device is left
/// out: some file systems show another one there than for the file.
fn is_held(line: &str, pid: u32, inode: u64) -> bool {
    let fields: Vec<_> = line.split_whitespace().collect();
    let ends_with_inode = |place: &str| place.rsplit(':').next().and_then(|number| number.parse().ok()) == Some(inode);
    matches!(fields[..], [_, "FLOCK", _, "WRITE", owner, place, ..] if owner.parse() == Ok(pid) && ends_with_inode(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_found_by_process_and_file() {
        let line = "12: FLOCK  ADVISORY  WRITE 4711 fd:01:131076 0 EOF";
        assert!(is_held(line, 4711, 131_076));
        assert!(!is_held(line, 4712, 131_076) && !is_held(line, 4711, 131_077) && !is_held("", 4711, 1));
        assert!(!is_held("13: -> FLOCK  ADVISORY  WRITE 4711 fd:01:131076 0 EOF", 4711, 131_076), "it waits for the lock");
    }

    #[test]
    fn case_50_the_process_that_has_the_store_open_is_found() {
        let dir = tempfile::tempdir().expect("a directory");
        let wal = dir.path().join("w");
        assert_eq!(holder(&wal), None);
        let engine = kv_engine::Options::new(&wal, dir.path().join("s")).open().expect("opens");
        if fs::read_to_string("/proc/locks").is_ok_and(|locks| !locks.is_empty()) {
            assert_eq!(holder(&wal), Some(std::process::id()));
        }
        engine.close().expect("closes");
        drop(engine);
        assert_eq!(holder(&wal), None);
    }
}
