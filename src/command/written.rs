//! The reply of the commands that write: PUT, DEL and COMMIT.

use super::reply::Reply;
use crate::error::CommandError;
use kv_engine::{Ack, Error};
use serde_json::Value as Json;
use std::io::{self, Write};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Written {
    Accepted(Ack),
    /// It waits for COMMIT, nothing is written. The group has this many commands.
    Queued(usize),
}

impl Reply for Written {
    fn text(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(match self {
            Written::Accepted(_) => b"OK\n",
            Written::Queued(_) => b"QUEUED\n",
        })
    }

    fn json(&self) -> Vec<(&'static str, Json)> {
        match self {
            Written::Accepted(ack) => vec![("durable", ack.durable.into())],
            Written::Queued(commands) => vec![("queued", (*commands).into())],
        }
    }

    fn note(&self, batch_size: u64) -> Option<String> {
        match self {
            Written::Accepted(ack) => (!ack.durable).then(|| format!("{} of {batch_size} buffered", ack.pending)),
            Written::Queued(commands) => Some(format!("{commands} in the group")),
        }
    }
}

/// The error of a PUT or DEL that the engine refused.
pub(super) fn write_failed(error: Error) -> CommandError {
    CommandError::of_command(error, "this write was not stored", "repeat it")
}
