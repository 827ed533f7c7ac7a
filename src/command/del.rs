//! DEL: removes a key.

use super::args::{Args, Word};
use super::group::refuse_if_spoilt;
use super::reply::{Reply, Verb};
use super::spec::Spec;
use super::written::{Written, write_failed};
use crate::error::CommandError;
use crate::limits;
use crate::session::Session;
use crate::store::{Accepted, Sink};
use crate::text::csv;
use serde_json::Value as Json;
use std::io::{self, Write};

/// Removes `key`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the name says it")]
pub struct Del<'a> {
    pub key: Word<'a>,
}

pub(crate) enum Deleted {
    Written(Written),
    NotThere,
}

impl<'a> Verb<'a> for Del<'a> {
    const SPEC: &'static Spec = &Spec {
        name: "DEL",
        aliases: &["DELETE"],
        args: &["key"],
        arity: (1, 1),
        takes: "a key",
        too_many: "quote a key that has blanks; usage: DEL key",
        summary: "remove key; (nil) when there is none",
        details: "Removing a key that is not there writes nothing.",
        example: "DEL name",
        ..Spec::NO_ARGUMENTS
    };
    type Reply = Deleted;

    fn read(args: Args<'a>) -> Result<Del<'a>, CommandError> {
        Ok(Del { key: args.first() })
    }

    fn run(self, session: &mut Session) -> Result<Deleted, CommandError> {
        refuse_if_spoilt(session, Self::SPEC.name)?;
        let written = match &mut session.group {
            Some(group) => Some(Written::Queued(group.delete(&self.key)?)),
            None => {
                limits::check(&self.key, b"")?;
                let accepted = match session.writer_if_there()? {
                    Some(Sink::Engine(engine)) => engine.delete(self.key).map_err(write_failed)?.map(Accepted::from),
                    Some(Sink::Remote(remote)) => remote.delete(&self.key)?.map(Accepted::by_server),
                    None => None,
                };
                accepted.map(Written::Accepted)
            }
        };
        Ok(written.map_or(Deleted::NotThere, Deleted::Written))
    }
}

impl Reply for Deleted {
    fn text(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Deleted::Written(written) => written.text(out),
            Deleted::NotThere => out.write_all(b"(nil)\n"),
        }
    }

    /// Nothing for a key that is not there.
    fn raw(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Deleted::Written(written) => written.raw(out),
            Deleted::NotThere => Ok(()),
        }
    }

    fn csv(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Deleted::Written(written) => written.csv(out),
            Deleted::NotThere => out.write_all(&[csv::NULL, b"\n"].concat()),
        }
    }

    fn json(&self) -> Vec<(&'static str, Json)> {
        match self {
            Deleted::Written(written) => {
                let existed = matches!(written, Written::Accepted(_)).then(|| ("existed", true.into()));
                written.json().into_iter().chain(existed).collect()
            }
            Deleted::NotThere => vec![("existed", false.into())],
        }
    }

    fn note(&self, batch_size: u64) -> Option<String> {
        match self {
            Deleted::Written(written) => written.note(batch_size),
            Deleted::NotThere => None,
        }
    }
}
