//! `kv_cli serve`: serves the store to Redis clients. The work is that of the crate `kv_server`.
//!
//! 1. Check the options, and read the password. Nothing is opened if one is wrong.
//! 2. Listen to signals. Then the caller opens the store.
//! 3. Start the server. Events go to stderr; the first one says where it listens and what an OK means.
//! 4. Wait for the end. SIGTERM, SIGINT and the command SHUTDOWN begin it. A second signal ends the process at once.
//!
//! SIGHUP reads the files of TLS again. Without TLS it does nothing.
//!
//! The status is 0 after an end that was asked for, 3 if the store could not be opened, 4 if the log failed.

use crate::args::{LogFormat, ServeArgs, Then};
use crate::error::CommandError;
use crate::password;
use crate::signals::{self, Flags};
use crate::streams::say;
use crate::text::{object, safe};
use anyhow::bail;
use kv_engine::Engine;
use kv_server::{Event, Handle, OnPoison, Options, Server, Tls};
use sd_notify::NotifyState;
use std::io;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The exit status after the log has failed.
const LOG_FAILED: u8 = 4;

/// Step 1.
pub(crate) fn options(args: &ServeArgs, read_only: bool) -> anyhow::Result<Options> {
    let addresses = args.addresses();
    if addresses.is_empty() && args.unixsocket.is_none() {
        bail!("--listen off needs --unixsocket PATH: the server would listen nowhere");
    }
    let some = |time: std::time::Duration| Some(time).filter(|time| !time.is_zero());
    let mut options = Options::default()
        .listen(addresses)
        .max_clients(usize::try_from(args.max_clients).unwrap_or(usize::MAX))
        .idle_timeout(some(args.timeout))
        .tcp_keepalive(some(args.tcp_keepalive))
        .shutdown_timeout(args.shutdown_timeout)
        .metrics(args.metrics)
        .on_poison(match args.on_poison {
            Then::Exit => OnPoison::Exit,
            Then::Stay => OnPoison::Stay,
        });
    let format = args.log_format;
    options = options.log(move |event| say(&line(event, format)));
    if let Some(path) = &args.unixsocket {
        options = options.unix_socket(path);
    }
    if let Some(password) = password::read(args.password_file.as_deref(), "the server was not started")? {
        options = options.password(password);
    }
    if let (Some(cert), Some(key)) = (&args.tls_cert, &args.tls_key) {
        options = options.tls(Tls { cert: cert.clone(), key: key.clone(), client_ca: args.tls_client_ca.clone() });
    }
    let options = options.read_only(read_only).disable(&args.disable)?;
    options.check()?;
    Ok(options)
}

/// The server, when it has started.
static STARTED: OnceLock<Handle> = OnceLock::new();

/// A SIGHUP has come, and the files of TLS were not read since.
static MUST_RELOAD: AtomicBool = AtomicBool::new(false);

/// Step 2. A SIGHUP that comes before the server has started takes effect when it has.
pub(crate) fn listen(flags: &'static Flags) -> io::Result<()> {
    signals::begin_server(flags, || {
        MUST_RELOAD.store(true, Ordering::SeqCst);
        reload();
    })
}

fn reload() {
    if let Some(server) = STARTED.get()
        && MUST_RELOAD.swap(false, Ordering::SeqCst)
    {
        let _ = server.reload_tls(); // an event says how it went
    }
}

/// The store was not opened.
pub(crate) fn not_opened(error: &CommandError) -> ExitCode {
    say(&format!("kv_cli: error: {}", safe(&error.to_string())));
    ExitCode::from(error.code.status())
}

/// Steps 3 and 4.
pub(crate) fn run(engine: Engine, options: Options) -> anyhow::Result<ExitCode> {
    engine.recovery().warnings().iter().for_each(|text| say(&format!("kv_cli: warning: {}", safe(text))));
    let server = Server::start(engine.clone(), options)?;
    engine.set_contact(&server.contact());
    // Nobody may be listening, which is no mistake.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    let handle = server.handle();
    let _ = STARTED.set(handle.clone());
    reload();
    signals::listen(move |_| {
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        handle.shut_down();
    });
    Ok(match server.wait() {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(LOG_FAILED), // an event has said why
    })
}

/// An event as a line of the log.
fn line(event: &Event, format: LogFormat) -> String {
    let at = humantime::format_rfc3339_millis(event.at).to_string();
    match format {
        LogFormat::Text => format!("{at} {}", safe(&event.to_string())),
        LogFormat::Json => {
            let of_all = [("at", at.into()), ("level", event.level.to_string().into()), ("event", event.name.into())];
            let fields = event.fields.iter().map(|(name, value)| (*name, value.as_str().into()));
            object(&of_all.into_iter().chain(fields).collect::<Vec<_>>()).trim_end().to_string()
        }
    }
}
