//! CONFIG: the settings of the server, under Redis's names.

use super::call::{Call, NO_KEYS, Spec, flag};
use super::glob;
use super::option::number;
use crate::limits::RequestLimits;
use crate::options::OnPoison;
use crate::refusal::Refusal;
use crate::resp::Args;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const FLAGS: u32 = flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE;

pub(super) const ROWS: &[Spec] = &[Spec::new("config", -2, FLAGS, NO_KEYS, get)
    .about("server", "2.0.0", "Depends on the subcommand", "Settings.")
    .subcommands(&[
        Spec::new("get", -3, FLAGS, NO_KEYS, get).about("server", "2.0.0", "O(N) with N settings", "Returns settings."),
        Spec::new("set", -4, FLAGS, NO_KEYS, set).about(
            "server",
            "2.0.0",
            "O(N) with N settings",
            "Changes settings until the server ends, all or none.",
        ),
        Spec::new("resetstat", 2, FLAGS, NO_KEYS, resetstat).about("server", "2.0.0", "O(1)", "Sets the counters of INFO to 0."),
    ])];

/// Settings that CONFIG SET changes, with their least and largest values.
const CHANGEABLE: [(&str, i64, i64); 4] = [
    ("maxclients", 1, 1_000_000),
    ("slowlog-log-slower-than", -1, i64::MAX),
    ("slowlog-max-len", 0, 1_000_000),
    ("timeout", 0, i32::MAX as i64),
];

fn settings(call: &Call<'_>) -> Vec<(&'static str, String)> {
    let (options, settings) = (&call.shared.options, &call.shared.settings);
    let seconds = |time: Option<Duration>| time.map_or(0, |time| time.as_secs()).to_string();
    let stats = call.shared.store.engine.stats();
    let is_synced = stats.batch_size == 1;
    let addresses: Vec<String> = options.listen.iter().map(|address| address.ip().to_string()).collect();
    let path = |path: Option<&PathBuf>| path.map_or(String::new(), |path| path.display().to_string());
    let port = options.listen.first().map_or(0, std::net::SocketAddr::port);
    let tls = options.tls.as_ref();
    let client_ca = tls.and_then(|tls| tls.client_ca.as_ref());
    // The subcommands of a disabled command are not named.
    let of_disabled = |name: &str| name.split_once('|').is_some_and(|(command, _)| call.row_named(command.as_bytes()).is_none());
    let disabled = options.disabled.iter().map(|&row| &*call.table.rows[row].full_name);
    let disabled: Vec<&str> = disabled.filter(|name| !of_disabled(name)).collect();
    vec![
        ("appendfsync", if is_synced { "always" } else { "everysec" }.to_string()),
        ("appendonly", "yes".to_string()),
        ("auto-aof-rewrite-min-size", stats.checkpoint_log_bytes.to_string()),
        ("batch", stats.batch_size.to_string()),
        ("bind", addresses.join(" ")),
        ("checkpoint-interval", stats.checkpoint_interval.as_secs().to_string()),
        ("checkpoint-log", stats.checkpoint_log_bytes.to_string()),
        ("client-output-buffer-limit", "normal 0 0 0 slave 0 0 0 pubsub 0 0 0".to_string()),
        ("databases", "1".to_string()),
        ("disable", disabled.join(" ")),
        ("flush-interval", stats.flush_interval.as_millis().to_string()),
        ("maxclients", settings.max_clients.load(Relaxed).to_string()),
        ("maxmemory", "0".to_string()),
        ("maxmemory-policy", "noeviction".to_string()),
        ("metrics", options.metrics.map_or_else(String::new, |address| address.to_string())),
        ("on-poison", if options.on_poison == OnPoison::Exit { "exit" } else { "stay" }.to_string()),
        ("port", if options.tls.is_none() { port.to_string() } else { "0".to_string() }),
        ("proto-max-bulk-len", RequestLimits::CLIENT.word_bytes.to_string()),
        ("read-ahead", options.read_ahead.to_string()),
        ("read-only", if options.read_only { "yes" } else { "no" }.to_string()),
        ("save", String::new()),
        ("shutdown-timeout", options.shutdown_timeout.as_secs().to_string()),
        ("slowlog-log-slower-than", settings.slow_us.load(Relaxed).to_string()),
        ("slowlog-max-len", settings.slow_log_entries.load(Relaxed).to_string()),
        ("tcp-keepalive", seconds(options.tcp_keepalive)),
        ("timeout", settings.idle_timeout_s.load(Relaxed).to_string()),
        ("tls-auth-clients", if client_ca.is_some() { "yes" } else { "no" }.to_string()),
        ("tls-ca-cert-file", path(client_ca)),
        ("tls-cert-file", path(tls.map(|tls| &tls.cert))),
        ("tls-key-file", path(tls.map(|tls| &tls.key))),
        ("tls-port", if tls.is_some() { port.to_string() } else { "0".to_string() }),
        ("unixsocket", path(options.unix_socket.as_ref())),
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

fn set(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    if !args.len().is_multiple_of(2) {
        return Err(Refusal::arity("config|set"));
    }
    let mut changes = Vec::new();
    for at in (2..args.len()).step_by(2) {
        let name = String::from_utf8_lossy(&args.at(at)[..args.at(at).len().min(128)]).to_ascii_lowercase();
        let Some(&(known, least, most)) = CHANGEABLE.iter().find(|(known, ..)| *known == name) else {
            let is_fixed = settings(call).iter().any(|(known, _)| *known == name);
            let reason =
                if is_fixed { "can't set immutable config" } else { "Unknown option or number of arguments for CONFIG SET" };
            return Err(Refusal::new(match is_fixed {
                true => format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"),
                false => format!("ERR {reason} - '{name}'"),
            }));
        };
        let value = number(args.at(at + 1)).ok().filter(|value| (least..=most).contains(value));
        let value = value.ok_or_else(|| {
            let reason = format!("argument must be between {least} and {most} inclusive");
            Refusal::new(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"))
        })?;
        changes.push((known, value));
    }
    let settings = &call.shared.settings;
    for (name, value) in changes {
        let positive = u64::try_from(value).unwrap_or(0);
        let count = usize::try_from(value).unwrap_or(0);
        match name {
            // The files that the process may open do not become more.
            "maxclients" => settings.max_clients.store(count.min(call.shared.options.max_clients), Relaxed),
            "slowlog-log-slower-than" => settings.slow_us.store(value, Relaxed),
            "slowlog-max-len" => settings.slow_log_entries.store(count, Relaxed),
            _ => settings.idle_timeout_s.store(positive, Relaxed),
        }
    }
    call.reply.ok();
    Ok(())
}

fn resetstat(call: &mut Call<'_>, _: Args<'_>) -> Result<(), Refusal> {
    call.shared.counters.reset();
    call.reply.ok();
    Ok(())
}
