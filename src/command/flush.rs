//! FLUSH: makes every accepted write durable.

use super::args::Args;
use super::reply::{Reply, Verb};
use super::spec::Spec;
use crate::error::CommandError;
use crate::session::Session;
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
        let Some(engine) = session.engine_if_there()? else { return Ok(Done(None)) };
        engine
            .flush()
            .map(|flushed| Done(Some(flushed)))
            .map_err(|error| CommandError::of_command(error, "the flush was not done", "FLUSH again"))
    }
}

/// What was flushed; `None`: there is no store yet.
pub(crate) struct Done(Option<Flushed>);

impl Reply for Done {
    fn text(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"FLUSH OK\n")
    }

    fn json(&self) -> Vec<(&'static str, Json)> {
        let (writes, bytes) = self.0.map_or((0, 0), |flushed| (flushed.writes, flushed.bytes));
        vec![("records", writes.into()), ("bytes", bytes.into())]
    }

    fn note(&self, _: u64) -> Option<String> {
        Some(match self.0 {
            None => "there is no store yet".to_string(),
            Some(Flushed { writes: 0, .. }) => "nothing was pending".to_string(),
            Some(Flushed { writes, bytes, took, .. }) => {
                format!("{}, {}, {}", counted(writes, "write"), human_bytes(bytes), human_time(took))
            }
        })
    }
}
