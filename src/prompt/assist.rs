//! Help while typing: completion, hints, highlighting.
//!
//! The line editor calls these for every key. Pasted lines can be long. So each of them looks at [`HINTED_BYTES`] at
//! most, and the line is only drawn again while the first word or a quote is typed.

use super::keys::{More, Offered, offered};
use crate::command::{COMMANDS, Spec, find};
use crate::gate::Gate;
use crate::text::{Words, after_prompt, begins_prompt, displayed, is_hidden, write_escaped, write_word};
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{Hint, Hinter};
use rustyline::history::SearchDirection;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};
use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// Longer lines get no hints.
const HINTED_BYTES: usize = 256;
const HINT_COLUMNS: usize = 80;
const MAX_FILES: usize = 1000;
/// A directory may be on another machine, or have many files.
const FILES_TIME: Duration = Duration::from_millis(200);

pub(crate) struct Assist<'g> {
    /// Open while the editor waits for a key.
    gate: &'g Gate,
    color: bool,
}

impl<'g> Assist<'g> {
    pub(crate) fn new(gate: &'g Gate, color: bool) -> Assist<'g> {
        Assist { gate, color }
    }

    /// Keys that begin with the bytes of `word`, as words. If there are more than are listed, the last one is there
    /// too. Tab inserts what all offered words share, and the first and the last key share only what all do.
    fn keys(&self, word: &str) -> Vec<Pair> {
        let Some(prefix) = unquoted(word) else { return Vec::new() };
        let Offered { listed: mut keys, more } = offered(&mut self.gate.hold(), &prefix);
        let is_unknown = more == More::Unknown;
        let is_cut = matches!(more, More::UpTo(_));
        keys.extend(if let More::UpTo(last) = more { Some(last) } else { None });
        let pair = |word: String| Pair { replacement: format!("{word} "), display: word };
        let mut pairs: Vec<_> = as_words(&keys, word.chars().next()).into_iter().map(pair).collect();
        if let Some(last) = pairs.last_mut().filter(|_| is_cut) {
            last.display = format!("... {}", last.display);
        }
        // What is typed is all that is known to be shared, so nothing is inserted.
        pairs.extend(is_unknown.then(|| Pair { replacement: word.to_string(), display: "...".to_string() }));
        pairs
    }
}

impl Helper for Assist<'_> {}
impl Validator for Assist<'_> {}

impl Completer for Assist<'_> {
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
            Some(spec) if typed.args == 1 && spec.args.contains(&"[REPLACE]") && is_start(typed.word, "REPLACE") => {
                vec![Pair { display: "REPLACE".into(), replacement: "REPLACE ".into() }]
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

/// The line up to the cursor, behind a pasted prompt: the command, how many arguments are complete, the last of these
/// as it is typed, and the word at the end.
struct Typed<'l> {
    command: Option<&'static Spec>,
    args: usize,
    before: &'l str,
    word: &'l str,
}

impl<'l> Typed<'l> {
    fn of(line: &'l str) -> Typed<'l> {
        let mut starts = Vec::new();
        let (mut quote, mut escaped, mut blank) = (None, false, true);
        let begin = after_prompt(line.as_bytes());
        for (at, c) in line.char_indices().skip_while(|(at, _)| *at < begin) {
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
        let word = &line[last..];
        let complete = |n: usize| line[starts[n]..starts[n + 1]].trim_end();
        match starts.len().checked_sub(2).map(|args| (find(complete(0).as_bytes()), args)) {
            Some((Some(command), args)) => Typed { command: Some(command), args, before: complete(args), word },
            // After a word that is no command nothing is offered.
            Some((None, _)) => Typed { command: find(b"EXIT"), args: usize::MAX / 2, before: "", word },
            None => Typed { command: None, args: 0, before: "", word },
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

impl Hinter for Assist<'_> {
    type Hint = Grey;

    fn hint(&self, line: &str, pos: usize, ctx: &Context<'_>) -> Option<Grey> {
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
    let missing = match typed.command {
        Some(spec) if takes_limit(spec, &typed) => "n".to_string(),
        _ => spec.args.get(given..).filter(|missing| !missing.is_empty())?.join(" "),
    };
    let blank = if line.ends_with([' ', '\t']) { "" } else { " " };
    Some(Grey { text: format!("{blank}{missing}"), takes: false })
}

/// Whether LIMIT was typed last, as the first argument or behind a prefix.
fn takes_limit(spec: &Spec, typed: &Typed<'_>) -> bool {
    let (last, args) = match typed.word {
        "" => (typed.before, typed.args),
        word => (word, typed.args + 1),
    };
    spec.args.contains(&"[LIMIT n]") && (1..=2).contains(&args) && last.eq_ignore_ascii_case("LIMIT")
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

impl Highlighter for Assist<'_> {
    fn highlight<'l>(&self, line: &'l str, pos: usize) -> Cow<'l, str> {
        let (start, end) = first_word(line);
        let (word, known) = (&line[start..end], find(&line.as_bytes()[start..end]).is_some());
        if !self.color || line.len() > HINTED_BYTES || word.is_empty() || word.starts_with('#') {
            return Cow::Borrowed(line);
        }
        let style = match known {
            true => "\x1b[1m",
            // A word that may still become a command or a pasted prompt has no colour.
            false if pos <= end && (!commands(word).is_empty() || begins_prompt(word.as_bytes())) => {
                return Cow::Borrowed(line);
            }
            false => "\x1b[31m",
        };
        let rest = &line[end..];
        let open = Words::of(line.as_bytes()).open_quote().and_then(|at| at.checked_sub(end));
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
        let (_, end) = first_word(line);
        self.color && line.len() <= HINTED_BYTES && (pos <= end + 1 || line.contains(['"', '\'']))
    }
}

/// Where the first word behind a pasted prompt begins and ends.
fn first_word(line: &str) -> (usize, usize) {
    let begin = after_prompt(line.as_bytes());
    let start = line.len() - line[begin..].trim_start().len();
    (start, line[start..].find([' ', '\t']).map_or(line.len(), |length| start + length))
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
    fn after_limit_the_hint_is_a_number() {
        for (line, expected) in [
            ("SCAN LIMIT", Some(" n")),
            ("SCAN LIMIT ", Some("n")),
            ("scan x limit ", Some("n")),
            ("KEYS x LIMIT", Some(" n")),
            ("KEYS LIMIT LIMIT ", Some("n")),
            ("SCAN x ", Some("[LIMIT n]")),
            ("SCAN LIMIT 5", None),
            ("SCAN x LIMIT 5", None),
            ("SCAN x LIMIT 5 ", None),
            ("GET LIMIT ", None),
        ] {
            assert_eq!(hint(line).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn behind_a_pasted_prompt_everything_is_as_without_it() {
        assert_eq!(hint("kv> PUT x"), Some(" value".into()));
        assert_eq!(hint("kv*> SCAN LIMIT "), Some("n".into()));
        assert_eq!(hint("kv> "), None);
        let typed = Typed::of("kv!> GET pl");
        assert_eq!((typed.command.map(|spec| spec.name), typed.args, typed.word), (Some("GET"), 0, "pl"));
        assert_eq!(Typed::of("kv> g").word, "g");
        assert_eq!((first_word("kv> GET x"), first_word("  GET"), first_word("kv>")), ((4, 7), (2, 5), (3, 3)));
        // It is a word of its own only behind a blank.
        assert_eq!(first_word("kv>GET x"), (0, 6));
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
