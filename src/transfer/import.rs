//! IMPORT and `kv_cli import`: entries from a file into the store.
//!
//! An import assigns: each key that the input names gets what the input says last of it, every other key stays. It is
//! written in groups, each atomic and all in order, so that after a kill, a power cut or a full disk the store holds
//! the first so many groups and nothing in between. Nothing else about how far it came is kept, because nothing else is
//! needed: what is there already is not written again, so the same import, repeated, reads past that and goes on behind.
//! The outcome is the same as of one run, whenever and however often it was killed, as long as nobody wrote to the same
//! keys in between.
//!
//! Every input is read twice. The first time only checks: what it is, each line, and the last line of an export, which
//! tells a whole one. Nothing is written unless all of that holds for every input, so a file that is no export, or was
//! cut, leaves the store as it was. The second time writes. What can be read only once, such as a pipe, is kept
//! meanwhile in a file without a name beside the log. With `--salvage` an export that was cut or changed is taken for
//! what is there, which is said.

use crate::args::Import as From;
use crate::command::{Code, CommandError, MAX_LINE_BYTES, Words, displayed};
use crate::outfile;
use crate::progress::Progress;
use crate::render::Output;
use crate::script::{BYTE_ORDER_MARK, Lines, Next};
use crate::signals::Flags;
use crate::streams::Patient;
use crate::transfer::cpp;
use crate::transfer::dump::{Form, Line};
use kv_engine::{Batch, Digester, Engine, Error, MAX_KEY_BYTES, MAX_VALUE_BYTES, Seq};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
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
    /// The whole input: it is not what can be imported.
    Foreign(String),
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
    request: &'a Request<'a>,
    progress: Progress,
    /// The first time through the inputs: nothing is written.
    checking: bool,
    /// Bytes of the inputs before this one.
    before: u64,
    /// The group that is being filled: the last word on each key.
    group: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    group_bytes: usize,
    tally: Tally,
    /// Of each group the number of its write, and how many entries were taken up to its end.
    groups: Vec<(Seq, u64)>,
    /// The input that is read.
    name: String,
    /// What was read and could not be stored, or is not as it was exported.
    problems: Vec<String>,
    /// What the user may want to know.
    warnings: Vec<String>,
}

/// What is imported, from the command line or the prompt.
pub(crate) struct Request<'a> {
    /// What can be read only once is kept beside it.
    pub(crate) wal: &'a Path,
    pub(crate) files: &'a [PathBuf],
    pub(crate) from: Option<From>,
    pub(crate) salvage: bool,
    pub(crate) quiet: bool,
}

/// Imports and answers.
pub(crate) fn run(request: &Request<'_>, engine: &Engine, output: &mut Output, flags: &Flags) -> Result<(), CommandError> {
    let mut importer = Importer {
        engine,
        flags,
        request,
        progress: progress(request, "IMPORT checks"),
        checking: true,
        before: 0,
        group: BTreeMap::new(),
        group_bytes: 0,
        tally: Tally::default(),
        groups: Vec::new(),
        name: String::new(),
        problems: Vec::new(),
        warnings: Vec::new(),
    };
    let done = importer.check().and_then(|inputs| importer.write(&inputs));
    // What was taken before a bad end is written all the same.
    let done = match importer.settle() {
        Err(error) => Err(Stop::Store(error)),
        Ok(()) => done,
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

fn progress(request: &Request<'_>, what: &'static str) -> Progress {
    let total = request.files.iter().map(|file| file.metadata().ok().filter(|about| about.is_file()).map(|about| about.len()));
    let total = total.sum::<Option<u64>>();
    let template = match (what, total) {
        ("IMPORT", Some(_)) => "IMPORT {bar:20} {bytes} of {total_bytes}, {eta} left",
        ("IMPORT", None) => "IMPORT {bytes}, {elapsed}",
        (_, Some(_)) => "IMPORT checks {bar:20} {bytes} of {total_bytes}, {eta} left",
        (_, None) => "IMPORT checks {bytes}, {elapsed}",
    };
    Progress::new(template, total, request.quiet)
}

pub(crate) fn entries(count: u64) -> String {
    if count == 1 { "1 entry".into() } else { format!("{count} entries") }
}

/// One of the files, checked and to be read again.
struct Input {
    name: String,
    again: Again,
    /// Where in the file it begins, and how many bytes of it were checked.
    start: u64,
    length: u64,
    from: From,
}

/// Where it is read from the second time. Only so many files can be open at once.
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
                Err(io::Error::other("another file has this name now, which was not checked"))
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = if path.as_os_str() == "-" { crate::stdin()? } else { File::open(path)? };
    if file.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
}

/// Counts the bytes that are read, for the bar, and keeps those that cannot be read again.
struct Counted {
    input: File,
    count: u64,
    /// So many may be read.
    most: u64,
    kept: Option<File>,
}

impl Counted {
    fn new(input: File, most: u64, kept: Option<File>) -> BufReader<Counted> {
        BufReader::with_capacity(PEEK_BYTES, Counted { input, count: 0, most, kept })
    }
}

impl Read for Counted {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.most - self.count).unwrap_or(usize::MAX);
        let most = out.len().min(left);
        let count = Patient(&self.input).read(&mut out[..most])?;
        self.count += count as u64;
        if let Some(kept) = &mut self.kept {
            let failed =
                |error: io::Error| io::Error::new(error.kind(), format!("it cannot be kept beside the log meanwhile: {error}"));
            kept.write_all(&out[..count]).map_err(failed)?;
        }
        Ok(count)
    }
}

impl Importer<'_> {
    /// Takes one entry, or the removal of one.
    pub(crate) fn take(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Error> {
        check("key", key.len(), 1, MAX_KEY_BYTES)?;
        check("value", value.map_or(0, <[u8]>::len), 0, MAX_VALUE_BYTES)?;
        self.tally.entries += 1;
        if self.checking {
            return Ok(());
        }
        let is_there = match self.group.get(key) {
            Some(said) => said.as_deref() == value,
            None => self.engine.get(key)?.as_deref() == value,
        };
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
        if !batch.is_empty() {
            let seq = self.engine.write(batch)?.seq;
            self.groups.push((seq, self.tally.entries));
        }
        Ok(())
    }

    /// Writes what is left, and makes everything durable.
    fn settle(&mut self) -> Result<(), Error> {
        if self.checking {
            return Ok(());
        }
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

    /// An export that is not as it was written: refused, unless what is there is wanted all the same.
    pub(crate) fn flaw(&mut self, place: u64, text: String) -> Result<(), Stop> {
        if self.request.salvage {
            self.problem(&format!("line {place}: {text}"));
            return Ok(());
        }
        let text = format!("{text}; kv_cli import --salvage takes what is there all the same");
        Err(Stop::Bad { place: place.to_string(), text })
    }

    /// Reads everything, and writes nothing.
    fn check(&mut self) -> Result<Vec<Input>, Stop> {
        let mut inputs = Vec::new();
        for path in self.request.files {
            self.name = if path.as_os_str() == "-" { "<stdin>".to_string() } else { path.display().to_string() };
            let mut file = open(path)?;
            let about = file.metadata()?;
            let (kept, start) = match about.is_file() {
                true => (None, file.stream_position()?),
                false => (Some(outfile::nameless(self.request.wal, ".import-")?), 0),
            };
            let again = match &kept {
                Some(kept) => Again::Open(kept.try_clone()?),
                None if path.as_os_str() == "-" => Again::Open(file.try_clone()?),
                None => Again::Named { path: path.clone(), id: outfile::id(&about) },
            };
            let mut input = Counted::new(file, u64::MAX, kept);
            let from = self.detect(&mut input)?;
            self.read(&mut input, from)?;
            inputs.push(Input { name: self.name.clone(), again, start, length: input.get_ref().count, from });
        }
        Ok(inputs)
    }

    fn write(&mut self, inputs: &[Input]) -> Result<(), Stop> {
        self.progress = progress(self.request, "IMPORT");
        (self.checking, self.before, self.tally) = (false, 0, Tally::default());
        self.problems.clear();
        self.warnings.clear();
        for input in inputs {
            self.name.clone_from(&input.name);
            let mut file = input.again.open()?;
            file.seek(SeekFrom::Start(input.start))?;
            // What was appended since was not checked.
            self.read(&mut Counted::new(file, input.length, None), input.from)?;
        }
        Ok(())
    }

    fn detect(&self, input: &mut BufReader<Counted>) -> Result<From, Stop> {
        let begin = peek(input)?;
        match self.request.from {
            // That store leaves an empty log behind after a snapshot.
            Some(from @ (From::CppLog | From::CppSnapshot)) => Ok(from),
            _ if begin.is_empty() => Err(Stop::Foreign("the file is empty".into())),
            Some(from) => Ok(from),
            None => detect(begin),
        }
    }

    fn read(&mut self, input: &mut BufReader<Counted>, from: From) -> Result<(), Stop> {
        match from {
            From::Text | From::Json => {
                // Some editors put a mark of the encoding before the text.
                let marked = peek(input)?.starts_with(BYTE_ORDER_MARK);
                input.consume(if marked { BYTE_ORDER_MARK.len() } else { 0 });
                self.lines(input, if from == From::Json { Form::Json } else { Form::Text })?;
            }
            From::CppSnapshot => cpp::snapshot(input, self.request.from.is_some(), self.request.salvage, self)?,
            From::CppLog => cpp::log(input, self.request.salvage, self)?,
        }
        self.before += input.get_ref().count;
        Ok(())
    }

    fn lines(&mut self, input: &mut BufReader<Counted>, form: Form) -> Result<(), Stop> {
        let mut whole = Whole::default();
        let (mut number, taken) = (0, self.tally.entries);
        let mut lines = Lines::new(input, LINE_BYTES);
        loop {
            lines.fill()?;
            let is_cut = lines.next_is_cut();
            let line = match lines.next() {
                Next::Line(line) => line,
                Next::TooLong => {
                    let text = format!("the line is over {LINE_BYTES} bytes, more than any entry has");
                    return Err(Stop::Bad { place: (number + 1).to_string(), text });
                }
                Next::Read | Next::End => break,
            };
            let bad = |text: String| Stop::Bad { place: (number + 1).to_string(), text };
            let said = form.read(line);
            if is_cut && whole.under_way.is_some() && !matches!(said, Ok(Line::End { .. })) {
                break;
            }
            match said.map_err(bad)? {
                Line::Blank => {}
                Line::Begin => whole.begin().map_err(bad)?,
                Line::Put { key, value } => {
                    whole.entry(&key, &value);
                    self.take(&key, Some(&value)).map_err(|error| in_line(number + 1, error))?;
                }
                Line::Delete { key } => self.take(&key, None).map_err(|error| in_line(number + 1, error))?,
                Line::End { entries, digest } => {
                    if let Some(text) = whole.end(entries, &digest) {
                        self.flaw(number + 1, text)?;
                    }
                }
            }
            number += 1;
            let at = lines.input().get_ref().count;
            self.go_on(at)?;
        }
        if whole.under_way.is_some() {
            return self.flaw(number + 1, "the export ends without its last line: it was cut".to_string());
        }
        if self.tally.entries == taken && !whole.is_export {
            return Err(Stop::Foreign("there is no entry in it".into()));
        }
        Ok(())
    }

    /// Says where it stopped, what is done, and what to do.
    fn stopped(&self, stop: Stop) -> CommandError {
        const AGAIN: &str = "import again: what is there already is not written again";
        let name = &self.name;
        let taken = if self.checking { 0 } else { self.tally.entries };
        let before = match taken {
            0 => "nothing was imported".to_string(),
            1 => "the entry before is imported and durable".to_string(),
            n => format!("the {n} entries before are imported and durable"),
        };
        match stop {
            Stop::Bad { place, text } if taken == 0 => {
                CommandError::new(Code::BadArgument, format!("{name}:{place}: {text}; {before}; mend it and import again"))
            }
            // It was changed after it was checked.
            Stop::Bad { place, text } => {
                let text = format!("{name}:{place}: {text}; {before}, nothing from here on is; mend it and {AGAIN}");
                CommandError::new(Code::BadArgument, text)
            }
            Stop::Foreign(text) => CommandError::new(Code::BadArgument, format!("{name}: {text}; {before}")),
            Stop::Input(error) => CommandError::new(Code::Failed, format!("{name}: {error}; {before}")),
            Stop::Store(error) => {
                let stored = self.stored(&error);
                let told = match &error {
                    Error::NoSpace { path, source, .. } => format!("{}: no room to write the log: {source}", path.display()),
                    error => error.to_string(),
                };
                CommandError::new(CommandError::from(error).code, format!("{told}; {stored}; when that is mended, {AGAIN}"))
            }
            Stop::Interrupted => {
                CommandError::new(Code::Interrupted, format!("{name}: interrupted; {before}; to go on, {AGAIN}"))
            }
        }
    }

    /// What of the entries is in the store after it refused something.
    fn stored(&self, error: &Error) -> String {
        let durable = self.engine.stats().durable;
        let up_to = |seq| self.groups.iter().rev().find(|group| group.0 <= seq).map_or(0, |group| group.1);
        let (durable, accepted) = (up_to(durable), up_to(Seq::MAX));
        let becomes = match error {
            Error::NoSpace { .. } => "accepted and wait in memory for room",
            _ => "accepted, and whether they are saved is seen when the store is opened again",
        };
        let mut parts = Vec::new();
        if durable > 0 {
            parts.push(format!("of the entries, the first {durable} are imported and durable"));
        }
        if accepted > durable {
            parts.push(format!("entries {} to {accepted} are {becomes}", durable + 1));
        }
        if parts.is_empty() {
            return "nothing was imported".to_string();
        }
        if accepted < self.tally.entries {
            parts.push("the others are not imported".to_string());
        }
        parts.join(", ")
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
#[derive(Default)]
struct Whole {
    under_way: Option<(u64, Digester)>,
    /// There was a first line.
    is_export: bool,
}

impl Whole {
    fn begin(&mut self) -> Result<(), String> {
        self.is_export = true;
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
    fn end(&mut self, due: u64, digest: &str) -> Option<String> {
        let (count, digester) = self.under_way.take()?;
        let found = digester.digest().to_string();
        let what = if count != due {
            format!("{} where the last line says {due}", entries(count))
        } else if found != digest {
            format!("their digest is {found} where the last line says {}", displayed(digest.as_bytes()))
        } else {
            return None;
        };
        Some(format!("the entries are not those that were exported: {what}"))
    }
}

/// What the input begins with.
fn peek(input: &mut BufReader<Counted>) -> io::Result<&[u8]> {
    loop {
        match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    Ok(input.buffer())
}

/// Files that people have beside exports: where something stands in them, and what they are.
const KNOWN: &[(usize, &[u8], &str)] = &[
    (0, b"\x1f\x8b", "gzip"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (0, b"\xfd7zXZ\0", "xz"),
    (0, b"BZh", "bzip2"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"PK\x05\x06", "zip"),
    (0, b"\x04\x22\x4d\x18", "lz4"),
    (0, b"LZIP", "lzip"),
    (0, b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (0, b"\x1f\x9d", "compress"),
    (0, b"\xff\xfe", "UTF-16 text"),
    (0, b"\xfe\xff", "UTF-16 text"),
    (0, b"\x7fELF", "a program"),
    (0, b"SQLite format 3\0", "an SQLite database"),
    (257, b"ustar", "a tar archive"),
];

/// What an input is, by how it begins.
fn detect(begin: &[u8]) -> Result<From, Stop> {
    let begin = begin.strip_prefix(BYTE_ORDER_MARK).unwrap_or(begin);
    let foreign = |what: &str| Stop::Foreign(what.to_string());
    if let Some(from) = cpp::is_log(begin).map_err(|text| foreign(&text))? {
        return Ok(from);
    }
    if begin.starts_with(b"\x89kv") {
        return Err(foreign(
            "this is a file of a kv-engine store, not an export; kv_cli --wal … --snapshot … export makes one of it",
        ));
    }
    if let Some((_, _, name)) = KNOWN.iter().find(|(at, bytes, _)| begin.get(*at..).is_some_and(|rest| rest.starts_with(bytes))) {
        return Err(foreign(&format!("this is {name}, not an export; unpack it or export again")));
    }
    let lines = begin.split(|&b| b == b'\n').map(|line| (line, Words::of(line)));
    let Some((line, mut words)) = lines.into_iter().find(|(_, words)| !words.is_at_end()) else { return Ok(From::Text) };
    let is_pair = line.contains(&b'\t');
    if line.trim_ascii_start().starts_with(b"{") && !(is_pair && Form::Json.read(line).is_err()) {
        return Ok(From::Json);
    }
    match words.next() {
        Some(Ok(word)) if [&b"PUT"[..], b"SET", b"DEL"].iter().any(|verb| word.eq_ignore_ascii_case(verb)) => Ok(From::Text),
        // That store's values may be any bytes, but those of people are mostly text.
        _ if is_pair && !begin.iter().any(|&byte| is_binary(byte)) => Ok(From::CppSnapshot),
        _ if begin.iter().any(|&byte| is_binary(byte)) => Err(foreign(&format!(
            "binary, and neither an export nor a log of the C++ store; it begins with '{}'; a snapshot of the C++ store with \
             binary values is read with --from cpp-snapshot",
            displayed(&line[..line.len().min(40)])
        ))),
        _ => Err(foreign(&format!(
            "neither an export, nor a log or snapshot of the C++ store; it begins with '{}'",
            displayed(line)
        ))),
    }
}

/// A control byte that text does not have.
pub(crate) fn is_binary(byte: u8) -> bool {
    byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | b'\x0c' | b'\x1b')
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
            (b"\xef\xbb\xbfPUT a 1\n", From::Text),
            (b"KVLG\x01\0\x01\x01\0\0\0", From::CppLog),
        ] {
            assert_eq!(seen(begin), Ok(from), "{}", begin.escape_ascii());
        }
        for begin in [&b"hello\n"[..], b"\x89kvwal\r\n", b"\x89kvsna\r\n", b"KVLG\x01\x17\0", b"KVSP\0", b"a\t\0\n"] {
            assert_eq!(seen(begin), Err(()), "{}", begin.escape_ascii());
        }
        for (at, bytes, name) in KNOWN {
            let begin = [&vec![b'\t'; *at][..], bytes, b"\t\n"].concat();
            let Err(Stop::Foreign(text)) = detect(&begin) else { panic!("{name} is taken") };
            assert!(text.starts_with(&format!("this is {name}, ")), "{text}");
        }
    }
}
