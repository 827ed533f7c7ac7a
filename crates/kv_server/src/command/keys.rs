//! Commands on keys.

use super::call::{ALL_KEYS, Call, NO_KEYS, ONE_KEY, Spec, flag};
use super::glob;
use super::option::is;
use super::strings::no_expiry;
use crate::refusal::Refusal;
use crate::resp::Args;
use tokio::task::block_in_place;

const READ: u32 = flag::READONLY | flag::FAST;
const LISTS: u32 = flag::READONLY | flag::ALONE;
const FLUSHES: u32 = flag::WRITE | flag::ALONE;

pub(super) const ROWS: &[Spec] = &[
    Spec::new("del", -2, flag::WRITE, ALL_KEYS, del).about("generic", "1.0.0", "O(N) with N keys", "Deletes keys."),
    Spec::new("unlink", -2, flag::WRITE | flag::FAST, ALL_KEYS, del).about(
        "generic",
        "4.0.0",
        "O(N) with N keys",
        "Deletes keys, as DEL.",
    ),
    Spec::new("exists", -2, READ, ALL_KEYS, exists).about("generic", "1.0.0", "O(N) with N keys", "Counts the keys that exist."),
    Spec::new("touch", -2, READ, ALL_KEYS, exists).about(
        "generic",
        "3.2.1",
        "O(N) with N keys",
        "Counts the keys that exist, as EXISTS: the store keeps no time of access.",
    ),
    Spec::new("type", 2, READ, ONE_KEY, key_type).about("generic", "1.0.0", "O(1)", "Returns the type: string or none."),
    Spec::new("keys", 2, LISTS, NO_KEYS, keys).about(
        "generic",
        "1.0.0",
        "O(N) with N keys that begin as the pattern",
        "Returns all keys that match a pattern, in their order.",
    ),
    Spec::new("randomkey", 1, LISTS, NO_KEYS, randomkey).about(
        "generic",
        "1.0.0",
        "O(N) with N keys",
        "Returns a key, each with the same probability.",
    ),
    Spec::new("dbsize", 1, LISTS | flag::FAST, NO_KEYS, dbsize).about(
        "server",
        "1.0.0",
        "O(1); with values in the snapshot O(N) with N keys written since",
        "Returns the number of keys.",
    ),
    Spec::new("flushall", -1, FLUSHES, NO_KEYS, flush).about(
        "server",
        "1.0.0",
        "O(N) with N keys",
        "Deletes all keys, all or none.",
    ),
    Spec::new("flushdb", -1, FLUSHES, NO_KEYS, flush).about(
        "server",
        "1.0.0",
        "O(N) with N keys",
        "Deletes all keys, all or none.",
    ),
    Spec::new("ttl", 2, READ, ONE_KEY, ttl).about("generic", "1.0.0", "O(1)", "Returns -1, or -2 if the key does not exist."),
    Spec::new("pttl", 2, READ, ONE_KEY, ttl).about("generic", "2.6.0", "O(1)", "Returns -1, or -2 if the key does not exist."),
    Spec::new("expiretime", 2, READ, ONE_KEY, ttl).about(
        "generic",
        "7.0.0",
        "O(1)",
        "Returns -1, or -2 if the key does not exist.",
    ),
    Spec::new("pexpiretime", 2, READ, ONE_KEY, ttl).about(
        "generic",
        "7.0.0",
        "O(1)",
        "Returns -1, or -2 if the key does not exist.",
    ),
    Spec::new("persist", 2, READ, ONE_KEY, persist).about("generic", "2.2.0", "O(1)", "Returns 0: no key has an expiry."),
    Spec::new("expire", -3, READ, ONE_KEY, no_expiry).about("generic", "1.0.0", "O(1)", "Refused: keys do not expire."),
    Spec::new("pexpire", -3, READ, ONE_KEY, no_expiry).about("generic", "2.6.0", "O(1)", "Refused: keys do not expire."),
    Spec::new("expireat", -3, READ, ONE_KEY, no_expiry).about("generic", "1.2.0", "O(1)", "Refused: keys do not expire."),
    Spec::new("pexpireat", -3, READ, ONE_KEY, no_expiry).about("generic", "2.6.0", "O(1)", "Refused: keys do not expire."),
];

fn del(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let mut deleted = 0;
    for key in args.from(1) {
        if call.exists(key)? {
            call.delete(key)?;
            deleted += 1;
        }
    }
    call.reply.count(deleted);
    Ok(())
}

/// A key that is named twice counts twice.
fn exists(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let mut found = 0;
    for key in args.from(1) {
        found += usize::from(call.exists(key)?);
    }
    call.reply.count(found);
    Ok(())
}

fn key_type(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let exists = call.exists(args.at(1))?;
    call.reply.simple(if exists { "string" } else { "none" });
    Ok(())
}

fn keys(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let pattern = args.at(1);
    let found = call.keys(glob::prefix(pattern), |key| glob::matches(pattern, key))?;
    let begin = call.reply.bytes.len();
    call.reply.array(found.len());
    for key in found {
        call.reply.bulk(key);
        call.check_reply(begin)?;
    }
    Ok(())
}

fn randomkey(call: &mut Call<'_>, _: Args<'_>) -> Result<(), Refusal> {
    let keys = call.keys(b"", |_| true)?;
    match keys.len() {
        0 => call.reply.null(),
        count => call.reply.bulk(&keys[rand::random_range(0..count)]),
    }
    Ok(())
}

fn dbsize(call: &mut Call<'_>, _: Args<'_>) -> Result<(), Refusal> {
    let count = call.count()?;
    call.reply.count(count);
    Ok(())
}

fn flush(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    if args.len() > 2 || args.len() == 2 && !is(args.at(1), "ASYNC") && !is(args.at(1), "SYNC") {
        return Err(Refusal::SYNTAX);
    }
    let keys = call.keys(b"", |_| true)?;
    // Other connections of this worker go on meanwhile.
    block_in_place(|| keys.iter().try_for_each(|key| call.delete(key)))?;
    call.reply.ok();
    Ok(())
}

fn ttl(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let exists = call.exists(args.at(1))?;
    call.reply.integer(if exists { -1 } else { -2 });
    Ok(())
}

fn persist(call: &mut Call<'_>, _: Args<'_>) -> Result<(), Refusal> {
    call.reply.integer(0);
    Ok(())
}
