//! Looks at the store now and then, and tells the operator what changed: the log has failed, or a snapshot in the
//! background has failed. A failed log also ends the server, unless the options say that it stays.
//!
//! A client learns of a failure from its own reply, at once. This only adds the event, so it may come a moment later.

use crate::options::OnPoison;
use crate::shared::Shared;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

const EVERY: Duration = Duration::from_millis(100);
/// A failed log ends the server after this time: what is being answered is answered first.
const LAST_ANSWERS: Duration = Duration::from_millis(200);

pub(crate) async fn watch(shared: Arc<Shared>) {
    let log = &shared.options.log;
    let mut failures = 0;
    loop {
        tokio::select! {
            () = shared.stopped() => return,
            () = sleep(EVERY) => {}
        }
        let stats = shared.store.engine.stats();
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
