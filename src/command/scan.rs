//! SCAN: lists keys and their values.

use super::args::Args;
use super::list::{Listed, Range};
use super::reply::{Effect, Verb};
use super::spec::Spec;
use crate::error::CommandError;
use crate::session::Session;

/// Lists the entries of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan<'a>(Range<'a>);

impl<'a> Verb<'a> for Scan<'a> {
    const SPEC: &'static Spec = &Spec {
        name: "SCAN",
        args: &["[prefix]", "[LIMIT n]"],
        arity: (0, 3),
        takes: "at most a prefix and LIMIT n",
        summary: "list keys and their values",
        details: "As KEYS, with the value after each key. Both are written so that PUT can read\n\
            them.",
        example: "SCAN user: LIMIT 10",
        ..Spec::NO_ARGUMENTS
    };
    const EFFECT: Effect = Effect::Reads;
    type Reply = Listed;

    fn read(args: Args<'a>) -> Result<Scan<'a>, CommandError> {
        Range::read(args).map(Scan)
    }

    fn run(self, session: &mut Session) -> Result<Listed, CommandError> {
        self.0.list(session, true)
    }
}
