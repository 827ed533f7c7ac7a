//! Looks at the store now and then, and tells the operator what changed: the disk is full or has room again, the log
//! has failed, a snapshot in the background has failed, clients were refused. A failed log also ends the server,
//! unless the options say that it stays.
//!
//! A client learns of a failure from its own reply, at once. This only adds the event, so it may come a moment later.

use crate::options::OnPoison;
use crate::shared::Shared;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::sleep;

const EVERY: Duration = Duration::from_millis(100);
/// A failed log ends the server after this time: what is being answered is answered first.
const LAST_ANSWERS: Duration = Duration::from_millis(200);

pub(crate) async fn watch(shared: Arc<Shared>) {
    let log = &shared.options.log;
    let (mut failures, mut snapshots, mut refused, mut is_full) = (0, shared.store.engine.stats().snapshots, 0, false);
    loop {
        tokio::select! {
            () = shared.stopped() => return,
            () = sleep(EVERY) => {}
        }
        let stats = shared.store.engine.stats();
        if stats.snapshots != snapshots {
            snapshots = stats.snapshots;
            shared.saves.note();
        }
        if shared.store.is_full() != is_full {
            is_full = !is_full;
            match is_full {
                true => log.warn("no_space", &[("log_bytes", &stats.log_bytes), ("pending", &stats.pending)]),
                false => log.info("space_again", &[]),
            }
        }
        let rejected = shared.counters.rejected.load(Ordering::Relaxed);
        if rejected > refused {
            log.warn("clients_refused", &[("count", &(rejected - refused)), ("max_clients", &shared.options.max_clients)]);
        }
        refused = rejected;
        if stats.checkpoint_failures != failures {
            failures = stats.checkpoint_failures;
            let reason = stats.checkpoint_failed.unwrap_or_else(|| "a later one has succeeded".into());
            log.warn("snapshot_failed", &[("reason", &reason), ("log_bytes", &stats.log_bytes)]);
        }
        let Some(reason) = stats.failed else { continue };
        let then = match shared.options.on_poison {
            OnPoison::Exit => "the server ends",
            OnPoison::Stay => "reads go on",
        };
        log.error("log_failed", &[("reason", &reason), ("then", &then), ("durable", &stats.durable)]);
        if shared.options.on_poison == OnPoison::Exit {
            sleep(LAST_ANSWERS).await;
            shared.shut_down();
        }
        return;
    }
}
