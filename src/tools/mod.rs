//! The tools: `kv_cli wal`, `verify`, `export`, `replay` and `torture`. Each takes the settings of the command line and
//! returns an exit status.
//!
//! All but `torture` read the store's files without opening the store. They take no lock and change no byte, so they
//! may look at a store that is open. `kv_cli import` writes to the store, so it is a session like a script.
//!
//! | module | what it does |
//! |---|---|
//! | `wal` | prints a log, record by record, as text, JSON or bytes |
//! | `verify` | checks every byte of log and snapshot |
//! | `export` | writes every entry to a file or to stdout |
//! | `replay` | rebuilds the state at any write, exports it, and compares two stores |
//! | `torture` | crashes, fails and damages the store on a simulated disk |
//! | `kills` | kills this program as a process of its own, for `torture` |

mod export;
mod kills;
mod replay;
mod status;
mod torture;
mod verify;
mod wal;

use crate::args::{Args, Words};
use crate::signals::Flags;
use std::process::ExitCode;

/// Runs the tool that the command line names; `None` if it names none.
pub(crate) fn run(args: &Args, flags: &'static Flags) -> Option<ExitCode> {
    let status = match args.words.as_ref()? {
        Words::Wal(wal) => wal::run(args, wal, flags),
        Words::Verify => verify::run(args),
        Words::Export(export) => export::run(args, export, flags),
        Words::Replay(replay) => replay::run(args, replay, flags),
        Words::Torture(torture) => torture::run(args, torture, flags),
        Words::Import(_) | Words::Serve(_) | Words::Connect(_) | Words::Command(_) => return None,
    };
    Some(ExitCode::from(status))
}
