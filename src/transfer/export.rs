//! EXPORT, `kv_cli export` and `kv_cli replay --export`: every entry, to a file or to stdout.
//!
//! An export of a store is a consistent view of it right after its last write. Both commands read the store's files
//! with [`kv_engine::export`], so memory holds only the entries of the log. EXPORT flushes first, so that every
//! accepted write is in the files. If that fails because the log has failed or is lost, it exports the state in memory.
//! The tool takes no lock, so it works beside an open store. `replay` exports a state that it has rebuilt in memory.
//!
//! A server gives its entries page by page, and other clients may write in between. The server counts its writes. If
//! that number has not changed, the export is the state after that write. Otherwise a warning says which writes came.
//!
//! Steps for a file (see `outfile` for how no other file is lost):
//!
//! 1. Refuse a name of the store, and a name of an existing file that is not an export.
//! 2. Write a temporary file with mode 0600.
//! 3. Sync it.
//! 4. Rename it.
//! 5. Sync the directory.

use crate::error::{Code, CommandError};
use crate::outfile::{self, Kind, StoreFiles, Target};
use crate::output::Output;
use crate::progress::Progress;
use crate::remote::{Figures, Remote};
use crate::settings::Format;
use crate::signals::Flags;
use crate::text::{counted, entries, human_time, whole_ms};
use crate::transfer::form::{self, Form, Origin, Writer};
use kv_engine::export::{self, Export, SalvageReport};
use kv_engine::inspect::BARE_END;
use kv_engine::replay::Replayed;
use kv_engine::{Digest, Engine, Error, LogTail, Seq};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const BUFFER_BYTES: usize = 256 << 10;
static EXPORT: Kind = Kind {
    refusal: ("this file exists and is not an export", "remove it, or choose another name"),
    is_one: form::is_export,
    mode: 0o600,
};

/// What to export, and to which file.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) wal: &'a Path,
    pub(crate) snapshot: &'a Path,
    /// `None`: stdout.
    pub(crate) file: Option<PathBuf>,
    pub(crate) quiet: bool,
}

/// Where the entries come from.
pub(crate) enum Source<'a> {
    /// The files of the store.
    Files,
    /// What passes its checks in damaged files.
    Salvage,
    /// An open store whose log has failed. It takes no more writes, and its state is exported from memory.
    Memory(&'a Engine),
    /// The state after an earlier write.
    Replayed(&'a Replayed),
    /// What a server serves.
    Server(&'a mut Remote),
}

/// A finished export.
#[derive(Debug)]
pub(crate) struct Done {
    entries: u64,
    /// `None` for salvaged entries, and if a server was written to meanwhile.
    seq: Option<Seq>,
    digest: Digest,
    salvaged: Option<SalvageReport>,
    warning: Option<String>,
    took: Duration,
}

/// What was exported so far.
#[derive(Default)]
struct Taken {
    seq: Option<Seq>,
    salvaged: Option<SalvageReport>,
    warning: Option<String>,
}

impl Done {
    /// Whether entries were salvaged and something was wrong with the files.
    pub(crate) fn has_notes(&self) -> bool {
        self.salvaged.as_ref().is_some_and(|salvaged| !salvaged.notes.is_empty())
    }
}

/// Exports and answers. `Ok(None)`: stdout failed. `output` reports that at its end.
pub(crate) fn run(
    request: &Request<'_>,
    source: Source<'_>,
    output: &mut Output,
    flags: &Flags,
) -> Result<Option<Done>, CommandError> {
    let by_name =
        |file: &PathBuf| file.extension().is_some_and(|ext| ["jsonl", "ndjson", "json"].iter().any(|json| ext == *json));
    let form = match output.format {
        Format::Json => Form::Json,
        _ if request.file.as_ref().is_some_and(by_name) => Form::Json,
        _ => Form::Text,
    };
    let done = match &request.file {
        None if output.format == Format::Csv => {
            let text = "an export is PUT lines or JSON Lines, and not CSV; nothing was exported; name a file, or use SCAN";
            return Err(CommandError::new(Code::BadArgument, text));
        }
        None => match write(request, source, output.stream(), form, flags) {
            Ok((_, done)) => done,
            Err(Failure::Output(error)) => {
                output.keep(Err(error));
                return Ok(None);
            }
            Err(failure) => return Err(failure.explain(request)),
        },
        Some(file) => {
            let store = StoreFiles { wal: request.wal, snapshot: request.snapshot };
            let target = Target::claim(file, store, &EXPORT).map_err(|error| refused(file, &error))?;
            let out = BufWriter::with_capacity(BUFFER_BYTES, target);
            let failed = |failure: Failure| match failure {
                Failure::Output(error) => refused(file, &error),
                failure => failure.explain(request),
            };
            let (out, done) = write(request, source, out, form, flags).map_err(failed)?;
            let target = out.into_inner().map_err(|error| refused(file, error.error()))?;
            target.put_in_place().map_err(|error| refused(file, &error))?;
            done
        }
    };
    if let Some(warning) = done.warning.as_ref().filter(|_| !request.quiet) {
        output.warn(warning);
    }
    answer(request, &done, output);
    Ok(Some(done))
}

fn refused(file: &Path, error: &io::Error) -> CommandError {
    let (what, advice) = outfile::what_and_advice(error);
    CommandError::new(Code::BadArgument, format!("{}: {what}; nothing was exported{advice}", file.display()))
}

/// Why there is no export.
enum Failure {
    /// The files of the store cannot be exported. Nothing was written yet.
    Store(Error),
    /// As `Store`, after the first line was written.
    Late(Error),
    /// The server failed. Lines may be written.
    Server(CommandError),
    Output(io::Error),
    /// After this number of entries, and this time.
    Interrupted(u64, Duration),
}

impl Failure {
    fn explain(self, request: &Request<'_>) -> CommandError {
        // A file is put in place when it is complete. Lines on stdout cannot be taken back.
        let broken_off = match request.file {
            Some(_) => NOTHING,
            None => "the export is incomplete: it has no last line",
        };
        match self {
            Failure::Store(error) => unexported(&error, NOTHING),
            Failure::Late(error) => unexported(&error, broken_off),
            Failure::Server(error) => CommandError::new(error.code, format!("{}; {broken_off}", error.text)),
            Failure::Output(error) => CommandError::new(Code::Failed, error.to_string()),
            Failure::Interrupted(count, took) => {
                let text = format!("interrupted after {} and {}; {broken_off}", human_time(took), entries(count));
                CommandError::new(Code::Interrupted, text)
            }
        }
    }
}

const NOTHING: &str = "nothing was exported";

/// What is wrong with the files of the store, what was `exported`, and what to do.
fn unexported(error: &Error, exported: &str) -> CommandError {
    let advice = match error {
        Error::Damaged { .. } => "; kv_cli export --salvage exports every entry that passes its checks",
        Error::Io { doing: "reading", .. } => "; kv_cli export --salvage skips the parts that cannot be read",
        Error::Foreign { .. } => {
            "; if it was a file of this store: kv_cli export --salvage exports the entries that are still in it"
        }
        Error::Mismatch { .. } => "; kv_cli export --salvage exports every entry it finds, and reports what is missing",
        _ => "",
    };
    // Some texts of the engine say the same as one of the two.
    let text = error.to_string();
    let advice = if text.contains("export --salvage") { "" } else { advice };
    let text = match text.contains(UNCHANGED) {
        true => text.replacen(UNCHANGED, exported, 1),
        false => format!("{text}; {exported}"),
    };
    CommandError::new(Code::Failed, text + advice)
}

/// An export changes no file of the store, so what was exported says more.
const UNCHANGED: &str = "nothing was changed";

/// Streams everything into `out`.
fn write<W: Write>(request: &Request<'_>, source: Source<'_>, out: W, form: Form, flags: &Flags) -> Result<(W, Done), Failure> {
    let mut progress = Progress::new("EXPORT {human_pos} entries, {elapsed}", None, request.quiet);
    let began = Instant::now();
    let mut failed = None;
    let mut step = |writer: &mut Writer<W>, key: &[u8], value: &[u8]| {
        progress.step(|| writer.entries());
        failed = match flags.interrupted() {
            true => Some(Failure::Interrupted(writer.entries(), began.elapsed())),
            false => writer.entry(key, value).err().map(Failure::Output),
        };
        if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let begin = |out, store_id, seq| Writer::begin(out, form, Origin::State { store_id, seq }).map_err(Failure::Output);
    let (writer, taken) = match source {
        Source::Salvage => {
            let salvage = export::salvage(request.wal, request.snapshot);
            let mut writer = Writer::begin(out, form, Origin::Salvage).map_err(Failure::Output)?;
            let salvaged = salvage.each(|key, value| step(&mut writer, key, value));
            (writer, Taken { salvaged: Some(salvaged), ..Taken::default() })
        }
        Source::Memory(engine) => {
            let stats = engine.stats();
            let seq = stats.durable + stats.pending;
            let warning = Some(format!(
                "the log has failed; the export is the state in memory, after write {seq}; the next opening of the store may find less"
            ));
            let mut writer = begin(out, stats.store_id, seq)?;
            for entry in engine.scan("") {
                let (key, value) = entry.map_err(Failure::Late)?;
                if step(&mut writer, &key, &value).is_break() {
                    break;
                }
            }
            (writer, Taken { seq: Some(seq), salvaged: None, warning })
        }
        Source::Replayed(state) => {
            let mut writer = begin(out, state.store_id, state.seq)?;
            let _ = state.entries().try_for_each(|(key, value)| step(&mut writer, key, value));
            (writer, Taken { seq: Some(state.seq), ..Taken::default() })
        }
        Source::Files => {
            let export = export::read(request.wal, request.snapshot).map_err(Failure::Store)?;
            let warning = export_warning(&export, request.wal);
            let seq = export.seq;
            let mut writer = begin(out, export.store_id, seq)?;
            export.each(|key, value| step(&mut writer, key, value)).map_err(Failure::Late)?;
            (writer, Taken { seq: Some(seq), salvaged: None, warning })
        }
        Source::Server(remote) => {
            let before = remote.figures().map_err(Failure::Server)?;
            let (address, store_id) = (remote.address().to_string(), remote.server().store_id.clone());
            let origin = Origin::Server { store_id: &store_id, address: &address };
            let mut writer = Writer::begin(out, form, origin).map_err(Failure::Output)?;
            let each = |key: &[u8], value: Option<&[u8]>| step(&mut writer, key, value.unwrap_or_default());
            let read = remote.each(b"", true, each);
            // What `step` has found comes first: it has ended the reading.
            let after = if failed.is_none() { read.and_then(|()| remote.figures()) } else { Ok(Figures::default()) };
            (writer, between(&before, &after.map_err(Failure::Server)?))
        }
    };
    drop(progress);
    if let Some(failure) = failed {
        return Err(failure);
    }
    let (out, entries, digest) = writer.end().map_err(Failure::Output)?;
    let Taken { seq, salvaged, warning } = taken;
    Ok((out, Done { entries, seq, digest, salvaged, warning, took: began.elapsed() }))
}

/// What an export of a server is, by the figures of the server before and after it.
fn between(before: &Figures, after: &Figures) -> Taken {
    let number = |figures: &Figures, name| figures.number(name);
    let (first, last) = (number(before, "last_write"), number(after, "last_write"));
    // Each write that was on its way at first may have become visible meanwhile.
    let was_still = number(before, "keys_in_flight") == Some(0) && number(before, "durable_write") == first
        || number(before, "batch_size").is_some_and(|batch| batch > 1);
    if was_still && first == last && before.word("run_id") == after.word("run_id") {
        return Taken { seq: first, ..Taken::default() };
    }
    let which = match (first, last) {
        (Some(first), Some(last)) if first < last => format!("writes {} to {last}", first + 1),
        _ => "writes".to_string(),
    };
    let warning = format!(
        "{which} came to the server during the export, so it is not the state of one moment: an entry may be older than one \
         before it; kv_cli export beside the server exports one state"
    );
    Taken { warning: Some(warning), ..Taken::default() }
}

/// What the user should know about the end of the log.
fn export_warning(export: &Export, wal: &Path) -> Option<String> {
    let (seq, wal) = (export.seq, wal.display());
    match &export.tail {
        _ if export.ends_bare => Some(format!("{wal} {BARE_END}; the export is the state after write {seq}")),
        LogTail::Torn(cut) => Some(format!(
            "the record at byte {} of {wal} is torn, or is just being written; the export is the state before it, after write {seq}",
            cut.offset
        )),
        _ => None,
    }
}

/// Reports on stdout, unless stdout is the export itself. A salvage is reported on stderr.
fn answer(request: &Request<'_>, done: &Done, output: &mut Output) {
    if let Some(salvaged) = &done.salvaged {
        explain_salvage(salvaged, output);
    }
    let Some(file) = &request.file else { return };
    if output.format == Format::Json {
        output.line_json(&[
            ("cmd", "EXPORT".into()),
            ("ok", true.into()),
            ("entries", done.entries.into()),
            ("seq", done.seq.into()),
            ("digest", done.digest.to_string().into()),
            ("file", file.display().to_string().into()),
            ("took_ms", whole_ms(done.took).into()),
        ]);
        return;
    }
    let what = match (done.seq, &done.salvaged) {
        (Some(seq), _) => format!(" seq={seq}"),
        (None, Some(_)) => " salvaged".to_string(),
        (None, None) => String::new(),
    };
    output.answer(&format!("EXPORT OK entries={}{what} took_ms={}", done.entries, whole_ms(done.took)));
}

fn explain_salvage(salvaged: &SalvageReport, output: &mut Output) {
    salvaged.notes.iter().for_each(|note| output.warn(note));
    let lost_entries = salvaged.lost_entries.map_or("an unknown number".to_string(), |lost| lost.to_string());
    // Nothing may show how many writes a missing log had.
    output.aside(&format!(
        "kv_cli: salvaged {}: {} from the snapshot (lost: {lost_entries}), {} of the log (known to be lost: {})",
        entries(salvaged.entries),
        salvaged.snapshot_entries,
        counted(salvaged.writes, "write"),
        salvaged.lost_writes
    ));
    if salvaged.notes.is_empty() && salvaged.ends_bare {
        output.aside(&format!("kv_cli: every check passes and no write is missing, but the log {BARE_END}"));
    } else if salvaged.notes.is_empty() {
        output.aside("kv_cli: these files are undamaged; this is the state after the last write");
    } else {
        output.aside("kv_cli: this is NOT the state after any write: entries may be missing, outdated, or deleted since");
    }
}
