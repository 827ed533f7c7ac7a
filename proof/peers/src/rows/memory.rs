//! The memory of an entry: how much larger the process is with a million entries once background work has ended, and
//! how large it was at most.

use super::{Figures, Task};
use crate::stores::{Setup, Sync};
use crate::work::{key, value};
use anyhow::{Context, Result};
use std::time::Duration;

const KEYS: u64 = 1_000_000;

pub(super) fn filled(task: &Task<'_>) -> Result<Figures> {
    let keys = task.count(KEYS);
    let store = task.open(&Setup { worn_in: false, ..Setup::new(Sync::Every(1000)) })?;
    let mut writer = store.writer()?;
    let before = Memory::now()?;
    for n in 0..keys {
        writer.put(&key(n), &value(n))?;
    }
    writer.finish()?;
    wait_for_idleness()?;
    let after = Memory::now()?;
    let each = |bytes: u64| bytes as f64 / keys as f64;
    Ok(vec![
        ("entry", each(after.anonymous.saturating_sub(before.anonymous))),
        ("entry-with-files", each(after.resident.saturating_sub(before.resident))),
        ("peak", each(after.peak.saturating_sub(before.resident))),
    ])
}

/// Waits until the process uses no processor time, at most 10 s.
fn wait_for_idleness() -> Result<()> {
    let spent = || -> Result<String> {
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        let (_, fields) = stat.rsplit_once(") ").context("no name in /proc/self/stat")?;
        Ok(fields.split(' ').skip(11).take(2).collect::<Vec<_>>().join(" ")) // utime, stime
    };
    let mut before = spent()?;
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(500));
        let now = spent()?;
        if now == before {
            break;
        }
        before = now;
    }
    Ok(())
}

/// Sizes in bytes.
struct Memory {
    anonymous: u64,
    /// Including mapped files.
    resident: u64,
    peak: u64,
}

impl Memory {
    fn now() -> Result<Memory> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let field = |name: &str| -> Result<u64> {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .with_context(|| format!("no {name} in /proc/self/status"))?;
            let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
            Ok(kib << 10)
        };
        Ok(Memory { anonymous: field("RssAnon:")?, resident: field("VmRSS:")?, peak: field("VmHWM:")? })
    }
}
