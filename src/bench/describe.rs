//! The work and the syncs in sentences, for the terminal and for the page.

use super::figures::human_ns;
use super::options::{Amount, Bench, Dist};
use super::run::Run;

/// `writes`, `reads`, `operations`.
pub(super) fn noun(bench: &Bench, n: u64) -> &'static str {
    match (bench.gets_percent, n) {
        (0, 1) => "write",
        (0, _) => "writes",
        (100, 1) => "read",
        (100, _) => "reads",
        (_, 1) => "operation",
        _ => "operations",
    }
}

/// The operations, and their keys and values.
pub(super) fn workload(bench: &Bench, runs: &[Run]) -> String {
    let kind = match bench.gets_percent {
        0 => "PUTs".to_string(),
        100 => "GETs".to_string(),
        percent => format!("operations ({percent} % GETs, {} % PUTs)", 100 - percent),
    };
    let amount = match bench.amount {
        Amount::Count(n) => format!("{n} {kind}"),
        Amount::Time(_) => format!("{} of {kind}", bench.amount),
    };
    let threads = if bench.threads == 1 { "1 thread".to_string() } else { format!("{} threads", bench.threads) };
    let keys = runs.first().map_or(0, |run| run.keys);
    let choice = match bench.dist {
        Dist::Uniform => "",
        Dist::Zipfian => "; a few are chosen much more often (zipfian)",
    };
    let (key_bytes, value_bytes) = (bench.key_bytes, bench.value_bytes);
    format!(
        "{amount} by {threads}. Keys: {key_bytes} bytes, each chosen at random from {keys} different ones{choice}. Values: \
         {value_bytes} bytes."
    )
}

/// How often the log was synced; `None` without a write.
pub(super) fn synced(runs: &[Run]) -> Option<String> {
    let (syncs, total) = runs.iter().fold((0, 0), |(n, total), run| (n + run.syncs, total + run.sync_total.as_nanos()));
    if syncs == 0 {
        return None;
    }
    let each: Vec<_> = runs.iter().map(|run| run.syncs.to_string()).collect();
    let times = if each == ["1"] { "time" } else { "times" };
    let (each, mean) = (each.join(", "), human_ns(total as f64 / syncs as f64));
    Some(format!(
        "fdatasync: {each} {times}, {mean} on average. The total time includes the last one, so every counted write is durable."
    ))
}

pub(super) const NOTHING_SYNCED: &str = "Nothing was written, so nothing was synced.";

/// What was done when a signal stopped the work.
pub(super) fn stopped(bench: &Bench, runs: &[Run]) -> String {
    let done: u64 = runs.iter().map(Run::operations).sum();
    match bench.amount {
        Amount::Count(n) => {
            let all = n.saturating_mul(bench.batch_sizes.len() as u64);
            format!("stopped after {done} of {all} {}", noun(bench, 2))
        }
        Amount::Time(_) => format!("stopped after {done} {}", noun(bench, done)),
    }
}
