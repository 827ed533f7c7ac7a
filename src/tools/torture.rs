//! `kv_cli torture`: crashes, fails and damages the store on a simulated disk, and checks what it recovers. It runs the
//! library's torture on every core, and prints a table.
//!
//! Status 0 if nothing was wrong, else 1.

use super::kills::{self, Kills};
use crate::args::{Args, Rung, TortureArgs};
use crate::progress::Progress;
use crate::streams;
use crate::text::{object, safe};
use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use kv_engine::torture::{Case, ROT_PARTS, Report, Tally, fault_plans, recovery, regressions, replay, rot, story, torn_tails};
use kv_engine::torture::{weak_disks, workload};
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

const USUAL_STATES: u64 = 100_000;
const USUAL_KILLS: u64 = 1000;

pub(super) fn run(args: &Args, torture: &TortureArgs) -> u8 {
    let began = Instant::now();
    if let Some(case) = &torture.case {
        return again(case);
    }
    let tally = match (torture.rung, torture.workload) {
        (Rung::Kills, _) => kills::run(torture.states.unwrap_or(USUAL_KILLS), torture.seed).tally(),
        (rung, Some(number)) => rung.workload(number, true),
        (rung, None) => {
            let mut tally = enumerate(rung, torture.states.unwrap_or(USUAL_STATES), torture.seed);
            if rung == Rung::Engine && torture.kills > 0 {
                add_kills(&mut tally, &kills::run(torture.kills, torture.seed));
            }
            tally
        }
    };
    let mut out = io::BufWriter::new(streams::stdout());
    let written = if args.json { print_json(&mut out, torture.rung, &tally) } else { print(&mut out, torture, &tally, began) };
    let written = written.and_then(|()| out.flush());
    for failure in &tally.failures {
        streams::say(&format!("kv_cli: {}", safe(failure)));
    }
    if let Some(case) =
        tally.failures.first().and_then(|line| line.rsplit_once("--case ")).and_then(|(_, case)| case.parse().ok())
    {
        streams::say(&format!("\nthe first failure, reduced to a small case:\n{}", story(&case)));
    }
    streams::finish(written, u8::from(tally.failed > 0))
}

/// Runs one case again, reduces it to a small one, and prints its story.
fn again(case: &Case) -> u8 {
    let wrong = replay(case).is_some();
    let written = streams::stdout().write_all(story(case).as_bytes());
    streams::finish(written, u8::from(wrong))
}

/// Adds the kills before the last figure, the lost writes.
fn add_kills(tally: &mut Tally, kills: &Kills) {
    let at = tally.figures.len() - 1;
    tally.figures[at].1 += kills.lost_writes;
    tally.figures.insert(at, ("kills of a real process", kills.kills));
    tally.failed += kills.failures.len() as u64;
    tally.failures.extend(kills.failures.iter().cloned());
}

/// With the whole engine, one workload in this many also runs with faults. That one takes as long as all the others.
const FAULTS_EVERY: u64 = 32;

impl Rung {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_string())
    }

    /// The things that are counted.
    fn unit(self) -> &'static str {
        match self {
            Rung::Engine | Rung::Log | Rung::Recovery => "states",
            Rung::Rot => "damaged files",
            Rung::Faults => "fault plans",
            Rung::Kills => "kills",
        }
    }

    /// The sentence if nothing failed.
    fn verdict(self) -> &'static str {
        match self {
            Rung::Engine | Rung::Log | Rung::Recovery | Rung::Faults | Rung::Kills => {
                "every recovered state was a prefix, with every promised write"
            }
            Rung::Rot => "no wrong value was served, and all damage was detected",
        }
    }

    /// The number of the first workload that follows from `seed`.
    fn first(self, seed: u64) -> u64 {
        match self {
            Rung::Engine | Rung::Log | Rung::Recovery | Rung::Faults | Rung::Kills => seed.wrapping_mul(1_000_000_007),
            Rung::Rot => seed.wrapping_mul(1_000_003 * ROT_PARTS), // the first part of a store
        }
    }

    /// The number of workloads in the first round.
    fn round(self) -> u64 {
        match self {
            Rung::Engine => 32,
            Rung::Log | Rung::Rot => 16,
            Rung::Recovery | Rung::Faults | Rung::Kills => 4,
        }
    }

    /// Runs one workload. With `faults` and the whole engine, it runs the fault plans too.
    fn workload(self, number: u64, faults: bool) -> Tally {
        match self {
            Rung::Engine => {
                let mut report = workload(number);
                if faults {
                    for part in [recovery(number), fault_plans(number), weak_disks(number)] {
                        report.add(part);
                    }
                }
                tally(&report, report.states(), &figures(&report))
            }
            Rung::Recovery => {
                let report = recovery(number);
                tally(&report, report.second_crashes + report.third_crashes, &figures(&report))
            }
            Rung::Faults => {
                let report = fault_plans(number);
                tally(&report, report.fault_plans + report.recovery_fault_plans, &figures(&report)[8..])
            }
            Rung::Log => torn_tails(number),
            Rung::Rot => rot(number),
            Rung::Kills => unreachable!("not a workload"),
        }
    }
}

fn figures(report: &Report) -> [(&'static str, u64); 16] {
    [
        ("workloads", report.workloads),
        ("writes in the middle of a call", report.interleaved),
        ("places to crash", report.crash_points),
        ("states", report.states()),
        ("after the death of the process", report.deaths),
        ("after a power cut", report.power_cuts),
        ("after a crash in a second life", report.second_crashes),
        ("after a crash in a third life", report.third_crashes),
        ("fault plans", report.fault_plans),
        ("fault plans of recovery", report.recovery_fault_plans),
        ("states behind them", report.fault_states),
        ("states of weak disks", report.weak_states),
        ("refused there", report.weak_refused),
        ("cases that had failed before", report.regressions),
        ("not opened", report.refused),
        ("lost writes", report.lost_writes),
    ]
}

fn tally(report: &Report, tried: u64, figures: &[(&'static str, u64)]) -> Tally {
    let mut tally = Tally::default();
    tally.tried = tried;
    tally.failed = report.lost_writes + report.refused;
    tally.figures = figures.to_vec();
    tally.failures.clone_from(&report.failures);
    tally
}

/// Runs workloads in rounds until enough states were tried. The size of a round depends only on the results before it,
/// so a run with the same seed and the same number is the same on any number of cores.
fn enumerate(rung: Rung, states: u64, seed: u64) -> Tally {
    let template = format!("torture {{wide_bar}} {{human_pos}} of {{human_len}} {}", rung.unit());
    let progress = Progress::new(&template, Some(states), false);
    let kept = regressions();
    let total = Mutex::new(if rung == Rung::Engine { tally(&kept, kept.states(), &figures(&kept)) } else { Tally::default() });
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut done = 0;
    loop {
        let tried = lock(&total).tried;
        if tried >= states {
            break;
        }
        // Nine tenths of the estimate. A large round leaves no core idle for long at its end.
        let estimate = (states - tried).saturating_mul(done) / tried.max(1) * 9 / 10;
        let round = (estimate / rung.round()).max(1) * rung.round();
        let next = AtomicU64::new(done);
        std::thread::scope(|scope| {
            let work = || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= done + round {
                        return;
                    }
                    let found = rung.workload(rung.first(seed).wrapping_add(number), number.is_multiple_of(FAULTS_EVERY));
                    let mut total = lock(&total);
                    total.add(found);
                    progress.set(total.tried.min(states));
                }
            };
            // This thread works too. If no other can be started, the run only takes longer.
            for _ in 1..threads {
                let _ = std::thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        done += round;
    }
    drop(progress);
    total.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn lock(total: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    total.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints the figures, a verdict, and the line for the ledger.
fn print(out: &mut impl Write, args: &TortureArgs, tally: &Tally, began: Instant) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let is_counted_there = tally.figures.iter().any(|(name, _)| *name == args.rung.unit());
    let total = (!is_counted_there).then_some((args.rung.unit(), tally.tried));
    for (name, count) in total.iter().chain(&tally.figures) {
        table.add_row([name.to_string(), count.to_string()]);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(out, "{table}")?;
    if let Some((tried, told)) = tally.idle_bits() {
        let percent = told as f64 * 100.0 / tried as f64;
        writeln!(out, "distinguished from a torn write: {percent:.2} % of the bits in the last synced group of an idle store")?;
    }
    let verdict = if tally.failed == 0 { args.rung.verdict().to_string() } else { format!("FAILED: {}", tally.failed) };
    writeln!(out, "{verdict} ({:.1} s)", began.elapsed().as_secs_f64())?;
    if args.ledger {
        writeln!(out, "rung {} tried={} failed={} skipped=0", args.rung.name(), tally.tried, tally.failed)?;
    }
    Ok(())
}

fn print_json(out: &mut impl Write, rung: Rung, tally: &Tally) -> io::Result<()> {
    let name = rung.name();
    let named: Vec<_> =
        tally.figures.iter().map(|(name, count)| (name.trim().replace([',', ':'], "").replace(' ', "_"), *count)).collect();
    let mut fields = vec![
        ("rung", name.as_str().into()),
        ("tried", tally.tried.into()),
        ("failed", tally.failed.into()),
        ("skipped", 0.into()),
    ];
    fields.extend(named.iter().map(|(name, count)| (name.as_str(), (*count).into())));
    out.write_all(object(&fields).as_bytes())
}
