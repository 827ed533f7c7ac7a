//! BENCH: what an operation costs on this disk, for one or several batch sizes.
//!
//! It works in a scratch store beside the real log, on the same file system, and never in the
//! user's. Each size gets a fresh one. What is measured goes one way:
//!
//! | module | what it does |
//! |---|---|
//! | `scratch`, `keys`, `load` | the files, the keys, the work and its clock: makes a `Run` of each batch size |
//! | `floor` | the same bytes on a bare file, to compare with |
//! | `lines` | a `Run` as a line of text or JSON, for programs |
//! | `picture` | runs on a terminal, for people |
//! | `report`, `charts`, `machine` | runs as a page, to send on |

mod charts;
mod floor;
mod keys;
mod lines;
mod load;
mod machine;
mod options;
mod picture;
mod progress;
mod report;
mod scratch;

pub(crate) use machine::{is_on_tmpfs, tmpfs_warning};
pub use options::{Amount, Bench, Dist};

use crate::error::{Code, CommandError};
use crate::outfile::Store;
use crate::output::Output;
use crate::settings::{Format, Settings};
use crate::signals::Flags;
use load::Run;
use report::Report;
use scratch::Scratch;
use std::time::Duration;

/// A batch size says how many writes a group may have, not how many there will be.
const MOST_GROUP_BYTES: u64 = 1 << 20;

/// Runs BENCH and prints what it measured; `bench` names its batch sizes.
pub(crate) fn run(bench: &Bench, settings: &Settings, out: &mut Output, flags: &Flags) -> Result<(), CommandError> {
    if is_on_tmpfs(&settings.wal) && !settings.quiet {
        out.warn(&tmpfs_warning(&settings.wal));
    }
    // Before the work, so that a mistyped path costs nothing.
    let store = Store { wal: &settings.wal, snapshot: &settings.snapshot };
    let report = bench.report.as_deref().map(|path| Report::claim(path, store)).transpose()?;
    let scratch = Scratch::create(&settings.wal)?;
    let json = bench.json || out.format == Format::Json;
    let picture = out.terminal && !json;
    let mut runs = Vec::new();
    for &size in &bench.batch_sizes {
        let bare = |group_bytes: u64| match report {
            Some(_) if bench.gets_percent < 100 => bare(&scratch, group_bytes, flags),
            _ => Ok(Vec::new()),
        };
        // Before the run its groups are known by and large only, which makes no difference to a disk.
        let mut times = bare(size.saturating_mul((bench.key_bytes + bench.value_bytes) as u64).min(MOST_GROUP_BYTES))?;
        let mut run = load::measure(&scratch, bench, size, flags)?;
        if let Some(group_bytes) = run.group_bytes() {
            times.extend(bare(group_bytes)?);
            run.floor = floor::Floor::of(&times, group_bytes);
        }
        if !picture || settings.verbose {
            lines::print(&run, bench, json, out);
        }
        runs.push(run);
        if flags.interrupted() {
            break;
        }
    }
    drop(scratch);
    if picture {
        picture::draw(&runs, bench, settings, out);
    }
    if bench.batch_sizes.len() > 1 {
        lines::print_best(&runs, json, out);
    }
    if let Some(report) = report {
        let path = report.write(bench, &runs, &settings.wal)?;
        lines::print_report(&path, json, out);
    }
    if flags.interrupted() {
        out.aside(&stopped(bench, &runs));
    }
    Ok(())
}

/// How long the disk takes for groups of so many bytes.
fn bare(scratch: &Scratch, group_bytes: u64, flags: &Flags) -> Result<Vec<Duration>, CommandError> {
    floor::measure(&scratch.bare(), group_bytes, || flags.interrupted())
        .map_err(|error| CommandError::new(Code::Failed, format!("BENCH: the bare disk could not be measured: {error}")))
}

fn stopped(bench: &Bench, runs: &[Run]) -> String {
    let done: u64 = runs.iter().map(Run::operations).sum();
    match bench.amount {
        Amount::Count(n) => {
            let all = n.saturating_mul(bench.batch_sizes.len() as u64);
            format!("stopped after {done} of {all} {}", noun(bench, 2))
        }
        Amount::Time(_) => format!("stopped after {done} {}", noun(bench, done)),
    }
}

/// `writes`, `reads`, `operations`.
fn noun(bench: &Bench, n: u64) -> &'static str {
    match (bench.gets_percent, n) {
        (0, 1) => "write",
        (0, _) => "writes",
        (100, 1) => "read",
        (100, _) => "reads",
        (_, 1) => "operation",
        _ => "operations",
    }
}

/// What was done, to what.
fn workload(bench: &Bench, runs: &[Run]) -> String {
    let kind = match bench.gets_percent {
        0 => "PUTs".to_string(),
        100 => "GETs".to_string(),
        percent => format!("operations, {percent} in 100 a GET, the others PUTs,"),
    };
    let amount = match bench.amount {
        Amount::Count(n) => format!("{n} {kind}"),
        Amount::Time(_) => format!("{} of {kind}", bench.amount),
    };
    let keys = runs.first().map_or(0, |run| run.keys);
    let threads = if bench.threads == 1 { "1 thread".to_string() } else { format!("{} threads", bench.threads) };
    let dist = bench.dist;
    format!("{amount} by {threads}: {}-byte keys ({keys}, {dist}), {}-byte values", bench.key_bytes, bench.value_bytes)
}

/// What the figures include, and what was on the disk when the clock stopped.
fn synced(runs: &[Run]) -> String {
    if runs.iter().all(|run| run.syncs == 0) {
        return "nothing was written, so nothing was synced".to_string();
    }
    let each: Vec<_> = runs.iter().map(|run| run.syncs.to_string()).collect();
    let times = if each == ["1"] { "time" } else { "times" };
    let (syncs, total) = runs.iter().fold((0, 0), |(n, total), run| (n + run.syncs, total + run.sync_total.as_nanos()));
    let mean = picture::human_ns(total as f64 / syncs as f64);
    let each = each.join(", ");
    format!("fdatasync: {each} {times}, mean {mean}; the last one is in the time, so every write counted was durable")
}
