//! STATS: grouped for the eyes, one object for scripts.

use crate::command::figures;
use crate::text::{counted, fit, human_bytes, human_time, safe};
use humantime::format_duration;
use kv_engine::{LogTail, RecoveryReport, Stats};
use serde_json::{Value as Json, json};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Where values begin: behind the group and the name.
pub(crate) const VALUE_COLUMN: usize = 20;

/// The figures in groups, a line to each, none longer than `columns` where words allow it.
pub(crate) fn listed(stats: &Stats, found: &RecoveryReport, snapshot: &Path, columns: usize) -> String {
    let groups = [
        ("data", vec![("keys", stats.keys.to_string()), ("bytes", human_bytes(stats.data_bytes))]),
        ("writes", writes(stats)),
        ("log", log(stats)),
        ("syncs", syncs(stats)),
        ("snapshot", snapshots(stats, snapshot)),
        ("recovery", recovery(found)),
        ("failure", stats.failed.iter().map(|reason| ("writes", format!("none any more: {reason}"))).collect()),
    ];
    let mut out = String::new();
    for (group, rows) in groups {
        for (at, (name, value)) in rows.iter().enumerate() {
            let line = format!("{:<10}{name:<10}{}", if at == 0 { group } else { "" }, safe(value));
            out += &fit(&line, columns, VALUE_COLUMN);
            out.push('\n');
        }
    }
    out
}

type Rows = Vec<(&'static str, String)>;

fn writes(stats: &Stats) -> Rows {
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

fn log(stats: &Stats) -> Rows {
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

fn mean_group(stats: &Stats) -> Option<f64> {
    (stats.log_writes > 0).then(|| stats.grouped_writes as f64 / stats.log_writes as f64)
}

fn syncs(stats: &Stats) -> Rows {
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

fn snapshots(stats: &Stats, path: &Path) -> Rows {
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
pub(crate) fn fields(stats: &Stats, found: &RecoveryReport) -> Vec<(&'static str, Json)> {
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
