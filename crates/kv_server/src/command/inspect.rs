//! Commands that look at one key, or at what took long: OBJECT, MEMORY, SLOWLOG, LATENCY.

use super::call::{Call, NO_KEYS, Spec, flag};
use super::option::{is, number};
use crate::refusal::Refusal;
use crate::resp::{Args, integer};

/// The key behind a subcommand.
const SECOND: (i64, i64, i64) = (2, 2, 1);
const ADMIN: u32 = flag::ADMIN | flag::LOADING | flag::STALE | flag::NOSCRIPT;

pub(super) const ROWS: &[Spec] = &[
    Spec::new("object", -2, flag::READONLY, NO_KEYS, encoding)
        .about("generic", "2.2.3", "Depends on the subcommand", "How a value is kept.")
        .subcommands(&[
            Spec::new("encoding", 3, flag::READONLY, SECOND, encoding).about(
                "generic",
                "2.2.3",
                "O(1)",
                "Returns the encoding that Redis would choose.",
            ),
            Spec::new("refcount", 3, flag::READONLY, SECOND, refcount).about("generic", "2.2.3", "O(1)", "Returns 1."),
            Spec::new("idletime", 3, flag::READONLY, SECOND, idletime).about(
                "generic",
                "2.2.3",
                "O(1)",
                "Returns 0: the store keeps no time of access.",
            ),
            Spec::new("freq", 3, flag::READONLY, SECOND, freq).about(
                "generic",
                "4.0.0",
                "O(1)",
                "Refused: the store counts no accesses.",
            ),
        ]),
    Spec::new("memory", -2, flag::READONLY, NO_KEYS, usage)
        .about("server", "4.0.0", "Depends on the subcommand", "Memory.")
        .subcommands(&[Spec::new("usage", -3, flag::READONLY, SECOND, usage).about(
            "server",
            "4.0.0",
            "O(1)",
            "Returns about how many bytes of memory an entry takes.",
        )]),
    Spec::new("slowlog", -2, ADMIN, NO_KEYS, slowlog_len)
        .about("server", "2.2.12", "Depends on the subcommand", "Commands that took long.")
        .subcommands(&[
            Spec::new("get", -2, ADMIN, NO_KEYS, slowlog_get).about(
                "server",
                "2.2.12",
                "O(N) with N commands",
                "Returns commands that took long, the last one first.",
            ),
            Spec::new("len", 2, ADMIN, NO_KEYS, slowlog_len).about("server", "2.2.12", "O(1)", "Counts them."),
            Spec::new("reset", 2, ADMIN, NO_KEYS, slowlog_reset).about("server", "2.2.12", "O(N)", "Forgets them."),
        ]),
    Spec::new("latency", -2, ADMIN, NO_KEYS, nothing)
        .about("server", "2.8.13", "O(1)", "Nothing is recorded; see SLOWLOG and INFO.")
        .subcommands(&[
            Spec::new("latest", 2, ADMIN, NO_KEYS, nothing).about("server", "2.8.13", "O(1)", "Returns nothing."),
            Spec::new("history", 3, ADMIN, NO_KEYS, nothing).about("server", "2.8.13", "O(1)", "Returns nothing."),
            Spec::new("reset", -2, ADMIN, NO_KEYS, zero).about("server", "2.8.13", "O(1)", "Returns 0."),
        ]),
];

fn encoding(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    const SHORT: usize = 44;
    let encoding = call.with(args.at(2), |value| match value.len() {
        _ if integer(value).is_some() => "int",
        ..=SHORT => "embstr",
        _ => "raw",
    })?;
    call.reply.value(encoding.map(str::as_bytes));
    Ok(())
}

/// Replies this number, if the key exists.
fn if_exists(call: &mut Call<'_>, key: &[u8], number: i64) -> Result<(), Refusal> {
    match call.exists(key)? {
        true => call.reply.integer(number),
        false => call.reply.null(),
    }
    Ok(())
}

fn refcount(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    if_exists(call, args.at(2), 1)
}

fn idletime(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    if_exists(call, args.at(2), 0)
}

fn freq(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    if call.exists(args.at(2))? {
        return Err(Refusal::NO_LFU);
    }
    call.reply.null();
    Ok(())
}

fn usage(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    /// An entry of 116 bytes takes about 144.
    const ENTRY_BYTES: usize = 28;
    match (args.len(), args.at(3)) {
        (3, _) => {}
        (5, word) if is(word, "SAMPLES") && number(args.at(4))? >= 0 => {}
        _ => return Err(Refusal::SYNTAX),
    }
    let len = call.with(args.at(2), <[u8]>::len)?;
    match len {
        Some(len) => call.reply.count(ENTRY_BYTES + args.at(2).len() + len),
        None => call.reply.null(),
    }
    Ok(())
}

fn slowlog_get(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let most = match (args.len(), args.at(2)) {
        (2, _) => 10,
        (3, word) => match number(word)? {
            -1 => usize::MAX,
            most => usize::try_from(most).map_err(|_| Refusal::SLOWLOG_COUNT)?,
        },
        _ => return Err(Refusal::SYNTAX),
    };
    let entries = call.shared.slow_log.last(most);
    call.reply.array(entries.len());
    for entry in entries {
        call.reply.array(6);
        call.reply.number(entry.number);
        call.reply.number(entry.at);
        call.reply.number(entry.took_us);
        call.reply.array(entry.words.len());
        entry.words.iter().for_each(|word| call.reply.bulk(word));
        call.reply.bulk(&entry.from);
        call.reply.bulk(&entry.name);
    }
    Ok(())
}

fn slowlog_len(call: &mut Call<'_>, _: Args<'_>) -> Result<(), Refusal> {
    call.reply.count(call.shared.slow_log.len());
    Ok(())
}

fn slowlog_reset(call: &mut Call<'_>, _: Args<'_>) -> Result<(), Refusal> {
    call.shared.slow_log.clear();
    call.reply.ok();
    Ok(())
}

fn nothing(call: &mut Call<'_>, _: Args<'_>) -> Result<(), Refusal> {
    call.reply.array(0);
    Ok(())
}

fn zero(call: &mut Call<'_>, _: Args<'_>) -> Result<(), Refusal> {
    call.reply.integer(0);
    Ok(())
}
