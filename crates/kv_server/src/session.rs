//! [`Session`]: what the server knows of one connection between its commands.

use crate::clients::Client;
use crate::resp::Span;
use crate::sequencer::Watch;
use std::sync::Arc;

/// Which replies the client wants (CLIENT REPLY).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wanted {
    #[default]
    All,
    /// None, until CLIENT REPLY ON.
    None,
    /// Not that of the next command.
    SkipNext,
    /// Not that of the command that is executed.
    SkipThis,
}

/// A command that waits for EXEC. `spec` is its row in the table.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) row: usize,
    pub(crate) bytes: Box<[u8]>,
    pub(crate) spans: Box<[Span]>,
}

/// A transaction between MULTI and EXEC.
#[derive(Debug, Default)]
pub(crate) struct Multi {
    pub(crate) queue: Vec<Queued>,
    pub(crate) bytes: usize,
    /// A command could not be queued, so EXEC refuses.
    pub(crate) aborted: bool,
}

#[derive(Debug)]
pub(crate) struct Session {
    /// What other connections see of this one.
    pub(crate) client: Arc<Client>,
    pub(crate) authenticated: bool,
    pub(crate) wanted: Wanted,
    pub(crate) multi: Option<Box<Multi>>,
    pub(crate) watches: Vec<Watch>,
    /// The connection ends when what was answered is sent.
    pub(crate) closing: bool,
}

impl Session {
    pub(crate) fn new(client: Arc<Client>, authenticated: bool) -> Session {
        Session { client, authenticated, wanted: Wanted::All, multi: None, watches: Vec::new(), closing: false }
    }
}
