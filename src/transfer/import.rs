//! IMPORT and `kv_cli import`: entries from files into the store.
//!
//! An import sets keys. Each key in the input gets its last value there, every other key stays. It can be killed and
//! repeated at any time. The result is the same as after one run, if no other command wrote to the same keys in between
//! (see `importer`).
//!
//! Every input is read twice:
//!
//! 1. The first reading only checks: the format, each line or record, and the first and last line of an export, which
//!    show that it is complete. If any input fails, nothing is written. So a file that is not an export, or was cut
//!    off, changes nothing. This reading needs no store: `kv_cli import` opens the store after it, and so a refused
//!    file does not create one.
//! 2. The second reading writes. An input that can be read only once, for example a pipe, is kept in between in a file
//!    without a name beside the log. So it may be as long as there is room on that disk. Memory holds one line at a
//!    time, and one group of entries.
//!
//! What the options override:
//!
//! - `--from` replaces the guess by the first bytes (`detect`), and nothing else. Every line or record is still
//!   checked. With `--from cpp-snapshot` values may be binary or have tabs. That format has no mark and no checksum, so
//!   without the option a file must be plain text with one tab in every line.
//! - `--salvage` accepts an export whose first or last line is missing or does not fit its entries, and a snapshot of
//!   the C++ store whose last line was cut off. The import says what was wrong, and the exit status is 1. In a log of
//!   the C++ store it passes over bad records, with a warning. It never accepts a file of another kind, or a line that
//!   cannot be read.

use super::cpp;
use super::detect::detect;
use super::form::{Form, Line};
use super::importer::{Importer, Refusal, Replaced, Row, Stop, Tally, bad};
use crate::error::{Code, CommandError};
use crate::lines::MAX_LINE_BYTES;
use crate::outfile;
use crate::output::Output;
use crate::progress::Progress;
use crate::settings::{Format, Import as Source};
use crate::signals::Flags;
use crate::store::Sink;
use crate::streams::{self, Patient};
use crate::text::{displayed, entries, whole_ms};
use kv_engine::Digester;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The format is detected from this many bytes.
const PEEK_BYTES: usize = 64 << 10;
/// The longest line. In JSON, a byte of a value may take six bytes.
const LINE_BYTES: usize = MAX_LINE_BYTES / 4 * 6;

/// What to import.
pub(crate) struct Request<'a> {
    /// An input that can be read only once is kept beside it.
    pub(crate) wal: &'a Path,
    pub(crate) files: Vec<PathBuf>,
    pub(crate) from: Option<Source>,
    pub(crate) salvage: bool,
    pub(crate) quiet: bool,
}

/// Inputs that were checked, and are to be written.
pub(crate) struct Checked {
    inputs: Vec<Input>,
    began: Instant,
    replaced: Replaced,
}

impl Checked {
    /// How many entries replace or remove what is stored, and the key of the first one. `None`: none, or this was not
    /// looked for.
    pub(crate) fn replaced(&self) -> Option<(u64, &[u8])> {
        self.replaced.first.as_deref().map(|first| (self.replaced.entries, first))
    }

    /// Leaves the time in which a person was asked out of the time that the import took.
    pub(crate) fn leave_out(&mut self, waited: Duration) {
        self.began += waited;
    }
}

/// Reads all inputs and checks them. Nothing is written. With a store, also looks for what would be replaced in it.
pub(crate) fn check(request: &Request<'_>, stored: Option<Sink<'_>>, flags: &Flags) -> Result<Checked, CommandError> {
    let began = Instant::now();
    let mut importer = Importer::new(None, began, flags, request.salvage, progress(request, "IMPORT checks"));
    importer.stored = stored;
    let checked = check_all(request, &mut importer);
    match checked.and_then(|inputs| importer.settle().map(|()| inputs)) {
        Ok(inputs) => Ok(Checked { inputs, began, replaced: importer.replaced }),
        Err(stop) => Err(importer.stopped(stop)),
    }
}

/// Writes what was checked, and answers.
pub(crate) fn write(
    checked: &Checked,
    request: &Request<'_>,
    store: Sink<'_>,
    output: &mut Output,
    flags: &Flags,
) -> Result<(), CommandError> {
    let mut importer = Importer::new(Some(store), checked.began, flags, request.salvage, progress(request, "IMPORT"));
    let done = write_all(&checked.inputs, request, &mut importer);
    // The entries before an error are written too. After an error of a server nobody knows what they rest on.
    let done = match done {
        Err(stop @ Stop::Server(_)) => Err(stop),
        done => importer.settle().and(done),
    };
    let done = done.map_err(|stop| importer.stopped(stop));
    let Importer { tally, problems, warnings, progress, .. } = importer;
    drop(progress);
    if !request.quiet {
        warnings.iter().for_each(|warning| output.warn(warning));
    }
    done?;
    if !problems.is_empty() {
        let text = format!("{}; imported: {}", problems.join("; "), entries(tally.entries));
        return Err(CommandError::new(Code::Failed, text));
    }
    let (written, took_ms) = (tally.entries - tally.unchanged, whole_ms(checked.began.elapsed()));
    if output.format == Format::Json {
        output.line_json(&[
            ("cmd", "IMPORT".into()),
            ("ok", true.into()),
            ("entries", tally.entries.into()),
            ("written", written.into()),
            ("unchanged", tally.unchanged.into()),
            ("took_ms", took_ms.into()),
        ]);
    } else {
        let Tally { entries, unchanged } = tally;
        output.answer(&format!("IMPORT OK entries={entries} written={written} unchanged={unchanged} took_ms={took_ms}"));
    }
    Ok(())
}

fn progress(request: &Request<'_>, what: &str) -> Progress {
    let total = request.files.iter().map(|file| file.metadata().ok().filter(|about| about.is_file()).map(|about| about.len()));
    let total = total.sum::<Option<u64>>();
    let template = match total {
        Some(_) => format!("{what} {{bar:20}} {{bytes}} of {{total_bytes}}, {{eta}} left"),
        None => format!("{what} {{bytes}}, {{elapsed}}"),
    };
    Progress::new(&template, total, request.quiet)
}

/// A file that was checked and is to be read again.
struct Input {
    name: String,
    again: Again,
    /// Where in the file it begins, and how many bytes were checked.
    start: u64,
    length: u64,
    source: Source,
}

/// Where to read it from the second time. A named file is closed in between, because a process cannot have many files
/// open.
enum Again {
    Open(File),
    Named { path: PathBuf, id: (u64, u64) },
}

impl Again {
    fn open(&self) -> io::Result<File> {
        match self {
            Again::Open(file) => file.try_clone(),
            Again::Named { path, id } => {
                let file = File::open(path)?;
                if outfile::id(&file.metadata()?) == *id {
                    return Ok(file);
                }
                Err(io::Error::other("the file was replaced by another one after it was checked"))
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = if path.as_os_str() == "-" { streams::stdin()? } else { File::open(path)? };
    if file.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
}

/// Counts the bytes that are read, and keeps a copy of those that cannot be read again.
struct Counted<'f> {
    input: File,
    count: u64,
    /// It reads no more than this.
    most: u64,
    kept: Option<File>,
    flags: &'f Flags,
}

impl<'f> Counted<'f> {
    fn new(input: File, most: u64, kept: Option<File>, flags: &'f Flags) -> BufReader<Counted<'f>> {
        BufReader::with_capacity(PEEK_BYTES, Counted { input, count: 0, most, kept, flags })
    }
}

impl Read for Counted<'_> {
    /// A signal ends the wait for a pipe. `Importer::stopped` then reports the signal and not this error.
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.kept.is_some() && !streams::wait_unless(&self.input, || self.flags.interrupted())? {
            return Err(io::Error::other("interrupted"));
        }
        let left = usize::try_from(self.most - self.count).unwrap_or(usize::MAX);
        let most = out.len().min(left);
        let count = Patient(&self.input).read(&mut out[..most])?;
        self.count += count as u64;
        if let Some(kept) = &mut self.kept {
            kept.write_all(&out[..count]).map_err(not_copied)?;
        }
        Ok(count)
    }
}

fn not_copied(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write a temporary copy beside the log: {error}"))
}

/// The first reading. It writes nothing.
fn check_all(request: &Request<'_>, importer: &mut Importer<'_>) -> Result<Vec<Input>, Stop> {
    let mut inputs = Vec::new();
    for path in &request.files {
        importer.name = if path.as_os_str() == "-" { "<stdin>".to_string() } else { path.display().to_string() };
        let mut file = open(path)?;
        let about = file.metadata()?;
        let (kept, start) = match about.is_file() {
            true => (None, file.stream_position()?),
            false => (Some(outfile::nameless(request.wal, ".import-").map_err(not_copied)?), 0),
        };
        let again = match &kept {
            Some(kept) => Again::Open(kept.try_clone()?),
            None if path.as_os_str() == "-" => Again::Open(file.try_clone()?),
            None => Again::Named { path: path.clone(), id: outfile::id(&about) },
        };
        let mut input = Counted::new(file, u64::MAX, kept, importer.flags);
        let source = source(request, &mut input)?;
        read(&mut input, source, request, importer)?;
        inputs.push(Input { name: importer.name.clone(), again, start, length: input.get_ref().count, source });
    }
    Ok(inputs)
}

/// The second reading.
fn write_all(inputs: &[Input], request: &Request<'_>, importer: &mut Importer<'_>) -> Result<(), Stop> {
    for input in inputs {
        importer.name.clone_from(&input.name);
        let mut file = input.again.open()?;
        file.seek(SeekFrom::Start(input.start))?;
        // Bytes that were appended since were not checked, so they are not read.
        read(&mut Counted::new(file, input.length, None, importer.flags), input.source, request, importer)?;
    }
    Ok(())
}

/// The format that was given, or the one that the input begins with.
fn source(request: &Request<'_>, input: &mut BufReader<Counted<'_>>) -> Result<Source, Stop> {
    let begin = peek(input)?;
    match request.from {
        // The C++ store leaves an empty log after a snapshot.
        Some(source @ (Source::CppLog | Source::CppSnapshot)) => Ok(source),
        _ if begin.is_empty() => Err(Stop::Foreign(Refusal::new("the file is empty", ""))),
        Some(source) => Ok(source),
        None => detect(begin).map_err(Stop::Foreign),
    }
}

fn read(
    input: &mut BufReader<Counted<'_>>,
    source: Source,
    request: &Request<'_>,
    importer: &mut Importer<'_>,
) -> Result<(), Stop> {
    match source {
        Source::Text | Source::Json => {
            lines(input, if source == Source::Json { Form::Json } else { Form::Text }, importer)?;
        }
        Source::CppSnapshot => cpp::snapshot(input, request.from.is_some(), importer)?,
        Source::CppLog => cpp::log(input, importer)?,
    }
    importer.before += input.get_ref().count;
    Ok(())
}

/// Reads an export, or lines that a person has written.
fn lines(input: &mut BufReader<Counted<'_>>, form: Form, importer: &mut Importer<'_>) -> Result<(), Stop> {
    let mut export = Export::default();
    let (mut whole, taken) = (0, importer.tally.entries);
    importer.each_line(input, LINE_BYTES, |importer, &Row { number, text, is_cut }| {
        let bad = |text: String| bad(number, text);
        let found = form.read(text);
        if is_cut && export.open.is_some() && !matches!(found, Ok(Line::End { .. })) {
            return Ok(());
        }
        whole = number;
        let found = found.map_err(bad)?;
        if export.has_ended && matches!(found, Line::Put { .. } | Line::Delete { .. }) {
            importer.flaw(number, "this line is behind the last line of the export: it was added later".to_string())?;
            export.has_ended = false; // said once
        }
        match found {
            Line::Blank => {}
            Line::Begin => export.begin().map_err(bad)?,
            Line::Newer(version) => {
                let text = format!("this export has format version {version}, which this kv_cli cannot read");
                return Err(Stop::Bad { line: number, text, advice: "use a newer kv_cli" });
            }
            Line::Put { key, value } => {
                export.entry(&key, &value);
                importer.take_line(number, &key, Some(&value))?;
            }
            Line::Delete { key } => {
                if export.open.is_some() {
                    importer.flaw(number, "an export has no DEL lines: this one was added later".to_string())?;
                }
                importer.take_line(number, &key, None)?;
            }
            Line::End { entries, digest } => {
                if let Some(text) = export.end(entries, &digest) {
                    importer.flaw(number, text)?;
                }
            }
        }
        Ok(())
    })?;
    if export.open.is_some() {
        return importer.flaw(whole + 1, "the export has no last line: it was cut off".to_string());
    }
    if importer.tally.entries == taken && !export.was_begun {
        return Err(Stop::Foreign(Refusal::new("the file has no entries", "")));
    }
    Ok(())
}

/// Checks that the entries between the first line of an export and its last are the exported ones.
#[derive(Default)]
struct Export {
    open: Option<(u64, Digester)>,
    was_begun: bool,
    /// Its last line was read. Another export may follow, and nothing else.
    has_ended: bool,
}

impl Export {
    fn begin(&mut self) -> Result<(), String> {
        (self.was_begun, self.has_ended) = (true, false);
        match self.open.replace(Default::default()) {
            None => Ok(()),
            Some(_) => Err("column 1: another export begins here, but the one before has no last line: it was cut off".into()),
        }
    }

    fn entry(&mut self, key: &[u8], value: &[u8]) {
        if let Some((count, digester)) = &mut self.open {
            *count += 1;
            digester.add(key, value);
        }
    }

    /// Returns what is wrong with it.
    fn end(&mut self, expected: u64, digest: &str) -> Option<String> {
        self.has_ended = true;
        let Some((count, digester)) = self.open.take() else {
            return Some("an export ends here, but its first line is missing: its beginning was cut off".to_string());
        };
        let found = digester.digest().to_string();
        let what = if count != expected {
            format!("it has {}, but its last line counts {expected}", entries(count))
        } else if found != digest {
            format!("the digest of its entries is {found}, but its last line has {}", displayed(digest.as_bytes()))
        } else {
            return None;
        };
        Some(format!("this export was changed: {what}"))
    }
}

/// The first bytes of the input, without reading them.
fn peek<'b>(input: &'b mut BufReader<Counted<'_>>) -> io::Result<&'b [u8]> {
    loop {
        match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    Ok(input.buffer())
}
