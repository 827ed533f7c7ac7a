//! [`Reply`]: what a command answers, and its text form.

use crate::bench::Bench;
use crate::text::{write_quoted, write_value, write_word};
use kv_engine::{Ack, Flushed, Snapshotted, Stats, Value};
use std::io::{self, Write};

/// The answer to one command, from [`Interpreter::run`](super::Interpreter::run).
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// # use kv_cli::command::*;
/// # let mut client = Interpreter::new(engine);
/// match client.run(Command::Flush)? {
///     Reply::Flushed(flushed) => println!("{} writes became durable", flushed.writes),
///     Reply::Exit(status) => println!("leave with {status:?}"),
///     reply => reply.write_text(&mut std::io::stdout())?,
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Reply {
    /// A PUT, DEL or COMMIT was accepted.
    Written(Ack),
    /// A PUT or DEL waits for COMMIT, nothing is written; so many are in its group.
    Queued(usize),
    /// BEGIN, ABORT.
    Done,
    /// GET; `None`: there is no such key.
    Value(Option<Value>),
    /// DEL of a key that is not there.
    NotThere,
    /// KEYS, and whether there are more than the limit let through.
    Keys(Vec<Vec<u8>>, bool),
    /// SCAN, and whether there are more than the limit let through.
    Entries(Vec<(Vec<u8>, Value)>, bool),
    /// SIZE: the number of keys.
    Size(u64),
    /// FLUSH.
    Flushed(Flushed),
    /// SNAP.
    Snapshotted(Snapshotted),
    /// SETBATCH: the size now, in writes per sync.
    BatchSize(u64),
    /// STATS.
    Stats(Box<Stats>),
    /// HELP: lines without the last newline.
    Help(String),
    /// BENCH is for the caller to run.
    Bench(Box<Bench>),
    /// EXPORT is for the caller to do: see [`export`](kv_engine::export).
    Export {
        /// The name of the file; `None`: to where replies go.
        file: Option<Vec<u8>>,
    },
    /// IMPORT is for the caller to do; no group is open.
    Import {
        /// The name of the file.
        file: Vec<u8>,
    },
    /// EXIT is for the caller to do: flush and end, with this status if there is one.
    Exit(Option<u8>),
}

impl Reply {
    /// Writes the reply as text: one line, except that KEYS and SCAN have one for each entry, HELP has
    /// several, and what is for the caller to do none. Whatever the data, a line stays a line, and no value of GET reads `(nil)`.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// # use kv_cli::command::*;
    /// # let mut client = Interpreter::new(engine);
    /// let mut out = Vec::new();
    /// client.run(parse(b"PUT x (nil)")?.expect("a command"))?.write_text(&mut out)?;
    /// client.run(parse(b"GET x")?.expect("a command"))?.write_text(&mut out)?;
    /// client.run(parse(b"GET y")?.expect("a command"))?.write_text(&mut out)?;
    /// assert_eq!(out, b"OK\n\"(nil)\"\n(nil)\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Reply::Written(_) | Reply::Done => out.write_all(b"OK\n"),
            Reply::Value(Some(value)) => {
                write_value(value, out)?;
                out.write_all(b"\n")
            }
            Reply::Value(None) | Reply::NotThere => out.write_all(b"(nil)\n"),
            Reply::Queued(_) => out.write_all(b"QUEUED\n"),
            Reply::Keys(keys, _) => keys.iter().try_for_each(|key| {
                write_word(key, out)?;
                out.write_all(b"\n")
            }),
            Reply::Entries(entries, _) => entries.iter().try_for_each(|(key, value)| {
                write_word(key, out)?;
                out.write_all(b" ")?;
                write_word(value, out)?;
                out.write_all(b"\n")
            }),
            Reply::Size(keys) => writeln!(out, "{keys}"),
            Reply::Flushed(_) => out.write_all(b"FLUSH OK\n"),
            Reply::Snapshotted(_) => out.write_all(b"SNAP OK\n"),
            Reply::BatchSize(size) => writeln!(out, "OK batch={size}"),
            Reply::Stats(stats) => {
                out.write_all(b"STATS")?;
                figures(stats).iter().try_for_each(|(name, value)| write!(out, " {name}={value}"))?;
                // Only where there is something to say, and as one word.
                for (name, reason) in [("checkpoint_failed", &stats.checkpoint_failed), ("failed", &stats.failed)] {
                    if let Some(reason) = reason {
                        write!(out, " {name}=")?;
                        write_quoted(reason.as_bytes(), out)?;
                    }
                }
                out.write_all(b"\n")
            }
            Reply::Help(text) => writeln!(out, "{text}"),
            Reply::Exit(_) => out.write_all(b"bye\n"),
            Reply::Bench(_) | Reply::Export { .. } | Reply::Import { .. } => Ok(()),
        }
    }

    /// As [`Reply::write_text`], but data is written as its own bytes, whatever they are, each key,
    /// value or entry with a line feed behind it, and nothing at all for a key that is not there.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// # use kv_cli::command::*;
    /// # let mut client = Interpreter::new(engine);
    /// let mut out = Vec::new();
    /// client.run(parse(br#"PUT x "two\nlines""#)?.expect("a command"))?;
    /// client.run(parse(b"GET x")?.expect("a command"))?.write_raw(&mut out)?;
    /// client.run(parse(b"GET y")?.expect("a command"))?.write_raw(&mut out)?;
    /// assert_eq!(out, b"two\nlines\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_raw(&self, out: &mut impl Write) -> io::Result<()> {
        let mut line = |parts: &[&[u8]]| parts.iter().chain(&[b"\n" as &[u8]]).try_for_each(|part| out.write_all(part));
        match self {
            Reply::Value(None) | Reply::NotThere => Ok(()),
            Reply::Value(Some(value)) => line(&[value]),
            Reply::Keys(keys, _) => keys.iter().try_for_each(|key| line(&[key])),
            Reply::Entries(entries, _) => entries.iter().try_for_each(|(key, value)| line(&[key, b" ", value])),
            other => other.write_text(out),
        }
    }
}

/// The figures of STATS, by the names that text and JSON share. `_bytes`, `_ms` and `_us` are their
/// units (bytes, milliseconds, microseconds); the others are counts or sequence numbers.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// engine.put("x", "100")?;
/// let figures = kv_cli::command::figures(&engine.stats());
/// assert!(figures.contains(&("keys", 1)) && figures.contains(&("durable", 1)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn figures(stats: &Stats) -> Vec<(&'static str, u128)> {
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
