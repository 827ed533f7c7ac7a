//! [`Figures`]: the figures of a server for Prometheus, as OpenMetrics. They are read at each scrape.
//!
//! Names begin with `kv_`. Times are in seconds, lengths in bytes.

use crate::shared::Shared;
use kv_engine::Stats;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The figures of one server.
pub(crate) struct Figures {
    registry: Registry,
}

impl Figures {
    pub(crate) fn of(shared: &Arc<Shared>) -> Figures {
        let mut registry = Registry::with_prefix("kv");
        registry.register_collector(Box::new(Source(Arc::clone(shared))));
        Figures { registry }
    }

    /// The text of a scrape.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

struct Source(Arc<Shared>);

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

impl Collector for Source {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let shared = &*self.0;
        let stats = shared.store.engine.stats();
        let out = &mut encoder;
        store(out, &stats)?;
        let now = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let of = &shared.counters;
        gauge(out, "connected_clients", "Connections that are open", None, shared.clients.count() as f64)?;
        gauge(out, "maxclients", "The most connections at a time", None, now_max(shared))?;
        counter(out, "connections", "Connections that were accepted", now(&of.connections))?;
        counter(out, "rejected_connections", "Connections that were over the limit", now(&of.rejected))?;
        counter(out, "commands", "Commands that were run", now(&of.commands))?;
        counter(out, "errors", "Replies that were errors", now(&of.errors))?;
        counter(out, "keyspace_hits", "Keys that were looked up and found", now(&of.hits))?;
        counter(out, "keyspace_misses", "Keys that were looked up and not found", now(&of.misses))?;
        counter(out, "net_input_bytes", "Bytes that clients have sent", now(&of.bytes_in))?;
        counter(out, "net_output_bytes", "Bytes that clients have got", now(&of.bytes_out))?;
        let age =
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().saturating_sub(shared.saves.last()) as f64;
        gauge(out, "snapshot_age", "Time since the last snapshot, or since the start", Some(&Unit::Seconds), age)?;
        gauge(out, "uptime", "How long the server has run", Some(&Unit::Seconds), shared.started.elapsed().as_secs_f64())
    }
}

fn now_max(shared: &Shared) -> f64 {
    shared.options.max_clients as f64
}

fn store(out: &mut DescriptorEncoder<'_>, stats: &Stats) -> fmt::Result {
    let bytes = Some(&Unit::Bytes);
    gauge(out, "keys", "Keys in the store", None, stats.keys as f64)?;
    gauge(out, "data", "Length of all keys and values", bytes, stats.data_bytes as f64)?;
    gauge(out, "batch_size", "Writes for each sync. With 1 every OK is durable", None, stats.batch_size as f64)?;
    gauge(out, "pending_writes", "Acknowledged writes that are not durable", None, stats.pending as f64)?;
    gauge(out, "appended_sequence", "The last write in the log", None, stats.appended as f64)?;
    gauge(out, "durable_sequence", "The last write that is durable", None, stats.durable as f64)?;
    gauge(out, "up", "1 while writes are accepted, 0 after the log has failed", None, f64::from(stats.failed.is_none()))?;
    gauge(out, "log", "Length of the log", bytes, stats.log_bytes as f64)?;
    counter(out, "log_written_bytes", "Bytes that were written to the log", stats.log_bytes_written)?;
    gauge(out, "snapshot", "Length of the snapshot", bytes, stats.snapshot_bytes as f64)?;
    gauge(out, "snapshot_sequence", "The last write in the snapshot", None, stats.snapshot_seq as f64)?;
    gauge(out, "snapshot_running", "1 while a snapshot is taken", None, f64::from(stats.checkpointing))?;
    counter(out, "snapshots", "Snapshots that were taken", stats.snapshots)?;
    counter(out, "snapshot_failures", "Snapshots in the background that failed", stats.checkpoint_failures)?;
    counter(out, "puts", "Puts since the store was opened", stats.puts)?;
    counter(out, "deletes", "Deletes since the store was opened", stats.deletes)?;
    counter(out, "batches", "Atomic groups since the store was opened", stats.batches)?;
    let syncs = stats.sync_times.cumulative().map(|(end, count)| (end.as_secs_f64(), count));
    let times = (stats.sync_times.sum().as_secs_f64(), stats.sync_times.count());
    histogram(out, "sync", "How long the syncs of the log took", Some(&Unit::Seconds), times, syncs)?;
    let groups = stats.group_sizes.cumulative().map(|(end, count)| (end as f64, count));
    let sizes = (stats.group_sizes.sum() as f64, stats.group_sizes.count());
    histogram(out, "group_writes", "How many writes one sync made durable", None, sizes, groups)
}

fn gauge(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, unit: Option<&Unit>, value: f64) -> fmt::Result {
    let gauge = ConstGauge::new(value);
    gauge.encode(out.encode_descriptor(name, help, unit, MetricType::Gauge)?)
}

fn counter(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let counter = ConstCounter::new(value);
    counter.encode(out.encode_descriptor(name, help, None, MetricType::Counter)?)
}

/// `total`: the sum of all values, and how many there are. `upto`: the ends of the buckets, and how many values are not
/// above them.
fn histogram(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    total: (f64, u64),
    upto: impl Iterator<Item = (f64, u64)>,
) -> fmt::Result {
    let (sum, count) = total;
    let mut before = 0;
    let mut buckets: Vec<(f64, u64)> = upto
        .map(|(end, upto)| {
            let own = upto.saturating_sub(before);
            before = before.max(upto);
            (end, own)
        })
        .collect();
    buckets.push((f64::INFINITY, count.saturating_sub(before)));
    let mut encoder = out.encode_descriptor(name, help, unit, MetricType::Histogram)?;
    encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}
