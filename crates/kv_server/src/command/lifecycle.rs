//! Commands on the server and the store as a whole: snapshots, durability, time, the end.

use super::call::{Call, NO_KEYS, Spec, flag};
use super::option::{is, number};
use crate::refusal::Refusal;
use crate::resp::{Args, integer};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::task::block_in_place;

const FLAGS: u32 = flag::NOSCRIPT | flag::LOADING | flag::STALE;
/// Waits for the disk, so it comes alone and in no transaction.
const WAITS: u32 = flag::NOSCRIPT | flag::ALONE | flag::NO_MULTI;
const ADMIN: u32 = WAITS | flag::ADMIN;

pub(super) const ROWS: &[Spec] = &[
    Spec::new("save", 1, ADMIN, NO_KEYS, save).about(
        "server",
        "1.0.0",
        "O(N) with N keys",
        "Takes a snapshot, and answers when it is on the disk. Other connections go on.",
    ),
    Spec::new("bgsave", -1, ADMIN, NO_KEYS, bgsave).about("server", "1.0.0", "O(1)", "Begins a snapshot and answers at once."),
    Spec::new("bgrewriteaof", 1, ADMIN, NO_KEYS, bgrewriteaof).about(
        "server",
        "1.0.0",
        "O(1)",
        "Begins a snapshot, which also makes the log short, and answers at once.",
    ),
    Spec::new("lastsave", 1, FLAGS | flag::FAST, NO_KEYS, lastsave).about(
        "server",
        "1.0.0",
        "O(1)",
        "Returns the time of the last snapshot that a client asked for, or of the start.",
    ),
    Spec::new("time", 1, FLAGS | flag::FAST, NO_KEYS, time).about("server", "2.6.0", "O(1)", "Returns the time."),
    Spec::new("role", 1, FLAGS | flag::FAST, NO_KEYS, role).about("server", "2.8.12", "O(1)", "Returns the role: master."),
    Spec::new("wait", 3, flag::NOSCRIPT, NO_KEYS, wait).about(
        "generic",
        "3.0.0",
        "O(1)",
        "Returns the number of other servers that have the writes of this connection: 0.",
    ),
    Spec::new("waitaof", 4, WAITS, NO_KEYS, waitaof).about(
        "generic",
        "7.2.0",
        "O(1); with a batch size above 1 one sync",
        "Returns 1 when the writes of this connection are on the disk, and 0 other servers.",
    ),
    Spec::new("shutdown", -1, ADMIN | FLAGS, NO_KEYS, shutdown).about(
        "server",
        "1.0.0",
        "O(1)",
        "Ends the server: what was read is answered, the store is closed.",
    ),
    Spec::new("script", -2, FLAGS, NO_KEYS, flush_scripts)
        .about("scripting", "2.6.0", "O(1)", "There are no scripts.")
        .subcommands(&[Spec::new("flush", -2, FLAGS, NO_KEYS, flush_scripts).about(
            "scripting",
            "2.6.0",
            "O(1)",
            "There are no scripts.",
        )]),
    Spec::new("function", -2, FLAGS, NO_KEYS, flush_functions)
        .about("scripting", "7.0.0", "O(1)", "There are no functions.")
        .subcommands(&[Spec::new("flush", -2, FLAGS, NO_KEYS, flush_functions).about(
            "scripting",
            "7.0.0",
            "O(1)",
            "There are no functions.",
        )]),
    Spec::new("cluster", -2, FLAGS, NO_KEYS, cluster).about(
        "cluster",
        "3.0.0",
        "O(1)",
        "INFO says that this is a single server. Everything else is refused.",
    ),
];

fn save(call: &mut Call<'_>, _: Args<'_>) -> Result<(), Refusal> {
    let shared = call.shared;
    shared.saves.begin()?;
    block_in_place(|| shared.saves.take(&shared.store.engine))?;
    call.reply.ok();
    Ok(())
}

fn begin_snapshot(call: &Call<'_>) -> Result<(), Refusal> {
    let (saves, engine) = (Arc::clone(&call.shared.saves), call.shared.store.engine.clone());
    saves.begin()?;
    // A failure is in INFO: rdb_last_bgsave_status.
    tokio::task::spawn_blocking(move || saves.take(&engine));
    Ok(())
}

fn bgsave(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    if args.len() > 2 || args.len() == 2 && !is(args.at(1), "SCHEDULE") {
        return Err(Refusal::SYNTAX);
    }
    begin_snapshot(call)?;
    call.reply.simple("Background saving started");
    Ok(())
}

fn bgrewriteaof(call: &mut Call<'_>, _: Args<'_>) -> Result<(), Refusal> {
    begin_snapshot(call)?;
    call.reply.simple("Background append only file rewriting started");
    Ok(())
}

fn lastsave(call: &mut Call<'_>, _: Args<'_>) -> Result<(), Refusal> {
    call.reply.number(call.shared.saves.last());
    Ok(())
}

fn time(call: &mut Call<'_>, _: Args<'_>) -> Result<(), Refusal> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    call.reply.array(2);
    call.reply.bulk(now.as_secs().to_string());
    call.reply.bulk(now.subsec_micros().to_string());
    Ok(())
}

fn role(call: &mut Call<'_>, _: Args<'_>) -> Result<(), Refusal> {
    call.reply.array(3);
    call.reply.bulk("master");
    call.reply.integer(0);
    call.reply.array(0);
    Ok(())
}

/// There are no other servers, so waiting for them would change nothing.
fn wait(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    number(args.at(1))?;
    match integer(args.at(2)) {
        None => return Err(Refusal::BAD_TIMEOUT),
        Some(..0) => return Err(Refusal::NEGATIVE_TIMEOUT),
        Some(_) => {}
    }
    call.reply.integer(0);
    Ok(())
}

fn waitaof(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let (local, others, ms) = (number(args.at(1))?, number(args.at(2))?, number(args.at(3))?);
    if !(0..=1).contains(&local) || others < 0 || ms < 0 {
        return Err(Refusal::OUT_OF_RANGE);
    }
    if local == 1 && call.shared.store.engine.pending() > 0 {
        block_in_place(|| call.shared.store.flush())?;
    }
    call.reply.array(2);
    call.reply.integer(local);
    call.reply.integer(0);
    Ok(())
}

fn shutdown(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    for word in args.from(1) {
        if is(word, "ABORT") {
            return Err(Refusal::NO_SHUTDOWN);
        }
        if is(word, "NOSAVE") || is(word, "FORCE") {
            return Err(Refusal::SHUTDOWN_SAVES);
        }
        if !is(word, "SAVE") && !is(word, "NOW") {
            return Err(Refusal::SYNTAX);
        }
    }
    call.session.closing = true;
    call.shared.shut_down();
    Ok(())
}

/// Whether these are the words of a FLUSH.
fn flushes(args: Args<'_>) -> bool {
    args.len() == 2 || args.len() == 3 && (is(args.at(2), "ASYNC") || is(args.at(2), "SYNC"))
}

fn flush_scripts(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    if !flushes(args) {
        return Err(Refusal::FLUSH_SCRIPTS);
    }
    call.reply.ok();
    Ok(())
}

fn flush_functions(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    if args.len() > 3 {
        return Err(Refusal::bad_subcommand("FUNCTION", args.at(1)));
    }
    if !flushes(args) {
        return Err(Refusal::FLUSH_FUNCTIONS);
    }
    call.reply.ok();
    Ok(())
}

fn cluster(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    if args.len() != 2 || !is(args.at(1), "INFO") {
        return Err(Refusal::NO_CLUSTER);
    }
    call.reply.text("cluster_enabled:0\r\n");
    Ok(())
}
