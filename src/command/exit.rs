//! EXIT: ends the session.

use super::args::Args;
use super::reply::{Effect, Reply, Verb};
use super::spec::Spec;
use crate::error::CommandError;
use crate::session::Session;
use std::io::{self, Write};

/// Ends the session, with this exit status if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit(Option<u8>);

pub(crate) struct Bye;

impl<'a> Verb<'a> for Exit {
    const SPEC: &'static Spec = &Spec {
        name: "EXIT",
        aliases: &["QUIT"],
        args: &["[status]"],
        arity: (0, 1),
        takes: "at most an exit status",
        summary: "flush and leave",
        details: "The status is from 0 to 255. Ctrl-D and the end of a script flush as well.",
        example: "EXIT",
        ..Spec::NO_ARGUMENTS
    };
    const EFFECT: Effect = Effect::None;
    type Reply = Bye;

    fn read(args: Args<'a>) -> Result<Exit, CommandError> {
        let status = args.optional_number(0, u8::MAX.into())?;
        Ok(Exit(status.map(|status| u8::try_from(status).expect("just checked"))))
    }

    fn run(self, session: &mut Session) -> Result<Bye, CommandError> {
        session.leave(self.0);
        Ok(Bye)
    }
}

impl Reply for Bye {
    fn text(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"bye\n")
    }
}
