//! `kv_cli torture`: the rungs of the library's torture, on every core, with a bar and a table.

use crate::args::{Rung, TortureArgs};
use crate::render::{object, safe};
use crate::streams;
use crate::tools::kills::{self, Kills};
use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kv_engine::torture::{Case, ROT_PARTS, Report, Tally, fault_plans, recovery, regressions, replay, rot, story, torn_tails};
use kv_engine::torture::{weak_disks, workload};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Runs workloads until enough was tried; status 0 when nothing was wrong.
pub(crate) fn run(args: &TortureArgs, json: bool) -> ExitCode {
    let began = Instant::now();
    if let Some(case) = &args.case {
        return again(case);
    }
    if args.rung == Rung::Kills {
        return kills::torture(args, json);
    }
    let mut tally = match args.workload {
        Some(number) => args.rung.workload(number, true),
        None => enumerate(args.rung, args.states.unwrap_or(100_000), args.seed),
    };
    if args.rung == Rung::Engine && args.workload.is_none() && args.kills > 0 {
        add_kills(&mut tally, &kills::run(args.kills, args.seed));
    }
    let mut out = io::BufWriter::new(streams::stdout());
    let written = if json { print_json(&mut out, args.rung, &tally) } else { print(&mut out, args, &tally, began) };
    let written = written.and_then(|()| out.flush());
    for failure in &tally.failures {
        streams::say(&format!("kv_cli: {}", safe(failure)));
    }
    if let Some(case) =
        tally.failures.first().and_then(|line| line.rsplit_once("--case ")).and_then(|(_, case)| case.parse().ok())
    {
        streams::say(&format!("\nthe first of them, made small:\n{}", story(&case)));
    }
    ExitCode::from(streams::finish(written, u8::from(tally.failed > 0)))
}

/// One case, made small and told; status 0 when nothing is wrong with it.
fn again(case: &Case) -> ExitCode {
    let wrong = replay(case).is_some();
    let written = streams::stdout().write_all(story(case).as_bytes());
    ExitCode::from(streams::finish(written, u8::from(wrong)))
}

/// Before the lost writes, which are the last figure.
fn add_kills(tally: &mut Tally, kills: &Kills) {
    let at = tally.figures.len() - 1;
    tally.figures[at].1 += kills.lost_writes;
    tally.figures.insert(at, ("kills of a real process", kills.kills));
    tally.failed += kills.failures.len() as u64;
    tally.failures.extend(kills.failures.iter().cloned());
}

/// With the whole engine, one workload of so many is run with faults as well, which takes as long as all
/// the others.
const FAULTS_EVERY: u64 = 32;

impl Rung {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_string())
    }

    /// What is counted.
    fn of(self) -> &'static str {
        match self {
            Rung::Engine | Rung::Log | Rung::Recovery => "states",
            Rung::Rot => "damaged files",
            Rung::Faults => "fault plans",
            Rung::Kills => "kills",
        }
    }

    /// What it means that nothing failed.
    fn verdict(self) -> &'static str {
        match self {
            Rung::Engine | Rung::Log | Rung::Recovery | Rung::Faults | Rung::Kills => {
                "each state held exactly a prefix, with every promised write"
            }
            Rung::Rot => "no wrong value, and no damage that was not seen",
        }
    }

    /// The number of the first workload that follows from `seed`.
    fn first(self, seed: u64) -> u64 {
        match self {
            Rung::Engine | Rung::Log | Rung::Recovery | Rung::Faults | Rung::Kills => seed.wrapping_mul(1_000_000_007),
            Rung::Rot => seed.wrapping_mul(1_000_003 * ROT_PARTS), // a store from its first part on
        }
    }

    /// So many workloads are handed out at first, before the count is looked at.
    fn round(self) -> u64 {
        match self {
            Rung::Engine => 32,
            Rung::Log | Rung::Rot => 16,
            Rung::Recovery | Rung::Faults | Rung::Kills => 4,
        }
    }

    /// One workload. `faults`: with the whole engine, its fault plans too.
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

/// Hands out workloads in rounds whose sizes follow from what was found, so a run with the same seed and
/// the same number is the same run on any number of cores.
fn enumerate(rung: Rung, states: u64, seed: u64) -> Tally {
    let bar = if io::stderr().is_terminal() { ProgressBar::new(states) } else { ProgressBar::hidden() };
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
    let template = format!("torture {{wide_bar}} {{human_pos}} of {{human_len}} {}", rung.of());
    bar.set_style(ProgressStyle::with_template(&template).expect("a good template"));
    if !io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let kept = regressions();
    let total = Mutex::new(if rung == Rung::Engine { tally(&kept, kept.states(), &figures(&kept)) } else { Tally::default() });
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut done = 0;
    loop {
        let tried = lock(&total).tried;
        if tried >= states {
            break;
        }
        // Nine tenths of what seems to be missing: a large round leaves no core idle at its end.
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
                    bar.set_position(total.tried.min(states));
                }
            };
            // This thread works, too: where no other can be had, it takes longer.
            for _ in 1..threads {
                let _ = std::thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        done += round;
    }
    bar.finish_and_clear();
    total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn lock(total: &Mutex<Tally>) -> std::sync::MutexGuard<'_, Tally> {
    total.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn print(out: &mut impl Write, args: &TortureArgs, tally: &Tally, began: Instant) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let is_counted_there = tally.figures.iter().any(|(name, _)| *name == args.rung.of());
    let total = (!is_counted_there).then_some((args.rung.of(), tally.tried));
    for (name, count) in total.iter().chain(&tally.figures) {
        table.add_row([name.to_string(), count.to_string()]);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(out, "{table}")?;
    if let Some((tried, told)) = tally.idle_bits() {
        let percent = told as f64 * 100.0 / tried as f64;
        writeln!(out, "told from a torn write: {percent:.2} % of the bits in the last synced group of an idle store")?;
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
        tally.figures.iter().map(|(name, count)| (name.replace([',', ':'], "").replace(' ', "_"), *count)).collect();
    let mut fields = vec![
        ("rung", name.as_str().into()),
        ("tried", tally.tried.into()),
        ("failed", tally.failed.into()),
        ("skipped", 0.into()),
    ];
    fields.extend(named.iter().map(|(name, count)| (name.as_str(), (*count).into())));
    out.write_all(object(&fields).as_bytes())
}
