//! A key and a value of any bytes: a reply prints them as one line of text that a terminal does not obey, and the line
//! is read again as the same bytes.

use crate::bounded;
use kv_cli::command::{Command, Found, Get, Put, displayed, is_hidden, parse, write_entry, write_escaped, write_value, write_word};
use kv_engine::Value;

/// Prints the bytes as a key and a value. The first byte says where the value begins.
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
        Ok(Some(Command::Put(Put { key: read_key, value: read_value }))) => {
            assert!(*read_key == *key && *read_value == *value, "{} reads back as others", put.escape_ascii());
        }
        other => panic!("{} reads back as {other:?}", put.escape_ascii()),
    }

    let line = |out: Vec<u8>| {
        let line = out.strip_suffix(b"\n").expect("a line").to_vec();
        assert!(!line.contains(&b'\n') && is_harmless(&line), "{}", line.escape_ascii());
        line
    };
    let mut keys = Vec::new();
    write_entry(key, None, &mut keys).expect("memory");
    assert_eq!(line(keys), word(key));
    let mut entries = Vec::new();
    write_entry(key, Some(value), &mut entries).expect("memory");
    assert_eq!(put[4..], line(entries));
    let mut shown = Vec::new();
    Found(Some(Value::from(value))).write_text(&mut shown).expect("memory");
    let shown = line(shown);
    assert_ne!(shown, b"(nil)", "a value that looks like none");
    if shown.first() == Some(&b'"') {
        let get = [b"PUT x ", &*shown].concat();
        assert!(
            matches!(parse(&get), Ok(Some(Command::Put(Put { value: read, .. }))) if *read == *value),
            "{}",
            get.escape_ascii()
        );
    } else {
        assert_eq!(shown, value, "a reply that is not quoted is the value itself");
    }
    let mut same = Vec::new();
    write_value(value, &mut same).expect("memory");
    assert_eq!(shown, same);

    let mut escaped = Vec::new();
    write_escaped(value, true, &mut escaped).expect("memory");
    let quoted = [b"GET \"", &*escaped, b"\""].concat();
    assert!(matches!(parse(&quoted), Ok(Some(Command::Get(Get { key }))) if *key == *value), "{}", quoted.escape_ascii());
    assert!(!displayed(key).contains(is_hidden), "a terminal would obey an error message");
}

fn is_harmless(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| !text.contains(is_hidden))
}
