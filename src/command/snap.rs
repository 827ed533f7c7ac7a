//! SNAP: saves a snapshot and empties the log.

use super::args::Args;
use super::reply::{Reply, Verb};
use super::spec::Spec;
use crate::error::{Code, CommandError};
use crate::session::Session;
use crate::text::{counted, human_bytes};
use kv_engine::{Error, Snapshotted};
use serde_json::Value as Json;
use std::io::{self, Write};

/// Saves a snapshot and empties the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snap;

impl<'a> Verb<'a> for Snap {
    const SPEC: &'static Spec = &Spec {
        name: "SNAP",
        summary: "save a snapshot and empty the log",
        details: "The next start reads the snapshot instead of a long log. After SNAP OK every\n\
            accepted write is durable.",
        example: "SNAP",
        ..Spec::NO_ARGUMENTS
    };
    type Reply = Snapshotted;

    fn read(_: Args<'a>) -> Result<Snap, CommandError> {
        Ok(Snap)
    }

    fn run(self, session: &mut Session) -> Result<Snapshotted, CommandError> {
        session.engine()?.snapshot().map_err(|error| match error {
            Error::Io { .. } => CommandError::new(Code::SnapshotFailed, format!("SNAP failed: {error}; nothing stored is lost")),
            other => CommandError::of_command(other, "no snapshot was taken", "SNAP again"),
        })
    }
}

impl Reply for Snapshotted {
    fn text(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"SNAP OK\n")
    }

    fn json(&self) -> Vec<(&'static str, Json)> {
        vec![("keys", self.keys.into()), ("bytes", self.bytes.into())]
    }

    fn note(&self, _: u64) -> Option<String> {
        Some(format!("{}, {}; log emptied", counted(self.keys, "key"), human_bytes(self.bytes)))
    }
}
