//! BENCH: what a write costs on this disk, for one or several batch sizes.
//!
//! It writes to a scratch store beside the real log, on the same file system, and never to the
//! user's. Each size gets a fresh one; n PUTs of 16-byte keys and 100-byte values are timed one by
//! one, and the flush that makes the last of them durable is inside the total. The scratch files are
//! removed however the run ends; those of a killed run, by the next one.

use crate::args::Format;
use crate::render::{Output, human_time};
use crate::session::Settings;
use crate::signals::Flags;
use comfy_table::{Cell, CellAlignment, Table, presets};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kv_engine::command::{Code, CommandError};
use kv_engine::{Engine, Error, Options};
use serde_json::Value as Json;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// So many different keys at most, which bounds the memory of a long run.
const KEYS: u64 = 1_000_000;
const VALUE: [u8; 100] = [b'v'; 100];
const WARM_UP: u64 = 1_000;
/// A PUT that takes longer, an hour, counts as this.
const LONGEST_NS: u64 = 3_600_000_000_000;
/// A shorter run shows no progress.
const PROGRESS_AFTER: Duration = Duration::from_secs(1);
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
const BAR_COLUMNS: usize = 24;

/// Runs BENCH and prints what it measured.
pub(crate) fn run(writes: u64, sizes: &[u64], settings: &Settings, out: &mut Output, flags: &Flags) -> Result<(), CommandError> {
    if is_on_tmpfs(&settings.wal) && !settings.quiet {
        out.warn(&tmpfs_warning(&settings.wal));
    }
    let scratch = Scratch::claim(&settings.wal)?;
    let several = sizes.len() > 1;
    let table = several && out.interactive && out.format == Format::Text;
    let mut runs = Vec::new();
    for &size in sizes {
        let run = measure(&scratch, writes, size, flags)?;
        let stopped = run.writes < writes;
        if !table || settings.verbose {
            print(&run, out);
        }
        runs.push(run);
        if stopped {
            break;
        }
    }
    drop(scratch);
    if table {
        draw(&runs, out);
    }
    if several {
        print_best(&runs, out);
    }
    if out.interactive {
        explain(&runs, out);
    }
    if flags.interrupted() {
        let done: u64 = runs.iter().map(|run| run.writes).sum();
        out.aside(&format!("stopped after {done} of {} writes", writes.saturating_mul(sizes.len() as u64)));
    }
    Ok(())
}

/// What one batch size came to.
struct Run {
    batch: u64,
    writes: u64,
    total: Duration,
    syncs: u64,
    sync_total: Duration,
    latency_ns: Histogram<u64>,
}

fn measure(scratch: &Scratch, writes: u64, batch: u64, flags: &Flags) -> Result<Run, CommandError> {
    scratch.remove();
    // No background flush: it would add syncs that the batch size does not explain.
    let engine = scratch.options().batch_size(batch).flush_interval(Duration::ZERO).open()?;
    let warm_up = (0..WARM_UP.min(writes / 10)).take_while(|_| !flags.interrupted());
    warm_up.into_iter().try_for_each(|n| engine.put(key(n), VALUE).map(drop))?;
    engine.flush()?;
    let run = timed(&engine, writes, batch, flags);
    // The files go in any case; what could not be closed is of no use to anyone.
    let _ = engine.close();
    drop(engine);
    scratch.remove();
    run
}

fn timed(engine: &Engine, writes: u64, batch: u64, flags: &Flags) -> Result<Run, CommandError> {
    let before = engine.stats();
    let mut latency_ns = Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("good bounds");
    let mut progress = Progress::new(writes, batch);
    let mut done = 0;
    let began = Instant::now();
    let mut last = began;
    while done < writes && !flags.interrupted() {
        engine.put(key(done), VALUE)?;
        let now = Instant::now();
        latency_ns.saturating_record(u64::try_from((now - last).as_nanos()).unwrap_or(u64::MAX).max(1));
        done += 1;
        // The time for the bar is not the store's.
        last = if progress.shows(done, now - began) { Instant::now() } else { now };
    }
    engine.flush()?;
    let total = began.elapsed();
    progress.clear();
    let after = engine.stats();
    let (syncs, sync_total) = (after.syncs - before.syncs, after.sync_total.saturating_sub(before.sync_total));
    Ok(Run { batch, writes: done, total, syncs, sync_total, latency_ns })
}

/// 16 bytes, scattered over the key space so that the map is not filled in order.
fn key(n: u64) -> [u8; 16] {
    let mut key = *b"bench-0000000000";
    let mut rest = n.wrapping_mul(7919) % KEYS;
    for digit in key[6..].iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).expect("a digit");
        rest /= 10;
    }
    key
}

impl Run {
    fn ops_per_sec(&self) -> f64 {
        self.writes as f64 / self.total.as_secs_f64().max(1e-9)
    }

    fn sync_mean(&self) -> Duration {
        self.sync_total.checked_div(u32::try_from(self.syncs).unwrap_or(u32::MAX)).unwrap_or_default()
    }

    fn quantile_us(&self, q: f64) -> f64 {
        self.latency_ns.value_at_quantile(q) as f64 / 1e3
    }

    /// Names and figures, shared by text and JSON.
    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("N", self.writes.to_string()),
            ("total_ms", figure(self.total.as_secs_f64() * 1e3)),
            ("ops_per_sec", figure(self.ops_per_sec())),
            ("batch", self.batch.to_string()),
            ("syncs", self.syncs.to_string()),
            ("p50_us", figure(self.quantile_us(0.5))),
            ("p99_us", figure(self.quantile_us(0.99))),
            ("p999_us", figure(self.quantile_us(0.999))),
            ("max_us", figure(self.latency_ns.max() as f64 / 1e3)),
            ("sync_us", figure(self.sync_mean().as_secs_f64() * 1e6)),
        ]
    }
}

/// Whole, unless that would hide what there is.
fn figure(x: f64) -> String {
    match x {
        x if x >= 10.0 || x == 0.0 => format!("{x:.0}"),
        x if x >= 0.1 => format!("{x:.1}"),
        x => format!("{x:.4}"),
    }
}

fn print(run: &Run, out: &mut Output) {
    if out.format == Format::Json {
        let number = |text: &String| text.parse::<u64>().map(Json::from).or_else(|_| text.parse::<f64>().map(Json::from));
        let mut fields: Vec<(&str, Json)> = vec![("cmd", "BENCH".into()), ("ok", true.into())];
        fields.extend(run.fields().iter().map(|(name, text)| (*name, number(text).unwrap_or_default())));
        fields.push(("sync", "fdatasync".into()));
        out.line_json(&fields);
    } else {
        let fields: Vec<_> = run.fields().iter().map(|(name, value)| format!("{name}={value}")).collect();
        out.line(&format!("BENCH {} sync=fdatasync", fields.join(" ")));
    }
    out.flush();
}

fn print_best(runs: &[Run], out: &mut Output) {
    let best = runs.iter().max_by(|a, b| a.ops_per_sec().total_cmp(&b.ops_per_sec()));
    let (Some(first), Some(best)) = (runs.first(), best) else { return };
    let speedup = best.ops_per_sec() / first.ops_per_sec().max(1e-9);
    if out.format == Format::Json {
        let speedup = format!("{speedup:.2}").parse::<f64>().unwrap_or(speedup);
        out.line_json(&[
            ("cmd", "BENCH".into()),
            ("ok", true.into()),
            ("best", true.into()),
            ("batch", best.batch.into()),
            ("speedup", speedup.into()),
        ]);
    } else {
        out.line(&format!("BENCH best batch={} speedup={speedup:.2}x", best.batch));
    }
}

fn draw(runs: &[Run], out: &mut Output) {
    let most = runs.iter().map(Run::ops_per_sec).fold(1.0, f64::max);
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["batch", "ops/s", "", "p50 µs", "p99 µs", "max µs", "syncs"].map(|name| right(name.to_string())));
    for run in runs {
        table.add_row([
            right(run.batch.to_string()),
            right(figure(run.ops_per_sec())),
            Cell::new(bar(run.ops_per_sec() / most)),
            right(figure(run.quantile_us(0.5))),
            right(figure(run.quantile_us(0.99))),
            right(figure(run.latency_ns.max() as f64 / 1e3)),
            right(run.syncs.to_string()),
        ]);
    }
    table.trim_fmt().lines().for_each(|line| out.line(line));
}

/// A bar in eighths of a column, padded to the full width.
fn bar(share: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = ((share * (BAR_COLUMNS * 8) as f64).round() as usize).clamp(1, BAR_COLUMNS * 8);
    let bar = "█".repeat(eighths / 8) + EIGHTHS[eighths % 8];
    format!("{bar:<BAR_COLUMNS$}")
}

/// One sentence of what it comes down to.
fn explain(runs: &[Run], out: &mut Output) {
    let (syncs, total) = runs.iter().fold((0, Duration::ZERO), |(n, total), run| (n + run.syncs, total + run.sync_total));
    if let Some(mean) = total.checked_div(u32::try_from(syncs).unwrap_or(u32::MAX)) {
        out.dim_line(&format!("one sync (fdatasync) took {} on this disk, the mean of {syncs}", human_time(mean)));
    }
}

/// The files of the scratch store. They exist only while the real store is locked by this process.
struct Scratch {
    wal: PathBuf,
    snapshot: PathBuf,
}

impl Scratch {
    /// Takes the names, unless something that is not a scratch store has them.
    fn claim(real_wal: &Path) -> Result<Scratch, CommandError> {
        let (wal, snapshot) = (suffixed(real_wal, ".bench"), suffixed(real_wal, ".bench.snapshot"));
        if wal.symlink_metadata().is_ok() || snapshot.symlink_metadata().is_ok() {
            match Options::new(&wal, &snapshot).open() {
                Ok(_) | Err(Error::Damaged { .. } | Error::Mismatch { .. }) => {}
                Err(error) => {
                    let text = format!("BENCH needs the name {} for scratch files: {error}", wal.display());
                    return Err(CommandError::new(Code::Failed, text));
                }
            }
        }
        // Only now: what it is given, a Scratch removes when it goes.
        Ok(Scratch { wal, snapshot })
    }

    fn options(&self) -> Options {
        Options::new(&self.wal, &self.snapshot)
    }

    fn remove(&self) {
        for path in [&self.wal, &self.snapshot] {
            for suffix in ["", ".tmp", ".lock"] {
                let _ = std::fs::remove_file(suffixed(path, suffix));
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove();
    }
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A bar on stderr, when that is a terminal and the run takes a while.
struct Progress {
    bar: Option<ProgressBar>,
    writes: u64,
    batch: u64,
    next: Duration,
}

impl Progress {
    fn new(writes: u64, batch: u64) -> Progress {
        let next = if io::stderr().is_terminal() { PROGRESS_AFTER } else { Duration::MAX };
        Progress { bar: None, writes, batch, next }
    }

    /// Whether it took the time to draw.
    fn shows(&mut self, done: u64, elapsed: Duration) -> bool {
        if elapsed < self.next {
            return false;
        }
        self.next = elapsed + PROGRESS_EVERY;
        let bar = self.bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("BENCH batch={prefix} {bar:20} {percent}%  {eta} left");
            ProgressBar::with_draw_target(Some(self.writes), ProgressDrawTarget::stderr())
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                .with_prefix(self.batch.to_string())
                .with_elapsed(elapsed)
        });
        bar.set_position(done);
        true
    }

    fn clear(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Whether a file at `path` is kept in memory only, where a sync costs and promises nothing.
pub(crate) fn is_on_tmpfs(path: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        const TMPFS_MAGIC: u64 = 0x0102_1994;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        rustix::fs::statfs(parent).is_ok_and(|stat| u64::try_from(stat.f_type).is_ok_and(|magic| magic == TMPFS_MAGIC))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        false
    }
}

pub(crate) fn tmpfs_warning(wal: &Path) -> String {
    format!("{} is on tmpfs: it survives kill -9, not a power cut, and sync costs nothing in BENCH", wal.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn keys_have_sixteen_bytes_and_differ() {
        assert_eq!(&key(0), b"bench-0000000000");
        assert_eq!(&key(1), b"bench-0000007919");
        assert_eq!((0..KEYS).map(key).collect::<HashSet<_>>().len() as u64, KEYS);
    }

    #[test]
    fn figures_are_never_nothing() {
        assert_eq!([96.4, 3.25, 0.5, 0.02, 0.0].map(figure), ["96", "3.2", "0.5", "0.0200", "0"]);
        assert_eq!(bar(1.0), "█".repeat(BAR_COLUMNS));
        assert_eq!(bar(0.0).trim_end(), "▏");
    }
}
