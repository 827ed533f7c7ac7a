//! FLUSH: makes every accepted write durable.

use super::args::Args;
use super::reply::{Reply, Verb};
use super::spec::Spec;
use crate::error::CommandError;
use crate::session::Session;
use crate::store::Sink;
use crate::text::{counted, human_bytes, human_time};
use kv_engine::Flushed;
use serde_json::Value as Json;
use std::io::{self, Write};

/// Makes every accepted write durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flush;

impl<'a> Verb<'a> for Flush {
    const SPEC: &'static Spec = &Spec {
        name: "FLUSH",
        summary: "make every accepted write durable now",
        details: "After FLUSH OK, no write accepted before it is lost by kill -9 or a power cut.",
        example: "FLUSH",
        ..Spec::NO_ARGUMENTS
    };
    type Reply = Done;

    fn read(_: Args<'a>) -> Result<Flush, CommandError> {
        Ok(Flush)
    }

    fn run(self, session: &mut Session) -> Result<Done, CommandError> {
        match session.writer_if_there()? {
            None => Ok(Done::NoStore),
            Some(Sink::Remote(remote)) => remote.flush().map(|()| Done::ByServer),
            Some(Sink::Engine(engine)) => engine
                .flush()
                .map(Done::Flushed)
                .map_err(|error| CommandError::of_command(error, "the flush was not done", "FLUSH again")),
        }
    }
}

/// What was flushed.
pub(crate) enum Done {
    Flushed(Flushed),
    NoStore,
    /// A server does not tell how much it was.
    ByServer,
}

impl Reply for Done {
    fn text(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"FLUSH OK\n")
    }

    fn json(&self) -> Vec<(&'static str, Json)> {
        match self {
            Done::Flushed(flushed) => vec![("records", flushed.writes.into()), ("bytes", flushed.bytes.into())],
            Done::NoStore => vec![("records", 0.into()), ("bytes", 0.into())],
            Done::ByServer => Vec::new(),
        }
    }

    fn note(&self, _: u64) -> Option<String> {
        Some(match self {
            Done::NoStore => "there is no store yet".to_string(),
            Done::ByServer => "every accepted write is on the disk of the server".to_string(),
            Done::Flushed(Flushed { writes: 0, .. }) => "nothing was pending".to_string(),
            Done::Flushed(Flushed { writes, bytes, took, .. }) => {
                format!("{}, {}, {}", counted(*writes, "write"), human_bytes(*bytes), human_time(*took))
            }
        })
    }
}
