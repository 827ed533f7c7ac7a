//! Commands on values that are numbers.

use super::call::{Call, ONE_KEY, Spec, flag};
use super::float::{self, Number};
use super::option::number;
use crate::refusal::Refusal;
use crate::resp::{Args, integer};

const FLAGS: u32 = flag::WRITE | flag::DENYOOM | flag::FAST;

pub(super) const ROWS: &[Spec] = &[
    Spec::new("incr", 2, FLAGS, ONE_KEY, incr).about("string", "1.0.0", "O(1)", "Adds one to the integer of a key."),
    Spec::new("decr", 2, FLAGS, ONE_KEY, decr).about("string", "1.0.0", "O(1)", "Subtracts one from the integer of a key."),
    Spec::new("incrby", 3, FLAGS, ONE_KEY, incrby).about("string", "1.0.0", "O(1)", "Adds to the integer of a key."),
    Spec::new("decrby", 3, FLAGS, ONE_KEY, decrby).about("string", "1.0.0", "O(1)", "Subtracts from the integer of a key."),
    Spec::new("incrbyfloat", 3, FLAGS, ONE_KEY, incrbyfloat).about(
        "string",
        "2.6.0",
        "O(1)",
        "Adds to the decimal number of a key.",
    ),
];

fn incr(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    add(call, args.at(1), 1)
}

fn decr(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    add(call, args.at(1), -1)
}

fn incrby(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    add(call, args.at(1), number(args.at(2))?)
}

fn decrby(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let by = number(args.at(2))?.checked_neg().ok_or(Refusal::DECREMENT)?;
    add(call, args.at(1), by)
}

/// A missing key counts as 0.
fn add(call: &mut Call<'_>, key: &[u8], by: i64) -> Result<(), Refusal> {
    let old = call.with(key, integer)?.unwrap_or(Some(0)).ok_or(Refusal::NOT_AN_INTEGER)?;
    let new = old.checked_add(by).ok_or(Refusal::OVERFLOW)?;
    call.put(key, itoa::Buffer::new().format(new).as_bytes())?;
    call.reply.integer(new);
    Ok(())
}

fn incrbyfloat(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let old = call.with(args.at(1), float::parse)?.unwrap_or(Some(Number::ZERO)).ok_or(Refusal::NOT_A_FLOAT)?;
    let by = float::parse(args.at(2)).ok_or(Refusal::NOT_A_FLOAT)?;
    let new = float::sum(old, by).ok_or(Refusal::NAN)?;
    call.put(args.at(1), new.as_bytes())?;
    call.reply.bulk(new);
    Ok(())
}
