//! SIZE: prints the number of keys.

use super::args::Args;
use super::reply::{Effect, Reply, Verb};
use super::spec::Spec;
use crate::error::CommandError;
use crate::session::Session;
use serde_json::Value as Json;
use std::io::{self, Write};

/// Prints the number of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size;

pub(crate) struct Keys(u64);

impl<'a> Verb<'a> for Size {
    const SPEC: &'static Spec = &Spec {
        name: "SIZE",
        summary: "print the number of keys",
        details: "Writes of an open group are not counted.",
        example: "SIZE",
        ..Spec::NO_ARGUMENTS
    };
    const EFFECT: Effect = Effect::Reads;
    type Reply = Keys;

    fn read(_: Args<'a>) -> Result<Size, CommandError> {
        Ok(Size)
    }

    fn run(self, session: &mut Session) -> Result<Keys, CommandError> {
        Ok(Keys(session.source()?.count()?))
    }
}

impl Reply for Keys {
    fn text(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}", self.0)
    }

    fn csv(&self, out: &mut impl Write) -> io::Result<()> {
        self.text(out)
    }

    fn json(&self) -> Vec<(&'static str, Json)> {
        vec![("keys", self.0.into())]
    }

    fn note(&self, _: u64) -> Option<String> {
        Some(if self.0 == 1 { "key" } else { "keys" }.to_string())
    }
}
