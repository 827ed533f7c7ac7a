//! IMPORT: reads entries from a file. How: `transfer/import.rs`.

use super::args::{Args, Word};
use super::reply::Verb;
use super::spec::Spec;
use crate::error::{Code, CommandError};
use crate::session::Session;
use crate::transfer::import::{self, Request};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// Reads entries from the file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the name says it")]
pub struct Import<'a> {
    pub file: Word<'a>,
}

impl<'a> Verb<'a> for Import<'a> {
    const SPEC: &'static Spec = &Spec {
        name: "IMPORT",
        args: &["file"],
        arity: (1, 1),
        takes: "a file",
        too_many: "quote a name that has blanks",
        summary: "read entries from file",
        details: "The file is an export in either form, or the log or snapshot of the C++ store;\n\
            its beginning says which. All of it is checked before anything is written.\n\
            Then it is written in order, in atomic groups of 1000 entries or 1 MiB. All of\n\
            it is durable when IMPORT answers. Entries that are stored already are not\n\
            written again, so after a crash just IMPORT again.",
        example: "IMPORT kv.backup",
        ..Spec::NO_ARGUMENTS
    };
    type Reply = ();

    fn read(args: Args<'a>) -> Result<Import<'a>, CommandError> {
        Ok(Import { file: args.file()?.unwrap_or_default() })
    }

    fn run(self, session: &mut Session) -> Result<(), CommandError> {
        if session.group.is_some() {
            let text = "IMPORT writes groups of its own, and a group is open; COMMIT or ABORT it first";
            return Err(CommandError::new(Code::GroupOpen, text));
        }
        let files = vec![OsString::from_vec(self.file.into_owned()).into()];
        let Session { settings, flags, .. } = session;
        let (wal, quiet) = (settings.wal.clone(), settings.quiet);
        let request = Request { wal: &wal, files, from: None, salvage: false, quiet };
        // Before the store is opened, so that a file that cannot be imported does not create one.
        let checked = import::check(&request, flags)?;
        let engine = session.engine()?.clone();
        import::write(&checked, &request, &engine, &mut session.output, session.flags)
    }
}
