//! EXPORT and `kv_cli export`: every entry, to a file or to stdout.
//!
//! Both read the store's files, as [`kv_engine::export`] does: one state, that after the last write, while memory
//! holds only what the log says. The prompt flushes first, so that this is everything it has accepted. Where that fails
//! because the log has failed or is lost, it exports what is in memory. The tool takes no lock, so that it works beside a
//! running store.
//!
//! Order of steps for a file: 1. refuse a name of the store's own, and one that is taken by anything but an export;
//! 2. write a scratch file, mode 0600; 3. sync it; 4. rename; 5. sync the directory. How no other file is lost: the
//! head of `outfile.rs`.

use crate::args::{Args, ExportArgs, Format};
use crate::command::{Code, CommandError};
use crate::outfile::{Kind, Store, Target};
use crate::progress::Progress;
use crate::render::{Output, Place};
use crate::signals::{self, Flags};
use crate::tools::{BAD, BARE_END};
use crate::transfer::dump::{self, Form, Origin, Writer};
use kv_engine::export::{self, SalvageReport};
use kv_engine::{Digest, Engine, Error, KeptCopy, LogTail, Seq, inspect};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const BUFFER_BYTES: usize = 256 << 10;
static EXPORT: Kind = Kind {
    refusal: "there is a file that is not an export; remove it, or choose another name",
    is_one: dump::is_export,
    mode: 0o600,
};

/// What is to be exported, and to where.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) wal: &'a Path,
    pub(crate) snapshot: &'a Path,
    /// `None`: stdout.
    pub(crate) file: Option<PathBuf>,
    /// An open store whose log has failed: it takes no more writes, and its state is exported from memory.
    pub(crate) memory: Option<&'a Engine>,
    pub(crate) salvage: bool,
    pub(crate) quiet: bool,
}

/// `kv_cli export`. Status 3 when the files are damaged, also when something was salvaged.
pub(crate) fn tool(args: &Args, export: &ExportArgs, flags: &'static Flags) -> io::Result<ExitCode> {
    signals::heed(flags)?;
    let mut output = Output::new(args.format(), args.color, false);
    let file = export.file.clone().filter(|file| file.as_os_str() != "-");
    let request =
        Request { wal: &args.wal, snapshot: &args.snapshot, memory: None, file, salvage: export.salvage, quiet: args.quiet };
    let kept = inspect::kept_copies(&args.wal, &args.snapshot);
    let lost = kept.iter().any(|copy| matches!(copy, KeptCopy::Damaged(_)));
    // A salvage says it in its notes.
    if !export.salvage && (lost || !args.quiet) {
        inspect::kept_copy_warnings(&kept, &args.snapshot).iter().for_each(|said| output.warn(said));
    }
    let status = match run(&request, &mut output, flags) {
        Ok(done) => u8::from(done.is_some_and(|done| done.salvaged.is_some_and(|salvaged| !salvaged.notes.is_empty()))) * BAD,
        Err(error) => {
            output.error(&Place::Words, &error);
            if let Some(text) = args.old_place().filter(|_| error.code == Code::Failed) {
                output.aside(&format!("kv_cli: {text}"));
            }
            flags
                .stop_signal()
                .map_or(if error.code == Code::Failed { BAD } else { 1 }, |signal| 128 + u8::try_from(signal).unwrap_or(0))
        }
    };
    // What it exported lacks writes that had been promised.
    let status = if lost { status.max(BAD) } else { status };
    Ok(ExitCode::from(output.finish(status)))
}

/// What an export came to.
#[derive(Debug)]
pub(crate) struct Done {
    entries: u64,
    /// `None` of what was salvaged.
    seq: Option<Seq>,
    digest: Digest,
    salvaged: Option<SalvageReport>,
    warning: Option<String>,
}

/// Exports and answers; `Ok(None)` when stdout takes no more, which `output` knows.
pub(crate) fn run(request: &Request<'_>, output: &mut Output, flags: &Flags) -> Result<Option<Done>, CommandError> {
    let by_name =
        |file: &PathBuf| file.extension().is_some_and(|ext| ["jsonl", "ndjson", "json"].iter().any(|json| ext == *json));
    let form = match output.format {
        Format::Json => Form::Json,
        _ if request.file.as_ref().is_some_and(by_name) => Form::Json,
        _ => Form::Text,
    };
    let done = match &request.file {
        None => match write(request, output.stream(), form, flags) {
            Ok((_, done)) => done,
            Err(Failure::Output(error)) => {
                output.keep(Err(error));
                return Ok(None);
            }
            Err(failure) => return Err(failure.explain(request)),
        },
        Some(file) => {
            let store = Store { wal: request.wal, snapshot: request.snapshot };
            let target = Target::claim(file, store, &EXPORT).map_err(|error| refused(file, &error))?;
            let out = BufWriter::with_capacity(BUFFER_BYTES, target);
            let failed = |failure: Failure| match failure {
                Failure::Output(error) => refused(file, &error),
                failure => failure.explain(request),
            };
            let (out, done) = write(request, out, form, flags).map_err(failed)?;
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
    let text = format!("{}: {error}; nothing was exported", file.display());
    CommandError::new(Code::BadArgument, text)
}

/// Why there is no export.
enum Failure {
    Store(Error),
    Output(io::Error),
    Interrupted,
}

impl Failure {
    fn explain(self, request: &Request<'_>) -> CommandError {
        match self {
            Failure::Store(error @ Error::Damaged { .. }) => {
                let text = format!(
                    "{error}; nothing was exported; kv_cli export --salvage writes out every entry whose check holds, and \
                     opening the store recovers what stands before damage in the log"
                );
                CommandError::new(Code::Failed, text)
            }
            Failure::Store(error @ Error::Io { doing: "reading", .. }) => {
                let text = format!("{error}; nothing was exported; kv_cli export --salvage goes on behind what cannot be read");
                CommandError::new(Code::Failed, text)
            }
            Failure::Store(error @ Error::Foreign { .. }) => {
                let text = format!(
                    "{error}; nothing was exported; where it was a file of this store, kv_cli export --salvage finds the entries \
                     that still stand in it"
                );
                CommandError::new(Code::Failed, text)
            }
            Failure::Store(error @ Error::Mismatch { .. }) => {
                let text = format!(
                    "{error}; nothing was exported; kv_cli export --salvage writes out what there is, and says what is missing"
                );
                CommandError::new(Code::Failed, text)
            }
            Failure::Store(error) => CommandError::new(Code::Failed, format!("{error}; nothing was exported")),
            Failure::Output(error) => CommandError::new(Code::Failed, error.to_string()),
            Failure::Interrupted if request.file.is_some() => {
                CommandError::new(Code::Interrupted, "interrupted; nothing was exported")
            }
            Failure::Interrupted => CommandError::new(Code::Interrupted, "interrupted; what was written has no end line"),
        }
    }
}

/// Streams everything into `out`.
fn write<W: Write>(request: &Request<'_>, out: W, form: Form, flags: &Flags) -> Result<(W, Done), Failure> {
    let mut progress = Progress::new("EXPORT {human_pos} entries, {elapsed}", None, request.quiet);
    let mut failed = None;
    let mut step = |writer: &mut Writer<W>, key: &[u8], value: &[u8]| {
        progress.step(|| writer.entries());
        failed =
            if flags.interrupted() { Some(Failure::Interrupted) } else { writer.entry(key, value).err().map(Failure::Output) };
        if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let mut warning = None;
    let (writer, seq, salvaged) = if request.salvage {
        let salvage = export::salvage(request.wal, request.snapshot);
        let mut writer = Writer::begin(out, form, Origin::Salvage).map_err(Failure::Output)?;
        let salvaged = salvage.each(|key, value| step(&mut writer, key, value));
        (writer, None, Some(salvaged))
    } else if let Some(engine) = request.memory {
        let stats = engine.stats();
        let (store_id, seq) = (stats.store_id, stats.durable + stats.pending);
        warning = Some(format!(
            "the log has failed, so this is the state in memory, after write {seq}; the next opening of the store may find less"
        ));
        let mut writer = Writer::begin(out, form, Origin::State { store_id, seq }).map_err(Failure::Output)?;
        for entry in engine.scan("") {
            let (key, value) = entry.map_err(Failure::Store)?;
            if step(&mut writer, &key, &value).is_break() {
                break;
            }
        }
        (writer, Some(seq), None)
    } else {
        let export = export::read(request.wal, request.snapshot).map_err(Failure::Store)?;
        let (store_id, seq) = (export.store_id, export.seq);
        if let LogTail::Torn(cut) = &export.tail {
            warning = Some(format!(
                "the record at byte {} of {} is torn or just being written; the export is the state before it, after write {seq}",
                cut.offset,
                request.wal.display()
            ));
        }
        if export.ends_bare {
            warning = Some(format!("{} {BARE_END}; the export is the state after write {seq}", request.wal.display()));
        }
        let mut writer = Writer::begin(out, form, Origin::State { store_id, seq }).map_err(Failure::Output)?;
        export.each(|key, value| step(&mut writer, key, value)).map_err(Failure::Store)?;
        (writer, Some(seq), None)
    };
    drop(progress);
    if let Some(failure) = failed {
        return Err(failure);
    }
    let (out, entries, digest) = writer.end().map_err(Failure::Output)?;
    Ok((out, Done { entries, seq, digest, salvaged, warning }))
}

/// On stdout where that is not the export itself; what was salvaged on stderr in any case.
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
        ]);
        return;
    }
    let what = done.seq.map_or("salvaged".to_string(), |seq| format!("seq={seq}"));
    output.line(&format!("EXPORT OK entries={} {what}", done.entries));
}

fn explain_salvage(salvaged: &SalvageReport, output: &mut Output) {
    salvaged.notes.iter().for_each(|note| output.warn(note));
    let lost_entries = salvaged.lost_entries.map_or("an unknown number".to_string(), |lost| lost.to_string());
    output.aside(&format!(
        "kv_cli: salvaged {} entries: {} from the snapshot (lost there: {lost_entries}), {} writes of the log (lost there: {})",
        salvaged.entries, salvaged.snapshot_entries, salvaged.writes, salvaged.lost_writes
    ));
    if salvaged.notes.is_empty() && salvaged.ends_bare {
        output.aside(&format!("kv_cli: no check fails and no number is missing, but the log {BARE_END}"));
    } else if salvaged.notes.is_empty() {
        output.aside("kv_cli: nothing is wrong with these files; this is the state after the last write");
    } else {
        output.aside("kv_cli: this is NOT a prefix of what was written: entries may be missing, old, or deleted since");
    }
}
