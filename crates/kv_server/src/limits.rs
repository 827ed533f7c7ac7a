//! The limits of a connection. Each is checked before anything is allocated for what it bounds.

/// Commands of one turn.
pub(crate) const TURN_COMMANDS: usize = 1024;
/// Bytes that the writes of one turn may have before the turn ends. The last command may go beyond.
pub(crate) const TURN_BYTES: usize = 1 << 20;
/// Unsent replies at which a connection executes no more commands.
pub(crate) const UNSENT_BYTES: usize = 1 << 20;
/// The same before a client has given the password. With its requests, 64 KiB at most.
pub(crate) const UNKNOWN_UNSENT_BYTES: usize = 16 << 10;
/// Requests that are read before their turn has come. One command being read may go beyond.
pub(crate) const READ_AHEAD_BYTES: usize = 1 << 20;
/// The longest reply to one command.
pub(crate) const REPLY_BYTES: usize = 1 << 30;
/// The queued commands of one transaction.
pub(crate) const QUEUE_BYTES: usize = 1 << 30;

/// What the parser of requests accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestLimits {
    /// Words of one command.
    pub(crate) words: usize,
    /// Bytes of one word.
    pub(crate) word_bytes: usize,
    /// Bytes of one command, as sent.
    pub(crate) command_bytes: usize,
    /// Bytes of a command that is a plain line.
    pub(crate) inline_bytes: usize,
}

impl RequestLimits {
    /// Those of a client that has given the password, or has not.
    pub(crate) fn of(authenticated: bool) -> &'static RequestLimits {
        if authenticated { &RequestLimits::CLIENT } else { &RequestLimits::UNKNOWN_CLIENT }
    }

    /// Before a client has given the password.
    pub(crate) const UNKNOWN_CLIENT: RequestLimits =
        RequestLimits { words: 10, word_bytes: 16 << 10, command_bytes: 32 << 10, inline_bytes: 16 << 10 };
    pub(crate) const CLIENT: RequestLimits =
        RequestLimits { words: 1 << 20, word_bytes: 256 << 20, command_bytes: 1 << 30, inline_bytes: 64 << 10 };
}
