//! Help while typing: completion, hints, highlighting.
//!
//! The line editor calls these for every key. Pasted lines can be long. So each of them looks at [`HINTED_BYTES`] at
//! most, and the line is only drawn again while the first word or a quote is typed.

use crate::command::{COMMANDS, Spec, find};
use crate::error::Code;
use crate::store::Opened;
use crate::text::{Words, displayed, is_hidden, write_escaped, write_word};
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{Hint, Hinter};
use rustyline::history::SearchDirection;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};
use std::borrow::Cow;
use std::cell::Cell;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// Longer lines get no hints.
const HINTED_BYTES: usize = 256;
const HINT_COLUMNS: usize = 80;
const MAX_KEYS: usize = 100;
const MAX_FILES: usize = 1000;
/// A directory may be on another machine, or have many files.
const FILES_TIME: Duration = Duration::from_millis(200);

pub(crate) struct Assist {
    engine: Opened,
    color: bool,
    /// Whether the line was not empty at the last key; for Ctrl-C.
    pub(crate) typed: Cell<bool>,
}

impl Assist {
    pub(crate) fn new(engine: Opened, color: bool) -> Assist {
        Assist { engine, color, typed: Cell::new(false) }
    }

    /// Stored keys that begin with the bytes of `word`, as words. If there are more than are listed, the last one is
    /// there too. Tab inserts what all offered words share, and the first and the last key share only what all do.
    fn keys(&self, word: &str) -> Vec<Pair> {
        let Some(prefix) = unquoted(word) else { return Vec::new() };
        let Some(engine) = self.engine.get() else { return Vec::new() };
        let mut keys: Vec<_> = engine.keys(&prefix).map_while(Result::ok).take(MAX_KEYS).collect();
        let last = engine.keys(&prefix).next_back().and_then(Result::ok);
        let more = last.filter(|last| keys.last().is_some_and(|listed| listed < last));
        let is_cut = more.is_some();
        keys.truncate(if is_cut { MAX_KEYS - 1 } else { MAX_KEYS });
        keys.extend(more);
        let pair = |word: String| Pair { replacement: format!("{word} "), display: word };
        let mut pairs: Vec<_> = as_words(&keys, word.chars().next()).into_iter().map(pair).collect();
        if let Some(last) = pairs.last_mut().filter(|_| is_cut) {
            last.display = format!("... {}", last.display);
        }
        pairs
    }
}

impl Helper for Assist {}
impl Validator for Assist {}

impl Completer for Assist {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = Typed::of(&line[..pos]);
        let found = match typed.command {
            None => commands(typed.word),
            Some(spec) if !spec.options.is_empty() => options(spec, &line[..pos], typed.word),
            Some(spec) if spec.name == "HELP" && typed.args == 0 => commands(typed.word),
            Some(spec) if spec.args.first().is_some_and(|arg| matches!(*arg, "file" | "[file]")) && typed.args == 0 => {
                files(typed.word)
            }
            Some(spec) if spec.args.first().is_some_and(|arg| matches!(*arg, "key" | "[prefix]")) && typed.args == 0 => {
                self.keys(typed.word)
            }
            Some(spec) if typed.args == 1 && spec.args.contains(&"[LIMIT n]") && is_start(typed.word, "LIMIT") => {
                vec![Pair { display: "LIMIT".into(), replacement: "LIMIT ".into() }]
            }
            Some(_) => Vec::new(),
        };
        Ok((pos - typed.word.len(), found))
    }
}

fn commands(prefix: &str) -> Vec<Pair> {
    let found = COMMANDS.iter().filter(|spec| is_start(prefix, spec.name));
    found.map(|spec| Pair { display: spec.name.into(), replacement: format!("{} ", spec.name) }).collect()
}

/// The options that begin with the word, or the values of the option before it.
fn options(spec: &Spec, line: &str, word: &str) -> Vec<Pair> {
    let before = line[..line.len() - word.len()].split_whitespace().next_back();
    let pair = |text: &str| Pair { display: text.into(), replacement: format!("{text} ") };
    let all = spec.options;
    match all.iter().find(|option| Some(option.name) == before) {
        Some(option) if !option.value.is_empty() => {
            option.choices.iter().filter(|choice| choice.starts_with(word)).map(|choice| pair(choice)).collect()
        }
        _ if word.starts_with('-') => {
            all.iter().filter(|option| option.name.starts_with(word)).map(|option| pair(option.name)).collect()
        }
        _ => Vec::new(),
    }
}

/// Files whose names begin with the bytes of `word`, as words. After a directory no blank follows, so that the user can
/// continue in it.
fn files(word: &str) -> Vec<Pair> {
    let Some(typed) = unquoted(word) else { return Vec::new() };
    let name_at = typed.iter().rposition(|&b| b == b'/').map_or(0, |slash| slash + 1);
    let (directory, begun) = typed.split_at(name_at);
    let searched = if directory.is_empty() { Path::new(".") } else { Path::new(OsStr::from_bytes(directory)) };
    let began = Instant::now();
    let entries = searched.read_dir().into_iter().flatten().map_while(Result::ok).take_while(|_| began.elapsed() < FILES_TIME);
    let hidden = begun.starts_with(b".");
    let mut found: Vec<(Vec<u8>, bool)> = entries
        .map(|entry| (entry.file_name().into_vec(), entry.path()))
        .filter(|(name, _)| name.starts_with(begun) && (hidden || !name.starts_with(b".")))
        .take(MAX_FILES)
        .map(|(name, path)| if path.is_dir() { ([&name[..], b"/"].concat(), true) } else { (name, false) })
        .collect();
    found.sort();
    let paths: Vec<_> = found.iter().map(|(name, _)| [directory, name].concat()).collect();
    let words = as_words(&paths, word.chars().next());
    let pair = |(mut word, (name, is_dir)): (String, &(Vec<u8>, bool))| {
        match word.chars().next() {
            _ if !is_dir => word.push(' '),
            Some('"' | '\'') => drop(word.pop()),
            _ => {}
        }
        Pair { display: displayed(name), replacement: word }
    };
    words.into_iter().zip(&found).map(pair).collect()
}

fn is_start(typed: &str, name: &str) -> bool {
    name.get(..typed.len()).is_some_and(|start| start.eq_ignore_ascii_case(typed))
}

/// Keys as words. If the keys have a common beginning, so have the words: if one key needs quotes, all get quotes. The
/// quote that was typed is kept if possible.
fn as_words(keys: &[Vec<u8>], typed: Option<char>) -> Vec<String> {
    let text = |write: &dyn Fn(&[u8], &mut Vec<u8>), key: &[u8]| {
        let mut word = Vec::new();
        write(key, &mut word);
        String::from_utf8_lossy(&word).into_owned()
    };
    let plain = |key: &[u8]| text(&|key, out| drop(write_word(key, out)), key);
    let escaped = |key: &[u8]| text(&|key, out| drop(write_escaped(key, true, out)), key);
    let is_literal = |key: &Vec<u8>| !key.contains(&b'\'') && !std::str::from_utf8(key).map_or(true, |k| k.contains(is_hidden));
    let words: Vec<_> = keys.iter().map(|key| plain(key)).collect();
    let typed = typed.filter(|quote| matches!(quote, '"' | '\''));
    match typed {
        Some('\'') if keys.iter().all(is_literal) => {
            keys.iter().map(|key| format!("'{}'", String::from_utf8_lossy(key))).collect()
        }
        None if !words.iter().any(|word| word.starts_with('"')) => words,
        _ => keys.iter().map(|key| format!("\"{}\"", escaped(key))).collect(),
    }
}

/// The bytes of a word that is not complete; its closing quote may be missing.
fn unquoted(word: &str) -> Option<Vec<u8>> {
    let closed = match word.as_bytes().first() {
        Some(&quote @ (b'"' | b'\'')) => format!("{word}{}", char::from(quote)),
        _ => word.to_string(),
    };
    Words::of(closed.as_bytes()).next().unwrap_or(Ok(Cow::Borrowed(b""))).ok().map(Cow::into_owned)
}

/// The line up to the cursor: the command, how many arguments are complete, the word at the end.
struct Typed<'l> {
    command: Option<&'static Spec>,
    args: usize,
    word: &'l str,
}

impl<'l> Typed<'l> {
    fn of(line: &'l str) -> Typed<'l> {
        let mut starts = Vec::new();
        let (mut quote, mut escaped, mut blank) = (None, false, true);
        for (at, c) in line.char_indices() {
            match quote {
                Some(_) if escaped => escaped = false,
                Some('"') if c == '\\' => escaped = true,
                Some(open) if c == open => quote = None,
                Some(_) => {}
                None if c == ' ' || c == '\t' => blank = true,
                None => {
                    if blank {
                        starts.push(at);
                        quote = Some(c).filter(|c| matches!(c, '"' | '\''));
                    }
                    blank = false;
                }
            }
        }
        if blank {
            starts.push(line.len());
        }
        let last = starts.last().copied().unwrap_or(line.len());
        let command = (starts.len() > 1).then(|| line[starts[0]..starts[1]].trim_end().as_bytes());
        match command.map(find) {
            Some(Some(spec)) => Typed { command: Some(spec), args: starts.len() - 2, word: &line[last..] },
            // After a word that is no command nothing is offered.
            Some(None) => Typed { command: find(b"EXIT"), args: usize::MAX / 2, word: &line[last..] },
            None => Typed { command: None, args: 0, word: &line[last..] },
        }
    }
}

/// Grey text behind the cursor.
pub(crate) struct Grey {
    text: String,
    /// The right arrow inserts a line of the history. It does not insert names of arguments.
    takes: bool,
}

impl Hint for Grey {
    fn display(&self) -> &str {
        &self.text
    }

    fn completion(&self) -> Option<&str> {
        self.takes.then_some(&self.text)
    }
}

impl Hinter for Assist {
    type Hint = Grey;

    fn hint(&self, line: &str, pos: usize, ctx: &Context<'_>) -> Option<Grey> {
        self.typed.set(!line.is_empty());
        if !self.color {
            return None; // without colour it looks like typed text
        }
        if pos < line.len() || line.is_empty() || line.len() > HINTED_BYTES {
            return None;
        }
        arguments(line).or_else(|| from_history(line, ctx))
    }
}

/// The arguments that are still missing.
fn arguments(line: &str) -> Option<Grey> {
    let typed = Typed::of(line);
    let (spec, given) = match typed.command {
        Some(spec) => (spec, typed.args + usize::from(!typed.word.is_empty())),
        None => (find(typed.word.as_bytes())?, 0),
    };
    if let Some(hint) = options_hint(spec, line) {
        return hint.map(|text| Grey { text, takes: false });
    }
    let missing = spec.args.get(given..).filter(|missing| !missing.is_empty())?.join(" ");
    let blank = if line.ends_with([' ', '\t']) { "" } else { " " };
    Some(Grey { text: format!("{blank}{missing}"), takes: false })
}

/// The hint after an option: its value, or more options. `None` if the line has no option.
fn options_hint(spec: &Spec, line: &str) -> Option<Option<String>> {
    let mut words = line.split_whitespace().rev();
    let (last, before) = (words.next()?, words.next());
    let find = |word: &str| spec.options.iter().find(|option| option.name == word);
    let takes = |word: &str| find(word).map(|option| option.value).filter(|value| !value.is_empty());
    let blank = if line.ends_with([' ', '\t']) { "" } else { " " };
    match takes(last) {
        Some(value) => Some(Some(format!("{blank}{value}"))),
        // After an option only options follow.
        None => line.split_whitespace().any(|word| find(word).is_some()).then(|| {
            let valued = before.is_some_and(|before| takes(before).is_some()) || find(last).is_some();
            valued.then(|| format!("{blank}[options]"))
        }),
    }
}

/// The rest of the newest line of the history that begins with this one.
fn from_history(line: &str, ctx: &Context<'_>) -> Option<Grey> {
    let newest = ctx.history().len().checked_sub(1)?;
    let start = ctx.history_index().min(newest);
    let found = ctx.history().starts_with(line, start, SearchDirection::Reverse).ok()??;
    let rest = found.entry.get(line.len()..)?.lines().next()?;
    let text: String = rest.chars().take(HINT_COLUMNS).collect();
    (!text.is_empty()).then_some(Grey { text, takes: true })
}

impl Highlighter for Assist {
    fn highlight<'l>(&self, line: &'l str, pos: usize) -> Cow<'l, str> {
        let start = line.len() - line.trim_start().len();
        let end = line[start..].find([' ', '\t']).map_or(line.len(), |length| start + length);
        let (word, known) = (&line[start..end], find(&line.as_bytes()[start..end]).is_some());
        if !self.color || line.len() > HINTED_BYTES || word.is_empty() || word.starts_with('#') {
            return Cow::Borrowed(line);
        }
        let style = match known {
            true => "\x1b[1m",
            // A word that may still become a command has no colour.
            false if pos <= end && !commands(word).is_empty() => return Cow::Borrowed(line),
            false => "\x1b[31m",
        };
        let rest = &line[end..];
        let open = Words::of(line.as_bytes()).find_map(Result::err).and_then(|error| {
            let column = error.text.strip_prefix("column ")?.split(':').next()?.parse::<usize>().ok()?;
            (error.code == Code::UnfinishedQuote && column > end).then(|| column - 1 - end)
        });
        match open.filter(|&open| rest.is_char_boundary(open)) {
            Some(open) => {
                let (before, quoted) = rest.split_at(open);
                Cow::Owned(format!("{}{style}{word}\x1b[0m{before}\x1b[4m{quoted}\x1b[0m", &line[..start]))
            }
            None => Cow::Owned(format!("{}{style}{word}\x1b[0m{rest}", &line[..start])),
        }
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        if self.color { Cow::Owned(format!("\x1b[2m{hint}\x1b[0m")) } else { Cow::Borrowed(hint) }
    }

    fn highlight_char(&self, line: &str, pos: usize, _: CmdKind) -> bool {
        let start = line.len() - line.trim_start().len();
        let end = line[start..].find([' ', '\t']).map_or(line.len(), |length| start + length);
        self.color && line.len() <= HINTED_BYTES && (pos <= end + 1 || line.contains(['"', '\'']))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(line: &str) -> Option<String> {
        arguments(line).map(|grey| grey.text)
    }

    #[test]
    fn hints_name_the_missing_arguments() {
        assert_eq!(hint("PUT"), Some(" key value".into()));
        assert_eq!(hint("put "), Some("key value".into()));
        assert_eq!(hint("PUT x"), Some(" value".into()));
        assert_eq!(hint("PUT \"a b\" "), Some("value".into()));
        assert_eq!(hint("PUT \"a \\\" b"), Some(" value".into()));
        assert_eq!(hint("PUT x 1"), None);
        assert_eq!(hint("PTU x"), None);
        assert_eq!(hint("SIZE"), None);
    }

    #[test]
    fn options_complete_and_their_hints_name_their_values() {
        assert_eq!(hint("BENCH"), Some(" n [sizes] [options]".into()));
        assert_eq!(hint("BENCH 100 "), Some("[sizes] [options]".into()));
        assert_eq!(hint("BENCH 100 --threads"), Some(" N".into()));
        assert_eq!(hint("BENCH 100 --threads 4"), Some(" [options]".into()));
        assert_eq!(hint("BENCH 100 --threads 4 --rep"), None);
        assert_eq!(hint("PUT --threads"), Some(" value".into()));
        let bench = find(b"BENCH").expect("a command");
        let offered = |line: &str, word| options(bench, line, word).into_iter().map(|pair| pair.replacement).collect::<Vec<_>>();
        assert_eq!(offered("BENCH 100 --k", "--k"), ["--key-bytes ", "--keys "]);
        assert_eq!(offered("BENCH 1 --dist z", "z"), ["zipfian "]);
        assert_eq!(offered("BENCH 1 --dist ", ""), ["uniform ", "zipfian "]);
        assert_eq!(offered("BENCH 1 --json ", ""), [""; 0]);
    }

    #[test]
    fn commands_complete_in_any_case() {
        let names = |prefix| commands(prefix).into_iter().map(|pair| pair.replacement).collect::<Vec<_>>();
        assert_eq!(names("be"), ["BEGIN ", "BENCH "]);
        assert_eq!(names("é"), [""; 0]);
        assert_eq!(names("").len(), COMMANDS.len());
    }

    #[test]
    fn keys_become_words_with_a_common_beginning() {
        let words = |keys: &[&str], typed| as_words(&keys.iter().map(|key| key.as_bytes().to_vec()).collect::<Vec<_>>(), typed);
        assert_eq!(words(&["user1", "user2"], Some('u')), ["user1", "user2"]);
        assert_eq!(words(&["user 1", "user2"], None), ["\"user 1\"", "\"user2\""]);
        assert_eq!(words(&["user2"], Some('"')), ["\"user2\""]);
        assert_eq!(words(&["a b", "a\\c"], Some('\'')), ["'a b'", "'a\\c'"]);
        assert_eq!(words(&["a b", "it's"], Some('\'')), ["\"a b\"", "\"it's\""]);
        assert_eq!(words(&["a\tb", "a\"b"], Some('a')), ["\"a\\tb\"", "\"a\\\"b\""]);
    }

    #[test]
    fn files_become_words() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| format!("{}/{name}", dir.path().display());
        for name in ["my file.kv", "it's", ".hidden", "plain.kv"] {
            std::fs::write(at(name), "").expect("a file");
        }
        std::fs::create_dir(at("some dir")).expect("a directory");
        std::fs::write(at("some dir/x"), "").expect("a file");
        let offered = |word: &str| files(word).into_iter().map(|pair| pair.replacement).collect::<Vec<_>>();
        assert_eq!(offered(&at("pl")), [at("plain.kv ")]);
        assert_eq!(offered(&at("my")), [format!("\"{}\" ", at("my file.kv"))]);
        assert_eq!(offered(&format!("'{}", at("my f"))), [format!("'{}' ", at("my file.kv"))]);
        assert_eq!(offered(&format!("'{}", at("it"))), [format!("\"{}\" ", at("it's"))]);
        assert_eq!(offered(&at("so")), [format!("\"{}", at("some dir/"))]);
        assert_eq!(offered(&format!("\"{}", at("some dir/"))), [format!("\"{}\" ", at("some dir/x"))]);
        assert_eq!(offered(&at(".h")), [at(".hidden ")]);
        assert_eq!(offered(&at("")).len(), 4);
        for pair in files(&at("my")) {
            let words = Words::of(pair.replacement.as_bytes()).collect::<Result<Vec<_>, _>>().expect("words");
            assert_eq!(words, [at("my file.kv").as_bytes()]);
        }
    }

    #[test]
    fn a_quote_that_is_not_closed_is_understood() {
        assert_eq!(unquoted("\"a b"), Some(b"a b".to_vec()));
        assert_eq!(unquoted("\"a\\"), None);
        assert_eq!(unquoted(""), Some(Vec::new()));
        let typed = Typed::of("GET \"a b");
        assert_eq!((typed.args, typed.word), (0, "\"a b"));
    }
}
