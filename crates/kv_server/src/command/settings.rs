//! CONFIG: the settings of the server, under Redis's names.

use super::call::{Call, NO_KEYS, Spec, flag};
use super::glob;
use crate::limits::RequestLimits;
use crate::refusal::Refusal;
use crate::resp::Args;

const FLAGS: u32 = flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE;

pub(super) const ROWS: &[Spec] = &[Spec::new("config", -2, FLAGS, NO_KEYS, get)
    .about("server", "2.0.0", "Depends on the subcommand", "Settings.")
    .subcommands(&[Spec::new("get", -3, FLAGS, NO_KEYS, get).about(
        "server",
        "2.0.0",
        "O(N) with N settings",
        "Returns settings.",
    )])];

fn settings(call: &Call<'_>) -> Vec<(&'static str, String)> {
    let options = &call.shared.options;
    let seconds = |time: Option<std::time::Duration>| time.map_or(0, |time| time.as_secs()).to_string();
    let is_synced = call.shared.store.engine.batch_size() == 1;
    vec![
        ("appendfsync", if is_synced { "always" } else { "everysec" }.to_string()),
        ("appendonly", "yes".to_string()),
        ("client-output-buffer-limit", "normal 0 0 0 slave 0 0 0 pubsub 0 0 0".to_string()),
        ("databases", "1".to_string()),
        ("maxclients", options.max_clients.to_string()),
        ("maxmemory", "0".to_string()),
        ("maxmemory-policy", "noeviction".to_string()),
        ("proto-max-bulk-len", RequestLimits::CLIENT.word_bytes.to_string()),
        ("save", String::new()),
        ("tcp-keepalive", seconds(options.tcp_keepalive)),
        ("timeout", seconds(options.idle_timeout)),
    ]
}

fn get(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let fits = |name: &str| args.from(2).any(|pattern| glob::matches(&pattern.to_ascii_lowercase(), name.as_bytes()));
    let found: Vec<_> = settings(call).into_iter().filter(|(name, _)| fits(name)).collect();
    call.reply.map(found.len());
    for (name, value) in found {
        call.reply.bulk(name);
        call.reply.bulk(value);
    }
    Ok(())
}
