//! IMPORT and `kv_cli import`: entries from a file into the store.
//!
//! An import assigns: each key that the input names gets what the input says last of it, every other key stays. It is
//! written in groups, each atomic and all in order, so that after a kill, a power cut or a full disk the store holds
//! the first so many groups and nothing in between. Nothing else about how far it came is kept, because nothing else is
//! needed: what is there already is not written again, so the same import, repeated, reads past that and goes on behind.
//! The outcome is the same as of one run, whenever and however often it was killed, as long as nobody wrote to the same
//! keys in between.
//!
//! A bad line ends it: what stands before the line is written and durable, nothing of the line and behind it is.

use crate::args::Import as From;
use crate::cpp;
use crate::dump::{Form, Line};
use crate::progress::Progress;
use crate::render::Output;
use crate::script::{BYTE_ORDER_MARK, Lines, Next};
use crate::signals::Flags;
use crate::streams::Patient;
use kv_engine::command::{Code, CommandError, MAX_LINE_BYTES, Words, displayed};
use kv_engine::{Batch, Digester, Engine, Error, MAX_KEY_BYTES, MAX_VALUE_BYTES};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// A group is written when it has so many entries,
const GROUP_ENTRIES: usize = 1000;
/// or keys and values of so many bytes.
const GROUP_BYTES: usize = 1 << 20;
/// What a file is, is seen from so many bytes.
const PEEK_BYTES: usize = 64 << 10;
/// The longest line: in JSON a byte of a value may take six.
const LINE_BYTES: usize = MAX_LINE_BYTES / 4 * 6;

/// Where it goes wrong, and why there is no more of it.
pub(crate) enum Stop {
    /// The input, from this place on: a line and column, or a byte.
    Bad {
        place: String,
        text: String,
    },
    Input(io::Error),
    Store(Error),
    Interrupted,
}

impl std::convert::From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Store(error)
    }
}

impl std::convert::From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Input(error)
    }
}

/// What an import has done.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    entries: u64,
    unchanged: u64,
}

/// Takes entries, and writes them in groups.
pub(crate) struct Importer<'a> {
    engine: &'a Engine,
    flags: &'a Flags,
    progress: Progress,
    /// Bytes of the inputs before this one.
    before: u64,
    /// The group that is being filled: the last word on each key.
    group: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    group_bytes: usize,
    tally: Tally,
    /// The input that is read.
    name: String,
    /// What was read and could not be stored, or is not as it was exported.
    problems: Vec<String>,
    /// What the user may want to know.
    warnings: Vec<String>,
}

/// What is imported, from the command line or the prompt.
pub(crate) struct Request<'a> {
    pub(crate) files: &'a [PathBuf],
    pub(crate) from: Option<From>,
    pub(crate) salvage: bool,
    pub(crate) quiet: bool,
}

/// Imports and answers.
pub(crate) fn run(request: &Request<'_>, engine: &Engine, output: &mut Output, flags: &Flags) -> Result<(), CommandError> {
    let total = request.files.iter().map(|file| file.metadata().ok().filter(|about| about.is_file()).map(|about| about.len()));
    let template = if total.clone().all(|total| total.is_some()) {
        "IMPORT {bar:20} {bytes} of {total_bytes}, {eta} left"
    } else {
        "IMPORT {bytes}, {elapsed}"
    };
    let mut importer = Importer {
        engine,
        flags,
        progress: Progress::new(template, total.sum::<Option<u64>>(), request.quiet),
        before: 0,
        group: BTreeMap::new(),
        group_bytes: 0,
        tally: Tally::default(),
        name: String::new(),
        problems: Vec::new(),
        warnings: Vec::new(),
    };
    let mut done = Ok(());
    for file in request.files {
        importer.name = if file.as_os_str() == "-" { "<stdin>".to_string() } else { file.display().to_string() };
        if let Err(stop) = open(file).map_err(Stop::Input).and_then(|input| importer.import(input, request)) {
            done = Err(stop);
            break;
        }
    }
    let settled = importer.settle();
    let Importer { name, tally, problems, warnings, progress, .. } = importer;
    drop(progress);
    if !request.quiet {
        warnings.iter().for_each(|warning| output.warn(warning));
    }
    match (done, settled) {
        (_, Err(error)) => return Err(stopped(&name, Stop::Store(error), tally)),
        (Err(stop), Ok(())) => return Err(stopped(&name, stop, tally)),
        (Ok(()), Ok(())) => {}
    }
    if !problems.is_empty() {
        let text = format!("{}; imported: {}", problems.join("; "), entries(tally.entries));
        return Err(CommandError::new(Code::Failed, text));
    }
    let written = tally.entries - tally.unchanged;
    if output.format == crate::args::Format::Json {
        output.line_json(&[
            ("cmd", "IMPORT".into()),
            ("ok", true.into()),
            ("entries", tally.entries.into()),
            ("written", written.into()),
            ("unchanged", tally.unchanged.into()),
        ]);
    } else {
        output.line(&format!("IMPORT OK entries={} written={written} unchanged={}", tally.entries, tally.unchanged));
    }
    Ok(())
}

/// Says where it stopped, what is done, and what to do.
fn stopped(name: &str, stop: Stop, tally: Tally) -> CommandError {
    let before = match tally.entries {
        0 => "nothing was imported".to_string(),
        1 => "the entry before is imported and durable".to_string(),
        n => format!("the {n} entries before are imported and durable"),
    };
    const AGAIN: &str = "import again: what is there already is not written again";
    match stop {
        Stop::Bad { place, text } => {
            let text = format!("{name}:{place}: {text}; {before}, nothing from here on is; mend it and {AGAIN}");
            CommandError::new(Code::BadArgument, text)
        }
        Stop::Input(error) => CommandError::new(Code::Failed, format!("{name}: {error}; {before}")),
        // How far the store came is told by the store.
        Stop::Store(error) => {
            let code = CommandError::from(error);
            let text = format!(
                "{}; the import stopped within the first {}; when that is mended, {AGAIN}",
                code.text,
                entries(tally.entries)
            );
            CommandError::new(code.code, text)
        }
        Stop::Interrupted => CommandError::new(Code::Interrupted, format!("{name}: interrupted; {before}; to go on, {AGAIN}")),
    }
}

pub(crate) fn entries(count: u64) -> String {
    if count == 1 { "1 entry".into() } else { format!("{count} entries") }
}

fn open(path: &Path) -> io::Result<File> {
    let file = if path.as_os_str() == "-" { crate::stdin()? } else { File::open(path)? };
    if file.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
}

/// Counts the bytes that are read, for the bar.
struct Counted<R> {
    input: R,
    count: u64,
}

impl<R: AsFd> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = Patient(&self.input).read(out)?;
        self.count += count as u64;
        Ok(count)
    }
}

impl Importer<'_> {
    /// Takes one entry, or the removal of one.
    pub(crate) fn take(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Error> {
        check("the key's length in bytes", key.len(), 1, MAX_KEY_BYTES)?;
        check("the value's length in bytes", value.map_or(0, <[u8]>::len), 0, MAX_VALUE_BYTES)?;
        let is_there = match self.group.get(key) {
            Some(said) => said.as_deref() == value,
            None => self.engine.get(key)?.as_deref() == value,
        };
        self.tally.entries += 1;
        if is_there {
            self.tally.unchanged += 1;
            return Ok(());
        }
        self.group_bytes += key.len() + value.map_or(0, <[u8]>::len);
        self.group.insert(key.to_vec(), value.map(<[u8]>::to_vec));
        if self.group.len() >= GROUP_ENTRIES || self.group_bytes >= GROUP_BYTES { self.write_group() } else { Ok(()) }
    }

    fn write_group(&mut self) -> Result<(), Error> {
        let mut batch = Batch::new();
        for (key, value) in std::mem::take(&mut self.group) {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            };
        }
        self.group_bytes = 0;
        if batch.is_empty() { Ok(()) } else { self.engine.write(batch).map(drop) }
    }

    /// Writes what is left, and makes everything durable.
    fn settle(&mut self) -> Result<(), Error> {
        self.write_group()?;
        self.engine.flush().map(drop)
    }

    pub(crate) fn problem(&mut self, text: &str) {
        self.problems.push(format!("{}: {text}", self.name));
    }

    pub(crate) fn warn(&mut self, text: &str) {
        self.warnings.push(format!("{}: {text}", self.name));
    }

    /// Between two entries; `at` is how many bytes of the input were read.
    pub(crate) fn go_on(&mut self, at: u64) -> Result<(), Stop> {
        self.progress.step(|| self.before + at);
        if self.flags.interrupted() { Err(Stop::Interrupted) } else { Ok(()) }
    }

    fn import(&mut self, input: File, request: &Request<'_>) -> Result<(), Stop> {
        let mut input = BufReader::with_capacity(PEEK_BYTES, Counted { input, count: 0 });
        let from = match request.from {
            Some(from) => from,
            None => detect(peek(&mut input)?)?,
        };
        match from {
            From::Text => self.lines(&mut input, Form::Text)?,
            From::Json => self.lines(&mut input, Form::Json)?,
            From::CppSnapshot => cpp::snapshot(&mut input, self)?,
            From::CppLog => cpp::log(&mut input, request.salvage, self)?,
        }
        self.before += input.get_ref().count;
        Ok(())
    }

    fn lines(&mut self, input: &mut BufReader<Counted<File>>, form: Form) -> Result<(), Stop> {
        let mut whole = Whole { under_way: None };
        let mut number = 0;
        let mut lines = Lines::new(input, LINE_BYTES);
        loop {
            lines.fill()?;
            let line = match lines.next() {
                Next::Line(line) => line,
                Next::TooLong => {
                    let text = format!("the line is over {LINE_BYTES} bytes, more than any entry has");
                    return Err(Stop::Bad { place: (number + 1).to_string(), text });
                }
                Next::Read | Next::End => break,
            };
            number += 1;
            let bad = |text: String| Stop::Bad { place: number.to_string(), text };
            match form.read(line).map_err(bad)? {
                Line::Blank => {}
                Line::Begin => whole.begin().map_err(bad)?,
                Line::Put { key, value } => {
                    whole.entry(&key, &value);
                    self.take(&key, Some(&value)).map_err(|error| in_line(number, error))?;
                }
                Line::Delete { key } => self.take(&key, None).map_err(|error| in_line(number, error))?,
                Line::End { entries, digest } => {
                    if let Some(problem) = whole.end(entries, &digest, number) {
                        self.problem(&problem);
                    }
                }
            }
            let at = lines.input().get_ref().count;
            self.go_on(at)?;
        }
        match whole.under_way {
            None => Ok(()),
            Some(_) => {
                let text = "the export ends without its last line: it was cut, and what it ends with may be, too".to_string();
                Err(Stop::Bad { place: (number + 1).to_string(), text })
            }
        }
    }
}

pub(crate) fn in_line(number: u64, error: Error) -> Stop {
    match error {
        Error::Limit { .. } => Stop::Bad { place: number.to_string(), text: format!("column 1: {error}") },
        error => Stop::Store(error),
    }
}

fn check(what: &'static str, got: usize, min: usize, max: usize) -> Result<(), Error> {
    if (min..=max).contains(&got) {
        return Ok(());
    }
    Err(Error::Limit { what, got: got as u64, min: min as u64, max: max as u64 })
}

/// Whether what was read between the first line of an export and its last is what was exported.
struct Whole {
    under_way: Option<(u64, Digester)>,
}

impl Whole {
    fn begin(&mut self) -> Result<(), String> {
        match self.under_way.replace(Default::default()) {
            None => Ok(()),
            Some(_) => Err("column 1: another export begins; the one before has no last line: it was cut".into()),
        }
    }

    fn entry(&mut self, key: &[u8], value: &[u8]) {
        if let Some((count, digester)) = &mut self.under_way {
            *count += 1;
            digester.add(key, value);
        }
    }

    /// What is wrong with it.
    fn end(&mut self, due: u64, digest: &str, line: u64) -> Option<String> {
        let (count, digester) = self.under_way.take()?;
        let found = digester.digest().to_string();
        let what = if count != due {
            format!("{} where the last line says {due}", entries(count))
        } else if found != digest {
            format!("their digest is {found} where the last line says {}", displayed(digest.as_bytes()))
        } else {
            return None;
        };
        Some(format!("line {line}: the entries are not those that were exported: {what}"))
    }
}

/// What the input begins with.
fn peek(input: &mut BufReader<Counted<File>>) -> io::Result<&[u8]> {
    loop {
        match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    Ok(input.buffer())
}

/// What an input is, by how it begins.
fn detect(begin: &[u8]) -> Result<From, Stop> {
    let begin = begin.strip_prefix(BYTE_ORDER_MARK).unwrap_or(begin);
    let foreign = |what: &str| Stop::Bad { place: "1".into(), text: format!("column 1: {what}") };
    if let Some(from) = cpp::is_log(begin).map_err(|text| foreign(&text))? {
        return Ok(from);
    }
    if begin.starts_with(b"\x89kv") {
        return Err(foreign(
            "this is a file of a kv-engine store, not an export; kv_cli --wal … --snapshot … export makes one of it",
        ));
    }
    let lines = begin.split(|&b| b == b'\n').map(|line| (line, Words::of(line)));
    let Some((line, mut words)) = lines.into_iter().find(|(_, words)| !words.is_at_end()) else { return Ok(From::Text) };
    let is_pair = line.contains(&b'\t');
    if line.trim_ascii_start().starts_with(b"{") && !(is_pair && Form::Json.read(line).is_err()) {
        return Ok(From::Json);
    }
    match words.next() {
        Some(Ok(word)) if [&b"PUT"[..], b"SET", b"DEL"].iter().any(|verb| word.eq_ignore_ascii_case(verb)) => Ok(From::Text),
        _ if is_pair => Ok(From::CppSnapshot),
        _ => Err(foreign(&format!(
            "neither an export, nor a log or snapshot of the C++ store; it begins with '{}'",
            displayed(line)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_is_is_seen_from_its_beginning() {
        let seen = |begin: &[u8]| detect(begin).map_err(|_| ());
        for (begin, from) in [
            (&b""[..], From::Text),
            (b"# kv_cli export 1 of\nPUT a 1", From::Text),
            (b"\n\n put a\t1\n", From::Text),
            (b"kv> SET a 1", From::Text),
            (b"\xef\xbb\xbfPUT a 1\n", From::Text),
            (b"\xef\xbb\xbf{\"export\":1}\n", From::Json),
            (b"{\"key\":\"a\",\"value\":\"1\"}", From::Json),
            (b"  {\"export\":1}\n", From::Json),
            (b"{\"key\":", From::Json),
            (b"{\t\"key\":\"a\",\"value\":\"1\"}", From::Json),
            (b"{a}\t1\n", From::CppSnapshot),
            (b"name\tAda\nb\t2\n", From::CppSnapshot),
            (b"#tag\t1\nname\tAda\n", From::CppSnapshot),
            (b"KVLG\x01\0\x01\x01\0\0\0", From::CppLog),
        ] {
            assert_eq!(seen(begin), Ok(from), "{}", begin.escape_ascii());
        }
        for begin in [&b"hello\n"[..], b"\x89kvwal\r\n", b"\x89kvsna\r\n", b"KVLG\x01\x17\0", b"KVSP\0", b"\x1f\x8b\x08"] {
            assert_eq!(seen(begin), Err(()), "{}", begin.escape_ascii());
        }
    }
}
