//! The language as transcripts: a line in, a reply out.

use super::*;
use crate::settings::{Format, Settings};
use crate::store::Store;
use kv_engine::{MAX_KEY_BYTES, Options};
use proptest::prelude::*;

static FLAGS: Flags = Flags::new();

/// A store of its own, and the replies to lines as a script would see them.
struct Client {
    session: Session,
    shown: Box<dyn Fn() -> Vec<u8>>,
    _dir: tempfile::TempDir,
}

impl Client {
    fn new(format: Format) -> Client {
        let dir = tempfile::tempdir().expect("a directory");
        let (wal, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
        let engine = Options::new(&wal, &snapshot).batch_size(5).open().expect("opens");
        let (output, shown) = Output::to_memory(format);
        let (interactive, bail, timing, quiet, verbose) = (false, false, false, true, false);
        let settings = Settings { wal, snapshot, batch: 5, interactive, bail, timing, quiet, verbose, no_rc: false };
        let store = Store::open(engine);
        Client { session: Session::new(store, output, settings, &FLAGS), shown, _dir: dir }
    }

    /// The reply, or the code and the text of the error.
    fn ask(&mut self, line: impl AsRef<[u8]>) -> String {
        let done = parse(line.as_ref()).and_then(|command| command.map_or(Ok(()), |command| command.run(&mut self.session)));
        if let Err(error) = done {
            self.session.spoil_group();
            return format!("{}: {error}", error.code);
        }
        self.session.output.flush();
        String::from_utf8((self.shown)()).expect("text").trim_end_matches('\n').to_string()
    }

    fn transcript(&mut self, lines: &[(&str, &str)]) {
        for (line, answer) in lines {
            assert_eq!(self.ask(line), *answer, "answer to {line}");
        }
    }
}

#[test]
fn the_words_people_know() {
    Client::new(Format::Text).transcript(&[
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
    Client::new(Format::Text).transcript(&[
        ("PTU x 1", "unknown_command: unknown command 'PTU'; did you mean PUT?"),
        (
            "PUT name Ada Lovelace",
            "wrong_arity: PUT takes a key and a value, got 3 words; quote a value that has blanks: PUT name \"Ada Lovelace\"",
        ),
        ("PUT x", "wrong_arity: PUT takes a key and a value, got 1 word; usage: PUT key value"),
        ("GET", "wrong_arity: GET takes a key, got no words; usage: GET key"),
        ("SIZE 1", "wrong_arity: SIZE takes nothing, got '1'; usage: SIZE"),
        ("SETBATCH 0", "bad_number: SETBATCH takes a whole number from 1 to 1000000, got '0'"),
        ("SETBATCH +5", "bad_number: SETBATCH takes a whole number from 1 to 1000000, got '+5'"),
        ("SETBATCH ''", "bad_number: SETBATCH takes a whole number from 1 to 1000000, got ''"),
        (
            "SETBATCH 99999999999999999999",
            "bad_number: SETBATCH takes a whole number from 1 to 1000000, got '99999999999999999999'",
        ),
        ("BENCH 0", "bad_number: BENCH takes a whole number from 1 to 100000000, got '0'"),
        ("BENCH 10 1,,5", "bad_number: each of the sizes takes a whole number from 1 to 1000000, got ''"),
        ("EXIT 256", "bad_number: EXIT takes a whole number from 0 to 255, got '256'"),
        ("HELP PTU", "unknown_command: unknown command 'PTU'; did you mean PUT?"),
        ("KEYS a b c", "bad_argument: KEYS takes a prefix and LIMIT n, got 'b'; usage: KEYS [prefix] [LIMIT n]"),
        ("SCAN a b", "bad_argument: SCAN takes a prefix and LIMIT n, got 'b'; usage: SCAN [prefix] [LIMIT n]"),
        ("KEYS a limit", "bad_argument: LIMIT needs a number; usage: KEYS [prefix] [LIMIT n]"),
        ("KEYS a LIMIT x", "bad_number: LIMIT takes a whole number from 1 to 4294967295, got 'x'"),
        ("KEYS LIMIT 0", "bad_number: LIMIT takes a whole number from 1 to 4294967295, got '0'"),
        ("GET \"\x1b[2J", "unfinished_quote: column 5: the quote opened here is never closed"),
        ("\x1b[2J", "unknown_command: unknown command '\\x1b[2J'; HELP lists the commands"),
        ("SIZE", "0"),
    ]);
}

#[test]
fn sizes_over_the_limits_are_refused_in_and_outside_a_group() {
    let mut client = Client::new(Format::Text);
    let long = format!("PUT {} 1", "k".repeat(MAX_KEY_BYTES + 1));
    assert_eq!(client.ask(&long), "too_long: the key has 65537 bytes; a key has 1 to 65536 bytes; nothing was stored");
    assert_eq!(client.ask(format!("PUT {} 1", "k".repeat(MAX_KEY_BYTES))), "OK");
    assert!(client.ask("PUT '' 1").starts_with("bad_argument: the key is empty"));
    client.ask("BEGIN");
    assert_eq!(client.ask(&long), "too_long: the key has 65537 bytes; a key has 1 to 65536 bytes; nothing was stored");
}

#[test]
fn keys_and_entries_are_listed_in_order() {
    let mut client = Client::new(Format::Text);
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
}

#[test]
fn a_list_says_whether_there_is_more() {
    let mut client = Client::new(Format::Json);
    for key in ["a", "b", "c"] {
        client.ask(format!("PUT {key} 1"));
    }
    let listed = client.ask("KEYS LIMIT 2");
    assert_eq!(listed, "{\"key\":\"a\"}\n{\"key\":\"b\"}\n{\"cmd\":\"KEYS\",\"ok\":true,\"count\":2,\"more\":true}");
    let end = "{\"key\":\"c\",\"value\":\"1\"}\n{\"cmd\":\"SCAN\",\"ok\":true,\"count\":3,\"more\":false}";
    assert!(client.ask("SCAN LIMIT 3").ends_with(end));
    client.session.list_limit = 2;
    assert!(client.ask("SCAN").ends_with(r#""more":true}"#));
}

#[test]
fn json_has_the_fields_of_each_reply() {
    let mut client = Client::new(Format::Json);
    client.transcript(&[
        ("PUT x 100", r#"{"cmd":"PUT","ok":true,"durable":false}"#),
        ("GET x", r#"{"cmd":"GET","ok":true,"value":"100"}"#),
        ("GET y", r#"{"cmd":"GET","ok":true,"value":null}"#),
        ("DEL y", r#"{"cmd":"DEL","ok":true,"existed":false}"#),
        ("SIZE", r#"{"cmd":"SIZE","ok":true,"keys":1}"#),
        ("BEGIN", r#"{"cmd":"BEGIN","ok":true}"#),
        ("DEL x", r#"{"cmd":"DEL","ok":true,"queued":1}"#),
        ("ABORT", r#"{"cmd":"ABORT","ok":true}"#),
        ("SETBATCH 1", r#"{"cmd":"SETBATCH","ok":true,"batch":1}"#),
        ("DEL x", r#"{"cmd":"DEL","ok":true,"durable":true,"existed":true}"#),
        ("EXIT", r#"{"cmd":"EXIT","ok":true}"#),
    ]);
}

#[test]
fn a_group_is_written_whole() {
    let mut client = Client::new(Format::Text);
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
    assert_eq!(client.session.store.opened().get().expect("open").stats().appended, 2, "a group is one write");
}

#[test]
fn a_group_can_be_dropped_and_is_spoilt_by_a_bad_line() {
    let mut client = Client::new(Format::Text);
    let spoilt = "group_spoilt: a command failed since BEGIN, so nothing of the group was written; begin it again";
    client.transcript(&[("BEGIN", "OK"), ("PUT x 1", "QUEUED"), ("ABORT", "OK"), ("SIZE", "0")]);
    client.transcript(&[("COMMIT", "no_group: no group is open; BEGIN opens one")]);
    client.transcript(&[("ROLLBACK", "no_group: no group is open; BEGIN opens one")]);
    client.transcript(&[("BEGIN", "OK"), ("PUT x 1", "QUEUED")]);
    assert_eq!(client.session.group.as_ref().map(|group| group.batch.len()), Some(1));
    client.ask("PUT y");
    let refused = |name| {
        format!(
            "group_spoilt: {name} was not queued: a command failed since BEGIN, so nothing of the group will be written; ABORT \
             it and begin it again"
        )
    };
    client.transcript(&[("PUT z 1", &refused("PUT")), ("DEL z", &refused("DEL")), ("GET x", "1")]);
    client.transcript(&[("COMMIT", spoilt), ("SIZE", "0"), ("BEGIN", "OK"), ("COMMIT", "OK")]);
}

#[test]
fn raw_is_the_bytes_and_nothing_for_a_missing_key() {
    Client::new(Format::Raw).transcript(&[
        ("PUT 'a b' \"two\\nlines\"", "OK"),
        ("GET 'a b'", "two\nlines"),
        ("GET nope", ""),
        ("DEL nope", ""),
        ("KEYS", "a b"),
        ("SCAN", "a b two\nlines"),
    ]);
}

#[test]
fn every_command_is_found_by_its_name_in_any_case() {
    for spec in COMMANDS {
        assert_eq!(find(spec.name.to_lowercase().as_bytes()), Some(*spec));
    }
    assert_eq!(find(b"?").map(|spec| spec.name), Some("HELP"));
    assert!(find(b"").is_none());
}

#[test]
fn help_fits_a_terminal() {
    // With the typed line above and the prompt below.
    assert!(help::list(COMMANDS, 80).lines().count() + 2 <= 24);
    for text in COMMANDS.iter().map(|spec| spec.help()).chain([help::list(COMMANDS, 80)]) {
        for line in text.lines() {
            assert!(line.chars().count() < 80, "{line}");
        }
    }
}

#[test]
fn a_near_miss_is_guessed() {
    let text = |word: &[u8]| parse(word).expect_err("unknown").text;
    assert_eq!(text(b"PTU"), "unknown command 'PTU'; did you mean PUT?");
    assert_eq!(text(b"flsh"), "unknown command 'flsh'; did you mean FLUSH?");
    assert_eq!(text(b"xyzzy"), "unknown command 'xyzzy'; HELP lists the commands");
}

#[test]
fn every_example_can_be_read() {
    for spec in COMMANDS {
        let command = parse(spec.example.as_bytes()).expect(spec.example).expect("not blank");
        assert_eq!(command.spec(), *spec);
    }
}

proptest! {
    /// Any bytes are read again from the word that is written, and from the reply: the reply is the bytes
    /// themselves, or it begins with a quote and is a quoted word.
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
    let expected = Command::Put(Put { key: b"x".into(), value: bytes.into() });
    prop_assert_eq!(put, Some(expected));
    if reply.starts_with(b"\"") {
        let back: Vec<_> = Words::of(&reply).map(|word| word.expect("reads back").into_owned()).collect();
        prop_assert_eq!(back, [bytes]);
    } else {
        prop_assert_eq!(&reply, bytes);
    }
    Ok(())
}
