//! One line of the shell. Its words are the words that the reference finds. It is read as the command that they name,
//! or refused with one line of text that a terminal does not obey.

use crate::bounded;
use crate::words::words;
use kv_cli::command::{Code, Command, Del, Get, Import, Put, Words, find, is_hidden, parse, parse_words};

/// Reads the line.
pub fn run(data: &[u8]) {
    bounded(data.len(), || reads(data));
}

fn reads(line: &[u8]) {
    let parsed = parse(line);
    if let Err(error) = &parsed {
        assert!(!error.text.is_empty() && !error.text.contains(is_hidden), "a terminal would obey: {:?}", error.text);
    }
    let due = match words(line) {
        Err((code, column)) => {
            let error = parsed.expect_err("a line whose words cannot be told was run");
            assert!(error.code == code && column_of(&error.text) == Some(column), "{error:?} where it is {code} in {column}");
            return;
        }
        Ok(due) => due,
    };
    assert_eq!(Words::of(line).is_at_end(), due.is_empty());
    let Some((name, args)) = due.split_first() else { return assert_eq!(parsed, Ok(None)) };
    assert!(Words::of(line).eq(due.iter().map(|word| Ok(word.into()))), "other words than {due:?}");
    assert_eq!(parsed, parse_words(due.iter().map(|word| word.into())), "the same words by another way");
    let Some(spec) = find(name) else {
        return assert_eq!(parsed.expect_err("no command").code, Code::UnknownCommand);
    };
    assert!(std::iter::once(&spec.name).chain(spec.aliases).any(|known| known.as_bytes().eq_ignore_ascii_case(name)));
    let command = match parsed {
        Ok(command) => command.expect("there are words"),
        Err(error) => {
            // The number of words of a command with options also depends on the options. The second word of IMPORT
            // is one, or one too many.
            let is_import = spec.name == "IMPORT" && args.len() == 2;
            let fits = (spec.arity.0..=spec.arity.1).contains(&args.len());
            return assert!(!spec.options.is_empty() || is_import || fits == (error.code != Code::WrongArity), "{error:?}");
        }
    };
    let read = match &command {
        Command::Help(_) => return,
        Command::Put(Put { key, value }) => vec![key, value],
        Command::Get(Get { key }) | Command::Del(Del { key }) => vec![key],
        Command::Import(Import { file, replace: false }) => vec![file],
        other => return assert_eq!(other.spec(), spec),
    };
    assert!(command.spec() == spec && read.into_iter().map(|word| &**word).eq(args), "{command:?}");
}

/// The column that an error's text begins with.
fn column_of(text: &str) -> Option<usize> {
    text.strip_prefix("column ")?.split_once(':')?.0.parse().ok()
}
