//! `kv_cli connect`: the shell for a store that a server serves. Commands, scripts and the prompt are the same as for a
//! store of this process. `remote` does the work.

use crate::args::ConnectArgs;
use crate::error::{Code, CommandError};
use crate::password;
use crate::remote::{Remote, Target, Tls};
use crate::signals::Flags;
use crate::store::Store;
use anyhow::Context;

/// Connects to the server.
pub(crate) fn open(args: &ConnectArgs, flags: &'static Flags) -> Result<Store, CommandError> {
    let unopened = |error: anyhow::Error| CommandError::new(Code::NotOpened, format!("{error:#}"));
    let password = password::read(args.password_file.as_deref(), "nothing was done").map_err(unopened)?;
    let identity = args.tls_cert.as_deref().zip(args.tls_key.as_deref());
    let tls = args.tls.then(|| Tls::new(args.tls_ca.as_deref(), identity)).transpose();
    let tls = tls.context("TLS cannot be used; nothing was done").map_err(unopened)?;
    Remote::connect(Target { address: args.address(), password, tls }, flags).map(Store::remote)
}
