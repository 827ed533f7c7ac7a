//! SCAN: all keys, some at a time, in their order. The cursor is a token for the last key, see [`crate::cursors`].
//!
//! A key that exists from the first call to the last comes exactly once, with any writes in between.

use super::call::{Call, NO_KEYS, Spec, flag};
use super::glob;
use super::option::{is, number};
use crate::refusal::Refusal;
use crate::resp::Args;

pub(super) const ROWS: &[Spec] = &[Spec::new("scan", -2, flag::READONLY | flag::ALONE, NO_KEYS, scan).about(
    "generic",
    "2.8.0",
    "O(N) with N keys of this call",
    "Returns the next keys behind a cursor, in their order.",
)];

/// Keys of one call, unless COUNT says another number.
const COUNT: usize = 10;
/// Keys of one call, at most. A larger COUNT is taken as this.
const MOST: usize = 100_000;

fn scan(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let cursor = std::str::from_utf8(args.at(1)).ok().and_then(|word| word.parse::<u64>().ok()).ok_or(Refusal::CURSOR)?;
    let (mut pattern, mut count, mut has_type) = (None, COUNT, true);
    let mut words = args.from(2);
    while let Some(name) = words.next() {
        let value = words.next().ok_or(Refusal::SYNTAX)?;
        if is(name, "MATCH") {
            pattern = Some(value);
        } else if is(name, "COUNT") {
            let Ok(wanted @ 1..) = usize::try_from(number(value)?) else { return Err(Refusal::SYNTAX) };
            count = wanted.min(MOST);
        } else if is(name, "TYPE") {
            has_type = is(value, "string");
        } else {
            return Err(Refusal::SYNTAX);
        }
    }
    let after = match cursor {
        0 => Box::default(),
        token => call.shared.cursors.key(token).ok_or(Refusal::CURSOR_GONE)?,
    };
    let found = call.keys_after(&after, pattern.map_or(b"", glob::prefix), count)?;
    let next = found.last.as_deref().map_or(0, |last| call.shared.cursors.give(last));
    let fits = |key: &&Vec<u8>| has_type && pattern.is_none_or(|pattern| glob::matches(pattern, key));
    call.reply.array(2);
    call.reply.bulk(next.to_string());
    call.reply.array(found.keys.iter().filter(fits).count());
    found.keys.iter().filter(fits).for_each(|key| call.reply.bulk(key));
    Ok(())
}
