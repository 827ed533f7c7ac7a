//! PUT: stores a value under a key.

use super::args::{Args, Word};
use super::group::refuse_if_spoilt;
use super::reply::Verb;
use super::spec::Spec;
use super::written::{Written, write_failed};
use crate::error::CommandError;
use crate::limits;
use crate::session::Session;
use crate::store::{Accepted, Sink};

/// Stores `value` under `key`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Put<'a> {
    pub key: Word<'a>,
    pub value: Word<'a>,
}

impl<'a> Verb<'a> for Put<'a> {
    const SPEC: &'static Spec = &Spec {
        name: "PUT",
        aliases: &["SET"],
        args: &["key", "value"],
        arity: (2, 2),
        takes: "a key and a value",
        too_many: "quote a value that has blanks: PUT name \"Ada Lovelace\"",
        summary: "store value under key",
        details: "A key has 1 byte to 64 KiB, a value 0 bytes to 256 MiB, any bytes. Quote a word\n\
            that has blanks or is empty: \"…\" takes \\n \\r \\t \\0 \\\\ \\\" \\xHH, '…' is literal.\n\
            OK means accepted. The write is durable when the batch is full, after FLUSH, or\n\
            after --flush-interval (1 s).",
        example: "PUT name \"Ada Lovelace\"",
        ..Spec::NO_ARGUMENTS
    };
    type Reply = Written;

    fn read(args: Args<'a>) -> Result<Put<'a>, CommandError> {
        let [key, value, _] = args.words;
        Ok(Put { key, value })
    }

    fn run(self, session: &mut Session) -> Result<Written, CommandError> {
        refuse_if_spoilt(session, Self::SPEC.name)?;
        match &mut session.group {
            Some(group) => Ok(Written::Queued(group.put(&self.key, &self.value)?)),
            None => Ok(Written::Accepted(match session.writer()? {
                Sink::Engine(engine) => engine.put(self.key, self.value).map_err(write_failed)?.into(),
                Sink::Remote(remote) => {
                    limits::check(&self.key, &self.value)?;
                    Accepted::by_server(remote.put(&self.key, &self.value)?)
                }
            })),
        }
    }
}
