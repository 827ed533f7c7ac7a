//! KEYS: lists keys.

use super::args::Args;
use super::list::{Listed, Range};
use super::reply::{Effect, Verb};
use super::spec::Spec;
use crate::error::CommandError;
use crate::session::Session;

/// Lists the keys of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys<'a>(pub(super) Range<'a>);

impl<'a> Verb<'a> for Keys<'a> {
    const SPEC: &'static Spec = &Spec {
        name: "KEYS",
        args: &["[prefix]", "[LIMIT n]"],
        arity: (0, 3),
        takes: "at most a prefix and LIMIT n",
        summary: "list the keys that begin with prefix",
        details: "In byte order, one to a line. A script gets all of them. A terminal gets the\n\
            first 100, and a note if there are more; LIMIT changes that. Writes of an open\n\
            group are not seen.",
        example: "KEYS user: LIMIT 10",
        ..Spec::NO_ARGUMENTS
    };
    const EFFECT: Effect = Effect::Reads;
    type Reply = Listed;

    fn read(args: Args<'a>) -> Result<Keys<'a>, CommandError> {
        Range::read(args).map(Keys)
    }

    fn run(self, session: &mut Session) -> Result<Listed, CommandError> {
        self.0.list(session, false)
    }
}
