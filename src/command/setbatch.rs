//! SETBATCH: sets or shows after how many writes the log is synced.

use super::args::Args;
use super::reply::{Reply, Verb};
use super::spec::Spec;
use crate::error::CommandError;
use crate::session::Session;
use crate::store::Sink;
use kv_engine::MAX_BATCH_SIZE;
use serde_json::Value as Json;
use std::io::{self, Write};

/// Sets the batch size, or shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetBatch(Option<u64>);

pub(crate) struct BatchSize(u64);

impl<'a> Verb<'a> for SetBatch {
    const SPEC: &'static Spec = &Spec {
        name: "SETBATCH",
        args: &["[n]"],
        arity: (0, 1),
        takes: "at most a number of writes",
        summary: "sync the log after every n writes; show n",
        details: "n from 1 (every OK is durable) to 1000000. At most the last n - 1 accepted\n\
            writes can be lost.",
        example: "SETBATCH 1",
        ..Spec::NO_ARGUMENTS
    };
    type Reply = BatchSize;

    fn read(args: Args<'a>) -> Result<SetBatch, CommandError> {
        Ok(SetBatch(args.optional_number(1, MAX_BATCH_SIZE)?))
    }

    fn run(self, session: &mut Session) -> Result<BatchSize, CommandError> {
        let engine = match session.writer_if_there()? {
            Some(Sink::Engine(engine)) => engine,
            Some(Sink::Remote(remote)) => {
                self.0.map_or(Ok(()), |size| remote.set_batch_size(size))?;
                return Ok(BatchSize(remote.server().batch));
            }
            None => {
                if let Some(size) = self.0 {
                    session.set_later_batch_size(size);
                }
                return Ok(BatchSize(session.batch_size()));
            }
        };
        let done = self.0.map_or(Ok(()), |size| engine.set_batch_size(size));
        done.map_err(|error| {
            let kept = format!("the batch size is still {}", engine.batch_size());
            CommandError::of_command(error, &kept, "SETBATCH again")
        })?;
        Ok(BatchSize(engine.batch_size()))
    }
}

impl Reply for BatchSize {
    fn text(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "OK batch={}", self.0)
    }

    fn json(&self) -> Vec<(&'static str, Json)> {
        vec![("batch", self.0.into())]
    }
}
