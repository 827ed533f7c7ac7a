//! STATS: the figures of the store. Grouped on a terminal, one line in a script, one object in JSON.

use super::args::Args;
use super::grouped::{self, Rows};
use super::reply::{Effect, Reply, Verb};
use super::spec::Spec;
use super::stats_of_files::FileFigures;
use super::stats_of_server::ServerFigures;
use crate::error::CommandError;
use crate::output::Output;
use crate::session::Session;
use crate::settings::Format;
use crate::signals::Flags;
use crate::store::Source;
use crate::text::{counted, csv, human_bytes, human_time, write_quoted};
use humantime::format_duration;
use kv_engine::{LogTail, RecoveryReport};
use serde_json::{Value as Json, json};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Prints the figures of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats;

/// The figures, and what else is shown with them.
pub(crate) struct Figures {
    stats: kv_engine::Stats,
    found: RecoveryReport,
    snapshot: PathBuf,
}

impl<'a> Verb<'a> for Stats {
    const SPEC: &'static Spec = &Spec {
        name: "STATS",
        summary: "print what the store holds and has done",
        details: "A script gets one line of name=value. _bytes, _ms and _us are the units; counts\n\
            begin when the store is opened. --json has more. The percentiles of the sync\n\
            times are at most an eighth too high.",
        example: "STATS",
        ..Spec::NO_ARGUMENTS
    };
    const EFFECT: Effect = Effect::Reads;
    type Reply = Shown;

    fn read(_: Args<'a>) -> Result<Stats, CommandError> {
        Ok(Stats)
    }

    fn run(self, session: &mut Session) -> Result<Shown, CommandError> {
        let Session { store, settings, .. } = session;
        let engine = match store.source(false)? {
            Source::Files(files) => return FileFigures::of(files, &settings.wal, &settings.snapshot).map(Shown::Files),
            Source::Remote(remote) => return ServerFigures::of(remote).map(Shown::Server),
            Source::Engine(engine) => engine,
            Source::Empty => unreachable!("an empty store is not asked for"),
        };
        let (stats, found) = (engine.stats(), engine.recovery().clone());
        Ok(Shown::Open(Box::new(Figures { stats, found, snapshot: settings.snapshot.clone() })))
    }
}

/// The figures of an open store, of its files, or of a server.
pub(crate) enum Shown {
    Open(Box<Figures>),
    Files(FileFigures),
    Server(ServerFigures),
}

impl Reply for Shown {
    fn text(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Shown::Open(figures) => figures.text(out),
            Shown::Files(figures) => figures.text(out),
            Shown::Server(figures) => figures.text(out),
        }
    }

    fn write(
        &self,
        spec: &Spec,
        output: &mut Output,
        flags: &Flags,
        note: impl FnOnce() -> Option<String>,
    ) -> Result<(), CommandError> {
        match self {
            Shown::Open(figures) => figures.write(spec, output, flags, note),
            Shown::Files(figures) => figures.write(spec, output, flags, note),
            Shown::Server(figures) => figures.write(spec, output, flags, note),
        }
    }
}

impl Reply for Figures {
    fn text(&self, out: &mut impl Write) -> io::Result<()> {
        let stats = &self.stats;
        out.write_all(b"STATS")?;
        figures(stats).iter().try_for_each(|(name, value)| write!(out, " {name}={value}"))?;
        // Only if there is a failure, and as one word.
        for (name, reason) in [("checkpoint_failed", &stats.checkpoint_failed), ("failed", &stats.failed)] {
            if let Some(reason) = reason {
                write!(out, " {name}=")?;
                write_quoted(reason.as_bytes(), out)?;
            }
        }
        out.write_all(b"\n")
    }

    fn csv(&self, out: &mut impl Write) -> io::Result<()> {
        csv::write_fields(&self.json(), out)
    }

    fn json(&self) -> Vec<(&'static str, Json)> {
        fields(&self.stats, &self.found)
    }

    /// In groups on a terminal.
    fn write(&self, spec: &Spec, output: &mut Output, _: &Flags, _: impl FnOnce() -> Option<String>) -> Result<(), CommandError> {
        if output.format == Format::Json {
            let fields: [(&str, Json); 2] = [("cmd", spec.name.into()), ("ok", true.into())];
            output.line_json(&fields.into_iter().chain(self.json()).collect::<Vec<_>>());
        } else if output.format == Format::Csv {
            output.write(|out| self.csv(out));
        } else if output.terminal {
            grouped::print(&groups(&self.stats, &self.found, &self.snapshot), output);
        } else {
            output.write(|out| self.text(out));
        }
        Ok(())
    }
}

/// The figures in groups.
fn groups(stats: &kv_engine::Stats, found: &RecoveryReport, snapshot: &Path) -> Vec<(&'static str, Rows)> {
    vec![
        ("data", vec![("keys", stats.keys.to_string()), ("bytes", human_bytes(stats.data_bytes))]),
        ("writes", writes(stats)),
        ("log", log(stats)),
        ("syncs", syncs(stats)),
        ("snapshot", snapshots(stats, snapshot)),
        ("recovery", recovery(found)),
        ("failure", stats.failed.iter().map(|reason| ("writes", format!("none any more: {reason}"))).collect()),
    ]
}

fn writes(stats: &kv_engine::Stats) -> Rows {
    let age = match stats.flush_interval {
        Duration::ZERO => "never by age".to_string(),
        age => format!("or when one is {} old", format_duration(age)),
    };
    let every = match stats.batch_size {
        1 => "after every write".to_string(),
        n => format!("after every {n} writes, {age}"),
    };
    let groups = counted(stats.batches, "atomic group");
    vec![
        ("accepted", format!("up to write {}", stats.appended)),
        ("durable", format!("up to write {}, {} pending", stats.durable, stats.pending)),
        ("synced", every),
        ("commands", format!("{} PUT, {} DEL, {groups}, since opening", stats.puts, stats.deletes)),
    ]
}

fn log(stats: &kv_engine::Stats) -> Rows {
    let mut rows = vec![("length", human_bytes(stats.log_bytes))];
    if let Some(mean) = mean_group(stats) {
        rows.push((
            "written",
            format!("{} in {}, since opening", human_bytes(stats.log_bytes_written), counted(stats.log_writes, "group")),
        ));
        rows.push(("groups", format!("{mean:.1} writes on average, {} at most", stats.largest_group)));
    }
    rows
}

fn mean_group(stats: &kv_engine::Stats) -> Option<f64> {
    (stats.log_writes > 0).then(|| stats.grouped_writes as f64 / stats.log_writes as f64)
}

fn syncs(stats: &kv_engine::Stats) -> Rows {
    if stats.syncs == 0 {
        return vec![("count", "none since opening".to_string())];
    }
    let at = |percent| human_time(stats.sync_times.percentile(percent).unwrap_or_default());
    vec![
        ("count", format!("{}, together {}", stats.syncs, human_time(stats.sync_total))),
        ("took", format!("p50 {}, p90 {}, p99 {}", at(50.0), at(90.0), at(99.0))),
        ("at most", format!("p99.9 {}, max {}", at(99.9), human_time(stats.sync_max))),
    ]
}

fn snapshots(stats: &kv_engine::Stats, path: &Path) -> Rows {
    let age = || path.metadata().ok()?.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
    let newest = match stats.snapshot_bytes {
        0 => "none".to_string(),
        bytes => {
            let age = age().map(|age| format!(", {} old", format_duration(Duration::from_secs(age.as_secs()))));
            format!("of write {}, {}{}", stats.snapshot_seq, human_bytes(bytes), age.unwrap_or_default())
        }
    };
    let by_size = match stats.checkpoint_log_bytes {
        0 => "never by size".to_string(),
        limit => {
            // Not before the log is as long as the snapshot.
            let due = limit.max(stats.snapshot_bytes);
            format!("when the log has {}, now {} % of that", human_bytes(due), 100 * stats.log_bytes / due)
        }
    };
    let by_age = match stats.checkpoint_interval {
        Duration::ZERO => String::new(),
        every => format!("; every {}", format_duration(every)),
    };
    let mut rows = vec![("newest", newest), ("next", by_size + &by_age)];
    if stats.checkpointing {
        let percent = 100 * stats.checkpoint_read / stats.checkpoint_to_read.max(1);
        rows.push(("now", format!("one is being taken, {} % is read", percent.min(100))));
    }
    if let Some(reason) = &stats.checkpoint_failed {
        rows.push(("failed", format!("{}, the last: {reason}", counted(stats.checkpoint_failures, "checkpoint"))));
    }
    rows
}

fn recovery(found: &RecoveryReport) -> Rows {
    std::iter::once(("found", found.to_string())).chain(found.warnings().into_iter().map(|text| ("warning", text))).collect()
}

/// The fields of `STATS` in JSON, behind `cmd` and `ok`.
fn fields(stats: &kv_engine::Stats, found: &RecoveryReport) -> Vec<(&'static str, Json)> {
    let mut fields: Vec<(&str, Json)> = vec![("store_id", stats.store_id.to_string().into())];
    fields.extend(figures(stats).into_iter().map(|(name, n)| (name, u64::try_from(n).unwrap_or(u64::MAX).into())));
    fields.extend([
        ("mean_group", mean_group(stats).map(|mean| (mean * 100.0).round() / 100.0).into()),
        ("checkpointing", stats.checkpointing.into()),
        ("checkpoint_failed", stats.checkpoint_failed.clone().into()),
        ("checkpoint_met_damage", stats.checkpoint_met_damage.into()),
        ("failed", stats.failed.clone().into()),
        ("recovery", recovered(found)),
    ]);
    fields
}

fn recovered(found: &RecoveryReport) -> Json {
    let (tail, cut) = match &found.tail {
        LogTail::Clean => ("clean", None),
        LogTail::Torn(cut) => ("torn", Some(cut)),
        LogTail::Damaged(cut) => ("damaged", Some(cut)),
        _ => ("unknown", None),
    };
    json!({
        "created": found.created,
        "keys": found.keys,
        "snapshot_keys": found.snapshot_keys,
        "snapshot_seq": found.snapshot_seq,
        "replayed": found.replayed,
        "skipped": found.skipped,
        "log_bytes": found.log_bytes,
        "took_us": u64::try_from(found.took.as_micros()).unwrap_or(u64::MAX),
        "closed_in_order": found.closed_cleanly,
        "tail": tail,
        "cut_bytes": cut.map_or(0, |cut| cut.bytes),
        "warnings": found.warnings(),
    })
}

/// The figures by the names that text and JSON share. `_bytes`, `_ms` and `_us` are units (bytes, milliseconds,
/// microseconds); the others are counts or sequence numbers.
fn figures(stats: &kv_engine::Stats) -> Vec<(&'static str, u128)> {
    let sync_us = |percent| stats.sync_times.percentile(percent).unwrap_or_default().as_micros();
    vec![
        ("keys", stats.keys.into()),
        ("data_bytes", stats.data_bytes.into()),
        ("batch", stats.batch_size.into()),
        ("flush_interval_ms", stats.flush_interval.as_millis()),
        ("appended", stats.appended.into()),
        ("durable", stats.durable.into()),
        ("pending", stats.pending.into()),
        ("puts", stats.puts.into()),
        ("deletes", stats.deletes.into()),
        ("batches", stats.batches.into()),
        ("log_bytes", stats.log_bytes.into()),
        ("log_bytes_written", stats.log_bytes_written.into()),
        ("log_writes", stats.log_writes.into()),
        ("grouped_writes", stats.grouped_writes.into()),
        ("largest_group", stats.largest_group.into()),
        ("syncs", stats.syncs.into()),
        ("sync_total_us", stats.sync_total.as_micros()),
        ("sync_p50_us", sync_us(50.0)),
        ("sync_p90_us", sync_us(90.0)),
        ("sync_p99_us", sync_us(99.0)),
        ("sync_p999_us", sync_us(99.9)),
        ("sync_max_us", stats.sync_max.as_micros()),
        ("snapshots", stats.snapshots.into()),
        ("snapshot_seq", stats.snapshot_seq.into()),
        ("snapshot_bytes", stats.snapshot_bytes.into()),
        ("checkpoint_log_bytes", stats.checkpoint_log_bytes.into()),
        ("checkpoint_interval_ms", stats.checkpoint_interval.as_millis()),
        ("checkpoint_read", stats.checkpoint_read.into()),
        ("checkpoint_to_read", stats.checkpoint_to_read.into()),
        ("checkpoint_failures", stats.checkpoint_failures.into()),
    ]
}
