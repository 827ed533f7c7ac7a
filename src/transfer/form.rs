//! The two forms of an export, text and JSON Lines. Both have a first line, a line for each entry in key order, and a
//! last line:
//!
//! ```text
//! # kv_cli export 1 of store 0123…,
//! # the state after write 3; to restore it: kv_cli import FILE
//! PUT name "Ada Lovelace"
//! # end of 1 entry, digest 4567…
//!
//! {"export":1,"store_id":"0123…","seq":3}
//! {"key":"name","value":"Ada Lovelace"}
//! {"end":true,"entries":1,"digest":"4567…"}
//! ```
//!
//! - The text is a script for the shell. Words are quoted as PUT reads them, and can hold any byte.
//! - In JSON a key or value that is not UTF-8 is written in base64, as `key_base64` or `value_base64`, as in `--json`.
//! - The first line has the version of the form. The lines before the entries fit on a terminal.
//! - An export without its last line was cut off. The digest is that of the state. If it differs, the export was
//!   changed.
//! - Salvaged entries are not a state of the store. So their export has `salvage` instead of a sequence number.
//! - The entries of a server were read while others may have written. So their export has `server` instead.

use crate::text::{Words, bytes, column, counted, displayed, entries, object, safe, write_word};
use base64::Engine as _;
use kv_engine::{Digest, Digester, Seq, StoreId};
use serde_json::Value as Json;
use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{self, Write};

/// The format version of both forms.
const VERSION: u64 = 1;
const TEXT_BEGINS: &str = "# kv_cli export ";
const TEXT_ENDS: &str = "# end of ";
const JSON_BEGINS: &str = "{\"export\":";
/// The names of the two commands that an import reads, as the shell knows them.
const PUT: &[&[u8]] = &[b"PUT", b"SET"];
const DELETE: &[&[u8]] = &[b"DEL", b"DELETE"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Json,
}

/// Where the entries of an export come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin<'a> {
    State { store_id: StoreId, seq: Seq },
    Salvage,
    Server { store_id: &'a str, address: &'a str },
}

/// Whether a file that begins like this is an export.
pub(crate) fn is_export(begin: &[u8]) -> bool {
    begin.starts_with(TEXT_BEGINS.as_bytes()) || begin.starts_with(JSON_BEGINS.as_bytes())
}

/// Writes an export.
pub(crate) struct Writer<W> {
    out: W,
    form: Form,
    entries: u64,
    digester: Digester,
}

impl<W: Write> Writer<W> {
    pub(crate) fn begin(mut out: W, form: Form, origin: Origin<'_>) -> io::Result<Writer<W>> {
        match (form, origin) {
            (Form::Text, Origin::State { store_id, seq }) => writeln!(
                out,
                "{TEXT_BEGINS}{VERSION} of store {store_id},\n# the state after write {seq}; to restore it: kv_cli import FILE"
            )?,
            (Form::Text, Origin::Salvage) => writeln!(
                out,
                "{TEXT_BEGINS}{VERSION}, salvaged from damaged files:\n\
                 # NOT the state after any write; entries may be missing, old, or deleted since"
            )?,
            (Form::Text, Origin::Server { store_id, address }) => writeln!(
                out,
                "{TEXT_BEGINS}{VERSION} of store {store_id},\n# read from the server at {}; to restore it: kv_cli import FILE",
                safe(address)
            )?,
            (Form::Json, Origin::Server { store_id, address }) => out.write_all(
                object(&[("export", VERSION.into()), ("store_id", store_id.into()), ("server", address.into())]).as_bytes(),
            )?,
            (Form::Json, Origin::State { store_id, seq }) => out.write_all(
                object(&[("export", VERSION.into()), ("store_id", store_id.to_string().into()), ("seq", seq.into())]).as_bytes(),
            )?,
            (Form::Json, Origin::Salvage) => {
                out.write_all(object(&[("export", VERSION.into()), ("salvage", true.into())]).as_bytes())?;
            }
        }
        Ok(Writer { out, form, entries: 0, digester: Digester::default() })
    }

    pub(crate) fn entry(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.entries += 1;
        self.digester.add(key, value);
        match self.form {
            Form::Text => {
                self.out.write_all(b"PUT ")?;
                write_word(key, &mut self.out)?;
                self.out.write_all(b" ")?;
                write_word(value, &mut self.out)?;
                self.out.write_all(b"\n")
            }
            Form::Json => {
                let fields = [bytes("key", "key_base64", key), bytes("value", "value_base64", value)];
                self.out.write_all(object(&fields).as_bytes())
            }
        }
    }

    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// Writes the last line, without which an export counts as cut off.
    pub(crate) fn end(mut self) -> io::Result<(W, u64, Digest)> {
        let (count, digest) = (self.entries, self.digester.digest());
        match self.form {
            Form::Text => writeln!(self.out, "{TEXT_ENDS}{}, digest {digest}", entries(count))?,
            Form::Json => {
                let fields = [("end", true.into()), ("entries", count.into()), ("digest", digest.to_string().into())];
                self.out.write_all(object(&fields).as_bytes())?;
            }
        }
        self.out.flush()?;
        Ok((self.out, count, digest))
    }
}

/// A line of an export.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'l> {
    Blank,
    Begin,
    /// The first line of an export in a format version that this program does not know.
    Newer(u64),
    Put {
        key: Cow<'l, [u8]>,
        value: Cow<'l, [u8]>,
    },
    Delete {
        key: Cow<'l, [u8]>,
    },
    End {
        entries: u64,
        digest: String,
    },
}

impl Form {
    /// Reads one line without its line feed. An error begins with the column.
    pub(crate) fn read(self, line: &[u8]) -> Result<Line<'_>, String> {
        match self {
            Form::Text => read_text(line),
            Form::Json => read_json(line),
        }
    }
}

fn read_text(line: &[u8]) -> Result<Line<'_>, String> {
    if Words::of(line).is_at_end() {
        return read_comment(&String::from_utf8_lossy(line));
    }
    let words = Words::of(line).collect::<Result<Vec<_>, _>>().map_err(|error| error.text)?;
    let Some((verb, words)) = words.split_first() else { return Ok(Line::Blank) };
    let is_one_of = |names: &[&[u8]]| names.iter().any(|name| verb.eq_ignore_ascii_case(name));
    match words {
        [key, value] if is_one_of(PUT) => Ok(Line::Put { key: key.clone(), value: value.clone() }),
        [key] if is_one_of(DELETE) => Ok(Line::Delete { key: key.clone() }),
        _ if is_one_of(PUT) => Err(wrong_count("PUT takes a key and a value", words.len(), "PUT name \"Ada Lovelace\"")),
        _ if is_one_of(DELETE) => Err(wrong_count("DEL takes a key", words.len(), "DEL name")),
        _ => Err("column 1: only PUT and DEL lines can be imported; to run other commands: kv_cli < FILE".into()),
    }
}

fn wrong_count(takes: &str, got: usize, example: &str) -> String {
    format!("column 1: {takes}, got {}; example: {example}", counted(got, "word"))
}

fn read_comment(text: &str) -> Result<Line<'static>, String> {
    if let Some(rest) = text.strip_prefix(TEXT_BEGINS) {
        let version = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        return begin(version.parse().ok());
    }
    let end = text.trim_end().strip_prefix(TEXT_ENDS).and_then(|rest| rest.split_once(", digest "));
    Ok(match end.map(|(count, digest)| (count.split(' ').next().unwrap_or_default().parse(), digest)) {
        Some((Ok(entries), digest)) => Line::End { entries, digest: digest.to_string() },
        _ => Line::Blank,
    })
}

fn begin(version: Option<u64>) -> Result<Line<'static>, String> {
    match version {
        Some(VERSION) => Ok(Line::Begin),
        Some(newer) => Ok(Line::Newer(newer)),
        None => Err("column 1: the first line of the export has no version".into()),
    }
}

fn read_json(line: &[u8]) -> Result<Line<'_>, String> {
    if line.iter().all(u8::is_ascii_whitespace) {
        return Ok(Line::Blank);
    }
    let object = match serde_json::from_slice(line) {
        Ok(Json::Object(object)) => {
            if let Some(name) = repeated_field(line) {
                return Err(format!("column 1: {} appears twice", displayed(name.as_bytes())));
            }
            object
        }
        Ok(_) => return Err("column 1: an entry is an object, for example {\"key\":\"x\",\"value\":\"100\"}".into()),
        Err(error) => {
            let what = if error.is_eof() { "the JSON object is incomplete" } else { "this is not valid JSON" };
            return Err(format!("column {}: {what}", column(line, error.column().saturating_sub(1))));
        }
    };
    if let Some(version) = object.get("export") {
        return begin(version.as_u64());
    }
    if object.get("end") == Some(&Json::Bool(true)) {
        let entries = object.get("entries").and_then(Json::as_u64).ok_or("column 1: the last line has no count of entries")?;
        let digest = object.get("digest").and_then(Json::as_str).unwrap_or_default().to_string();
        return Ok(Line::End { entries, digest });
    }
    let (mut key, mut value) = (None, None);
    for (name, data) in object {
        let (slot, base64) = match name.as_str() {
            "key" => (&mut key, false),
            "key_base64" => (&mut key, true),
            "value" => (&mut value, false),
            "value_base64" => (&mut value, true),
            _ => return Err(format!("column 1: unknown field '{}'", displayed(name.as_bytes()))),
        };
        let Json::String(text) = data else { return Err(format!("column 1: {name} must be a string")) };
        let data = match base64 {
            false => text.into_bytes(),
            true => base64::prelude::BASE64_STANDARD.decode(text).map_err(|_| format!("column 1: {name} is not valid base64"))?,
        };
        if slot.replace(data).is_some() {
            return Err(format!("column 1: {name} appears twice, once in base64"));
        }
    }
    match (key, value) {
        (Some(key), Some(value)) => Ok(Line::Put { key: key.into(), value: value.into() }),
        (None, _) => Err("column 1: the entry has no key".into()),
        (_, None) => Err("column 1: the entry has no value".into()),
    }
}

/// The name of a field that the object of this line has twice. The parser accepts that and keeps only the last one.
fn repeated_field(line: &[u8]) -> Option<String> {
    let (mut names, mut depth, mut at) = (HashSet::new(), 0_u32, 0);
    let mut text = None;
    while let Some(&byte) = line.get(at) {
        let begin = at;
        at += 1;
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                while line.get(at).is_some_and(|&byte| byte != b'"') {
                    at += if line[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
                text = line.get(begin..at);
            }
            b':' if depth == 1 => {
                let name: String = serde_json::from_slice(text.take()?).ok()?;
                if names.contains(&name) {
                    return Some(name);
                }
                names.insert(name);
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::command::find;
    use proptest::prelude::*;

    fn written(form: Form, entries: &[(Vec<u8>, Vec<u8>)]) -> (Vec<u8>, Digest) {
        let mut writer = Writer::begin(Vec::new(), form, Origin::Salvage).unwrap();
        entries.iter().for_each(|(key, value)| writer.entry(key, value).unwrap());
        let (out, count, digest) = writer.end().unwrap();
        assert_eq!(count, entries.len() as u64);
        (out, digest)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn every_entry_is_one_line_and_comes_back(
            entries in proptest::collection::vec(
                (proptest::collection::vec(any::<u8>(), 1..12), proptest::collection::vec(any::<u8>(), 0..20)), 0..5)
        ) {
            for form in [Form::Text, Form::Json] {
                let (out, digest) = written(form, &entries);
                prop_assert!(is_export(&out));
                let lines: Vec<&[u8]> = out.strip_suffix(b"\n").unwrap().split(|&b| b == b'\n').collect();
                let head = if form == Form::Text { 2 } else { 1 };
                prop_assert_eq!(lines.len(), head + entries.len() + 1);
                prop_assert_eq!(form.read(lines[0]), Ok(Line::Begin));
                prop_assert!(head == 1 || form.read(lines[1]) == Ok(Line::Blank));
                for (line, (key, value)) in lines[head..].iter().zip(&entries) {
                    prop_assert_eq!(form.read(line), Ok(Line::Put { key: key.into(), value: value.into() }));
                }
                let end = Line::End { entries: entries.len() as u64, digest: digest.to_string() };
                prop_assert_eq!(form.read(lines[lines.len() - 1]), Ok(end));
            }
        }

        /// Texts that look like parts of the text form.
        #[test]
        fn strings_come_back(key in "[ -~\u{a0}-\u{2fff}#\"'\\\\]{1,8}", value in "(kv> |#|PUT |\\(nil\\)|é|\u{9b}|\r|\t| ){0,6}") {
            let entries = [(key.into_bytes(), value.into_bytes())];
            for form in [Form::Text, Form::Json] {
                let (out, _) = written(form, &entries);
                let line = out.split(|&b| b == b'\n').rev().nth(2).unwrap();
                let [(key, value)] = &entries;
                prop_assert_eq!(form.read(line), Ok(Line::Put { key: key.into(), value: value.into() }));
            }
        }

        #[test]
        fn any_line_can_be_read(line in proptest::collection::vec(any::<u8>(), 0..60), head in "(PUT |DEL |\\{\"|# end of |# kv_cli export )?") {
            let line = [head.as_bytes(), &line].concat();
            for form in [Form::Text, Form::Json] {
                if let Err(text) = form.read(&line) {
                    prop_assert!(text.starts_with("column "), "{}", text);
                }
            }
        }
    }

    #[test]
    fn the_two_commands_have_the_names_that_the_shell_knows() {
        for names in [PUT, DELETE] {
            let spec = find(names[0]).unwrap();
            let all = std::iter::once(&spec.name).chain(spec.aliases).map(|name| name.as_bytes()).collect::<Vec<_>>();
            assert_eq!(all, names);
        }
    }

    #[test]
    fn an_error_names_the_column() {
        let text = |line: &str| Form::Text.read(line.as_bytes()).unwrap_err();
        assert_eq!(text(r#"PUT a "b\q""#), r"column 9: unknown escape \q; use \\ for a backslash");
        assert!(text("PUT a").starts_with("column 1: PUT takes a key and a value, got 1 word"));
        assert!(text("GET a").starts_with("column 1: only PUT and DEL"));
        assert_eq!(Form::Text.read(b"# kv_cli export 2 of"), Ok(Line::Newer(2)));
        assert_eq!(Form::Json.read(br#"{"export":2}"#), Ok(Line::Newer(2)));
        let json = |line: &str| Form::Json.read(line.as_bytes()).unwrap_err();
        assert_eq!(json(r#"{"key":"a","value":"b"#), "column 21: the JSON object is incomplete");
        assert_eq!(json(r#"{"key":"a","value":1}"#), "column 1: value must be a string");
        assert_eq!(json(r#"{"key":"a","val":"b"}"#), "column 1: unknown field 'val'");
        assert_eq!(json(r#"{"key":"a","key_base64":"YQ==","value":"b"}"#), "column 1: key_base64 appears twice, once in base64");
        assert_eq!(json(r#"{"key":"a","value":"b","key":"c"}"#), "column 1: key appears twice");
        assert_eq!(json(r#"{"key":"a\"\\","value":"\\\":","\u006bey":"c"}"#), "column 1: key appears twice");
        assert_eq!(json(r#"{"end":true,"entries":1,"entries":2,"digest":"x"}"#), "column 1: entries appears twice");
        assert_eq!(json(r#"{"key":"äö","value"=1}"#), "column 20: this is not valid JSON", "not 22, its place in bytes");
        assert!(Form::Json.read(br#"{"key":"value","value":"key"}"#).is_ok());
        assert!(json(r#"{"key_base64":"=","value":"b"}"#).starts_with("column 1: key_base64 is not valid base64"));
        assert_eq!(json(r#"{"key":"a"}"#), "column 1: the entry has no value");
        assert_eq!(json(r#"["a"]"#), "column 1: an entry is an object, for example {\"key\":\"x\",\"value\":\"100\"}");
    }
}
