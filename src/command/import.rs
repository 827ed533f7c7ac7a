//! IMPORT: reads entries from a file. How: `transfer/import.rs`.

use super::args::{Args, Word};
use super::reply::Verb;
use super::spec::Spec;
use crate::error::{Code, CommandError};
use crate::question::confirm;
use crate::session::Session;
use crate::signals::Flags;
use crate::text::displayed;
use crate::transfer::import::{self, Checked, Request};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Instant;

/// Reads entries from the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import<'a> {
    /// The file.
    pub file: Word<'a>,
    /// Whether it may replace stored values without a question.
    pub replace: bool,
}

impl<'a> Verb<'a> for Import<'a> {
    const SPEC: &'static Spec = &Spec {
        name: "IMPORT",
        args: &["file", "[REPLACE]"],
        arity: (1, 2),
        takes: "a file",
        too_many: "quote a name that has blanks",
        summary: "read entries from file",
        details: "The file is an export in either form, or the log or snapshot of the C++ store;\n\
            its beginning says which. All of it is checked before anything is written.\n\
            Then it is written in order, in atomic groups of 1000 entries or 1 MiB. All of\n\
            it is durable when IMPORT answers. Entries that are stored already are not\n\
            written again, so after a crash just IMPORT again. At a prompt it asks before\n\
            it replaces or removes what is stored; with REPLACE it does not, and neither\n\
            does a script.",
        example: "IMPORT kv.backup",
        ..Spec::NO_ARGUMENTS
    };
    type Reply = ();

    fn read(args: Args<'a>) -> Result<Import<'a>, CommandError> {
        let replace = args.count == 2;
        let [_, keyword, _] = &args.words;
        if replace && !keyword.eq_ignore_ascii_case(b"REPLACE") {
            // Which word is wrong is not known.
            let text = format!("IMPORT takes a file, got 2 words; {}", args.spec.too_many);
            return Err(CommandError::new(Code::WrongArity, text));
        }
        Ok(Import { file: args.file()?.unwrap_or_default(), replace })
    }

    fn run(self, session: &mut Session) -> Result<(), CommandError> {
        if session.group.is_some() {
            let text = "IMPORT writes groups of its own, and a group is open; COMMIT or ABORT it first";
            return Err(CommandError::new(Code::GroupOpen, text));
        }
        session.look_again()?;
        let name = displayed(&self.file);
        let files = vec![OsString::from_vec(self.file.into_owned()).into()];
        let Session { settings, flags, .. } = session;
        let (wal, quiet) = (settings.wal.clone(), settings.quiet);
        let request = Request { wal: &wal, files, from: None, salvage: false, quiet };
        // A store that is not there has nothing to replace.
        let asks = session.can_ask && !self.replace;
        let stored = if asks { session.store.comparable() } else { None };
        // Before the store is opened, so that a file that cannot be imported does not create one.
        let mut checked = import::check(&request, stored, flags)?;
        must_be_confirmed(&name, &mut checked, flags)?;
        let (store, output, flags) = session.writer_and_output()?;
        import::write(&checked, &request, store, output, flags)
    }
}

/// Asks if something would be replaced. The time of the answer is not that of the import.
fn must_be_confirmed(name: &str, checked: &mut Checked, flags: &Flags) -> Result<(), CommandError> {
    let Some((count, first)) = checked.replaced() else { return Ok(()) };
    let what = match count {
        1 => "1 entry changes".to_string(),
        n => format!("{n} entries change"),
    };
    let question = format!("{name}: {what} what is stored, first '{}'; import?", displayed(first));
    let asked = Instant::now();
    let is_confirmed = confirm(&question, flags);
    checked.leave_out(asked.elapsed());
    if is_confirmed {
        return Ok(());
    }
    let text = "not imported, nothing was stored; IMPORT file REPLACE does not ask";
    Err(CommandError::new(Code::Interrupted, text))
}
