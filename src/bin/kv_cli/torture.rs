//! `kv_cli torture`: the crash enumeration of the library, on every core, with a bar and a table.

use crate::args::TortureArgs;
use crate::render::{object, safe};
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kv_engine::torture::{Case, Report, fault_plans, recovery, regressions, replay, story, weak_disks, workload};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// So many workloads are handed out before the count of states is looked at again, which makes a
/// run with the same seed and the same number of states the same run on any number of cores.
const ROUND: u64 = 32;

/// Runs workloads until enough states were tried; status 0 when none was wrong.
pub(crate) fn run(args: &TortureArgs, json: bool) -> ExitCode {
    let began = Instant::now();
    if let Some(case) = &args.case {
        return again(case);
    }
    let report = match args.workload {
        Some(seed) => whole(seed, true),
        None => enumerate(args.states, args.seed),
    };
    let mut out = io::stdout().lock();
    let written = if json { print_json(&mut out, &report) } else { print(&mut out, &report, began) };
    for failure in &report.failures {
        let _ = writeln!(io::stderr().lock(), "kv_cli: {}", safe(failure));
    }
    if let Some(first) = report.cases.first() {
        let _ = writeln!(io::stderr().lock(), "\nthe first of them, made small:\n{}", story(first));
    }
    let wrong = report.lost_writes + report.refused > 0 || written.is_err();
    ExitCode::from(u8::from(wrong))
}

/// One case, made small and told; status 0 when nothing is wrong with it.
fn again(case: &Case) -> ExitCode {
    let wrong = replay(case).is_some();
    let written = io::stdout().lock().write_all(story(case).as_bytes());
    ExitCode::from(u8::from(wrong || written.is_err()))
}

/// One workload of so many is run with faults as well, which takes as long as all the others.
const FAULTS_EVERY: u64 = 32;

/// Everything there is about one workload.
fn whole(seed: u64, faults: bool) -> Report {
    let mut report = workload(seed);
    if faults {
        for part in [recovery(seed), fault_plans(seed), weak_disks(seed)] {
            report.add(part);
        }
    }
    report
}

fn enumerate(states: u64, seed: u64) -> Report {
    let bar = if io::stderr().is_terminal() { ProgressBar::new(states) } else { ProgressBar::hidden() };
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
    bar.set_style(
        ProgressStyle::with_template("crashing {wide_bar} {human_pos} of {human_len} states").expect("a good template"),
    );
    if !io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let total = Mutex::new(regressions());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut first = 0;
    while lock(&total).states() < states {
        let next = AtomicU64::new(first);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= first + ROUND {
                            return;
                        }
                        let seed = seed.wrapping_mul(1_000_000_007).wrapping_add(number);
                        let report = whole(seed, number.is_multiple_of(FAULTS_EVERY));
                        let mut total = lock(&total);
                        total.add(report);
                        bar.set_position(total.states().min(states));
                    }
                });
            }
        });
        first += ROUND;
    }
    bar.finish_and_clear();
    total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn lock(total: &Mutex<Report>) -> std::sync::MutexGuard<'_, Report> {
    total.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn figures(report: &Report) -> [(&'static str, u64); 15] {
    [
        ("workloads", report.workloads),
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

fn print(out: &mut impl Write, report: &Report, began: Instant) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (name, count) in figures(report) {
        table.add_row([name.to_string(), count.to_string()]);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(out, "{table}")?;
    let verdict = if report.lost_writes + report.refused == 0 {
        "each state held exactly a prefix, with every promised write"
    } else {
        "FAILED"
    };
    writeln!(out, "{verdict} ({:.1} s)", began.elapsed().as_secs_f64())
}

fn print_json(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let fields = figures(report).map(|(name, count)| (name.replace(' ', "_"), count));
    let fields: Vec<_> = fields.iter().map(|(name, count)| (name.as_str(), (*count).into())).collect();
    out.write_all(object(&fields).as_bytes())
}
