//! `kv_cli torture --rung kills`: this program starts itself as a shell over a scratch store, feeds it commands, reads its
//! answers, kills it with SIGKILL at a random instant, and compares what the files hold with what was promised.
//!
//! One store lives through many kills, so that each recovery meets what the one before left. A kill is counted for what
//! it hit, by the traces it left, whatever it was aimed at. The seed repeats the commands and the pauses, not the
//! instants: those are the machine's.

mod model;
mod round;

use crate::args::TortureArgs;
use crate::streams;
use crate::text::{object, safe};
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use round::{Pace, Store};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// After so many failures the rest would tell nothing new.
const ENOUGH_FAILURES: usize = 10;

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Kills {
    pub(crate) kills: u64,
    /// Before the process had the store.
    pub(crate) before_opening: u64,
    pub(crate) in_recovery: u64,
    pub(crate) under_load: u64,
    /// The new snapshot was being written,
    pub(crate) snapshot_written: u64,
    /// it was in place and the log not yet switched,
    pub(crate) snapshot_in_place: u64,
    /// the log was switched and SNAP not yet answered.
    pub(crate) log_switched: u64,
    /// The process waited for commands.
    pub(crate) idle: u64,
    /// Logs that this process left torn for the next: cut inside a record, or with garbage behind the last.
    pub(crate) torn_by_us: u64,
    /// Logs that were found torn after a kill.
    pub(crate) found_torn: u64,
    /// States that only the next process recovered.
    pub(crate) left: u64,
    /// States that this process recovered, too.
    pub(crate) recovered: u64,
    pub(crate) answers: u64,
    /// Writes that were sent, and whose fate was looked up.
    pub(crate) writes: u64,
    pub(crate) acknowledged: u64,
    pub(crate) promised: u64,
    pub(crate) found: u64,
    pub(crate) lost_writes: u64,
    pub(crate) failures: Vec<String>,
}

impl Kills {
    fn add(&mut self, other: Kills) {
        self.kills += other.kills;
        self.before_opening += other.before_opening;
        self.in_recovery += other.in_recovery;
        self.under_load += other.under_load;
        self.snapshot_written += other.snapshot_written;
        self.snapshot_in_place += other.snapshot_in_place;
        self.log_switched += other.log_switched;
        self.idle += other.idle;
        self.torn_by_us += other.torn_by_us;
        self.found_torn += other.found_torn;
        self.left += other.left;
        self.recovered += other.recovered;
        self.answers += other.answers;
        self.writes += other.writes;
        self.acknowledged += other.acknowledged;
        self.promised += other.promised;
        self.found += other.found;
        self.lost_writes += other.lost_writes;
        self.failures.extend(other.failures);
    }

    fn figures(&self) -> [(&'static str, u64); 19] {
        [
            ("kills", self.kills),
            ("under load", self.under_load),
            ("in recovery", self.in_recovery),
            ("in SNAP", self.snapshot_written + self.snapshot_in_place + self.log_switched),
            ("while the snapshot was written", self.snapshot_written),
            ("before the log was switched", self.snapshot_in_place),
            ("before SNAP was answered", self.log_switched),
            ("before opening", self.before_opening),
            ("idle", self.idle),
            ("logs torn by us", self.torn_by_us),
            ("logs found torn", self.found_torn),
            ("left for the next process to recover", self.left),
            ("recovered here", self.recovered),
            ("answers read", self.answers),
            ("writes checked", self.writes),
            ("acknowledged", self.acknowledged),
            ("promised durable", self.promised),
            ("found", self.found),
            ("lost writes", self.lost_writes),
        ]
    }
}

/// Runs the loop and prints what it came to; status 0 when nothing was lost.
pub(crate) fn torture(args: &TortureArgs, json: bool) -> ExitCode {
    let began = Instant::now();
    let kills = run(args.states.unwrap_or(1000), args.seed);
    let mut out = io::BufWriter::new(streams::stdout());
    let mut written = if json { print_json(&mut out, &kills) } else { print(&mut out, &kills, began) };
    if args.ledger {
        let ledger = writeln!(out, "rung kills tried={} failed={} skipped=0", kills.kills, kills.failures.len());
        written = written.and(ledger);
    }
    let written = written.and_then(|()| out.flush());
    for failure in &kills.failures {
        streams::say(&format!("kv_cli: {}", safe(failure)));
    }
    ExitCode::from(streams::finish(written, u8::from(!kills.failures.is_empty())))
}

/// Kills `count` processes, on every core; fewer when there are failures enough, or at SIGINT.
pub(crate) fn run(count: u64, seed: u64) -> Kills {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // Without it the signal ends the process at once, and its scratch stores stay.
        let _ = signal_hook::flag::register(signal, Arc::clone(&stop));
    }
    let bar = bar(count);
    let (total, claimed) = (Mutex::new(Kills::default()), AtomicU64::new(0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (total, claimed, stop, bar) = (&total, &claimed, &stop, &bar);
            let mut random = model::Random::new(seed.wrapping_mul(1_000_003).wrapping_add(thread));
            let work = move || {
                let (mut store, mut pace) = (None, Pace::default());
                while !stop.load(Ordering::Relaxed) && claimed.fetch_add(1, Ordering::Relaxed) < count {
                    let mut kills = Kills::default();
                    store = one(store, &mut random, &mut pace, &mut kills);
                    let mut total = lock(total);
                    total.add(kills);
                    bar.set_position(total.kills);
                    if total.failures.len() >= ENOUGH_FAILURES {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
                let mut kills = Kills::default();
                end(store, &mut kills);
                lock(total).add(kills);
            };
            if let Err(error) = std::thread::Builder::new().spawn_scoped(scope, work)
                && thread == 0
            {
                lock(total).failures.push(format!("no thread to kill from: {error}; nothing was tried"));
            }
        }
    });
    bar.finish_and_clear();
    total.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// One kill, of a process on this store or on a new one. Returns the store to go on with.
fn one(store: Option<Store>, random: &mut model::Random, pace: &mut Pace, kills: &mut Kills) -> Option<Store> {
    let store = match store {
        Some(store) if store.is_old() => {
            end(Some(store), kills);
            None
        }
        store => store,
    };
    let mut store = match store.map_or_else(|| Store::begin(random), Ok) {
        Ok(store) => store,
        Err(error) => {
            kills.failures.push(format!("a scratch store: {error:#}"));
            return None;
        }
    };
    kills.kills += 1;
    match store.round(random, pace, kills) {
        Ok(()) => Some(store),
        Err(trouble) => {
            failed(&store, &trouble, kills);
            None
        }
    }
}

/// Looks at the store a last time, and removes it.
fn end(store: Option<Store>, kills: &mut Kills) {
    let Some(mut store) = store else { return };
    if let Err(trouble) = store.end(kills) {
        failed(&store, &trouble, kills);
    }
}

/// The store stays as it is, for whoever wants to know why.
fn failed(store: &Store, trouble: &round::Trouble, kills: &mut Kills) {
    kills.lost_writes += trouble.lost;
    kills.failures.push(format!("FAILED, {}: {}; the store is kept in {}", store.history(), trouble.text, store.dir.display()));
}

fn lock(total: &Mutex<Kills>) -> std::sync::MutexGuard<'_, Kills> {
    total.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bar(count: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("killing {wide_bar} {human_pos} of {human_len}").expect("a good template");
    ProgressBar::with_draw_target(Some(count), ProgressDrawTarget::stderr_with_hz(5)).with_style(style)
}

fn print(out: &mut impl Write, kills: &Kills, began: Instant) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (name, count) in kills.figures() {
        let indented =
            matches!(name, "while the snapshot was written" | "before the log was switched" | "before SNAP was answered");
        table.add_row([format!("{}{name}", if indented { "  " } else { "" }), count.to_string()]);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(out, "{table}")?;
    let verdict = if kills.failures.is_empty() { "each time a prefix, with every promised write" } else { "FAILED" };
    writeln!(out, "{verdict} ({:.1} s)", began.elapsed().as_secs_f64())
}

fn print_json(out: &mut impl Write, kills: &Kills) -> io::Result<()> {
    let fields = kills.figures().map(|(name, count)| (name.replace(' ', "_"), count));
    let fields: Vec<_> = fields.iter().map(|(name, count)| (name.as_str(), (*count).into())).collect();
    out.write_all(object(&fields).as_bytes())
}
