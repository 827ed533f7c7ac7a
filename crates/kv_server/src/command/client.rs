//! CLIENT: this connection and the others.

use super::call::{Call, NO_KEYS, Spec, flag};
use super::connection::label;
use super::option::{is, number};
use crate::clients::{Client, Labels};
use crate::refusal::Refusal;
use crate::resp::Args;
use crate::session::Wanted;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const FLAGS: u32 = flag::NOSCRIPT | flag::LOADING | flag::STALE;
const ADMIN: u32 = FLAGS | flag::ADMIN;
const CHANGES: u32 = FLAGS | flag::ALONE;

pub(super) const ROWS: &[Spec] = &[Spec::new("client", -2, FLAGS, NO_KEYS, id)
    .about("connection", "2.4.0", "Depends on the subcommand", "Connections.")
    .subcommands(&[
        Spec::new("id", 2, FLAGS, NO_KEYS, id).about("connection", "5.0.0", "O(1)", "Returns the number of this connection."),
        Spec::new("getname", 2, FLAGS, NO_KEYS, getname).about(
            "connection",
            "2.6.9",
            "O(1)",
            "Returns the name of this connection.",
        ),
        Spec::new("setname", 3, CHANGES, NO_KEYS, setname).about("connection", "2.6.9", "O(1)", "Names this connection."),
        Spec::new("setinfo", 4, CHANGES, NO_KEYS, setinfo).about(
            "connection",
            "7.2.0",
            "O(1)",
            "Notes the library of this connection.",
        ),
        Spec::new("info", 2, FLAGS, NO_KEYS, info).about("connection", "6.2.0", "O(1)", "Describes this connection."),
        Spec::new("list", -2, ADMIN, NO_KEYS, list).about(
            "connection",
            "2.4.0",
            "O(N) with N connections",
            "Describes the connections.",
        ),
        Spec::new("kill", -3, ADMIN, NO_KEYS, kill).about(
            "connection",
            "2.4.0",
            "O(N) with N connections",
            "Closes connections.",
        ),
        Spec::new("reply", 3, CHANGES | flag::NO_MULTI, NO_KEYS, reply).about(
            "connection",
            "3.2.0",
            "O(1)",
            "Says which replies this connection wants.",
        ),
        Spec::new("no-evict", 3, FLAGS, NO_KEYS, on_or_off).about(
            "connection",
            "7.0.0",
            "O(1)",
            "Does nothing: the server evicts no connection.",
        ),
        Spec::new("no-touch", 3, FLAGS, NO_KEYS, on_or_off).about(
            "connection",
            "7.2.0",
            "O(1)",
            "Does nothing: the store keeps no time of access.",
        ),
    ])];

fn id(call: &mut Call<'_>, _: Args<'_>) -> Result<(), Refusal> {
    call.reply.number(call.session.client.id);
    Ok(())
}

fn getname(call: &mut Call<'_>, _: Args<'_>) -> Result<(), Refusal> {
    let name = call.session.client.labels().name.clone();
    if name.is_empty() {
        call.reply.null()
    } else {
        call.reply.bulk(name)
    }
    Ok(())
}

/// The most bytes of a name. Connections keep their names as long as they are open.
const NAME_BYTES: usize = 256;

fn short_label(word: &[u8]) -> Result<String, Refusal> {
    if word.len() > NAME_BYTES { Err(Refusal::LONG_NAME) } else { label(word) }
}

fn setname(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let name = short_label(args.at(2))?;
    call.session.client.labels().name = name;
    call.reply.ok();
    Ok(())
}

fn setinfo(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let value = short_label(args.at(3))?;
    let mut labels = call.session.client.labels();
    if is(args.at(2), "LIB-NAME") {
        labels.library = value;
    } else if is(args.at(2), "LIB-VER") {
        labels.library_version = value;
    } else {
        let word = String::from_utf8_lossy(&args.at(2)[..args.at(2).len().min(128)]).into_owned();
        return Err(Refusal::new(format!("ERR Unrecognized option '{word}'")));
    }
    drop(labels);
    call.reply.ok();
    Ok(())
}

/// One connection, as Redis describes it. Fields that this server does not have are left out.
fn describe(call: &Call<'_>, client: &Client) -> String {
    let Labels { name, library, library_version } = client.labels().clone();
    let age = client.age_ms();
    let idle = client.idle_ms() / 1000;
    let row = usize::try_from(client.last_command.load(Ordering::Relaxed)).unwrap_or(0).checked_sub(1);
    let command = row.and_then(|row| call.table.rows.get(row)).map_or("NULL", |row| &row.full_name);
    let is_self = client.id == call.session.client.id;
    let multi = call.session.multi.as_ref().filter(|_| is_self).map_or(-1, |multi| multi.queue.len() as i64);
    let resp = if client.resp3.load(Ordering::Relaxed) { 3 } else { 2 };
    let flags = if multi >= 0 { "x" } else { "N" };
    let mut text = format!("id={} addr={} laddr={} name={name}", client.id, client.from, client.to);
    let _ = write!(text, " age={} idle={idle} flags={flags} db=0 sub=0 psub=0 ssub=0 multi={multi}", age / 1000);
    let _ = write!(text, " cmd={command} user=default redir=-1 resp={resp} lib-name={library} lib-ver={library_version}");
    let _ = write!(text, " tot-cmds={}", client.commands.load(Ordering::Relaxed));
    text
}

fn info(call: &mut Call<'_>, _: Args<'_>) -> Result<(), Refusal> {
    let client = Arc::clone(&call.session.client);
    let text = describe(call, &client) + "\n";
    call.reply.text(&text);
    Ok(())
}

fn list(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let mut ids = Vec::new();
    let is_listed = match (args.len(), args.at(2)) {
        (2, _) => true,
        (4, word) if is(word, "TYPE") => client_type(args.at(3))?,
        (4.., word) if is(word, "ID") => {
            for word in args.from(3) {
                ids.push(number(word).ok().filter(|id| *id > 0).ok_or(Refusal::BAD_CLIENT_ID)?);
            }
            true
        }
        _ => return Err(Refusal::SYNTAX),
    };
    let fits = |client: &Client| is_listed && (ids.is_empty() || ids.iter().any(|id| u64::try_from(*id) == Ok(client.id)));
    let mut text = String::new();
    for client in call.shared.clients.all().iter().filter(|client| fits(client)) {
        text += &describe(call, client);
        text.push('\n');
    }
    call.reply.text(&text);
    Ok(())
}

/// Whether connections of this type exist: all are normal.
///
/// # Errors
/// There is no type of this name.
fn client_type(word: &[u8]) -> Result<bool, Refusal> {
    if is(word, "normal") {
        return Ok(true);
    }
    if ["master", "replica", "slave", "pubsub"].iter().any(|name| is(word, name)) {
        return Ok(false);
    }
    let word = String::from_utf8_lossy(&word[..word.len().min(128)]).into_owned();
    Err(Refusal::new(format!("ERR Unknown client type '{word}'")))
}

/// What CLIENT KILL asks for: all that is set must fit.
#[derive(Default)]
struct Victims<'a> {
    id: Option<u64>,
    from: Option<&'a [u8]>,
    to: Option<&'a [u8]>,
    max_age_s: Option<u64>,
    no_type: bool,
    with_self: bool,
}

fn victims(args: Args<'_>) -> Result<Victims<'_>, Refusal> {
    let mut victims = Victims::default();
    let mut words = args.from(2);
    while let Some(name) = words.next() {
        let value = words.next().ok_or(Refusal::SYNTAX)?;
        if is(name, "ID") {
            let id = number(value).ok().and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0);
            victims.id = Some(id.ok_or(Refusal::BAD_CLIENT_ID_KILL)?);
        } else if is(name, "ADDR") {
            victims.from = Some(value);
        } else if is(name, "LADDR") {
            victims.to = Some(value);
        } else if is(name, "TYPE") {
            victims.no_type |= !client_type(value)?;
        } else if is(name, "USER") {
            if value != b"default" {
                return Err(Refusal::no_user(value));
            }
        } else if is(name, "MAXAGE") {
            victims.max_age_s = Some(u64::try_from(number(value)?).map_err(|_| Refusal::NOT_AN_INTEGER)?);
        } else if is(name, "SKIPME") && (is(value, "yes") || is(value, "no")) {
            victims.with_self = is(value, "no");
        } else {
            return Err(Refusal::SYNTAX);
        }
    }
    Ok(victims)
}

fn kill(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let is_old_form = args.len() == 3;
    let victims = match is_old_form {
        true => Victims { from: Some(args.at(2)), with_self: true, ..Victims::default() },
        false => victims(args)?,
    };
    let own = call.session.client.id;
    let fits = |client: &Client| {
        victims.id.is_none_or(|id| id == client.id)
            && victims.from.is_none_or(|from| from == client.from.as_bytes())
            && victims.to.is_none_or(|to| to == client.to.as_bytes())
            && victims.max_age_s.is_none_or(|age| client.age_ms() / 1000 >= age)
            && !victims.no_type
            && (victims.with_self || client.id != own)
    };
    let killed: Vec<Arc<Client>> = call.shared.clients.all().into_iter().filter(|client| fits(client)).collect();
    for client in &killed {
        if client.id == own {
            call.session.closing = true;
        } else {
            client.kill();
        }
    }
    match (is_old_form, killed.len()) {
        (true, 0) => return Err(Refusal::NO_CLIENT),
        (true, _) => call.reply.ok(),
        (false, count) => call.reply.count(count),
    }
    Ok(())
}

fn reply(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let word = args.at(2);
    call.session.wanted = if is(word, "ON") {
        Wanted::All
    } else if is(word, "OFF") {
        Wanted::None
    } else if is(word, "SKIP") {
        if call.session.wanted == Wanted::None { Wanted::None } else { Wanted::SkipNext }
    } else {
        return Err(Refusal::SYNTAX);
    };
    call.reply.ok();
    Ok(())
}

fn on_or_off(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    if !is(args.at(2), "ON") && !is(args.at(2), "OFF") {
        return Err(Refusal::SYNTAX);
    }
    call.reply.ok();
    Ok(())
}
