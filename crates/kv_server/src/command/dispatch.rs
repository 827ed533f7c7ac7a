//! One command of a client: found in the table, checked, queued or run, and its reply written.
//!
//! The checks are in the order of Redis: the name, the number of words, the password, the transaction. So a client that
//! has not given the password learns which commands exist, and nothing else.

use super::call::{Call, check_key, flag};
use super::table::TABLE;
use crate::limits;
use crate::refusal::Refusal;
use crate::resp::{Args, Reply};
use crate::session::{Queued, Session, Wanted};
use crate::shared::Shared;

/// Begins the commands of a turn.
pub(crate) fn begin<'a>(shared: &'a Shared, session: &'a mut Session, reply: &'a mut Reply) -> Call<'a> {
    Call::new(shared, session, reply, &TABLE)
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Executed {
    Replied,
    /// It was not begun: the turn has writes, and this command begins a new turn.
    NotNow,
}

/// Executes one command.
pub(crate) fn execute(call: &mut Call<'_>, args: Args<'_>) -> Executed {
    let row = call.row_of(args);
    if let (Err(_), Some(multi)) = (&row, &mut call.session.multi) {
        multi.aborted = true;
    }
    if let Ok(row) = row
        && call.table.rows[row].spec.has(flag::ALONE)
        && call.has_writes()
    {
        return Executed::NotNow;
    }
    call.last_row = *row.as_ref().unwrap_or(&call.last_row);
    let begin = call.reply.bytes.len();
    if call.session.wanted == Wanted::SkipNext {
        call.session.wanted = Wanted::SkipThis;
    }
    if let Err(refusal) = row.and_then(|row| check_and_run(call, row, args)) {
        call.take_back_command();
        call.counts.errors += 1;
        call.reply.refusal(&refusal);
    }
    // The reply of CLIENT REPLY itself goes by what it has set.
    match call.session.wanted {
        Wanted::All => return Executed::Replied,
        Wanted::SkipThis => call.session.wanted = Wanted::All,
        Wanted::None | Wanted::SkipNext => {}
    }
    call.reply.bytes.truncate(begin);
    Executed::Replied
}

fn check_and_run(call: &mut Call<'_>, row: usize, args: Args<'_>) -> Result<(), Refusal> {
    let spec = call.table.rows[row].spec;
    if !call.session.authenticated && !spec.has(flag::NO_AUTH) {
        return Err(Refusal::NOAUTH);
    }
    let may_run = if call.shared.options.read_only && spec.has(flag::WRITE) { Err(Refusal::READ_ONLY) } else { Ok(()) };
    let checked = may_run.and_then(|()| spec.key_numbers(args.len()).try_for_each(|number| check_key(args.at(number))));
    let Some(multi) = &mut call.session.multi else {
        checked?;
        return call.run(row, args);
    };
    if spec.has(flag::IMMEDIATE) {
        return call.run(row, args);
    }
    if spec.has(flag::NO_MULTI) {
        multi.aborted = true;
        return Err(Refusal::NOT_IN_MULTI);
    }
    let bytes: usize = args.from(0).map(<[u8]>::len).sum::<usize>() + 64;
    let fits = if multi.bytes + bytes > limits::QUEUE_BYTES { Err(Refusal::LARGE_QUEUE) } else { Ok(()) };
    if let Err(refusal) = checked.and(fits) {
        multi.aborted = true;
        return Err(refusal);
    }
    multi.bytes += bytes;
    let (bytes, spans) = args.to_owned();
    multi.queue.push(Queued { row, bytes, spans });
    call.reply.simple("QUEUED");
    Ok(())
}
