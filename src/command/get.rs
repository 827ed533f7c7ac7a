//! GET: prints the value of a key.

use super::args::{Args, Word};
use super::reply::{Effect, Reply, Verb};
use super::spec::Spec;
use crate::error::CommandError;
use crate::session::Session;
use crate::text::{bytes, csv, write_value};
use kv_engine::Value;
use serde_json::Value as Json;
use std::io::{self, Write};

/// Prints the value of `key`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the name says it")]
pub struct Get<'a> {
    pub key: Word<'a>,
}

/// The value of the key, or none.
#[derive(Clone, Debug)]
pub struct Found(pub Option<Value>);

impl<'a> Verb<'a> for Get<'a> {
    const SPEC: &'static Spec = &Spec {
        name: "GET",
        args: &["key"],
        arity: (1, 1),
        takes: "a key",
        too_many: "quote a key that has blanks; usage: GET key",
        summary: "print the value of key, or (nil)",
        details: "Between BEGIN and COMMIT it sees the writes of the open group.",
        example: "GET name",
        ..Spec::NO_ARGUMENTS
    };
    const EFFECT: Effect = Effect::Reads;
    type Reply = Found;

    fn read(args: Args<'a>) -> Result<Get<'a>, CommandError> {
        Ok(Get { key: args.first() })
    }

    fn run(self, session: &mut Session) -> Result<Found, CommandError> {
        match session.group.as_ref().and_then(|group| group.batch.get(&self.key)) {
            Some(value) => Ok(Found(value.map(Value::from))),
            None => Ok(Found(session.source()?.get(&self.key)?)),
        }
    }
}

impl Found {
    /// Writes the value on one line, quoted if it is ambiguous; `(nil)` if there is none.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        match &self.0 {
            Some(value) => {
                write_value(value, out)?;
                out.write_all(b"\n")
            }
            None => out.write_all(b"(nil)\n"),
        }
    }
}

impl Reply for Found {
    fn text(&self, out: &mut impl Write) -> io::Result<()> {
        self.write_text(out)
    }

    /// Nothing if there is no value.
    fn raw(&self, out: &mut impl Write) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |value| {
            out.write_all(value)?;
            out.write_all(b"\n")
        })
    }

    fn csv(&self, out: &mut impl Write) -> io::Result<()> {
        match &self.0 {
            Some(value) => csv::write_row([&**value], out),
            None => out.write_all(&[csv::NULL, b"\n"].concat()),
        }
    }

    fn json(&self) -> Vec<(&'static str, Json)> {
        vec![self.0.as_ref().map_or(("value", Json::Null), |value| bytes("value", "value_base64", value))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_is_the_bytes_and_nothing_if_there_is_no_value() {
        let raw = |found: Found| {
            let mut out = Vec::new();
            found.raw(&mut out).expect("memory");
            out
        };
        assert_eq!(raw(Found(Some(Value::from(b"a\n\xff" as &[u8])))), b"a\n\xff\n");
        assert_eq!(raw(Found(None)), b"");
    }
}
