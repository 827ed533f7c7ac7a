//! Transactions. What EXEC writes is one atomic write: after any crash all of it is in the store, or nothing.

use super::call::{ALL_KEYS, Call, NO_KEYS, Spec, flag};
use crate::refusal::Refusal;
use crate::resp::Args;

const FLAGS: u32 = flag::NOSCRIPT | flag::LOADING | flag::STALE;
const FAST: u32 = FLAGS | flag::FAST | flag::IMMEDIATE;

pub(super) const ROWS: &[Spec] = &[
    Spec::new("multi", 1, FAST, NO_KEYS, multi).about("transactions", "1.2.0", "O(1)", "Begins a transaction."),
    Spec::new("exec", 1, FLAGS | flag::IMMEDIATE, NO_KEYS, exec).about(
        "transactions",
        "1.2.0",
        "That of its commands",
        "Executes a transaction; its writes are one atomic write.",
    ),
    Spec::new("discard", 1, FAST, NO_KEYS, discard).about(
        "transactions",
        "2.0.0",
        "O(N) with N queued commands",
        "Drops a transaction.",
    ),
    Spec::new("watch", -2, FAST | flag::ALONE, ALL_KEYS, watch).about(
        "transactions",
        "2.2.0",
        "O(N) with N keys",
        "EXEC does nothing if one of these keys is written before it, also if that write is in flight.",
    ),
    Spec::new("unwatch", 1, FAST & !flag::IMMEDIATE, NO_KEYS, unwatch).about(
        "transactions",
        "2.2.0",
        "O(N) with N keys",
        "Watches no key any more.",
    ),
];

fn multi(call: &mut Call<'_>, _: Args<'_>) -> Result<(), Refusal> {
    if call.session.multi.is_some() {
        return Err(Refusal::NESTED_MULTI);
    }
    call.session.multi = Some(Box::default());
    call.reply.ok();
    Ok(())
}

fn exec(call: &mut Call<'_>, _: Args<'_>) -> Result<(), Refusal> {
    let multi = call.session.multi.take().ok_or(Refusal::EXEC_WITHOUT_MULTI)?;
    if multi.aborted {
        call.unwatch();
        return Err(Refusal::EXECABORT);
    }
    if call.is_dirty() {
        call.reply.null_array();
    } else {
        let begin = call.reply.bytes.len();
        call.sequence();
        call.reply.array(multi.queue.len());
        for queued in &multi.queue {
            let result = call.run(queued.row, Args::new(&queued.bytes, &queued.spans)).or_else(|refusal| {
                call.reply.refusal(&refusal);
                // It fits into no atomic write or no reply, so nothing of the transaction is done.
                if [Refusal::LARGE_WRITE, Refusal::LARGE_REPLY].contains(&refusal) { Err(refusal) } else { Ok(()) }
            });
            if let Err(refusal) = result.and_then(|()| call.check_reply(begin)) {
                call.take_back_command();
                call.unwatch();
                return Err(refusal);
            }
        }
    }
    call.unwatch();
    call.spent = Some(multi);
    Ok(())
}

fn discard(call: &mut Call<'_>, _: Args<'_>) -> Result<(), Refusal> {
    call.session.multi.take().ok_or(Refusal::DISCARD_WITHOUT_MULTI)?;
    call.unwatch();
    call.reply.ok();
    Ok(())
}

fn watch(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    if call.session.multi.is_some() {
        return Err(Refusal::WATCH_IN_MULTI);
    }
    args.from(1).for_each(|key| call.watch(key));
    call.reply.ok();
    Ok(())
}

fn unwatch(call: &mut Call<'_>, _: Args<'_>) -> Result<(), Refusal> {
    call.unwatch();
    call.reply.ok();
    Ok(())
}
