//! Options behind the command: `kv_cli GET x --json` is `kv_cli --json GET x`.
//!
//! The parser of the command line takes every word behind the command for one of its words. So the words are put in
//! order before they are parsed:
//!
//! 1. The command is the first word that is not an option and not an option's value.
//! 2. Behind it, a word that begins with two dashes is an option, up to a word that is `--`. An option that the command
//!    or the tool has itself stays where it is. An option of `kv_cli` moves before the command, with its value.
//! 3. Anything else that begins with two dashes is a mistake behind a command. Behind a tool it is left to the parser.
//!    Behind a word that is no command it is left too, because the word is the mistake then.
//! 4. Behind a command, the first `--` is removed. Every word after it is data.
//!
//! A word with one dash stays where it is, because `-5` and `-` are data. So options of one letter come before the
//! command. Behind a command a word that is one of them, for example `-x`, is refused. If `--` comes before the
//! command, nothing moves.
//!
//! A command that has too few words without its options is refused here, because one of them may have been meant as a
//! word.
//!
//! `--help` behind a command becomes HELP with its name, and `help wal` becomes `wal --help`.
//!
//! `connect` is a tool with a command of its own: `kv_cli connect HOST:PORT GET x --json`. Up to that command, options
//! are those of `connect` or of `kv_cli`, also of one letter. The command has the rules from above. Its words come
//! behind `--`.

use crate::args::{Args, is_address};
use crate::command::{Spec, find};
use crate::text::{counted, displayed};
use clap::{Arg, Command, CommandFactory};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

const END_OF_OPTIONS: &[u8] = b"--";
const CONNECT: &str = "connect";

/// The words of a command line in the order that the parser expects. The first one is the name of the program.
///
/// # Errors
/// A word behind the command looks like an option and is none. The text says how to pass it.
pub(crate) fn in_order(words: impl IntoIterator<Item = OsString>) -> Result<Vec<OsString>, String> {
    let mut program = Args::command();
    program.build(); // so that each tool knows the options that all have
    order(&program, words.into_iter().collect(), true)
}

/// Behind `connect`, `export` and `import` are commands, and not tools: `has_tools` is false.
fn order(program: &Command, words: Vec<OsString>, has_tools: bool) -> Result<Vec<OsString>, String> {
    let Some(at) = command_at(program, &words) else { return Ok(words) };
    let (before, (name, rest)) = (&words[..at], (&words[at], &words[at + 1..]));
    if name == CONNECT {
        return connect_in_order(program, before, rest);
    }
    let is_tool = |word: &OsStr| has_tools || find(word.as_bytes()).is_none();
    let tool = |word: &OsStr| program.get_subcommands().find(|tool| is_tool(word) && word == tool.get_name());
    let sorted = match (tool(name), rest) {
        (Some(tool), _) => of_tool(program, tool, rest),
        (None, [one]) if name.eq_ignore_ascii_case("help") && tool(one).is_some() => {
            return Ok([before, &[one.clone(), "--help".into()]].concat());
        }
        (None, _) => of_command(program, name, rest)?,
    };
    if let (Some(spec), Some(option), false) = (find(name.as_bytes()), sorted.moved.first(), reads_stdin(before))
        && !(sorted.helps || sorted.moved.iter().any(|word| word == "--version"))
        && sorted.kept.len() < spec.arity.0
    {
        return Err(too_few(spec, sorted.kept.len(), option));
    }
    if sorted.lacks_value {
        return Ok([before, &sorted.moved].concat()); // the parser reports it
    }
    let name = if sorted.helps { [OsStr::new("HELP").to_owned(), name.clone()].to_vec() } else { vec![name.clone()] };
    let kept = if sorted.helps { Vec::new() } else { sorted.kept };
    Ok([before.to_vec(), sorted.moved, name, kept].concat())
}

/// The words behind the command.
#[derive(Default)]
struct Sorted {
    moved: Vec<OsString>,
    kept: Vec<OsString>,
    /// The last option that was moved has no value.
    lacks_value: bool,
    /// HELP about the command was asked for.
    helps: bool,
}

impl Sorted {
    fn move_option(&mut self, option: &Arg, word: &OsString, rest: &mut impl Iterator<Item = OsString>) {
        self.moved.push(word.clone());
        if takes_next(option, word) {
            self.lacks_value = !rest.next().is_some_and(|value| {
                self.moved.push(value);
                true
            });
        }
    }
}

fn of_command(program: &Command, name: &OsStr, rest: &[OsString]) -> Result<Sorted, String> {
    let spec = find(name.as_bytes());
    let mut sorted = Sorted::default();
    let mut rest = rest.iter().cloned();
    while let Some(word) = rest.next() {
        if word.as_bytes() == END_OF_OPTIONS {
            break;
        }
        let Some(long) = long_name(&word) else {
            match spec {
                Some(_) if word == "-h" => sorted.helps = true,
                Some(spec) if is_short(program, &word) => return Err(misplaced(spec, &word)),
                _ => sorted.kept.push(word),
            }
            continue;
        };
        match (option(program, long), spec) {
            (_, Some(_)) if long == b"help" => sorted.helps = true,
            (_, None) if long == b"help" => sorted.kept.push(word),
            (_, Some(spec)) if has_option(spec, long) => sorted.kept.push(word),
            (Some(option), _) => sorted.move_option(option, &word, &mut rest),
            (None, Some(spec)) if spec.options.is_empty() => return Err(unexpected(program, spec, &word)),
            // The command itself says which options it has. A word that is no command is the greater mistake.
            (None, _) => sorted.kept.push(word),
        }
    }
    sorted.kept.extend(rest);
    Ok(sorted)
}

fn of_tool(program: &Command, tool: &Command, rest: &[OsString]) -> Sorted {
    let mut sorted = Sorted::default();
    let mut rest = rest.iter().cloned();
    while let Some(word) = rest.next() {
        let long = long_name(&word);
        match (long.and_then(|long| option(tool, long)), long.and_then(|long| option(program, long))) {
            (Some(own), _) => {
                let has_value = takes_next(own, &word);
                sorted.kept.push(word);
                sorted.kept.extend(has_value.then(|| rest.next()).flatten());
            }
            (None, Some(option)) => sorted.move_option(option, &word, &mut rest),
            (None, None) => {
                let is_end = word.as_bytes() == END_OF_OPTIONS;
                sorted.kept.push(word);
                if is_end {
                    break;
                }
            }
        }
    }
    sorted.kept.extend(rest);
    sorted
}

/// The words of `kv_cli connect`, in the order of the parser.
fn connect_in_order(program: &Command, before: &[OsString], rest: &[OsString]) -> Result<Vec<OsString>, String> {
    let connect = program.get_subcommands().find(|tool| tool.get_name() == CONNECT);
    let short = |word: &OsStr| {
        let &[b'-', letter] = word.as_bytes() else { return None };
        program.get_arguments().find(|option| option.get_short() == Some(char::from(letter)))
    };
    let (mut moved, mut own, mut address) = (Vec::new(), Vec::new(), None);
    let mut at = 0;
    while let Some(word) = rest.get(at) {
        let long = long_name(word);
        let of_connect = long.and_then(|long| connect.and_then(|connect| option(connect, long)));
        let of_program = long.and_then(|long| option(program, long)).or_else(|| short(word));
        let (place, option) = match (of_connect, of_program) {
            (Some(own_option), _) if !own_option.is_global_set() => (&mut own, own_option),
            (_, Some(option)) => (&mut moved, option),
            // What looks like an option and is none is left to the parser.
            _ if word.as_bytes().starts_with(b"-") && word.as_bytes() != END_OF_OPTIONS => {
                own.push(word.clone());
                at += 1;
                continue;
            }
            _ if address.is_none() && is_address(word) => {
                address = Some(word.clone());
                at += 1;
                continue;
            }
            _ => break,
        };
        let words = if takes_next(option, word) { 2 } else { 1 };
        place.extend(rest[at..].iter().take(words).cloned());
        at += words;
    }
    // The command has the order of one without `connect`.
    let rest = rest.get(at..).unwrap_or_default();
    let command = order(program, before.iter().cloned().chain(moved).chain(rest.iter().cloned()).collect(), false)?;
    let (options, words) = command.split_at(command_at(program, &command).unwrap_or(command.len()));
    let end: Option<OsString> = (address.is_some() || !words.is_empty()).then(|| "--".into());
    let parts = options.iter().cloned().chain([CONNECT.into()]).chain(own);
    Ok(parts.chain(end).chain(address).chain(words.iter().cloned()).collect())
}

/// Where the command is. `None` if there is none, if `--` is before it, or if the parser must report a mistake before
/// it.
fn command_at(program: &Command, words: &[OsString]) -> Option<usize> {
    let mut at = 1;
    loop {
        let word = words.get(at)?;
        let has_value = match (long_name(word), word.as_bytes()) {
            (Some(long), _) => takes_next(option(program, long)?, word),
            (None, END_OF_OPTIONS) => return None,
            (None, [b'-', letters @ ..]) if !letters.is_empty() => last_letter_takes_next(program, letters)?,
            (None, _) => return Some(at),
        };
        at += if has_value { 2 } else { 1 };
    }
}

/// Whether the value of the last of these options, of one letter each, is the next word. `None` if one is unknown.
fn last_letter_takes_next(program: &Command, letters: &[u8]) -> Option<bool> {
    for (n, &letter) in letters.iter().enumerate() {
        let option = program.get_arguments().find(|option| option.get_short() == Some(char::from(letter)))?;
        if option.get_action().takes_values() {
            return Some(n + 1 == letters.len()); // otherwise the rest of the word is its value
        }
    }
    Some(false)
}

/// `batch` of `--batch=5`. `None` for a word that is no long option, and for `--`.
fn long_name(word: &OsStr) -> Option<&[u8]> {
    let long = word.as_bytes().strip_prefix(b"--").filter(|long| !long.is_empty())?;
    long.split(|&byte| byte == b'=').next()
}

fn option<'c>(command: &'c Command, long: &[u8]) -> Option<&'c Arg> {
    command.get_arguments().find(|option| option.get_long().is_some_and(|name| name.as_bytes() == long))
}

/// Whether the word is an option of one letter.
fn is_short(program: &Command, word: &OsStr) -> bool {
    let &[b'-', letter] = word.as_bytes() else { return false };
    program.get_arguments().any(|option| option.get_short() == Some(char::from(letter)))
}

fn takes_next(option: &Arg, word: &OsStr) -> bool {
    option.get_action().takes_values() && !word.as_bytes().contains(&b'=')
}

fn has_option(spec: &Spec, long: &[u8]) -> bool {
    spec.options.iter().any(|option| option.name.as_bytes().strip_prefix(b"--") == Some(long))
}

fn misplaced(spec: &Spec, word: &OsStr) -> String {
    let word = displayed(word.as_bytes());
    format!("the option '{word}' comes before the command: kv_cli {word} {}", spec.name) + &tip(spec.name, &word)
}

/// Whether `-x` may be there, which reads the last word from stdin.
fn reads_stdin(before: &[OsString]) -> bool {
    before.iter().any(|word| long_name(word).is_none() && word.as_bytes().starts_with(b"-") && word.as_bytes().contains(&b'x'))
}

fn too_few(spec: &Spec, got: usize, option: &OsStr) -> String {
    let (name, option) = (spec.name, displayed(option.as_bytes()));
    let text = format!("{name} takes {}, got {}; '{option}' is an option", spec.takes, counted(got, "word"));
    text + &tip(name, &option)
}

fn tip(name: &str, word: &str) -> String {
    format!("\n\n  tip: to pass it as a word, put -- before it: kv_cli {name} … -- {word}")
}

fn unexpected(program: &Command, spec: &Spec, word: &OsStr) -> String {
    let typed = String::from_utf8_lossy(long_name(word).unwrap_or_default()).into_owned();
    let names = program.get_arguments().filter_map(Arg::get_long);
    let near = names.map(|name| (strsim::osa_distance(&typed, name), name)).filter(|&(distance, _)| distance <= 2).min();
    let guess = near.map(|(_, name)| format!("; did you mean --{name}?")).unwrap_or_default();
    let word = displayed(word.as_bytes());
    format!("unexpected option '{word}'{guess}") + &tip(spec.name, &word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(line: &str) -> Result<String, String> {
        let words = in_order(["kv_cli"].into_iter().chain(line.split_whitespace()).map(OsString::from))?;
        Ok(words[1..].iter().map(|word| word.to_str().expect("text")).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn case_45_known_options_move_before_the_command() {
        for (typed, parsed) in [
            ("KEYS --json", "--json KEYS"),
            ("GET a --wal w --json", "--wal w --json GET a"),
            ("--wal w GET a --json", "--wal w --json GET a"),
            ("PUT k v --batch=1", "--batch=1 PUT k v"),
            ("-qx PUT k --json", "-qx --json PUT k"),
            ("PUT --batch 1 k v", "--batch 1 PUT k v"),
            ("-qc --x --json", "-qc --x --json"),
            ("-q -c SIZE", "-q -c SIZE"),
            ("d/ --json", "--json d/"),
            ("GET --help", "HELP GET"),
            ("GET x --json --help", "--json HELP GET"),
            ("GET -h", "HELP GET"),
            ("GTE --help", "GTE --help"),
            ("GET --version", "--version GET"),
            ("verify --output json", "--output json verify"),
            ("export --quiet f --salvage", "--quiet export f --salvage"),
            ("wal --record 5 --bail", "--bail wal --record 5"),
            ("help wal", "wal --help"),
            ("HELP PUT", "HELP PUT"),
            ("BENCH 10 --json --quiet --threads 2", "--quiet BENCH 10 --json --threads 2"),
        ] {
            assert_eq!(sorted(typed).as_deref(), Ok(parsed), "{typed}");
        }
    }

    #[test]
    fn case_45_data_stays_where_it_is() {
        for (typed, parsed) in [
            ("PUT n -5", "PUT n -5"),
            ("PUT n -", "PUT n -"),
            ("PUT n -qx", "PUT n -qx"),
            ("PUT n -- -x", "PUT n -x"),
            ("-- PUT n -x", "-- PUT n -x"),
            ("PUT k -- --json", "PUT k --json"),
            ("PUT k -- --", "PUT k --"),
            ("PUT k v --", "PUT k v"),
            ("PUT -- k --json --x", "PUT k --json --x"),
            ("-- PUT k --json", "-- PUT k --json"),
            ("import -- --json", "import -- --json"),
            ("BENCH 10 --x", "BENCH 10 --x"),
            ("GTE --x", "GTE --x"),
            ("--wla GET --json", "--wla GET --json"),
            ("wal --x", "wal --x"),
        ] {
            assert_eq!(sorted(typed).as_deref(), Ok(parsed), "{typed}");
        }
    }

    #[test]
    fn case_45_a_word_that_only_looks_like_an_option_is_refused() {
        let refused = |line| sorted(line).expect_err(line);
        assert_eq!(
            refused("PUT k --jsno"),
            "unexpected option '--jsno'; did you mean --json?\n\n  tip: to pass it as a word, put -- before it: kv_cli PUT … -- --jsno"
        );
        assert_eq!(
            refused("PUT k --json"),
            "PUT takes a key and a value, got 1 word; '--json' is an option\n\n  tip: to pass it as a word, put -- before it: kv_cli PUT … -- --json"
        );
        assert_eq!(
            refused("PUT k -x"),
            "the option '-x' comes before the command: kv_cli -x PUT\n\n  tip: to pass it as a word, put -- before it: kv_cli PUT … -- -x"
        );
        assert!(refused("GET --json").starts_with("GET takes a key, got 0 words; '--json' is an option\n"));
        assert!(refused("GET --a-word=1").starts_with("unexpected option '--a-word=1'\n"));
    }

    #[test]
    fn connect_has_a_command_of_its_own() {
        for (typed, parsed) in [
            ("connect", "connect"),
            ("connect h:1", "connect -- h:1"),
            ("connect GET x", "connect -- GET x"),
            ("connect h:1 GET x --json", "--json connect -- h:1 GET x"),
            ("connect --json h:1 --tls PUT n -5", "--json connect --tls -- h:1 PUT n -5"),
            ("-q connect h:1 --password-file f --tls-ca=c -c SIZE", "-q -c SIZE connect --password-file f --tls-ca=c -- h:1"),
            ("connect unix:/s PUT k -- --json", "connect -- unix:/s PUT k --json"),
            ("connect h:1 GET --help", "connect -- h:1 HELP GET"),
            ("connect --help", "connect --help"),
            ("connect h:1 BENCH 10 --threads 2 --quiet", "--quiet connect -- h:1 BENCH 10 --threads 2"),
            ("connect --tsl h:1", "connect --tsl -- h:1"),
            ("connect h:1 h:2", "connect -- h:1 h:2"),
            ("connect import f --help", "connect -- HELP import"),
            ("connect export f --json", "--json connect -- export f"),
            ("-x connect h:1 PUT k --json", "-x --json connect -- h:1 PUT k"),
        ] {
            assert_eq!(sorted(typed).as_deref(), Ok(parsed), "{typed}");
        }
        let refused = sorted("connect h:1 PUT k --jsno").expect_err("no option");
        assert!(refused.starts_with("unexpected option '--jsno'; did you mean --json?"), "{refused}");
    }

    #[test]
    fn a_value_that_is_missing_is_reported_by_the_parser() {
        assert_eq!(sorted("GET a --wal").as_deref(), Ok("--wal"));
    }
}
