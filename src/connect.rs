//! `kv_cli connect`: the shell for a store that a server serves. Commands, scripts and the prompt are those of a store of
//! this process. `remote` does the work.

use crate::args::ConnectArgs;
use crate::error::{Code, CommandError};
use crate::password;
use crate::remote::{Remote, Target};
use crate::signals::Flags;
use crate::store::Store;

/// Connects to the server.
pub(crate) fn open(args: &ConnectArgs, flags: &'static Flags) -> Result<Store, CommandError> {
    let password = password::read(args.password_file.as_deref(), "nothing was done")
        .map_err(|error| CommandError::new(Code::NotOpened, format!("{error:#}")))?;
    Remote::connect(Target { address: args.address(), password }, flags).map(Store::remote)
}
