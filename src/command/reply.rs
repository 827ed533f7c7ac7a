//! What every command has: its [`Spec`], how it is read, how it runs, and a [`Reply`] that can be written in each form.

use super::args::Args;
use super::spec::Spec;
use crate::error::{Code, CommandError};
use crate::output::{Output, write_raw};
use crate::session::Session;
use crate::settings::Format;
use crate::signals::Flags;
use crate::text::{csv, human_time};
use serde_json::Value as Json;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// A command that took longer gets a note with its time at the prompt.
const SLOW: Duration = Duration::from_millis(500);

/// What a command does to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It may write, so it needs a store that is open.
    Writes,
    /// It changes nothing, and needs a store.
    Reads,
    /// It needs no store.
    None,
}

/// One command of the language.
pub(crate) trait Verb<'a>: Sized {
    const SPEC: &'static Spec;
    const EFFECT: Effect = Effect::Writes;
    type Reply: Reply;

    /// Reads the arguments. Limits that only the store knows are checked when the command runs.
    fn read(args: Args<'a>) -> Result<Self, CommandError>;

    /// Runs it. After an error nothing was written, except that the write of `Code::LogFailed` may be on the disk.
    fn run(self, session: &mut Session) -> Result<Self::Reply, CommandError>;
}

/// The reply of a command.
pub(crate) trait Reply {
    /// As text: whole lines.
    fn text(&self, out: &mut impl Write) -> io::Result<()>;

    /// As text, but data is written as its own bytes.
    fn raw(&self, out: &mut impl Write) -> io::Result<()> {
        self.text(out)
    }

    /// As rows of CSV; without its own ones, each line of the text is a row.
    fn csv(&self, out: &mut impl Write) -> io::Result<()> {
        let mut text = Vec::new();
        self.text(&mut text)?;
        text.strip_suffix(b"\n").unwrap_or(&text).split(|&b| b == b'\n').try_for_each(|line| csv::write_row([line], out))
    }

    /// The fields of the JSON object, after `cmd` and `ok`.
    fn json(&self) -> Vec<(&'static str, Json)> {
        Vec::new()
    }

    /// What a person at the prompt may want to know beyond the reply. The argument is the batch size.
    fn note(&self, _: u64) -> Option<String> {
        None
    }

    /// What a person at the prompt must know, also if the reply is not text.
    fn notice(&self) -> Option<String> {
        None
    }

    /// Writes it in the form that `output` has. `note` is only called at a prompt.
    fn write(
        &self,
        spec: &Spec,
        output: &mut Output,
        _: &Flags,
        note: impl FnOnce() -> Option<String>,
    ) -> Result<(), CommandError> {
        match output.format {
            Format::Json => {
                let mut fields: Vec<(&str, Json)> = vec![("cmd", spec.name.into()), ("ok", true.into())];
                fields.extend(self.json());
                output.line_json(&fields);
            }
            Format::Text if !output.interactive => output.write(|out| self.text(out)),
            Format::Text => {
                let mut text = Vec::new();
                let done = self.text(&mut text);
                output.keep(done);
                output.noted(text, note());
            }
            Format::Raw if !output.terminal => output.write(|out| self.raw(out)),
            Format::Raw => output.write(|out| {
                let mut bytes = Vec::new();
                self.raw(&mut bytes)?;
                write_raw(&bytes, true, out)
            }),
            Format::Csv => output.write(|out| self.csv(out)),
        }
        if matches!(output.format, Format::Raw | Format::Csv)
            && output.interactive
            && let Some(notice) = self.notice()
        {
            output.dim_line(&notice);
        }
        Ok(())
    }
}

/// For a command that answers while it runs.
impl Reply for () {
    fn text(&self, _: &mut impl Write) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, _: &Spec, _: &mut Output, _: &Flags, _: impl FnOnce() -> Option<String>) -> Result<(), CommandError> {
        Ok(())
    }
}

/// Runs a command and writes its reply.
pub(super) fn answer<'a, V: Verb<'a>>(verb: V, session: &mut Session) -> Result<(), CommandError> {
    let timing = session.settings.timing;
    let began = (timing || session.output.interactive).then(Instant::now);
    if V::EFFECT == Effect::Writes && session.store.is_read_only() {
        let text =
            format!("{} may write, and this session only reads; nothing was changed; run it without --read-only", V::SPEC.name);
        return Err(CommandError::new(Code::ReadOnly, text));
    }
    if V::EFFECT == Effect::Reads {
        session.look_again()?;
    }
    let reply = verb.run(session);
    session.report_connection();
    let reply = reply?;
    let took = began.map(|began| began.elapsed());
    let batch_size = session.batch_size();
    let note = || joined(reply.note(batch_size), took.filter(|&took| timing || took >= SLOW));
    reply.write(V::SPEC, &mut session.output, session.flags, note)?;
    if let Some(took) = took.filter(|_| timing && !session.output.interactive && !session.is_leaving()) {
        session.output.aside(&format!("kv_cli: {} took {:.6} s", V::SPEC.name, took.as_secs_f64()));
    }
    Ok(())
}

fn joined(about: Option<String>, took: Option<Duration>) -> Option<String> {
    let took =
        took.map(|took| if took >= SLOW { format!("({:.2}s)", took.as_secs_f64()) } else { format!("({})", human_time(took)) });
    let parts: Vec<_> = about.into_iter().chain(took).collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}
