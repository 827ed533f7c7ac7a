//! The sync floor: how long this disk takes to write and sync the same bytes in the same groups, without a store.
//!
//! A file is first filled with zeros and synced, so that no later sync has to record a length or an extent. Then each
//! group is one `pwrite` and one `fdatasync`, from one thread. Half of the groups are written before a run and half
//! after it, because the speed of a disk changes with time.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Enough for a steady mean where a sync takes a millisecond.
const MOST_TIME: Duration = Duration::from_millis(300);
const MOST_GROUPS: u64 = 500;
const MOST_BYTES: u64 = 64 << 20;
/// Groups that are not counted.
const WARM_UP: u64 = 5;

/// The result.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floor {
    pub(super) group_bytes: u64,
    pub(super) mean: Duration,
}

impl Floor {
    /// The mean of these times; `None` without any.
    pub(super) fn of(times: &[Duration], group_bytes: u64) -> Option<Floor> {
        let mean = times.iter().sum::<Duration>().checked_div(u32::try_from(times.len()).ok()?)?;
        Some(Floor { group_bytes, mean })
    }
}

/// Creates a file, measures how long each group takes in it, and removes it.
pub(super) fn measure(path: &Path, group_bytes: u64, stop: impl Fn() -> bool) -> io::Result<Vec<Duration>> {
    let group_bytes = group_bytes.max(1);
    let most = (MOST_BYTES / group_bytes).clamp(10, MOST_GROUPS) + WARM_UP;
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let done = groups(&file, group_bytes, most, stop);
    let _ = fs::remove_file(path);
    done
}

fn groups(file: &File, group_bytes: u64, most: u64, stop: impl Fn() -> bool) -> io::Result<Vec<Duration>> {
    let group = filled(b'f', usize::try_from(group_bytes).map_err(io::Error::other)?)?;
    let zeros = filled(0, 1 << 20)?;
    let length = group_bytes * most;
    for at in (0..length).step_by(zeros.len()) {
        if stop() {
            return Ok(Vec::new());
        }
        file.write_all_at(&zeros[..zeros.len().min(usize::try_from(length - at).unwrap_or(usize::MAX))], at)?;
    }
    file.sync_all()?;
    let mut times = Vec::new();
    let began = Instant::now();
    for n in 0..most {
        if stop() || (began.elapsed() > MOST_TIME && !times.is_empty()) {
            break;
        }
        let began = Instant::now();
        file.write_all_at(&group, n * group_bytes)?;
        file.sync_data()?;
        if n >= WARM_UP {
            times.push(began.elapsed());
        }
    }
    Ok(times)
}

/// Fails if there is not enough memory.
pub(super) fn filled(byte: u8, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(count).map_err(|_| io::Error::new(io::ErrorKind::OutOfMemory, no_memory(count)))?;
    bytes.resize(count, byte);
    Ok(bytes)
}

fn no_memory(count: usize) -> String {
    format!("there is not enough memory for {count} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bare_file_is_written_in_groups_and_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("bare");
        let times = measure(&path, 700, || false).expect("measures");
        assert!((1..=500).contains(&times.len()) && times.iter().all(|time| !time.is_zero()));
        assert!(!path.exists());
        assert!(measure(&path, 700, || true).expect("measures").is_empty(), "stopped before the first");
        assert!(!path.exists());
    }

    #[test]
    fn a_floor_is_a_mean() {
        let times = [3, 5].map(Duration::from_millis);
        assert_eq!(Floor::of(&times, 1).map(|floor| floor.mean), Some(Duration::from_millis(4)));
        assert!(Floor::of(&[], 1).is_none());
    }

    #[test]
    fn missing_memory_is_an_error() {
        assert_eq!(filled(7, 3).expect("a little"), [7, 7, 7]);
        assert_eq!(filled(7, usize::MAX / 4).expect_err("too much").kind(), io::ErrorKind::OutOfMemory);
    }

    #[test]
    fn an_existing_file_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("bare");
        fs::write(&path, "mine").expect("writes");
        assert!(measure(&path, 1, || false).is_err());
        assert_eq!(fs::read(&path).expect("there"), b"mine");
    }
}
