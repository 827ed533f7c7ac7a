//! Commands that move or copy a value to another key.

use super::call::{Call, Spec, flag};
use super::option::{check_database, is};
use crate::refusal::Refusal;
use crate::resp::Args;

const TWO_KEYS: (i64, i64, i64) = (1, 2, 1);

pub(super) const ROWS: &[Spec] = &[
    Spec::new("rename", 3, flag::WRITE, TWO_KEYS, rename).about(
        "generic",
        "1.0.0",
        "O(N) with N bytes of the value",
        "Gives a value another key, in one atomic write.",
    ),
    Spec::new("renamenx", 3, flag::WRITE, TWO_KEYS, renamenx).about(
        "generic",
        "1.0.0",
        "O(N) with N bytes of the value",
        "Gives a value another key if that does not exist.",
    ),
    Spec::new("copy", -3, flag::WRITE | flag::DENYOOM, TWO_KEYS, copy).about(
        "generic",
        "6.2.0",
        "O(N) with N bytes of the value",
        "Copies a value to another key.",
    ),
];

fn move_value(call: &mut Call<'_>, from: &[u8], to: &[u8]) -> Result<(), Refusal> {
    let value = call.value(from)?.ok_or(Refusal::NO_KEY)?;
    if from == to {
        return Ok(());
    }
    call.delete(from)?;
    call.put(to, &value)
}

fn rename(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    move_value(call, args.at(1), args.at(2))?;
    call.reply.ok();
    Ok(())
}

fn renamenx(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let (from, to) = (args.at(1), args.at(2));
    if !call.exists(from)? {
        return Err(Refusal::NO_KEY);
    }
    let is_free = !call.exists(to)?;
    if is_free {
        move_value(call, from, to)?;
    }
    call.reply.integer(is_free);
    Ok(())
}

fn copy(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let (from, to) = (args.at(1), args.at(2));
    let mut replace = false;
    let mut words = args.from(3);
    while let Some(word) = words.next() {
        if is(word, "REPLACE") {
            replace = true;
        } else if is(word, "DB") {
            check_database(words.next().ok_or(Refusal::SYNTAX)?)?;
        } else {
            return Err(Refusal::SYNTAX);
        }
    }
    if from == to {
        return Err(Refusal::SAME_OBJECTS);
    }
    let Some(value) = call.value(from)? else {
        call.reply.integer(false);
        return Ok(());
    };
    let may_write = replace || !call.exists(to)?;
    if may_write {
        call.put(to, &value)?;
    }
    call.reply.integer(may_write);
    Ok(())
}
