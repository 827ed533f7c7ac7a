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
use crate::password;
use crate::signals::{self, Flags};
use crate::streams::say;
use crate::text::safe;
use anyhow::bail;
use kv_engine::Engine;
use kv_server::{Options, Server};
use std::io;
use std::process::ExitCode;

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
    if let Some(password) = password::read(args.password_file.as_deref(), "the server was not started")? {
        options = options.password(password);
    }
    options.check()?;
    Ok(options)
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
