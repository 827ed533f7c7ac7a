//! STATS where the store is another process's: what its server tells in INFO.

use super::grouped::{self, Rows};
use super::reply::Reply;
use super::spec::Spec;
use crate::error::CommandError;
use crate::output::Output;
use crate::remote::{Figures, Remote};
use crate::settings::Format;
use crate::signals::Flags;
use crate::text::{counted, csv, human_bytes, human_time, write_quoted};
use serde_json::Value as Json;
use std::io::{self, Write};
use std::time::Duration;

/// Our names of figures, and those of INFO.
const NAMES: [(&str, &str); 14] = [
    ("data_bytes", "used_memory_dataset"),
    ("batch", "batch_size"),
    ("appended", "last_write"),
    ("durable", "durable_write"),
    ("pending", "pending_writes"),
    ("log_bytes", "aof_current_size"),
    ("largest_group", "largest_group"),
    ("syncs", "syncs"),
    ("sync_total_us", "sync_total_us"),
    ("sync_max_us", "sync_max_us"),
    ("snapshot_seq", "snapshot_write"),
    ("snapshot_bytes", "snapshot_bytes"),
    ("connections", "connected_clients"),
    ("uptime_s", "uptime_in_seconds"),
];

/// The figures that the server has; an open store has the same ones by the same names, and others.
pub(crate) struct ServerFigures {
    address: String,
    store_id: String,
    figures: Vec<(&'static str, u64)>,
    failed: Option<String>,
}

impl ServerFigures {
    pub(super) fn of(remote: &mut Remote) -> Result<ServerFigures, CommandError> {
        let info = remote.figures()?;
        let known = NAMES.iter().filter_map(|&(name, theirs)| Some((name, info.number(theirs)?)));
        let figures = std::iter::once(("keys", keys(&info))).chain(known).collect();
        let failed = info.word("failed").filter(|reason| *reason != "no").map(str::to_string);
        let store_id = info.word("kv_store_id").unwrap_or_default().to_string();
        Ok(ServerFigures { address: remote.address().to_string(), store_id, figures, failed })
    }

    fn get(&self, name: &str) -> Option<u64> {
        self.figures.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn grouped(&self) -> Vec<(&'static str, Rows)> {
        let figure = |name| self.get(name).unwrap_or_default();
        let time = |name| human_time(Duration::from_micros(figure(name)));
        let every = match figure("batch") {
            1 => "after every write".to_string(),
            n => format!("after every {n} writes"),
        };
        let syncs = match figure("syncs") {
            0 => vec![("count", "none since the start".to_string())],
            count => vec![
                ("count", format!("{count}, together {}", time("sync_total_us"))),
                ("at most", time("sync_max_us")),
                ("groups", format!("{} at most", counted(figure("largest_group"), "write"))),
            ],
        };
        let snapshot = match figure("snapshot_bytes") {
            0 => "none".to_string(),
            bytes => format!("of write {}, {}", figure("snapshot_seq"), human_bytes(bytes)),
        };
        let up = humantime::format_duration(Duration::from_secs(figure("uptime_s")));
        vec![
            (
                "server",
                vec![
                    ("address", self.address.clone()),
                    ("store", self.store_id.clone()),
                    ("up", up.to_string()),
                    ("serves", counted(figure("connections"), "connection")),
                ],
            ),
            ("data", vec![("keys", figure("keys").to_string()), ("bytes", human_bytes(figure("data_bytes")))]),
            (
                "writes",
                vec![
                    ("accepted", format!("up to write {}", figure("appended"))),
                    ("durable", format!("up to write {}, {} pending", figure("durable"), figure("pending"))),
                    ("synced", every),
                ],
            ),
            ("log", vec![("length", human_bytes(figure("log_bytes")))]),
            ("syncs", syncs),
            ("snapshot", vec![("newest", snapshot)]),
            ("failure", self.failed.iter().map(|reason| ("writes", format!("none any more: {reason}"))).collect()),
        ]
    }
}

/// INFO has `db0:keys=5,expires=0`, and nothing if there are no keys.
fn keys(info: &Figures) -> u64 {
    let number = info.word("db0").and_then(|text| text.strip_prefix("keys=")?.split(',').next()?.parse().ok());
    number.unwrap_or(0)
}

impl Reply for ServerFigures {
    fn text(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"STATS")?;
        self.figures.iter().try_for_each(|(name, value)| write!(out, " {name}={value}"))?;
        out.write_all(b" server=")?;
        write_quoted(self.address.as_bytes(), out)?;
        if let Some(reason) = &self.failed {
            out.write_all(b" failed=")?;
            write_quoted(reason.as_bytes(), out)?;
        }
        out.write_all(b"\n")
    }

    fn csv(&self, out: &mut impl Write) -> io::Result<()> {
        csv::write_fields(&self.json(), out)
    }

    fn json(&self) -> Vec<(&'static str, Json)> {
        let store_id = ("store_id", self.store_id.as_str().into());
        let figures = self.figures.iter().map(|&(name, value)| (name, value.into()));
        let end = [("failed", self.failed.clone().into()), ("server", self.address.as_str().into())];
        std::iter::once(store_id).chain(figures).chain(end).collect()
    }

    /// In groups on a terminal.
    fn write(&self, spec: &Spec, output: &mut Output, _: &Flags, _: impl FnOnce() -> Option<String>) -> Result<(), CommandError> {
        match output.format {
            Format::Json => {
                let fields: [(&str, Json); 2] = [("cmd", spec.name.into()), ("ok", true.into())];
                output.line_json(&fields.into_iter().chain(self.json()).collect::<Vec<_>>());
            }
            Format::Csv => output.write(|out| self.csv(out)),
            _ if output.terminal => grouped::print(&self.grouped(), output),
            _ => output.write(|out| self.text(out)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_counted_in_the_keyspace() {
        let keys_of = |text: &str| keys(&Figures::read(text));
        assert_eq!(keys_of("# Keyspace\r\ndb0:keys=12,expires=0,avg_ttl=0\r\n"), 12);
        assert_eq!(keys_of("# Keyspace\r\n"), 0);
    }
}
