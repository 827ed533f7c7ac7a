//! EXPORT: writes every entry to a file, or shows it. How: `transfer/export.rs`.

use super::args::{Args, Word};
use super::reply::{Effect, Verb};
use super::spec::Spec;
use crate::error::CommandError;
use crate::session::Session;
use crate::settings::Settings;
use crate::store::Source;
use crate::transfer::export::{self, Request, Source as From};
use kv_engine::Error;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// Writes every entry to the file, or to stdout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export<'a> {
    file: Option<Word<'a>>,
}

impl<'a> Verb<'a> for Export<'a> {
    const SPEC: &'static Spec = &Spec {
        name: "EXPORT",
        args: &["[file]"],
        arity: (0, 1),
        takes: "at most a file",
        too_many: "quote a name that has blanks",
        summary: "write every entry to file, or show it",
        details: "The file has the state after the last write, in key order, without the writes\n\
            of an open group. It has PUT lines, which kv_cli < file runs. With --json, or\n\
            if its name ends in .jsonl, it has JSON Lines. It is put in place when it is\n\
            complete. It replaces an older export, but no other file. kv_cli export does\n\
            the same without opening the store.",
        example: "EXPORT kv.backup",
        ..Spec::NO_ARGUMENTS
    };
    const EFFECT: Effect = Effect::Reads;
    type Reply = ();

    fn read(args: Args<'a>) -> Result<Export<'a>, CommandError> {
        Ok(Export { file: args.file()? })
    }

    fn run(self, session: &mut Session) -> Result<(), CommandError> {
        let Session { store, settings, output, flags, .. } = session;
        // The files are exported, so what is only in memory is written first. If the log has failed, memory has the
        // last state.
        let source = match store.source(false)? {
            Source::Engine(engine) => match engine.flush() {
                Ok(_) => From::Files,
                Err(Error::Lost { .. } | Error::Poisoned { .. }) => From::Memory(engine),
                Err(error) => return Err(CommandError::of_command(error, "nothing was exported", "export again")),
            },
            Source::Remote(remote) => From::Server(remote),
            Source::Files(_) | Source::Empty => From::Files,
        };
        let file = self.file.map(|name| OsString::from_vec(name.into_owned()).into());
        let Settings { wal, snapshot, quiet, .. } = settings;
        let request = Request { wal, snapshot, file, quiet: *quiet };
        export::run(&request, source, output, flags).map(drop)
    }
}
