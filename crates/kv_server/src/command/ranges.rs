//! Commands on parts of values.

use super::call::{Call, ONE_KEY, Spec, flag};
use super::option::{number, range};
use crate::refusal::Refusal;
use crate::resp::Args;
use kv_engine::MAX_VALUE_BYTES;

const WRITE: u32 = flag::WRITE | flag::DENYOOM;

pub(super) const ROWS: &[Spec] = &[
    Spec::new("append", 3, WRITE | flag::FAST, ONE_KEY, append).about(
        "string",
        "2.0.0",
        "O(N) with N bytes of the new value",
        "Appends to the value of a key.",
    ),
    Spec::new("getrange", 4, flag::READONLY, ONE_KEY, getrange).about(
        "string",
        "2.4.0",
        "O(N) with N bytes of the reply",
        "Returns a part of a value.",
    ),
    Spec::new("substr", 4, flag::READONLY, ONE_KEY, getrange).about(
        "string",
        "1.0.0",
        "O(N) with N bytes of the reply",
        "Returns a part of a value.",
    ),
    Spec::new("setrange", 4, WRITE, ONE_KEY, setrange).about(
        "string",
        "2.2.0",
        "O(N) with N bytes of the new value",
        "Overwrites a part of a value, and makes the value longer if needed.",
    ),
];

fn append(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let len = call.with(args.at(1), <[u8]>::len)?.unwrap_or(0) + args.at(2).len();
    if len > MAX_VALUE_BYTES {
        return Err(Refusal::LONG_STRING);
    }
    let mut value = Vec::with_capacity(len);
    call.with(args.at(1), |old| value.extend_from_slice(old))?;
    value.extend_from_slice(args.at(2));
    call.put(args.at(1), &value)?;
    call.reply.count(len);
    Ok(())
}

fn getrange(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let (start, end) = (number(args.at(2))?, number(args.at(3))?);
    let part = call.with(args.at(1), |value| value[range(start, end, value.len())].to_vec())?;
    call.reply.bulk(part.unwrap_or_default());
    Ok(())
}

fn setrange(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let (key, part) = (args.at(1), args.at(3));
    let offset = usize::try_from(number(args.at(2))?).map_err(|_| Refusal::OFFSET)?;
    if part.is_empty() {
        let len = call.with(key, <[u8]>::len)?;
        call.reply.count(len.unwrap_or(0));
        return Ok(());
    }
    let end = offset.checked_add(part.len()).filter(|end| *end <= MAX_VALUE_BYTES).ok_or(Refusal::LONG_STRING)?;
    let mut value = call.value(key)?.unwrap_or_default();
    value.resize(value.len().max(end), 0);
    value[offset..end].copy_from_slice(part);
    call.put(key, &value)?;
    call.reply.count(value.len());
    Ok(())
}
