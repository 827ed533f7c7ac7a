//! Commands on the connection itself: who it is, which protocol it reads, its end.

use super::call::{Call, NO_KEYS, Spec, flag};
use super::option::{check_database, is, number};
use crate::clients::Labels;
use crate::refusal::Refusal;
use crate::resp::Args;
use crate::session::Wanted;
use std::sync::atomic::Ordering;
use subtle::ConstantTimeEq;

const FAST: u32 = flag::FAST | flag::LOADING | flag::STALE | flag::NOSCRIPT;
/// Changes the session, so it is not part of a transaction.
const CHANGES: u32 = FAST | flag::ALONE | flag::NO_MULTI;

pub(super) const ROWS: &[Spec] = &[
    Spec::new("ping", -1, flag::FAST, NO_KEYS, ping).about("connection", "1.0.0", "O(1)", "Returns PONG, or its word."),
    Spec::new("echo", 2, flag::FAST, NO_KEYS, echo).about("connection", "1.0.0", "O(1)", "Returns its word."),
    Spec::new("quit", -1, FAST | flag::NO_AUTH | flag::IMMEDIATE, NO_KEYS, quit).about(
        "connection",
        "1.0.0",
        "O(1)",
        "Closes the connection.",
    ),
    Spec::new("reset", 1, FAST | flag::NO_AUTH | flag::IMMEDIATE | flag::ALONE, NO_KEYS, reset).about(
        "connection",
        "6.2.0",
        "O(1)",
        "Makes the connection as new.",
    ),
    Spec::new("hello", -1, CHANGES | flag::NO_AUTH, NO_KEYS, hello).about(
        "connection",
        "6.0.0",
        "O(1)",
        "Chooses the protocol, authenticates, and returns what the server is.",
    ),
    Spec::new("auth", -2, CHANGES | flag::NO_AUTH, NO_KEYS, auth).about(
        "connection",
        "1.0.0",
        "O(1)",
        "Authenticates the connection.",
    ),
    Spec::new("select", 2, FAST, NO_KEYS, select).about("connection", "1.0.0", "O(1)", "Selects database 0, the only one."),
    Spec::new("readonly", 1, FAST, NO_KEYS, ok).about("cluster", "3.0.0", "O(1)", "Does nothing on a single server."),
    Spec::new("readwrite", 1, FAST, NO_KEYS, ok).about("cluster", "3.0.0", "O(1)", "Does nothing on a single server."),
    Spec::new("asking", 1, FAST, NO_KEYS, ok).about("cluster", "3.0.0", "O(1)", "Does nothing on a single server."),
];

/// The version of Redis whose commands this server has.
pub(super) const REDIS_VERSION: &str = "7.4.0";

fn ok(call: &mut Call<'_>, _: Args<'_>) -> Result<(), Refusal> {
    call.reply.ok();
    Ok(())
}

fn ping(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    match args.len() {
        1 => call.reply.simple("PONG"),
        2 => call.reply.bulk(args.at(1)),
        _ => return Err(Refusal::arity("ping")),
    }
    Ok(())
}

fn echo(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    call.reply.bulk(args.at(1));
    Ok(())
}

fn quit(call: &mut Call<'_>, _: Args<'_>) -> Result<(), Refusal> {
    call.session.closing = true;
    call.reply.ok();
    Ok(())
}

fn reset(call: &mut Call<'_>, _: Args<'_>) -> Result<(), Refusal> {
    call.session.multi = None;
    call.unwatch();
    call.session.wanted = Wanted::All;
    call.session.authenticated = call.shared.options.password.is_none();
    call.reply.resp3 = false;
    call.session.client.resp3.store(false, Ordering::Relaxed);
    call.session.client.labels().name.clear();
    call.reply.simple("RESET");
    Ok(())
}

fn select(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    check_database(args.at(1))?;
    call.reply.ok();
    Ok(())
}

/// # Errors
/// The password or the user is wrong.
fn check_password(call: &Call<'_>, user: &[u8], password: &[u8]) -> Result<(), Refusal> {
    let is_right = match &call.shared.options.password {
        None => true,
        Some(right) => bool::from(right[..].ct_eq(password)),
    };
    if user == b"default" && is_right { Ok(()) } else { Err(Refusal::WRONGPASS) }
}

fn auth(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let (user, password) = match args.len() {
        2 if call.shared.options.password.is_none() => return Err(Refusal::NO_PASSWORD_SET),
        2 => (&b"default"[..], args.at(1)),
        3 => (args.at(1), args.at(2)),
        _ => return Err(Refusal::SYNTAX),
    };
    check_password(call, user, password)?;
    call.session.authenticated = true;
    call.reply.ok();
    Ok(())
}

/// The name that a client gives itself: printable, without blanks.
///
/// # Errors
/// It has other characters.
pub(super) fn label(word: &[u8]) -> Result<String, Refusal> {
    if word.iter().all(u8::is_ascii_graphic) { Ok(String::from_utf8_lossy(word).into()) } else { Err(Refusal::BAD_NAME) }
}

fn hello(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let resp3 = match args.get(1) {
        None => call.reply.resp3,
        Some(version) => match number(version).map_err(|_| Refusal::BAD_PROTO)? {
            2 => false,
            3 => true,
            _ => return Err(Refusal::NOPROTO),
        },
    };
    let (mut authenticated, mut name) = (call.session.authenticated, None);
    let mut words = args.from(2);
    while let Some(word) = words.next() {
        if is(word, "AUTH") && words.len() >= 2 {
            let (user, password) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            check_password(call, user, password)?;
            authenticated = true;
        } else if is(word, "SETNAME") && words.len() >= 1 {
            name = Some(label(words.next().unwrap_or_default())?);
        } else {
            let word = String::from_utf8_lossy(&word[..word.len().min(128)]).into_owned();
            return Err(Refusal::new(format!("ERR Syntax error in HELLO option '{word}'")));
        }
    }
    if !authenticated {
        return Err(Refusal::HELLO_NOAUTH);
    }
    call.session.authenticated = true;
    let client = &call.session.client;
    if let Some(name) = name {
        let mut labels = client.labels();
        *labels = Labels { name, ..labels.clone() };
    }
    client.resp3.store(resp3, Ordering::Relaxed);
    call.reply.resp3 = resp3;
    let id = client.id;
    call.reply.map(7);
    for (field, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        call.reply.bulk(field);
        call.reply.bulk(value);
    }
    call.reply.bulk("proto");
    call.reply.integer(if resp3 { 3 } else { 2 });
    call.reply.bulk("id");
    call.reply.number(id);
    for (field, value) in [("mode", "standalone"), ("role", "master")] {
        call.reply.bulk(field);
        call.reply.bulk(value);
    }
    call.reply.bulk("modules");
    call.reply.array(0);
    Ok(())
}
