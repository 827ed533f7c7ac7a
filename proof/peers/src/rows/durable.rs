//! Not a row of figures: checks with strace that each durable put comes with a sync of its own.

use super::{Figures, Task};
use crate::stores::{Kind, Setup, Sync};
use crate::work::{key, value};
use anyhow::{Context, Result, ensure};
use std::collections::HashSet;
use std::path::Path;
use std::process::{Command, Stdio};

const FEW: u64 = 50;
const MORE: u64 = 150;
const CALLS: &str = "trace=fsync,fdatasync,msync,pwritev2,openat,write,pwrite64,writev,pwritev";

/// The work of the traced process.
pub(crate) fn put(task: &Task<'_>, puts: u64) -> Result<Figures> {
    let store = task.open(&Setup::new(Sync::Every(1)))?;
    let mut writer = store.writer()?;
    for n in 0..puts {
        writer.put(&key(n), &value(n))?;
    }
    Ok(Vec::new())
}

/// Prints how many syncs each store made for a hundred durable puts. Returns whether all stores made enough.
pub(crate) fn check(kinds: &[&Kind], dir: &Path) -> Result<bool> {
    let mut all = true;
    for kind in kinds {
        let syncs = traced(kind, dir, MORE)?.saturating_sub(traced(kind, dir, FEW)?);
        let enough = syncs >= MORE - FEW;
        all &= enough;
        println!("durable store={} puts={} syncs={syncs} {}", kind.name, MORE - FEW, if enough { "ok" } else { "NOT ENOUGH" });
    }
    Ok(all)
}

fn traced(kind: &Kind, dir: &Path, puts: u64) -> Result<u64> {
    let dir = tempfile::tempdir_in(dir)?;
    let trace = dir.path().join("trace");
    let status = Command::new("strace")
        .args(["-f", "-y", "-e", CALLS, "-o"])
        .arg(&trace)
        .arg(std::env::current_exe()?)
        .args(["--one", "durable", kind.name, &puts.to_string()])
        .arg(dir.path())
        .stdout(Stdio::null())
        .status()
        .context("starting strace")?;
    ensure!(status.success(), "{} under strace: {status}", kind.name);
    Ok(syncs(&String::from_utf8_lossy(&std::fs::read(&trace)?)))
}

/// Counts the calls that make something durable: syncs, and writes to files that were opened for that. A file is
/// identified by descriptor and path (`4</tmp/file`), because it may be open twice in different ways.
fn syncs(trace: &str) -> u64 {
    let mut durable_files = HashSet::new();
    let mut syncs = 0;
    for line in trace.lines() {
        let call = line.split_once(' ').map_or(line, |(_process, call)| call.trim_start());
        let Some((name, rest)) = call.split_once('(') else { continue };
        let file = rest.split_once('>').map(|(file, _)| file);
        match name {
            "openat" if rest.contains("O_DSYNC") || rest.contains("O_SYNC") => {
                durable_files.extend(rest.rsplit_once(" = ").and_then(|(_, file)| file.split_once('>')).map(|(file, _)| file));
            }
            "fsync" | "fdatasync" => syncs += 1,
            "msync" if rest.contains("MS_SYNC") => syncs += 1,
            "pwritev2" if rest.contains("SYNC") => syncs += 1,
            "write" | "pwrite64" | "writev" | "pwritev" if file.is_some_and(|file| durable_files.contains(file)) => syncs += 1,
            _ => {}
        }
    }
    syncs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncs_and_writes_that_are_syncs_are_counted() {
        let trace = "\
7 openat(AT_FDCWD</d>, \"f\", O_RDWR|O_CREAT, 0600) = 3</d/f>
7 openat(AT_FDCWD</d>, \"f\", O_RDWR|O_DSYNC) = 4</d/f>
7 pwrite64(3</d/f>, \"x\"..., 1, 0) = 1
7 pwrite64(4</d/f>, \"x\"..., 1, 0) = 1
8 fdatasync(3</d/f>) = 0
8 fsync(3</d/f> <unfinished ...>
7 pwritev2(3</d/f>, [{iov_base=\"x\"..., iov_len=1}], 1, 0, RWF_DSYNC) = 1
7 pwritev2(3</d/f>, [{iov_base=\"x\"..., iov_len=1}], 1, 0, 0) = 1
8 <... fsync resumed>) = 0
7 msync(0x7f0000000000, 4096, MS_ASYNC) = 0
7 msync(0x7f0000000000, 4096, MS_SYNC) = 0
7 +++ exited with 0 +++
";
        assert_eq!(syncs(trace), 5);
    }
}
