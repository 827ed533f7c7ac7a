//! What KEYS and SCAN share: which entries are listed, and how a list is written.

use super::args::{Args, number};
use super::reply::Reply;
use super::spec::Spec;
use crate::error::{Code, CommandError};
use crate::output::{Output, write_raw};
use crate::settings::Format;
use crate::signals::Flags;
use crate::text::{bytes, displayed, without_controls, write_word};
use kv_engine::{Engine, Value};
use serde_json::Value as Json;
use std::borrow::Cow;
use std::io::{self, Write};

/// `[prefix] [LIMIT n]`: which keys are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range<'a> {
    /// The beginning of the keys; empty for all keys.
    pub(super) prefix: Cow<'a, [u8]>,
    /// How many at most; `None`: as many as the session lists without LIMIT.
    limit: Option<usize>,
}

impl<'a> Range<'a> {
    /// The number of words tells prefix and LIMIT apart, so LIMIT can be a prefix too.
    pub(super) fn read(args: Args<'a>) -> Result<Range<'a>, CommandError> {
        let spec = args.spec;
        let [first, second, third] = args.words;
        let (prefix, keyword, count) = match args.count {
            0 | 1 => return Ok(Range { prefix: first, limit: None }),
            2 => (Cow::default(), first, second),
            _ => (first, second, third),
        };
        let is_limit = |word: &[u8]| word.eq_ignore_ascii_case(b"LIMIT");
        if !is_limit(&keyword) {
            let what = match args.count {
                2 if is_limit(&count) => "LIMIT needs a number".to_string(),
                // One of two words is the prefix.
                2 => format!("{} takes a prefix and LIMIT n, got '{}'", spec.name, displayed(&count)),
                _ => format!("{} takes a prefix and LIMIT n, got '{}'", spec.name, displayed(&keyword)),
            };
            return Err(CommandError::new(Code::BadArgument, format!("{what}; usage: {}", spec.usage())));
        }
        let limit = number("LIMIT", &count, 1, u64::from(u32::MAX))?;
        Ok(Range { prefix, limit: Some(usize::try_from(limit).unwrap_or(usize::MAX)) })
    }

    /// Collects everything before the reply is written, so a reply is complete or an error.
    pub(super) fn list<E>(
        &self,
        mut found: impl Iterator<Item = kv_engine::Result<E>>,
        default_limit: usize,
    ) -> Result<Listed<E>, CommandError> {
        let entries = found.by_ref().take(self.limit.unwrap_or(default_limit)).collect::<Result<_, _>>()?;
        Ok(Listed { entries, more: found.next().transpose()?.is_some() })
    }
}

/// The entries, and whether there are more than the limit allowed.
#[derive(Clone, Debug)]
pub struct Listed<E> {
    entries: Vec<E>,
    more: bool,
}

impl<E> Listed<E> {
    /// A list of all entries.
    #[must_use]
    pub fn all(entries: Vec<E>) -> Listed<E> {
        Listed { entries, more: false }
    }
}

/// What is listed: a key, or a key and its value.
pub trait Entry {
    /// The key.
    fn key(&self) -> &[u8];
    /// The value, if it is listed too.
    fn value(&self) -> Option<&[u8]>;
}

impl Entry for Vec<u8> {
    fn key(&self) -> &[u8] {
        self
    }

    fn value(&self) -> Option<&[u8]> {
        None
    }
}

impl Entry for (Vec<u8>, Value) {
    fn key(&self) -> &[u8] {
        &self.0
    }

    fn value(&self) -> Option<&[u8]> {
        Some(&self.1)
    }
}

impl<E: Entry> Listed<E> {
    /// Writes a line for each entry, in words that PUT reads.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        self.entries.iter().try_for_each(|entry| line(entry, out, write_word))
    }
}

/// One entry on one line, its parts written by `part`.
fn line<E: Entry, W: Write>(entry: &E, out: &mut W, part: impl Fn(&[u8], &mut W) -> io::Result<()>) -> io::Result<()> {
    part(entry.key(), out)?;
    if let Some(value) = entry.value() {
        out.write_all(b" ")?;
        part(value, out)?;
    }
    out.write_all(b"\n")
}

impl<E: Entry> Reply for Listed<E> {
    fn text(&self, out: &mut impl Write) -> io::Result<()> {
        self.write_text(out)
    }

    fn note(&self, _: &Engine) -> Option<String> {
        let shown = self.entries.len();
        self.more.then(|| format!("({shown} shown, there are more: try LIMIT {})", shown.saturating_mul(10)))
    }

    /// Long lists can be interrupted: then the list ends after an entry, and an error says that it is not complete.
    fn write(
        &self,
        spec: &Spec,
        output: &mut Output,
        flags: &Flags,
        note: impl FnOnce() -> Option<String>,
    ) -> Result<(), CommandError> {
        let (format, terminal) = (output.format, output.terminal);
        let written = self.write_until(|| flags.interrupted(), spec.name, format, terminal, output.stream());
        let is_complete = written.as_ref().map_or(true, |&written| written == self.entries.len());
        output.keep(written.map(drop));
        if !is_complete {
            return Err(CommandError::new(Code::Interrupted, "interrupted; there are more entries"));
        }
        if format == Format::Text
            && output.interactive
            && let Some(note) = note()
        {
            output.noted(Vec::new(), Some(note));
        }
        Ok(())
    }
}

impl<E: Entry> Listed<E> {
    /// Writes entries until `interrupted`, and returns how many it has written.
    fn write_until(
        &self,
        interrupted: impl Fn() -> bool,
        name: &str,
        format: Format,
        terminal: bool,
        out: &mut impl Write,
    ) -> io::Result<usize> {
        if format == Format::Json {
            write!(out, "{{\"cmd\":\"{name}\",\"ok\":true,\"entries\":[")?;
        }
        let mut written = 0;
        for entry in self.entries.iter().take_while(|_| !interrupted()) {
            match format {
                Format::Json => {
                    let value = entry.value().map(|value| bytes("value", "value_base64", value));
                    let fields = [Some(bytes("key", "key_base64", entry.key())), value];
                    let object = Json::from_iter(fields.into_iter().flatten()).to_string();
                    write!(out, "{}{}", if written == 0 { "" } else { "," }, without_controls(object))?;
                }
                Format::Text => line(entry, out, write_word)?,
                Format::Raw => line(entry, out, |bytes, out| write_raw(bytes, terminal, out))?,
            }
            written += 1;
        }
        if format == Format::Json {
            writeln!(out, "],\"more\":{}}}", self.more || interrupted())?;
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn an_interrupted_list_ends_after_an_entry() {
        let entries = vec![(b"a key".to_vec(), Value::from(b"v\x1b" as &[u8])); 4];
        let listed = |format, ends_at: usize| {
            let (asked, mut out) = (Cell::new(0), Vec::new());
            let interrupted = || asked.replace(asked.get() + 1) >= ends_at;
            let list = Listed::all(entries.clone());
            let written = list.write_until(interrupted, "SCAN", format, true, &mut out).expect("memory");
            (written, String::from_utf8(out).expect("text"))
        };
        assert_eq!(listed(Format::Text, 1), (1, "\"a key\" \"v\\x1b\"\n".into()));
        assert_eq!(listed(Format::Text, 9).0, 4);
        assert_eq!(listed(Format::Raw, 2), (2, "a key v\\x1b\n".repeat(2)));
        let (written, object) = listed(Format::Json, 2);
        let object: Json = serde_json::from_str(&object).expect("an object");
        assert_eq!((written, object["entries"].as_array().map(Vec::len)), (2, Some(2)));
        assert_eq!(object["more"], true);
    }
}
