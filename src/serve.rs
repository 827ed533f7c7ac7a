//! `kv_cli serve`: serves the store to Redis clients. The work is that of the crate `kv_server`.
//!
//! 1. Check the options, and read the password. Nothing is opened if one is wrong.
//! 2. Listen to signals. Then the caller opens the store.
//! 3. Start the server, and say where it listens and what an OK means.
//! 4. Wait for the end. SIGTERM, SIGINT and the command SHUTDOWN begin it. A second signal ends the process at once.
//!
//! The status is 0 after an end that was asked for, 3 if the store could not be opened, 4 if the log failed.

use crate::args::{Args, ServeArgs};
use crate::error::CommandError;
use crate::signals::{self, Flags};
use crate::streams::say;
use crate::text::safe;
use anyhow::{Context, bail};
use kv_engine::Engine;
use kv_server::{Options, Server};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;

const PASSWORD_VARIABLE: &str = "KV_PASSWORD";
/// A longer file is not a password.
const MOST_PASSWORD_BYTES: u64 = 4096;

/// The exit status after the log has failed.
const LOG_FAILED: u8 = 4;

/// Step 1.
pub(crate) fn options(args: &ServeArgs) -> anyhow::Result<Options> {
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
        .shutdown_timeout(args.shutdown_timeout);
    if let Some(path) = &args.unixsocket {
        options = options.unix_socket(path);
    }
    if let Some(password) = password(args.password_file.as_deref())? {
        options = options.password(password);
    }
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

/// Step 2.
pub(crate) fn listen(flags: &'static Flags) -> io::Result<()> {
    signals::begin_server(flags, || {})
}

/// The store was not opened.
pub(crate) fn not_opened(error: &CommandError) -> ExitCode {
    say(&format!("kv_cli: error: {}", safe(&error.to_string())));
    ExitCode::from(error.code.status())
}

/// Steps 3 and 4.
pub(crate) fn run(args: &Args, engine: Engine, options: Options) -> anyhow::Result<ExitCode> {
    engine.recovery().warnings().iter().for_each(|text| say(&format!("kv_cli: warning: {}", safe(text))));
    let server = Server::start(engine.clone(), options)?;
    let contact = server.contact();
    engine.set_contact(&contact);
    say(&format!("kv_cli: serving {} at {}; {}", safe(&args.wal.display().to_string()), safe(&contact), promise(args.batch)));
    let handle = server.handle();
    signals::listen(move |_| handle.shut_down());
    match server.wait() {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            say(&format!("kv_cli: error: {}", safe(&error.to_string())));
            Ok(ExitCode::from(LOG_FAILED))
        }
    }
}

/// What an OK means.
fn promise(batch: u64) -> String {
    match batch {
        1 => "every OK is durable".to_string(),
        n => format!("batch {n}: a crash can take back the last {} writes that were answered OK", n - 1),
    }
}
