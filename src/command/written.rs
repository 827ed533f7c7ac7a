//! The reply of the commands that write: PUT, DEL and COMMIT.

use super::reply::Reply;
use crate::error::CommandError;
use crate::store::Accepted;
use kv_engine::Error;
use serde_json::Value as Json;
use std::io::{self, Write};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Written {
    Accepted(Accepted),
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
            Written::Accepted(accepted) => vec![("durable", accepted.durable.into())],
            Written::Queued(commands) => vec![("queued", (*commands).into())],
        }
    }

    fn note(&self, batch_size: u64) -> Option<String> {
        match self {
            Written::Accepted(Accepted { durable: true, .. }) => None,
            Written::Accepted(Accepted { pending: Some(pending), .. }) => Some(format!("{pending} of {batch_size} buffered")),
            Written::Accepted(_) => Some(format!("the server syncs after {batch_size} writes")),
            Written::Queued(commands) => Some(format!("{commands} in the group")),
        }
    }
}

/// The error of a PUT or DEL that the engine refused.
pub(super) fn write_failed(error: Error) -> CommandError {
    CommandError::of_command(error, "this write was not stored", "repeat it")
}
