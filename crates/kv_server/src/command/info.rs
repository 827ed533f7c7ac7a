//! INFO: figures in Redis's sections and under Redis's names, and those of the store in a section `Kv`.

use super::call::{Call, NO_KEYS, Spec, flag};
use super::connection::REDIS_VERSION;
use super::option::is;
use crate::process::{self, Cpu, Memory};
use crate::refusal::Refusal;
use crate::resp::Args;
use crate::shared::Shared;
use kv_engine::Stats;
use std::fmt::Write;
use std::sync::atomic::Ordering;

pub(super) const ROWS: &[Spec] = &[Spec::new("info", -1, flag::LOADING | flag::STALE | flag::ALONE, NO_KEYS, info).about(
    "server",
    "1.0.0",
    "O(1)",
    "Returns figures of the server and the store.",
)];

type Section = fn(&Shared, &Stats, &mut String);

/// Redis's sections in its order, then ours.
const SECTIONS: [(&str, Section); 12] = [
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication),
    ("CPU", cpu),
    ("Modules", |_, _, _| {}),
    ("Errorstats", |_, _, _| {}),
    ("Cluster", |_, _, text| line(text, "cluster_enabled", 0)),
    ("Keyspace", keyspace),
    ("Kv", kv),
];

fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = write!(text, "{name}:{value}\r\n");
}

fn info(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let all = ["default", "all", "everything"];
    let wants_all = args.len() == 1 || args.from(1).any(|word| all.iter().any(|name| is(word, name)));
    let figures = call.shared.store.engine.stats();
    let mut text = String::new();
    for (name, section) in SECTIONS {
        if wants_all || args.from(1).any(|word| is(word, name)) {
            if !text.is_empty() {
                text += "\r\n";
            }
            let _ = write!(text, "# {name}\r\n");
            section(call.shared, &figures, &mut text);
        }
    }
    call.reply.text(&text);
    Ok(())
}

fn server(shared: &Shared, figures: &Stats, text: &mut String) {
    let uptime = shared.started.elapsed().as_secs();
    line(text, "redis_version", REDIS_VERSION);
    line(text, "redis_mode", "standalone");
    line(text, "os", std::env::consts::OS);
    line(text, "arch_bits", usize::BITS);
    line(text, "process_id", std::process::id());
    line(text, "run_id", &shared.run_id);
    line(text, "tcp_port", shared.options.listen.first().map_or(0, std::net::SocketAddr::port));
    line(text, "uptime_in_seconds", uptime);
    line(text, "uptime_in_days", uptime / 86_400);
    line(text, "kv_server_version", env!("CARGO_PKG_VERSION"));
    line(text, "kv_store_id", figures.store_id);
}

fn clients(shared: &Shared, _: &Stats, text: &mut String) {
    line(text, "connected_clients", shared.clients.count());
    line(text, "maxclients", shared.settings.max_clients.load(Ordering::Relaxed));
    line(text, "blocked_clients", 0);
}

/// A number of bytes as Redis writes it: `1.50M`.
fn human(bytes: u64) -> String {
    let unit = [(30, "G"), (20, "M"), (10, "K")].into_iter().find(|(shift, _)| bytes >> shift > 0);
    unit.map_or_else(|| format!("{bytes}B"), |(shift, name)| format!("{:.2}{name}", bytes as f64 / (1_u64 << shift) as f64))
}

fn memory(_: &Shared, figures: &Stats, text: &mut String) {
    let Memory { own, resident, peak } = process::memory();
    for (name, bytes) in [("used_memory", own), ("used_memory_rss", resident), ("used_memory_peak", peak)] {
        line(text, name, bytes);
        line(text, &format!("{name}_human"), human(bytes));
    }
    line(text, "used_memory_dataset", figures.data_bytes);
    line(text, "maxmemory", 0);
    line(text, "maxmemory_policy", "noeviction");
}

fn persistence(shared: &Shared, figures: &Stats, text: &mut String) {
    let is_ok = |ok: bool| if ok { "ok" } else { "err" };
    line(text, "loading", 0);
    line(text, "rdb_changes_since_last_save", figures.durable.saturating_sub(figures.snapshot_seq));
    line(text, "rdb_bgsave_in_progress", u8::from(shared.saves.is_running()));
    line(text, "rdb_last_save_time", shared.saves.last());
    line(text, "rdb_last_bgsave_status", is_ok(!shared.saves.has_failed()));
    line(text, "aof_enabled", 1);
    line(text, "aof_rewrite_in_progress", u8::from(figures.checkpointing));
    line(text, "aof_last_bgrewrite_status", is_ok(figures.checkpoint_failed.is_none()));
    line(text, "aof_last_write_status", is_ok(figures.failed.is_none()));
    line(text, "aof_current_size", figures.log_bytes);
}

fn stats(shared: &Shared, _: &Stats, text: &mut String) {
    let counters = &shared.counters;
    let figures = [
        ("total_connections_received", &counters.connections),
        ("total_commands_processed", &counters.commands),
        ("total_net_input_bytes", &counters.bytes_in),
        ("total_net_output_bytes", &counters.bytes_out),
        ("rejected_connections", &counters.rejected),
        ("keyspace_hits", &counters.hits),
        ("keyspace_misses", &counters.misses),
        ("total_error_replies", &counters.errors),
    ];
    figures.iter().for_each(|(name, counter)| line(text, name, counter.load(Ordering::Relaxed)));
    line(text, "instantaneous_ops_per_sec", counters.commands_per_second.load(Ordering::Relaxed));
    ["expired_keys", "evicted_keys"].iter().for_each(|name| line(text, name, 0));
}

fn replication(shared: &Shared, figures: &Stats, text: &mut String) {
    line(text, "role", "master");
    line(text, "connected_slaves", 0);
    line(text, "master_replid", &shared.run_id);
    line(text, "master_repl_offset", figures.durable);
}

fn cpu(_: &Shared, _: &Stats, text: &mut String) {
    let Cpu { user, system } = process::cpu();
    line(text, "used_cpu_sys", format_args!("{system:.6}"));
    line(text, "used_cpu_user", format_args!("{user:.6}"));
}

fn keyspace(_: &Shared, figures: &Stats, text: &mut String) {
    if figures.keys > 0 {
        line(text, "db0", format_args!("keys={},expires=0,avg_ttl=0", figures.keys));
    }
}

fn kv(shared: &Shared, figures: &Stats, text: &mut String) {
    let (in_flight, watched) = shared.sequencer.counts();
    line(text, "batch_size", figures.batch_size);
    line(text, "a_crash_can_lose", figures.batch_size - 1);
    line(text, "last_write", figures.appended);
    line(text, "durable_write", figures.durable);
    line(text, "pending_writes", figures.pending);
    line(text, "keys_in_flight", in_flight);
    line(text, "keys_watched", watched);
    line(text, "syncs", figures.syncs);
    line(text, "sync_total_us", figures.sync_total.as_micros());
    line(text, "sync_max_us", figures.sync_max.as_micros());
    line(text, "largest_group", figures.largest_group);
    line(text, "snapshot_write", figures.snapshot_seq);
    line(text, "snapshot_bytes", figures.snapshot_bytes);
    let (read_ahead, peak) = shared.read_ahead.held();
    line(text, "read_ahead_bytes", read_ahead);
    line(text, "read_ahead_peak_bytes", peak);
    line(text, "read_only", u8::from(shared.options.read_only));
    line(text, "failed", figures.failed.as_deref().unwrap_or("no"));
}
