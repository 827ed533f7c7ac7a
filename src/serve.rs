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
use crate::signals::{self, Flags};
use crate::streams::say;
use crate::text::{object, safe};
use anyhow::{Context, bail};
use kv_engine::Engine;
use kv_server::{Event, Handle, OnPoison, Options, Server, Tls};
use sd_notify::NotifyState;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;
use std::sync::OnceLock;

const PASSWORD_VARIABLE: &str = "KV_PASSWORD";
/// A longer file is not a password.
const MOST_PASSWORD_BYTES: u64 = 4096;

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
    if let Some(password) = password(args.password_file.as_deref())? {
        options = options.password(password);
    }
    if let (Some(cert), Some(key)) = (&args.tls_cert, &args.tls_key) {
        options = options.tls(Tls { cert: cert.clone(), key: key.clone(), client_ca: args.tls_client_ca.clone() });
    }
    let options = options.read_only(read_only).disable(&args.disable)?;
    options.check()?;
    Ok(options)
}

/// The password of the file, or that of the variable.
fn password(file: Option<&Path>) -> anyhow::Result<Option<Vec<u8>>> {
    let (password, of) = match file {
        Some(path) => {
            let of = format!("the password file {}", safe(&path.display().to_string()));
            let mut bytes = Vec::new();
            let read = File::open(path).and_then(|file| file.take(MOST_PASSWORD_BYTES + 1).read_to_end(&mut bytes));
            read.with_context(|| format!("{of} cannot be read; the server was not started"))?;
            if bytes.len() as u64 > MOST_PASSWORD_BYTES {
                bail!("{of} is longer than {MOST_PASSWORD_BYTES} bytes, so it is no password; the server was not started");
            }
            let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
            (line.strip_suffix(b"\r").unwrap_or(line).to_vec(), of)
        }
        None => match std::env::var_os(PASSWORD_VARIABLE) {
            Some(value) => (value.into_encoded_bytes(), PASSWORD_VARIABLE.to_string()),
            None => return Ok(None),
        },
    };
    if password.is_empty() {
        bail!("{of} is empty; the server was not started; to serve without a password, leave it out");
    }
    Ok(Some(password))
}

/// The server, when it has started.
static STARTED: OnceLock<Handle> = OnceLock::new();

/// Step 2. A SIGHUP that comes before the server has started does nothing: the start itself reads the files.
pub(crate) fn listen(flags: &'static Flags) -> io::Result<()> {
    signals::begin_server(flags, || {
        // An event says how it went.
        let _ = STARTED.get().map(Handle::reload_tls);
    })
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
