//! SNAP: saves a snapshot and empties the log.

use super::args::Args;
use super::reply::{Reply, Verb};
use super::spec::Spec;
use crate::error::{Code, CommandError};
use crate::session::Session;
use crate::store::Sink;
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
    type Reply = Taken;

    fn read(_: Args<'a>) -> Result<Snap, CommandError> {
        Ok(Snap)
    }

    fn run(self, session: &mut Session) -> Result<Taken, CommandError> {
        let engine = match session.writer()? {
            Sink::Remote(remote) => return remote.snapshot().map(|()| Taken(None)),
            Sink::Engine(engine) => engine,
        };
        engine.snapshot().map(|taken| Taken(Some(taken))).map_err(|error| match error {
            Error::Io { .. } => CommandError::new(Code::SnapshotFailed, format!("SNAP failed: {error}; nothing stored is lost")),
            other => CommandError::of_command(other, "no snapshot was taken", "SNAP again"),
        })
    }
}

/// What was saved. A server does not tell.
pub(crate) struct Taken(Option<Snapshotted>);

impl Reply for Taken {
    fn text(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"SNAP OK\n")
    }

    fn json(&self) -> Vec<(&'static str, Json)> {
        self.0.as_ref().map_or(Vec::new(), |taken| vec![("keys", taken.keys.into()), ("bytes", taken.bytes.into())])
    }

    fn note(&self, _: u64) -> Option<String> {
        self.0.as_ref().map(|taken| format!("{}, {}; log emptied", counted(taken.keys, "key"), human_bytes(taken.bytes)))
    }
}
