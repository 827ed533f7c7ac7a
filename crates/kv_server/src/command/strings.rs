//! Commands that read or replace values.

use super::call::{ALL_KEYS, Call, ONE_KEY, Spec, flag};
use super::option::{is, is_expiry};
use crate::refusal::Refusal;
use crate::resp::Args;

const READ: u32 = flag::READONLY | flag::FAST;
const WRITE: u32 = flag::WRITE | flag::DENYOOM;

pub(super) const ROWS: &[Spec] = &[
    Spec::new("get", 2, READ, ONE_KEY, get).about("string", "1.0.0", "O(1)", "Returns the value of a key."),
    Spec::new("set", -3, WRITE, ONE_KEY, set).about("string", "1.0.0", "O(1)", "Sets the value of a key."),
    Spec::new("setnx", 3, WRITE | flag::FAST, ONE_KEY, setnx).about(
        "string",
        "1.0.0",
        "O(1)",
        "Sets the value of a key if the key does not exist.",
    ),
    Spec::new("setex", 4, WRITE, ONE_KEY, no_expiry).about("string", "2.0.0", "O(1)", "Refused: keys do not expire."),
    Spec::new("psetex", 4, WRITE, ONE_KEY, no_expiry).about("string", "2.6.0", "O(1)", "Refused: keys do not expire."),
    Spec::new("getset", 3, WRITE | flag::FAST, ONE_KEY, getset).about(
        "string",
        "1.0.0",
        "O(1)",
        "Returns the value of a key and sets a new one.",
    ),
    Spec::new("getdel", 2, flag::WRITE | flag::FAST, ONE_KEY, getdel).about(
        "string",
        "6.2.0",
        "O(1)",
        "Returns the value of a key and deletes the key.",
    ),
    Spec::new("getex", -2, flag::WRITE | flag::FAST, ONE_KEY, getex).about(
        "string",
        "6.2.0",
        "O(1)",
        "Returns the value of a key. Options that set an expiry are refused.",
    ),
    Spec::new("mget", -2, READ, ALL_KEYS, mget).about(
        "string",
        "1.0.0",
        "O(N) with N keys",
        "Returns the values of several keys.",
    ),
    Spec::new("mset", -3, WRITE, (1, -1, 2), mset).about(
        "string",
        "1.0.1",
        "O(N) with N keys",
        "Sets the values of several keys, all or none.",
    ),
    Spec::new("msetnx", -3, WRITE, (1, -1, 2), msetnx).about(
        "string",
        "1.0.1",
        "O(N) with N keys",
        "Sets the values of several keys if none of them exists.",
    ),
    Spec::new("strlen", 2, READ, ONE_KEY, strlen).about("string", "2.2.0", "O(1)", "Returns the length of a value."),
];

fn get(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    call.reply_value(args.at(1))
}

pub(super) fn no_expiry(_: &mut Call<'_>, _: Args<'_>) -> Result<(), Refusal> {
    Err(Refusal::NO_EXPIRY)
}

#[derive(Default)]
struct SetOptions {
    /// Only if the key exists, or only if it does not.
    if_exists: Option<bool>,
    get: bool,
    keep_ttl: bool,
}

fn set_options<'a>(words: impl Iterator<Item = &'a [u8]>) -> Result<SetOptions, Refusal> {
    let mut options = SetOptions::default();
    for word in words {
        let condition = if is(word, "NX") { Some(false) } else { is(word, "XX").then_some(true) };
        if condition.is_some() && options.if_exists.is_none_or(|before| Some(before) == condition) {
            options.if_exists = condition;
        } else if is(word, "GET") {
            options.get = true;
        } else if is(word, "KEEPTTL") {
            options.keep_ttl = true;
        } else if is_expiry(word) && !options.keep_ttl {
            return Err(Refusal::NO_EXPIRY);
        } else {
            return Err(Refusal::SYNTAX);
        }
    }
    Ok(options)
}

fn set(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let (key, value) = (args.at(1), args.at(2));
    let options = set_options(args.from(3))?;
    let may_write = match options.if_exists {
        None => true,
        Some(wanted) => call.exists(key)? == wanted,
    };
    if options.get {
        call.reply_value(key)?;
    }
    if may_write {
        call.put(key, value)?;
    }
    match (options.get, may_write) {
        (true, _) => {}
        (false, true) => call.reply.ok(),
        (false, false) => call.reply.null(),
    }
    Ok(())
}

fn setnx(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let is_new = !call.exists(args.at(1))?;
    if is_new {
        call.put(args.at(1), args.at(2))?;
    }
    call.reply.integer(is_new);
    Ok(())
}

fn getset(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    call.reply_value(args.at(1))?;
    call.put(args.at(1), args.at(2))
}

fn getdel(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let existed = call.exists(args.at(1))?;
    call.reply_value(args.at(1))?;
    if existed { call.delete(args.at(1)) } else { Ok(()) }
}

fn getex(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    match (args.len(), args.at(2)) {
        (2, _) => {}
        (3, word) if is(word, "PERSIST") => {}
        (4, word) if is_expiry(word) => return Err(Refusal::NO_EXPIRY),
        _ => return Err(Refusal::SYNTAX),
    }
    call.reply_value(args.at(1))
}

/// Words of an MGET for which single gets do less work. The GETs of a pipeline are looked up one by one: the parser has
/// the words of one command at a time, so a run of them would have to be copied first.
const FEW_KEYS: usize = 3;

fn mget(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let begin = call.reply.bytes.len();
    call.reply.array(args.len() - 1);
    if args.len() > FEW_KEYS {
        return call.reply_values(begin, &args.from(1).collect::<Vec<_>>());
    }
    for key in args.from(1) {
        call.reply_value(key)?;
        call.check_reply(begin)?;
    }
    Ok(())
}

/// The keys and values behind the name.
fn pairs<'a>(args: Args<'a>, command: &str) -> Result<impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a>, Refusal> {
    if args.len().is_multiple_of(2) {
        return Err(Refusal::arity(command));
    }
    Ok((1..args.len()).step_by(2).map(move |at| (args.at(at), args.at(at + 1))))
}

fn mset(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    pairs(args, "mset")?.try_for_each(|(key, value)| call.put(key, value))?;
    call.reply.ok();
    Ok(())
}

fn msetnx(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let pairs = || pairs(args, "msetnx");
    for (key, _) in pairs()? {
        if call.exists(key)? {
            call.reply.integer(false);
            return Ok(());
        }
    }
    pairs()?.try_for_each(|(key, value)| call.put(key, value))?;
    call.reply.integer(true);
    Ok(())
}

fn strlen(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let len = call.with(args.at(1), <[u8]>::len)?;
    call.reply.count(len.unwrap_or(0));
    Ok(())
}
