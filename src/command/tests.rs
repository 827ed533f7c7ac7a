//! The language as transcripts: a line in, a line out.

use super::*;
use kv_engine::Options;
use proptest::prelude::*;

/// A store of its own, and the answers to lines as a script would see them.
struct Client {
    interpreter: Interpreter,
    _dir: tempfile::TempDir,
}

impl Client {
    fn new() -> Client {
        let dir = tempfile::tempdir().expect("a directory");
        let engine = Options::new(dir.path().join("log"), dir.path().join("snap")).batch_size(5).open().expect("opens");
        Client { interpreter: Interpreter::new(engine), _dir: dir }
    }

    fn ask(&mut self, line: impl AsRef<[u8]>) -> String {
        let command = match parse(line.as_ref()) {
            Ok(Some(command)) => command,
            Ok(None) => return String::new(),
            Err(error) => {
                self.interpreter.spoil_group();
                return format!("{}: {error}", error.code);
            }
        };
        match self.interpreter.run(command) {
            Ok(reply) => {
                let mut out = Vec::new();
                reply.write_text(&mut out).expect("memory");
                String::from_utf8(out).expect("text").trim_end_matches('\n').to_string()
            }
            Err(error) => format!("{}: {error}", error.code),
        }
    }

    fn transcript(&mut self, lines: &[(&str, &str)]) {
        for (line, answer) in lines {
            assert_eq!(self.ask(line), *answer, "answer to {line}");
        }
    }
}

#[test]
fn the_words_people_know() {
    Client::new().transcript(&[
        ("PUT x 100", "OK"),
        ("get x", "100"),
        ("GET nope", "(nil)"),
        ("SET name \"Ada Lovelace\"  # alias", "OK"),
        ("kv> GET name", "Ada Lovelace"),
        ("PUT empty ''", "OK"),
        ("GET empty", "\"\""),
        ("SIZE", "3"),
        ("DEL x", "OK"),
        ("DEL x", "(nil)"),
        ("FLUSH", "FLUSH OK"),
        ("SNAP", "SNAP OK"),
        ("SETBATCH 7", "OK batch=7"),
        ("SETBATCH", "OK batch=7"),
        ("# a comment", ""),
        ("", ""),
        ("EXIT 3", "bye"),
    ]);
}

#[test]
fn errors_say_what_was_expected() {
    Client::new().transcript(&[
        ("PTU x 1", "unknown_command: unknown command 'PTU'; did you mean PUT?"),
        (
            "PUT name Ada Lovelace",
            "wrong_arity: PUT takes a key and a value, got 3 words; quote a value that has blanks: PUT name \"Ada Lovelace\"",
        ),
        ("PUT x", "wrong_arity: PUT takes a key and a value, got 1 word; usage: PUT key value"),
        ("GET", "wrong_arity: GET takes a key, got no words; usage: GET key"),
        ("SIZE 1", "wrong_arity: SIZE takes nothing, got 1 word; usage: SIZE"),
        ("SETBATCH 0", "bad_number: SETBATCH takes a whole number from 1 to 1000000, got '0'"),
        ("SETBATCH +5", "bad_number: SETBATCH takes a whole number from 1 to 1000000, got '+5'"),
        ("SETBATCH ''", "bad_number: SETBATCH takes a whole number from 1 to 1000000, got ''"),
        (
            "SETBATCH 99999999999999999999",
            "bad_number: SETBATCH takes a whole number from 1 to 1000000, got '99999999999999999999'",
        ),
        ("BENCH 0", "bad_number: BENCH takes a whole number from 1 to 100000000, got '0'"),
        ("BENCH 10 1,,5", "bad_number: BENCH takes a whole number from 1 to 1000000, got ''"),
        ("EXIT 256", "bad_number: EXIT takes a whole number from 0 to 255, got '256'"),
        ("HELP PTU", "unknown_command: unknown command 'PTU'; did you mean PUT?"),
        ("KEYS a b c", "bad_argument: KEYS expects LIMIT, got 'b'; usage: KEYS [prefix] [LIMIT n]"),
        ("KEYS LIMIT 0", "bad_number: KEYS takes a whole number from 1 to 4294967295, got '0'"),
        ("GET \"\x1b[2J", "unfinished_quote: column 5: the quote opened here is never closed"),
        ("\x1b[2J", "unknown_command: unknown command '\\x1b[2J'; HELP lists the commands"),
        ("SIZE", "0"),
    ]);
}

#[test]
fn sizes_over_the_limits_are_refused_in_and_outside_a_group() {
    let mut client = Client::new();
    let long = format!("PUT {} 1", "k".repeat(MAX_KEY_BYTES + 1));
    assert_eq!(client.ask(&long), "too_long: the key has 65537 bytes; a key has 1 to 65536 bytes; nothing was stored");
    assert_eq!(client.ask(format!("PUT {} 1", "k".repeat(MAX_KEY_BYTES))), "OK");
    assert!(client.ask("PUT '' 1").starts_with("bad_argument: the key is empty"));
    client.ask("BEGIN");
    assert_eq!(client.ask(&long), "too_long: the key has 65537 bytes; a key has 1 to 65536 bytes; nothing was stored");
}

#[test]
fn keys_and_entries_are_listed_in_order() {
    let mut client = Client::new();
    client.transcript(&[
        ("PUT b 2", "OK"),
        ("PUT 'a b' 'x y'", "OK"),
        ("PUT a\x01 1", "OK"),
        ("KEYS", "\"a\\x01\"\n\"a b\"\nb"),
        ("SCAN", "\"a\\x01\" 1\n\"a b\" \"x y\"\nb 2"),
        ("KEYS b", "b"),
        ("keys a limit 1", "\"a\\x01\""),
        ("KEYS LIMIT 2", "\"a\\x01\"\n\"a b\""),
        ("KEYS LIMIT", ""),
    ]);
    let listed = client.interpreter.run(parse(b"KEYS LIMIT 2").expect("good").expect("some"));
    assert!(matches!(listed, Ok(Reply::Keys(keys, true)) if keys.len() == 2));
    let listed = client.interpreter.run(parse(b"SCAN LIMIT 3").expect("good").expect("some"));
    assert!(matches!(listed, Ok(Reply::Entries(entries, false)) if entries.len() == 3));
}

#[test]
fn a_group_is_written_whole() {
    let mut client = Client::new();
    client.transcript(&[
        ("PUT x 1", "OK"),
        ("BEGIN", "OK"),
        ("PUT y 2", "QUEUED"),
        ("DEL x", "QUEUED"),
        ("GET y", "2"),
        ("GET x", "(nil)"),
        ("SIZE", "1"),
        ("BEGIN", "group_open: a group is open already; COMMIT or ABORT it first"),
    ]);
    // That last error spoils the group, like any other.
    let spoilt = "group_spoilt: a command failed since BEGIN, so nothing of the group was written; begin it again";
    client.transcript(&[("COMMIT", spoilt), ("GET x", "1"), ("GET y", "(nil)")]);
    client.transcript(&[("BEGIN", "OK"), ("PUT y 2", "QUEUED"), ("DEL x", "QUEUED"), ("COMMIT", "OK")]);
    client.transcript(&[("GET x", "(nil)"), ("GET y", "2"), ("SIZE", "1")]);
    assert_eq!(client.interpreter.engine.stats().appended, 2, "a group is one write");
}

#[test]
fn a_group_can_be_dropped_and_is_spoilt_by_a_bad_line() {
    let mut client = Client::new();
    let spoilt = "group_spoilt: a command failed since BEGIN, so nothing of the group was written; begin it again";
    client.transcript(&[("BEGIN", "OK"), ("PUT x 1", "QUEUED"), ("ABORT", "OK"), ("SIZE", "0")]);
    client.transcript(&[("COMMIT", "no_group: no group is open; BEGIN opens one")]);
    client.transcript(&[("ROLLBACK", "no_group: no group is open; BEGIN opens one")]);
    client.transcript(&[("BEGIN", "OK"), ("PUT x 1", "QUEUED")]);
    assert_eq!(client.interpreter.open_group(), Some(1));
    client.ask("PUT y");
    client.transcript(&[("COMMIT", spoilt), ("SIZE", "0"), ("BEGIN", "OK"), ("COMMIT", "OK")]);
}

#[test]
fn raw_writes_the_bytes_and_nothing_for_nothing() {
    let raw = |reply: Reply| {
        let mut out = Vec::new();
        reply.write_raw(&mut out).expect("memory");
        out
    };
    assert_eq!(raw(Reply::Value(Some(Value::from(b"a\n\xff" as &[u8])))), b"a\n\xff\n");
    assert_eq!(raw(Reply::Value(None)), b"");
    assert_eq!(raw(Reply::Keys(vec![b"a b".to_vec()], false)), b"a b\n");
    assert_eq!(raw(Reply::Done), b"OK\n");
}

#[test]
fn every_example_of_the_table_can_be_read() {
    for spec in COMMANDS {
        let command = parse(spec.example.as_bytes()).expect(spec.example).expect("not blank");
        assert_eq!(command.verb(), spec.verb);
    }
}

proptest! {
    /// Whatever the bytes, the word that is written reads back as them, and so does the reply: by
    /// itself where it is plain, as a quoted word where it begins with a quote.
    #[test]
    fn what_is_written_reads_back(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        round_trip(&bytes)?;
    }

    #[test]
    fn text_reads_back(text in "[ -~é\\t\"'\\\\#]{0,12}|\\(nil\\)") {
        round_trip(text.as_bytes())?;
    }

    #[test]
    fn no_line_panics(line in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = parse(&line);
    }
}

fn round_trip(bytes: &[u8]) -> Result<(), TestCaseError> {
    let (mut word, mut reply) = (b"PUT x ".to_vec(), Vec::new());
    write_word(bytes, &mut word).expect("memory");
    write_value(bytes, &mut reply).expect("memory");
    prop_assert!(!word.iter().chain(&reply).any(|b| b.is_ascii_control()));
    let put = parse(&word).expect("reads back");
    let expected = Command::Put { key: b"x".into(), value: bytes.into() };
    prop_assert_eq!(put, Some(expected));
    if reply.starts_with(b"\"") {
        let back: Vec<_> = Words::of(&reply).map(|word| word.expect("reads back").into_owned()).collect();
        prop_assert_eq!(back, [bytes]);
    } else {
        prop_assert_eq!(&reply, bytes);
    }
    Ok(())
}
