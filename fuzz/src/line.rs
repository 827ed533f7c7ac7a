//! One line of the shell: it is read or refused in one harmless line of text, and the same words read the
//! same by every way.

use crate::bounded;
use kv_engine::command::{Command, Words, find, is_hidden, parse, parse_words};

/// Reads the line.
pub fn run(data: &[u8]) {
    bounded(data.len(), || reads(data));
}

fn reads(line: &[u8]) {
    let words: Result<Vec<_>, _> = Words::of(line).collect();
    let parsed = parse(line);
    if Words::of(line).is_at_end() {
        assert_eq!(parsed, Ok(None));
    } else if let Ok(words) = &words {
        assert_eq!(parsed, parse_words(words.iter().cloned()), "the same words by another way");
    } else {
        assert!(parsed.is_err(), "a line whose words cannot be told was run");
    }
    match &parsed {
        Err(error) => {
            assert!(!error.text.is_empty() && !error.text.contains(is_hidden), "a terminal would obey: {:?}", error.text);
        }
        Ok(Some(command)) => {
            let name = find(&words.expect("it was read")[0]).expect("the command that was read");
            assert_eq!(command.verb(), name.verb);
        }
        Ok(None) => {}
    }
    if [&b"kv>"[..], b"kv*>"].iter().any(|prompt| line.trim_ascii_start().starts_with(prompt)) {
        return; // one prompt is passed over, not two
    }
    assert_eq!(parsed, parse(&[b"kv> ", line].concat()).map_err(|error| moved(error, &parsed)), "a pasted prompt");
}

/// The error with the column that it has without a pasted prompt, where that is all that differs.
fn moved(
    error: kv_engine::command::CommandError,
    without: &Result<Option<Command<'_>>, kv_engine::command::CommandError>,
) -> kv_engine::command::CommandError {
    match without {
        Err(other) if other.code == error.code => other.clone(),
        _ => error,
    }
}
