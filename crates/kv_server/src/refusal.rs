//! [`Refusal`]: an error as the client reads it. Clients compare these texts, so those of Redis are word for word.
//!
//! The first word is the code that clients test. Codes of this server: `NOSPACE`, `POISONED`, `LOST`, `CLOSED` (a write
//! that the store did not take or is in doubt), `DAMAGED`, `IO` (a value that cannot be read).

use kv_engine::Error;
use std::borrow::Cow;

/// An error reply, with its code and without the `-` before it. It has no line break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal(Cow<'static, str>);

/// What is known of a write that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    NotStored,
    Unknown,
}

impl Refusal {
    pub(crate) const SYNTAX: Refusal = Refusal::fixed("ERR syntax error");
    pub(crate) const NOT_AN_INTEGER: Refusal = Refusal::fixed("ERR value is not an integer or out of range");
    pub(crate) const NOT_A_FLOAT: Refusal = Refusal::fixed("ERR value is not a valid float");
    pub(crate) const OVERFLOW: Refusal = Refusal::fixed("ERR increment or decrement would overflow");
    pub(crate) const DECREMENT: Refusal = Refusal::fixed("ERR decrement would overflow");
    pub(crate) const BAD_COMMAND: Refusal = Refusal::fixed("ERR Invalid command specified");
    pub(crate) const BAD_WORD_COUNT: Refusal = Refusal::fixed("ERR Invalid number of arguments specified for command");
    pub(crate) const NO_KEY_WORDS: Refusal = Refusal::fixed("ERR The command has no key arguments");
    pub(crate) const LONG_NAME: Refusal = Refusal::fixed("ERR the name is too long; a name has at most 256 bytes");
    pub(crate) const BAD_CLIENT_ID: Refusal = Refusal::fixed("ERR Invalid client ID");
    pub(crate) const BAD_CLIENT_ID_KILL: Refusal = Refusal::fixed("ERR client-id should be greater than 0");
    pub(crate) const SAVING: Refusal = Refusal::fixed("ERR Background save already in progress");
    pub(crate) const NO_SHUTDOWN: Refusal = Refusal::fixed("ERR No shutdown in progress.");
    pub(crate) const SHUTDOWN_SAVES: Refusal = Refusal::fixed(
        "ERR this server never ends without saving: everything that was answered OK is kept; use SHUTDOWN without NOSAVE or FORCE",
    );
    pub(crate) const NO_CLUSTER: Refusal = Refusal::fixed("ERR This instance has cluster support disabled");
    pub(crate) const NO_LFU: Refusal = Refusal::fixed(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between \
         policies at runtime LRU and LFU data will take some time to adjust.",
    );
    pub(crate) const SLOWLOG_COUNT: Refusal = Refusal::fixed("ERR count should be greater than or equal to -1");
    pub(crate) const NAN: Refusal = Refusal::fixed("ERR increment would produce NaN or Infinity");
    pub(crate) const NO_KEY: Refusal = Refusal::fixed("ERR no such key");
    pub(crate) const SAME_OBJECTS: Refusal = Refusal::fixed("ERR source and destination objects are the same");
    pub(crate) const OUT_OF_RANGE: Refusal = Refusal::fixed("ERR value is out of range");
    pub(crate) const BAD_TIMEOUT: Refusal = Refusal::fixed("ERR timeout is not an integer or out of range");
    pub(crate) const NEGATIVE_TIMEOUT: Refusal = Refusal::fixed("ERR timeout is negative");
    pub(crate) const FLUSH_SCRIPTS: Refusal = Refusal::fixed("ERR SCRIPT FLUSH only support SYNC|ASYNC option");
    pub(crate) const FLUSH_FUNCTIONS: Refusal = Refusal::fixed("ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
    pub(crate) const OFFSET: Refusal = Refusal::fixed("ERR offset is out of range");
    pub(crate) const DB_INDEX: Refusal = Refusal::fixed("ERR DB index is out of range");
    pub(crate) const NO_EXPIRY: Refusal = Refusal::fixed("ERR keys do not expire in this store");
    pub(crate) const CURSOR: Refusal = Refusal::fixed("ERR invalid cursor");
    pub(crate) const CURSOR_GONE: Refusal = Refusal::fixed(
        "ERR this cursor is not known any more: the server was started again, or has given out many since; scan from 0 again",
    );
    pub(crate) const EMPTY_KEY: Refusal = Refusal::fixed("ERR the key is empty; a key has 1 to 65536 bytes");
    pub(crate) const LONG_KEY: Refusal = Refusal::fixed("ERR the key is too long; a key has 1 to 65536 bytes");
    pub(crate) const LONG_STRING: Refusal = Refusal::fixed("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    pub(crate) const LARGE_WRITE: Refusal =
        Refusal::fixed("ERR the command writes more than 1073741824 bytes at once; nothing was stored; write less at a time");
    pub(crate) const LARGE_REPLY: Refusal =
        Refusal::fixed("ERR the reply would be longer than 1073741824 bytes; ask for less at a time");
    pub(crate) const LARGE_QUEUE: Refusal =
        Refusal::fixed("ERR the commands of this transaction are longer than 1073741824 bytes together");
    pub(crate) const NESTED_MULTI: Refusal = Refusal::fixed("ERR MULTI calls can not be nested");
    pub(crate) const EXEC_WITHOUT_MULTI: Refusal = Refusal::fixed("ERR EXEC without MULTI");
    pub(crate) const DISCARD_WITHOUT_MULTI: Refusal = Refusal::fixed("ERR DISCARD without MULTI");
    pub(crate) const WATCH_IN_MULTI: Refusal = Refusal::fixed("ERR WATCH inside MULTI is not allowed");
    pub(crate) const NOT_IN_MULTI: Refusal = Refusal::fixed("ERR Command not allowed inside a transaction");
    pub(crate) const EXECABORT: Refusal = Refusal::fixed("EXECABORT Transaction discarded because of previous errors.");
    pub(crate) const NOAUTH: Refusal = Refusal::fixed("NOAUTH Authentication required.");
    pub(crate) const HELLO_NOAUTH: Refusal = Refusal::fixed(
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> \
         option can be used to authenticate the client and select the RESP protocol version at the same time",
    );
    pub(crate) const WRONGPASS: Refusal = Refusal::fixed("WRONGPASS invalid username-password pair or user is disabled.");
    pub(crate) const NO_PASSWORD_SET: Refusal = Refusal::fixed(
        "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is \
         correct?",
    );
    pub(crate) const NOPROTO: Refusal = Refusal::fixed("NOPROTO unsupported protocol version");
    pub(crate) const BAD_PROTO: Refusal = Refusal::fixed("ERR Protocol version is not an integer or out of range");
    pub(crate) const BAD_NAME: Refusal =
        Refusal::fixed("ERR Client names cannot contain spaces, newlines or special characters.");
    pub(crate) const MAX_CLIENTS: Refusal = Refusal::fixed("ERR max number of clients reached");
    pub(crate) const READ_ONLY: Refusal =
        Refusal::fixed("READONLY this server takes no writes, as its operator has chosen; nothing was stored");
    pub(crate) const NO_CLIENT: Refusal = Refusal::fixed("ERR No such client");

    pub(crate) const fn fixed(text: &'static str) -> Refusal {
        Refusal(Cow::Borrowed(text))
    }

    /// A text with parts that are known only now. Bytes that would end the reply become blanks.
    pub(crate) fn new(text: impl Into<String>) -> Refusal {
        let text: String = text.into();
        let clean = |text: String| text.replace(|c: char| c.is_control(), " ");
        Refusal(Cow::Owned(if text.contains(|c: char| c.is_control()) { clean(text) } else { text }))
    }

    pub(crate) fn protocol(what: &str) -> Refusal {
        Refusal::new(format!("ERR Protocol error: {what}"))
    }

    pub(crate) fn arity(command: &str) -> Refusal {
        Refusal::new(format!("ERR wrong number of arguments for '{command}' command"))
    }

    pub(crate) fn unknown_command<'a>(name: &[u8], arguments: impl Iterator<Item = &'a [u8]>) -> Refusal {
        const SHOWN: usize = 128;
        let shown = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned();
        let mut beginning = String::new();
        for argument in arguments {
            if beginning.len() >= SHOWN {
                break;
            }
            beginning += &format!("'{}' ", shown(&argument[..argument.len().min(SHOWN - beginning.len())]));
        }
        Refusal::new(format!("ERR unknown command '{}', with args beginning with: {beginning}", shown(name)))
    }

    pub(crate) fn no_user(user: &[u8]) -> Refusal {
        Refusal::new(format!("ERR No such user '{}'", String::from_utf8_lossy(&user[..user.len().min(128)])))
    }

    pub(crate) fn unknown_subcommand(command: &str, sub: &[u8]) -> Refusal {
        let sub = String::from_utf8_lossy(&sub[..sub.len().min(128)]).into_owned();
        Refusal::new(format!("ERR unknown subcommand '{sub}'. Try {command} HELP."))
    }

    /// A subcommand that exists has too many words.
    pub(crate) fn bad_subcommand(command: &str, sub: &[u8]) -> Refusal {
        let sub = String::from_utf8_lossy(&sub[..sub.len().min(128)]).into_owned();
        Refusal::new(format!("ERR unknown subcommand or wrong number of arguments for '{sub}'. Try {command} HELP."))
    }

    /// The answer to a write that the store did not take, or whose outcome is not known.
    pub(crate) fn of_write(error: &Error, fate: Fate) -> Refusal {
        let code = match error {
            Error::NoSpace { .. } => "NOSPACE",
            Error::Poisoned { .. } => "POISONED",
            Error::Lost { .. } => "LOST",
            Error::Closed => "CLOSED",
            _ => "ERR",
        };
        let fate = match fate {
            Fate::NotStored => "this was not stored",
            Fate::Unknown => "it is unknown whether this was stored; read it after the next start, before you repeat it",
        };
        match error {
            // Its own text speaks of the write that met the failure.
            Error::Poisoned { path, reason, .. } => Refusal::new(format!(
                "{code} {fate}: {}: {reason}; reads still work; no write is accepted until the store is opened again",
                path.display()
            )),
            _ => Refusal::new(format!("{code} {fate}: {error}")),
        }
    }

    /// The answer to a read that failed.
    pub(crate) fn of_read(error: &Error) -> Refusal {
        let code = match error {
            Error::Damaged { .. } => "DAMAGED",
            Error::Io { .. } => "IO",
            _ => "ERR",
        };
        Refusal::new(format!("{code} {error}"))
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_line() {
        assert_eq!(Refusal::new("ERR a\r\nb").text(), "ERR a  b");
        let words: [&[u8]; 2] = [b"a\n", b"b"];
        let unknown = Refusal::unknown_command(b"fo\ro", words.into_iter());
        assert_eq!(unknown.text(), "ERR unknown command 'fo o', with args beginning with: 'a ' 'b' ");
    }

    #[test]
    fn a_write_in_doubt_is_never_called_not_stored() {
        let error = || Error::Poisoned { path: "kv.wal".into(), reason: "the sync failed".into(), pending: 0 };
        let told = Refusal::of_write(&error(), Fate::Unknown);
        assert!(told.text().starts_with("POISONED it is unknown whether"), "{told:?}");
        assert!(!told.text().contains("not stored"), "{told:?}");
        assert!(Refusal::of_write(&error(), Fate::NotStored).text().starts_with("POISONED this was not stored"));
    }
}
