//! `kv_cli torture`: crashes, fails and damages the store on a simulated disk, and checks what it recovers. It runs the
//! library's torture on every core, and prints a table.
//!
//! Status 0 if nothing was wrong, else 1. A signal stops it: it prints the table of the cases that were tried before,
//! and the status is 128 + signal if nothing was wrong. A workload may take long, so the work runs on other threads,
//! while the main thread looks for signals. A workload that is under way then is not counted.

use super::kills::{self, Kills};
use crate::args::{Args, Rung, TortureArgs};
use crate::error::Code;
use crate::progress::Progress;
use crate::settings::Format;
use crate::signals::{self, Flags};
use crate::streams;
use crate::text::{Fitted, error_object, object, safe};
use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use kv_engine::torture::{Case, ROT_PARTS, Report, Tally, fault_plans, recovery, regressions, replay, rot, story, torn_tails};
use kv_engine::torture::{weak_disks, workload};
use serde_json::Value as Json;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

const USUAL_STATES: u64 = 100_000;
const USUAL_KILLS: u64 = 1000;
/// With the rung engine.
const USUAL_KILLS_BESIDE: u64 = 10;
/// How long the kills that have begun may take to end after a signal.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(super) fn run(args: &Args, torture: &TortureArgs, flags: &'static Flags) -> u8 {
    let began = Instant::now();
    let json = args.format() == Format::Json;
    if let Err(error) = signals::note_for(flags, PATIENCE) {
        return fail(json, &format!("signals cannot be handled: {error}; nothing was tried"));
    }
    if let Some(case) = torture.case.clone() {
        return again(case, json, flags);
    }
    let tally = match work(torture, flags) {
        Ok(tally) => tally,
        Err(error) => return fail(json, &format!("cannot start a thread: {error}; nothing was tried")),
    };
    let stopped = flags.stop_signal();
    let mut out = Fitted::stdout(io::BufWriter::new(streams::stdout()), json);
    let ran = Ran { torture, tally: &tally, took: began.elapsed(), stopped };
    let written = if json { ran.print_json(&mut out) } else { ran.print(&mut out) };
    let written = written.and_then(|()| out.flush());
    for failure in &tally.failures {
        streams::say(&format!("kv_cli: {}", safe(failure)));
    }
    if let Some(case) =
        tally.failures.first().and_then(|line| line.rsplit_once("--case ")).and_then(|(_, case)| case.parse().ok())
    {
        streams::say(&format!("\nthe first failure, reduced to a small case:\n{}", story(&case)));
    }
    streams::finish(written, if tally.failed > 0 { 1 } else { status_of(stopped) })
}

fn status_of(stopped: Option<i32>) -> u8 {
    stopped.map_or(0, |signal| u8::try_from(128 + signal).unwrap_or(255))
}

fn fail(json: bool, text: &str) -> u8 {
    let written = if json { streams::stdout().write_all(error_object(Code::Failed, text).as_bytes()) } else { Ok(()) };
    streams::say(&format!("kv_cli: error: torture: {}", safe(text)));
    streams::finish(written, 1)
}

/// Runs one case again, reduces it to a small one, and prints its story.
fn again(case: Case, json: bool, flags: &Flags) -> u8 {
    let told = until_signal(flags, move || (replay(&case).is_some(), story(&case)));
    let (wrong, story) = match told {
        Ok(Some(told)) => told,
        Ok(None) => return status_of(flags.stop_signal()),
        Err(error) => return fail(json, &format!("cannot start a thread: {error}; nothing was tried")),
    };
    let text = match json {
        true => object(&[("ok", (!wrong).into()), ("story", story.lines().map(Json::from).collect())]),
        false => story,
    };
    streams::finish(streams::stdout().write_all(text.as_bytes()), u8::from(wrong))
}

/// Does what the options say, until a signal.
fn work(torture: &TortureArgs, flags: &Flags) -> io::Result<Tally> {
    let (rung, seed) = (torture.rung, torture.seed);
    if rung == Rung::Kills {
        return Ok(kills::run(torture.states.unwrap_or(USUAL_KILLS), seed, flags).tally());
    }
    let total = Arc::new(Mutex::new(Total::default()));
    let (shared, states) = (Arc::clone(&total), torture.states.unwrap_or(USUAL_STATES));
    let is_done = match torture.workload {
        Some(number) => until_signal(flags, move || lock(&shared).add(rung.workload(number, true))),
        None => until_signal(flags, move || enumerate(rung, states, seed, &shared)),
    }?;
    let mut tally = lock(&total).end();
    let kills = torture.kills.unwrap_or(USUAL_KILLS_BESIDE);
    if is_done.is_some() && rung == Rung::Engine && torture.workload.is_none() && kills > 0 {
        add_kills(&mut tally, &kills::run(kills, seed, flags));
    }
    Ok(tally)
}

/// Does the work on another thread. `None` if a signal came first. Then the thread goes on until the process ends.
fn until_signal<T: Send + 'static>(flags: &Flags, work: impl FnOnce() -> T + Send + 'static) -> io::Result<Option<T>> {
    let (done, result) = mpsc::channel();
    let thread = thread::Builder::new().name("kv-torture".into()).spawn(move || drop(done.send(work())))?;
    loop {
        match result.recv_timeout(LOOK_EVERY) {
            Ok(result) => return Ok(Some(result)),
            Err(mpsc::RecvTimeoutError::Timeout) if flags.stop_signal().is_some() => return Ok(None),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
                Err(panic) => std::panic::resume_unwind(panic),
                Ok(()) => return Ok(None),
            },
        }
    }
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

fn figures(report: &Report) -> [(&'static str, u64); 18] {
    [
        ("workloads", report.workloads),
        ("writes in the middle of a call", report.interleaved),
        ("submissions told", report.told),
        ("looks at read views", report.viewed),
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

/// What was tried so far, and the bar that shows it.
#[derive(Default)]
struct Total {
    tally: Tally,
    progress: Option<Progress>,
    /// How much is to be tried.
    wanted: u64,
    /// The result is being printed. What is found now is not counted.
    is_over: bool,
}

impl Total {
    fn add(&mut self, found: Tally) {
        if self.is_over {
            return;
        }
        self.tally.add(found);
        if let Some(progress) = &self.progress {
            progress.set(self.tally.tried.min(self.wanted));
        }
    }

    fn end(&mut self) -> Tally {
        (self.is_over, self.progress) = (true, None);
        std::mem::take(&mut self.tally)
    }
}

/// Runs workloads in rounds until enough states were tried. The size of a round depends only on the results before it,
/// so a run with the same seed and the same number is the same on any number of cores.
fn enumerate(rung: Rung, states: u64, seed: u64, total: &Mutex<Total>) {
    let template = format!("torture {{wide_bar}} {{human_pos}} of {{human_len}} {}", rung.unit());
    *lock(total) = Total { progress: Some(Progress::new(&template, Some(states), false)), wanted: states, ..Total::default() };
    if rung == Rung::Engine {
        let kept = regressions();
        lock(total).add(tally(&kept, kept.states(), &figures(&kept)));
    }
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut done = 0;
    loop {
        let tried = lock(total).tally.tried;
        if tried >= states {
            break;
        }
        // Nine tenths of the estimate. A large round leaves no core idle for long at its end.
        let estimate = (states - tried).saturating_mul(done) / tried.max(1) * 9 / 10;
        let round = (estimate / rung.round()).max(1) * rung.round();
        let next = AtomicU64::new(done);
        thread::scope(|scope| {
            let work = || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= done + round {
                        return;
                    }
                    let found = rung.workload(rung.first(seed).wrapping_add(number), number.is_multiple_of(FAULTS_EVERY));
                    lock(total).add(found);
                }
            };
            // This thread works too. If no other can be started, the run only takes longer.
            for _ in 1..threads {
                let _ = thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        done += round;
    }
}

fn lock(total: &Mutex<Total>) -> MutexGuard<'_, Total> {
    total.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A run that is over.
struct Ran<'a> {
    torture: &'a TortureArgs,
    tally: &'a Tally,
    took: Duration,
    /// The signal that stopped it.
    stopped: Option<i32>,
}

impl Ran<'_> {
    /// Prints the figures, a verdict, and the line for the ledger.
    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let (rung, tally) = (self.torture.rung, self.tally);
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let is_counted_there = tally.figures.iter().any(|(name, _)| *name == rung.unit());
        let total = (!is_counted_there).then_some((rung.unit(), tally.tried));
        for (name, count) in total.iter().chain(&tally.figures) {
            table.add_row([name.to_string(), count.to_string()]);
        }
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(out, "{table}")?;
        if let Some((tried, told)) = tally.idle_bits() {
            let percent = told as f64 * 100.0 / tried as f64;
            writeln!(
                out,
                "distinguished from a torn write: {percent:.2} % of the bits in the last synced group of an idle store"
            )?;
        }
        writeln!(out, "{}", self.verdict())?;
        if self.torture.ledger {
            writeln!(out, "rung {} tried={} failed={} skipped=0", rung.name(), tally.tried, tally.failed)?;
        }
        Ok(())
    }

    fn verdict(&self) -> String {
        let verdict = match self.tally {
            tally if tally.failed > 0 => format!("FAILED: {}", tally.failed),
            tally if tally.tried == 0 => "nothing was tried to the end".to_string(),
            _ => self.torture.rung.verdict().to_string(),
        };
        let took = self.took.as_secs_f64();
        match self.stopped {
            None => format!("{verdict} ({took:.1} s)"),
            Some(signal) => format!("{verdict} (stopped by {} after {took:.1} s)", signals::name(signal)),
        }
    }

    fn print_json(&self, out: &mut impl Write) -> io::Result<()> {
        let (name, tally) = (self.torture.rung.name(), self.tally);
        let named: Vec<_> =
            tally.figures.iter().map(|(name, count)| (name.trim().replace([',', ':'], "").replace(' ', "_"), *count)).collect();
        let mut fields = vec![
            ("rung", name.as_str().into()),
            ("tried", tally.tried.into()),
            ("failed", tally.failed.into()),
            ("skipped", 0.into()),
        ];
        fields.extend(named.iter().map(|(name, count)| (name.as_str(), (*count).into())));
        fields.extend([
            ("took_ms", u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX).into()),
            ("stopped_by", self.stopped.map(signals::name).into()),
            ("failures", tally.failures.iter().map(|line| Json::from(line.as_str())).collect()),
        ]);
        out.write_all(object(&fields).as_bytes())
    }
}
