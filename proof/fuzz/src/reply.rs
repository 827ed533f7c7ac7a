//! Whatever bytes a key or a value has, what a reply prints of them is one harmless line of text, and reads
//! back as the same bytes.

use crate::bounded;
use kv_cli::command::{Command, Reply, displayed, is_hidden, parse, write_escaped, write_value, write_word};
use kv_engine::Value;

/// Prints the bytes as a key and a value; the first one says where to part them.
pub fn run(data: &[u8]) {
    bounded(data.len(), || {
        let (key, value) = data.split_at(data.first().map_or(0, |&n| usize::from(n) % (data.len() + 1)));
        prints(key, value);
    });
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
