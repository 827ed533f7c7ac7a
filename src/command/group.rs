//! BEGIN, COMMIT and ABORT: a group of PUT and DEL that is written as one, all or nothing.

use super::args::Args;
use super::reply::{Reply, Verb};
use super::spec::Spec;
use super::written::Written;
use crate::error::{Code, CommandError};
use crate::session::{Group, Session};
use crate::store::{Accepted, Sink};
use std::io::{self, Write};

/// Begins a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin;

/// Writes the open group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit;

/// Drops the open group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abort;

/// `OK`.
pub(crate) struct Done;

impl<'a> Verb<'a> for Begin {
    const SPEC: &'static Spec = &Spec {
        name: "BEGIN",
        summary: "begin an atomic group of PUT and DEL",
        details: "PUT and DEL answer QUEUED and are kept until COMMIT writes all of them or none.\n\
            If a command fails in between, nothing of the group will be written: PUT, DEL\n\
            and COMMIT are refused, and the prompt is kv!> . In a script a line that is no\n\
            command does that too; at the prompt just type it again. If the session ends\n\
            with an open group, nothing of the group is written.",
        example: "BEGIN",
        ..Spec::NO_ARGUMENTS
    };
    type Reply = Done;

    fn read(_: Args<'a>) -> Result<Begin, CommandError> {
        Ok(Begin)
    }

    fn run(self, session: &mut Session) -> Result<Done, CommandError> {
        if session.group.is_some() {
            return Err(CommandError::new(Code::GroupOpen, "a group is open already; COMMIT or ABORT it first"));
        }
        session.group = Some(Group::default());
        Ok(Done)
    }
}

impl<'a> Verb<'a> for Commit {
    const SPEC: &'static Spec = &Spec {
        name: "COMMIT",
        summary: "write the open group, all or nothing",
        details: "The group counts as one write of the batch.",
        example: "COMMIT",
        ..Spec::NO_ARGUMENTS
    };
    type Reply = Written;

    fn read(_: Args<'a>) -> Result<Commit, CommandError> {
        Ok(Commit)
    }

    /// It ends its group, also if it fails.
    fn run(self, session: &mut Session) -> Result<Written, CommandError> {
        let group = session.group.take().ok_or_else(no_group)?;
        if group.spoilt {
            let text = "a command failed since BEGIN, so nothing of the group was written; begin it again";
            return Err(CommandError::new(Code::GroupSpoilt, text));
        }
        let accepted = match session.writer()? {
            Sink::Engine(engine) => engine.write(group.batch).map(Accepted::from).map_err(|error| {
                CommandError::of_command(error, "nothing of the group was stored, and it is closed", "begin it again")
            }),
            Sink::Remote(remote) => remote.write(&group.batch).map(Accepted::by_server),
        };
        accepted.map(Written::Accepted)
    }
}

impl<'a> Verb<'a> for Abort {
    const SPEC: &'static Spec = &Spec {
        name: "ABORT",
        aliases: &["ROLLBACK"],
        summary: "drop the open group",
        details: "Nothing of it was written.",
        example: "ABORT",
        ..Spec::NO_ARGUMENTS
    };
    type Reply = Done;

    fn read(_: Args<'a>) -> Result<Abort, CommandError> {
        Ok(Abort)
    }

    fn run(self, session: &mut Session) -> Result<Done, CommandError> {
        session.group.take().map(|_| Done).ok_or_else(no_group)
    }
}

/// Refuses to queue a command of this name in a group that will not be written.
pub(super) fn refuse_if_spoilt(session: &Session, name: &str) -> Result<(), CommandError> {
    if !session.group.as_ref().is_some_and(|group| group.spoilt) {
        return Ok(());
    }
    let text = format!("{name} was not queued: a command failed since BEGIN, so nothing of the group will be written; ABORT it");
    Err(CommandError::new(Code::GroupSpoilt, text + " and begin it again"))
}

fn no_group() -> CommandError {
    CommandError::new(Code::NoGroup, "no group is open; BEGIN opens one")
}

impl Reply for Done {
    fn text(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"OK\n")
    }
}
