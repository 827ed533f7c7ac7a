//! A turn: the commands that one connection has sent in one piece, in order, as one submission and one reply buffer.
//!
//! 1. Commands are parsed and executed one by one. Until the first command that writes, they read the store without any
//!    lock. From there on the turn holds the sequencer.
//! 2. The turn ends when the bytes end, or at a limit, or before a command that must begin a turn.
//! 3. Its writes are submitted, under the sequencer's lock. If the store has no room, the turn ends before its first
//!    write, as if the rest had not come yet. The connection waits for room, and the rest is the next turn.
//! 4. When the store has told of the writes, replies that rest on a refused write become errors. Then all are sent.
//!
//! A connection has one turn at a time. So a turn finds every earlier write of its connection in the store.

use crate::command::{Executed, begin, execute};
use crate::limits::{self, RequestLimits};
use crate::resp::{Parsed, Parser, Reply};
use crate::sequencer::{Finished, Outcome, Place};
use crate::session::{Multi, Session, Wanted};
use crate::shared::Shared;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio::sync::oneshot;

/// The reply of a command that has read or written what was in flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    from: usize,
    to: usize,
    rests_on: Place,
}

/// What must happen before the replies of a turn may be sent.
#[derive(Debug)]
pub(crate) enum Then {
    Send,
    /// The outcome comes, then [`settle`].
    Wait(oneshot::Receiver<Outcome>, Outcome),
    /// [`settle`] with this outcome.
    Settle(Outcome),
}

pub(crate) struct Ran {
    /// Bytes of the input that are done with.
    pub(crate) consumed: usize,
    pub(crate) commands: usize,
    pub(crate) then: Then,
    /// The next turn must wait for room in the store.
    pub(crate) full: bool,
    /// There may be another command in the input that was read completely.
    pub(crate) more: bool,
}

/// The state right before the first command of a turn that wrote.
struct FirstWrite {
    consumed: usize,
    reply_bytes: usize,
    marks: usize,
    commands: usize,
    /// The transaction that this command has executed.
    multi: Option<Box<Multi>>,
    wanted: Wanted,
}

/// Runs one turn on `input`, which begins with the first byte of a command. `marks` is empty before.
pub(crate) fn run(
    shared: &Shared,
    session: &mut Session,
    parser: &mut Parser,
    input: &[u8],
    reply: &mut Reply,
    marks: &mut Vec<Mark>,
) -> Ran {
    let mut call = begin(shared, session, reply);
    let (mut consumed, mut commands, mut more) = (0, 0, false);
    let mut first_write = None;
    let slow_us = u128::try_from(shared.settings.slow_us.load(Ordering::Relaxed)).unwrap_or(u128::MAX);
    let mut began = Instant::now();
    loop {
        let unsent = if call.session.authenticated { limits::UNSENT_BYTES } else { limits::UNKNOWN_UNSENT_BYTES };
        let is_over = commands >= limits::TURN_COMMANDS
            || call.written_bytes() >= limits::TURN_BYTES
            || call.reply.bytes.len() >= unsent
            || call.session.closing;
        if is_over {
            more = true;
            break;
        }
        let limits = RequestLimits::of(call.session.authenticated);
        let bytes = match parser.parse(&input[consumed..], limits) {
            Ok(Parsed::Incomplete) => break,
            Ok(Parsed::Nothing(bytes)) => {
                consumed += bytes;
                continue;
            }
            Ok(Parsed::Command(bytes)) => bytes,
            Err(refusal) => {
                call.reply.refusal(&refusal);
                call.session.closing = true;
                break;
            }
        };
        let args = parser.args(&input[consumed..]);
        let had_writes = call.has_writes();
        let before = FirstWrite {
            consumed,
            commands,
            reply_bytes: call.reply.bytes.len(),
            marks: marks.len(),
            multi: None,
            wanted: call.session.wanted,
        };
        if execute(&mut call, args) == Executed::NotNow {
            more = true;
            break;
        }
        let now = Instant::now();
        let took = now - std::mem::replace(&mut began, now);
        if took.as_micros() >= slow_us {
            let name = call.session.client.labels().name.clone();
            shared.slow_log.note(took, args, &call.session.client.from, &name, &shared.settings);
        }
        let rests_on = call.end_command();
        if rests_on > 0 {
            marks.push(Mark { from: before.reply_bytes, to: call.reply.bytes.len(), rests_on });
        }
        let multi = call.spent.take();
        if !had_writes && call.has_writes() {
            first_write = Some(FirstWrite { multi, ..before });
        }
        consumed += bytes;
        commands += 1;
    }
    let (counters, counts, last_row) = (&shared.counters, call.counts, call.last_row);
    counters.commands.fetch_add(commands as u64, Ordering::Relaxed);
    for (counter, count) in [(&counters.hits, counts.hits), (&counters.misses, counts.misses), (&counters.errors, counts.errors)]
    {
        if count > 0 {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }
    let finished = call.finish();
    if commands > 0 {
        session.client.note(commands as u64, last_row);
    }
    let (then, full) = match finished {
        Finished::Settled => (Then::Send, false),
        Finished::Waiting(outcome) => (Then::Wait(outcome, Outcome::IN_FORCE), false),
        Finished::Refused(place, refusal, wait) => {
            let known = Outcome { true_before: place, refusal: Some(refusal) };
            (wait.map_or(Then::Settle(known.clone()), |outcome| Then::Wait(outcome, known)), false)
        }
        Finished::Full(wait) => {
            if let Some(first) = first_write {
                (consumed, commands) = (first.consumed, first.commands);
                reply.bytes.truncate(first.reply_bytes);
                marks.truncate(first.marks);
                (session.multi, session.wanted) = (first.multi, first.wanted);
                session.closing = false;
                // It may have begun to read a command behind these, and they are read again.
                parser.restart();
            }
            (wait.map_or(Then::Send, |outcome| Then::Wait(outcome, Outcome::IN_FORCE)), true)
        }
    };
    Ran { consumed, commands, then, full, more: more || full }
}

/// Turns the replies that are not true into errors.
pub(crate) fn settle(reply: &mut Reply, marks: &[Mark], outcomes: [Outcome; 2]) {
    let first = outcomes.into_iter().filter(|outcome| outcome.refusal.is_some()).min_by_key(|outcome| outcome.true_before);
    let Some(Outcome { true_before, refusal: Some(refusal) }) = first else { return };
    let mut settled = Reply { bytes: Vec::with_capacity(reply.bytes.len()), resp3: reply.resp3 };
    let mut from = 0;
    for mark in marks.iter().filter(|mark| mark.rests_on >= true_before && mark.from < mark.to) {
        settled.bytes.extend_from_slice(&reply.bytes[from..mark.from]);
        settled.refusal(&refusal);
        from = mark.to;
    }
    settled.bytes.extend_from_slice(&reply.bytes[from..]);
    reply.bytes = settled.bytes;
}
