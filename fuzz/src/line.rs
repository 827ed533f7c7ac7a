//! One line of the shell: it is read or refused in one harmless line of text; and whatever bytes a key or
//! a value has, what a reply prints of them reads back as the same bytes.

use crate::bounded;
use kv_engine::Value;
use kv_engine::command::{
    Command, Reply, Words, displayed, find, is_hidden, parse, parse_words, write_escaped, write_value, write_word,
};

/// Reads the line, and prints its bytes as keys and values.
pub fn run(data: &[u8]) {
    bounded(data.len(), || {
        reads(data);
        let (key, value) = data.split_at(data.first().map_or(0, |&n| usize::from(n) % (data.len() + 1)));
        prints(key, value);
    });
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

fn prints(key: &[u8], value: &[u8]) {
    let word = |bytes: &[u8]| {
        let mut out = Vec::new();
        write_word(bytes, &mut out).expect("memory");
        out
    };
    let put = [b"PUT ", &*word(key), b" ", &*word(value)].concat();
    match parse(&put) {
        Ok(Some(Command::Put { key: read_key, value: read_value })) => {
            assert!(*read_key == *key && *read_value == *value, "{} reads back as others", put.escape_ascii());
        }
        other => panic!("{} reads back as {other:?}", put.escape_ascii()),
    }

    let reply = |reply: Reply| {
        let mut out = Vec::new();
        reply.write_text(&mut out).expect("memory");
        let line = out.strip_suffix(b"\n").expect("a line").to_vec();
        assert!(!line.contains(&b'\n') && is_harmless(&line), "{}", line.escape_ascii());
        line
    };
    let keys = reply(Reply::Keys(vec![key.to_vec()], false));
    assert_eq!(keys, word(key));
    let entries = reply(Reply::Entries(vec![(key.to_vec(), Value::from(value))], false));
    assert_eq!(put[4..], entries);
    let shown = reply(Reply::Value(Some(Value::from(value))));
    assert_ne!(shown, b"(nil)", "a value that looks like none");
    if shown.first() == Some(&b'"') {
        let get = [b"PUT x ", &*shown].concat();
        assert!(matches!(parse(&get), Ok(Some(Command::Put { value: read, .. })) if *read == *value), "{}", get.escape_ascii());
    } else {
        assert_eq!(shown, value, "neither quoted nor as it is");
    }
    let mut same = Vec::new();
    write_value(value, &mut same).expect("memory");
    assert_eq!(shown, same);

    let mut escaped = Vec::new();
    write_escaped(value, true, &mut escaped).expect("memory");
    let quoted = [b"GET \"", &*escaped, b"\""].concat();
    assert!(matches!(parse(&quoted), Ok(Some(Command::Get { key })) if *key == *value), "{}", quoted.escape_ascii());
    assert!(!displayed(key).contains(is_hidden), "a terminal would obey an error message");
}

fn is_harmless(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| !text.contains(is_hidden))
}
