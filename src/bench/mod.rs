//! BENCH: what an operation costs on this disk, for one or several batch sizes; or at a server, for its batch size.
//!
//! It never touches the user's data. It works in a temporary store beside the real log, on the same file system, with a
//! fresh store for each batch size. The modules, each of which uses only those above it:
//!
//! | module | what it does |
//! |---|---|
//! | `options` | the work that was requested, as data |
//! | `figures` | rates and times as people read them |
//! | `floor` | the same bytes written to a bare file, for comparison |
//! | `run` | what was measured for one batch size |
//! | `failure` | why there are no figures |
//! | `scratch`, `keys`, `bed`, `load` | the files, the keys, where the work is done, the timed work: they make a `Run` |
//! | `machine` | the processor, the file system, the disk |
//! | `lines` | a `Run` as a line of text or JSON, for programs |
//! | `describe` | the work in sentences, for people |
//! | `picture` | runs on a terminal |
//! | `drawing` | colours, texts and axes of all charts |
//! | `charts`, `report` | runs as a page to send on |

mod bed;
mod charts;
mod describe;
mod drawing;
mod failure;
mod figures;
mod floor;
mod keys;
mod lines;
mod load;
mod machine;
mod options;
mod picture;
mod report;
mod run;
mod scratch;

pub(crate) use machine::{is_on_tmpfs, tmpfs_warning};
pub(crate) use options::{Amount, Bench, Dist};

use crate::error::{Code, CommandError};
use crate::outfile::StoreFiles;
use crate::output::Output;
use crate::remote::Remote;
use crate::settings::{Format, Settings};
use crate::signals::Flags;
use report::Report;
use scratch::Scratch;
use std::time::Duration;

/// A group of the bare disk is no larger than this: a batch size only limits how many writes a group has.
const MOST_GROUP_BYTES: u64 = 1 << 20;

/// Runs BENCH and prints what it measured; `bench` names its batch sizes.
pub(crate) fn run(bench: &Bench, settings: &Settings, out: &mut Output, flags: &'static Flags) -> Result<(), CommandError> {
    if is_on_tmpfs(&settings.wal) && !settings.quiet {
        out.warn(&tmpfs_warning(&settings.wal));
    }
    // First, so that a mistyped path is refused before the work.
    let store = StoreFiles { wal: &settings.wal, snapshot: &settings.snapshot };
    let report = bench.report.as_deref().map(|path| Report::claim(path, store)).transpose()?;
    let scratch = Scratch::create(&settings.wal)?;
    let json = bench.json || out.format == Format::Json;
    let is_drawn = out.terminal && !json && out.format != Format::Csv;
    let mut runs = Vec::new();
    for &size in &bench.batch_sizes {
        let bare = |group_bytes: u64| match report {
            Some(_) if bench.gets_percent < 100 => bare(&scratch, group_bytes, flags),
            _ => Ok(Vec::new()),
        };
        // The size of the run's groups is an estimate before the run. The difference is small for a disk.
        let mut times = bare(size.saturating_mul((bench.key_bytes + bench.value_bytes) as u64).min(MOST_GROUP_BYTES))?;
        let mut run = load::measure(&scratch, bench, size, flags)?;
        if let Some(group_bytes) = run.group_bytes() {
            times.extend(bare(group_bytes)?);
            run.floor = floor::Floor::of(&times, group_bytes);
        }
        if !is_drawn || settings.verbose {
            lines::print(&run, bench, json, out);
        }
        runs.push(run);
        if flags.interrupted() {
            break;
        }
    }
    drop(scratch);
    if is_drawn {
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
        out.aside(&describe::stopped(bench, &runs));
    }
    Ok(())
}

/// As [`run`], at a server. The batch size is the server's.
pub(crate) fn run_at_server(
    bench: &Bench,
    remote: &mut Remote,
    settings: &Settings,
    out: &mut Output,
    flags: &'static Flags,
) -> Result<(), CommandError> {
    let (address, batch) = (remote.address().to_string(), remote.server().batch);
    let refused = |text: String| Err(CommandError::new(Code::BadArgument, format!("{text}; nothing was measured")));
    if bench.batch_sizes.iter().any(|size| *size != batch) {
        return refused(format!("the server at {address} syncs after {batch} writes, and BENCH cannot change that"));
    }
    if bench.report.is_some() {
        return refused("a report describes this machine and its disk, and the server has its own".to_string());
    }
    let run = load::measure_server(remote, bench, flags)?;
    let json = bench.json || out.format == Format::Json;
    let is_drawn = out.terminal && !json && out.format != Format::Csv;
    if !is_drawn || settings.verbose {
        lines::print(&run, bench, json, out);
    }
    let runs = [run];
    if is_drawn {
        picture::draw(&runs, bench, settings, out);
    }
    if flags.interrupted() {
        out.aside(&describe::stopped(bench, &runs));
    }
    Ok(())
}

/// How long the bare disk takes for groups of this size.
fn bare(scratch: &Scratch, group_bytes: u64, flags: &Flags) -> Result<Vec<Duration>, CommandError> {
    let text = |error| format!("BENCH failed: cannot measure the bare disk: {error}; your store is unchanged");
    floor::measure(&scratch.bare(), group_bytes, || flags.interrupted())
        .map_err(|error| CommandError::new(Code::Failed, text(error)))
}
