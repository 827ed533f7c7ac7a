//! `kv_cli` at a terminal.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::terminal::{drop_line, exit_status, on_terminal, prompt, say, say_then, type_in};
use common::{Store, skipped};
use rexpect::process::Signal;
use rexpect::session::{Options, PtySession, spawn_with_options};
use std::fs;

const UP: &str = "\x1b[A";

#[test]
fn banner_replies_notes_and_ctrl_d() {
    let store = Store::new();
    let mut session = prompt(&store, &[]);
    say(&mut session, "PUT x 100", "OK 1 of 5 buffered");
    say(&mut session, "get x", "100");
    say(&mut session, "GET nope", "(nil)");
    say(&mut session, "SIZE", "1 key");
    say(&mut session, "PTU", "error: unknown command 'PTU'; did you mean PUT?");
    session.send_control('d').unwrap();
    session.exp_eof().unwrap();
    // At a prompt, errors do not count for the exit status.
    assert_eq!(exit_status(&session), 0);
    assert_eq!(store.script("GET x\n"), "100\n");
}

/// The files beside the history.
fn files(store: &Store) -> Vec<String> {
    let names = fs::read_dir(store.dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| !name.starts_with("history")).collect();
    names.sort();
    names
}

/// A new store is an empty one until the first write. A session that only looks leaves nothing behind.
#[test]
fn case_52_a_prompt_creates_a_store_with_the_first_write() {
    let store = Store::new();
    let mut session = prompt(&store, &["-q"]);
    say(&mut session, "GET nope", "(nil)");
    say(&mut session, "SIZE", "0 keys");
    say(&mut session, "EXPORT", "error: there is no store at ");
    session.send_control('d').unwrap();
    session.exp_eof().unwrap();
    assert_eq!((exit_status(&session), files(&store)), (0, Vec::new()));

    let options = Options::new().timeout_ms(Some(30_000)).strip_ansi_escape_codes(true);
    let mut command = store.process();
    command.env("TERM", "xterm");
    let mut session = spawn_with_options(command, options).unwrap();
    session.exp_string("new store; the first write creates its files\r\n").unwrap();
    session.exp_string("kv> ").unwrap();
    say(&mut session, "PUT a 1", "OK 1 of 5 buffered");
    say(&mut session, "SIZE", "1 key");
    assert_eq!(files(&store), ["kv.snapshot.lock", "kv.wal", "kv.wal.lock"]);
    session.send_line("EXIT").unwrap();
    session.exp_eof().unwrap();
    assert_eq!(store.script("GET a\n"), "1\n");
}

#[test]
fn case_50_a_prompt_can_read_beside_another_one() {
    let store = Store::new();
    let mut writer = prompt(&store, &["--batch", "1"]);
    say(&mut writer, "PUT a 1", "OK");
    let options = Options::new().timeout_ms(Some(30_000)).strip_ansi_escape_codes(true);
    let mut command = store.process();
    command.arg("--read-only").env("TERM", "xterm").env("COLUMNS", "400");
    let mut reader = spawn_with_options(command, options).unwrap();
    reader.exp_string("read-only").unwrap();
    reader.exp_string("the files have the writes up to 1; process ").unwrap();
    reader.exp_string("kv> ").unwrap();
    say(&mut reader, "GET a", "1");
    say(&mut writer, "PUT b 2", "OK");
    say(&mut reader, "GET b", "2");
    say(&mut reader, "PUT c 3", "error: PUT may write, and this session only reads");
    say(&mut reader, "SCAN LIMIT 1", "a 1\r\n(1 shown, there are more: try LIMIT 10)");
    reader.send_line("EXIT").unwrap();
    reader.exp_eof().unwrap();
    assert_eq!(exit_status(&reader), 0);
    say(&mut writer, "PUT c 3", "OK");
}

#[test]
fn ctrl_c_drops_the_line_and_keeps_the_shell() {
    let store = Store::new();
    let mut session = prompt(&store, &[]);
    session.send("PUT x 1").unwrap();
    session.flush().unwrap();
    session.exp_string("PUT x 1").unwrap();
    session.send_control('c').unwrap();
    session.exp_string("\r\n").unwrap();
    session.exp_string("kv> ").unwrap();
    session.send_control('c').unwrap();
    session.exp_string("(EXIT or Ctrl-D to quit)").unwrap();
    say(&mut session, "SIZE", "0 keys");
    session.send_line("EXIT").unwrap();
    session.exp_string("bye").unwrap();
    assert_eq!(exit_status(&session), 0);
}

#[test]
fn case_51_without_colour_ctrl_c_knows_whether_there_was_a_line() {
    let store = Store::new();
    let mut command = store.process();
    command.env("TERM", "xterm").env("NO_COLOR", "1");
    let options = Options::new().timeout_ms(Some(30_000)).strip_ansi_escape_codes(true);
    let mut session = spawn_with_options(command, options).unwrap();
    session.exp_string("kv> ").unwrap();
    type_in(&mut session, "PUT a 1", "PUT a 1");
    session.send_control('c').unwrap();
    session.exp_string("\r\n").unwrap();
    let shown = session.exp_string("kv> ").unwrap();
    assert!(!shown.contains("to quit"), "{shown}");
    session.send_control('c').unwrap();
    session.exp_string("(EXIT or Ctrl-D to quit)").unwrap();
}

#[test]
fn ctrl_c_stops_a_bench() {
    let store = Store::new();
    let mut session = prompt(&store, &["--batch", "1"]);
    session.send_line("BENCH 100000000").unwrap();
    common::eventually("the bench begins", || store.has("kv.wal.bench-"));
    session.send_control('c').unwrap();
    session.exp_string("BENCH N=").unwrap();
    session.exp_string("stopped after").unwrap();
    session.exp_string("kv> ").unwrap();
    say(&mut session, "SIZE", "0 keys");
    assert!(!store.has("kv.wal.bench"));
}

#[test]
fn several_lines_at_once_all_run() {
    let store = Store::new();
    let mut session = prompt(&store, &[]);
    session.send("PUT a 1\nPUT b 2\nPUT c 3\n").unwrap();
    session.exp_string("3 of 5 buffered").unwrap();
    session.exp_string("kv> ").unwrap();
    // A paste comes in brackets and is one text to the editor.
    session.send("\x1b[200~DEL a\nPUT d 4\nSIZE\n\x1b[201~\n").unwrap();
    // Nothing has run before Enter; then each line is shown above its answer.
    for line in ["kv> DEL a\r\nOK ", "kv> PUT d 4\r\nOK", "kv> SIZE\r\n3 keys"] {
        session.exp_string(line).unwrap();
    }
    session.exp_string("kv> ").unwrap();
    say(&mut session, "GET d", "4");
    session.send_line("EXIT").unwrap();
    session.exp_eof().unwrap();
    let history = fs::read_to_string(store.path("history")).unwrap();
    for line in ["PUT a 1\n", "PUT c 3\n", "DEL a\n", "PUT d 4\n", "SIZE\n"] {
        assert!(history.contains(line), "{line} in {history}");
    }
}

#[test]
fn history_and_durable_writes_survive_sigkill() {
    let store = Store::new();
    let mut session = prompt(&store, &["--batch", "1"]);
    say(&mut session, "PUT kept yes", "OK");
    say(&mut session, " PUT secret no", "OK");
    session.process_mut().kill(Signal::SIGKILL).unwrap();

    let history = fs::read_to_string(store.path("history")).unwrap();
    assert!(history.contains("PUT kept yes\n") && !history.contains("secret"));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(store.path("history")).unwrap().permissions().mode() & 0o777, 0o600);
    let mut session = prompt(&store, &[]);
    say(&mut session, UP, "OK");
    say(&mut session, "GET kept", "yes");
}

#[test]
fn sigterm_at_the_prompt_saves_and_restores_the_terminal() {
    for (signal, status) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let store = Store::new();
        let mut session = prompt(&store, &["--flush-interval", "0"]);
        say(&mut session, "PUT x 1", "OK 1 of 5 buffered");
        session.process_mut().signal(signal).unwrap();
        session.exp_eof().unwrap();
        assert_eq!(exit_status(&session), status);
        assert_eq!(store.script("GET x\n"), "1\n");
    }
}

#[test]
fn tab_inserts_only_what_all_keys_share_also_if_it_does_not_list_all() {
    let store = Store::new();
    store.script((100..=300).map(|n| format!("PUT key:{n} {n}\n")).collect::<String>());
    let mut session = prompt(&store, &[]);
    // 201 keys. The first hundred begin with key:1, the last with key:3.
    say(&mut session, "GET ke\t200", "200");
    type_in(&mut session, "DEL ke\t\t", "... key:300");
    drop(session);
    assert_eq!(store.script("SIZE\n"), "201\n");
}

#[test]
fn a_prompt_without_a_store_finds_one_that_another_process_has_made() {
    let store = Store::new();
    let mut session = prompt(&store, &[]);
    say(&mut session, "SIZE", "0 keys");
    say(&mut session, "STATS", "error: there is no store");
    store.script("PUT other 1\n");
    say(&mut session, "STATS", "data      keys      1");
    say(&mut session, "GET other", "1");
    say(&mut session, "SIZE", "1 key");
}

#[test]
fn tab_completes_commands_and_keys_and_adds_quotes() {
    let store = Store::new();
    store.script("PUT 'user 1' one\nPUT 'user 2' two\nPUT user3 three\nPUT \"tab\\t\" four\nPUT plain five\n");
    let mut session = prompt(&store, &[]);
    say(&mut session, "HELP SETB\t", "SETBATCH [n]");
    say(&mut session, "g\tpl\t", "five");
    say(&mut session, "GET ta\t", "four");
    // With or without a quote. Tab completes to where the keys differ, and from there again.
    say(&mut session, "GET us\t 1\t", "one");
    say(&mut session, "GET \"us\t 2\t", "two");
    say(&mut session, "GET \"us\t3\t", "three");
    say(&mut session, "GET 'user 2\t", "two");
    // A second Tab lists the keys.
    type_in(&mut session, "DEL us\t\t", "\"user 1\"  \"user 2\"  \"user3\"");
    session.exp_string("kv> DEL \"user").unwrap();
    drop_line(&mut session);
    say(&mut session, "KEYS user l\t1", "\"user 1\"");
}

#[test]
fn hints_shrink_as_arguments_are_typed() {
    let store = Store::new();
    let mut session = prompt(&store, &[]);
    type_in(&mut session, "PUT", "PUT key value");
    type_in(&mut session, " ", "key value");
    type_in(&mut session, "\"a b\"", "\"a b\" value");
    type_in(&mut session, " ", " value");
    type_in(&mut session, "1", "1");
    session.send("\n").unwrap();
    session.flush().unwrap();
    session.exp_string("OK 1 of 5 buffered").unwrap();
    session.exp_string("kv> ").unwrap();
    type_in(&mut session, "KEYS a", "KEYS a [LIMIT n]");
    drop_line(&mut session);
    // The hint is a line of the history with this beginning; the right arrow inserts it.
    type_in(&mut session, "P", "PUT \"a b\" 1");
    session.send("\x1b[C\n").unwrap();
    session.flush().unwrap();
    session.exp_string("OK 2 of 5 buffered").unwrap();
}

#[test]
fn ctrl_r_finds_a_line_that_another_process_kept() {
    let store = Store::new();
    let mut session = prompt(&store, &["--batch", "1"]);
    say(&mut session, "PUT sought found", "OK");
    say(&mut session, "PUT other 1", "OK");
    session.process_mut().kill(Signal::SIGKILL).unwrap();
    let mut session = prompt(&store, &["--batch", "1"]);
    say(&mut session, "DEL sought", "OK");
    session.send_control('r').unwrap();
    session.exp_string("reverse-i-search").unwrap();
    type_in(&mut session, "ght f", "PUT sought found");
    session.send("\n").unwrap();
    session.flush().unwrap();
    session.exp_string("OK").unwrap();
    session.exp_string("kv> ").unwrap();
    say(&mut session, "GET sought", "found");
}

#[test]
fn an_open_group_is_seen_in_the_prompt() {
    let store = Store::new();
    let mut session = prompt(&store, &[]);
    for (line, answer, then) in
        [("BEGIN", "OK", "kv*> "), ("PUT a 1", "QUEUED 1 in the group", "kv*> "), ("COMMIT", "OK 1 of 5 buffered", "kv> ")]
    {
        session.send_line(line).unwrap();
        session.exp_string(answer).unwrap();
        session.exp_string(then).unwrap();
    }
}

#[test]
fn case_47_a_spoilt_group_shows_in_the_prompt_and_queues_nothing() {
    let store = Store::new();
    let mut session = prompt(&store, &[]);
    // A line that cannot be read is seen at once, so it spoils nothing.
    for (line, answer, then) in [
        ("BEGIN", "OK", "kv*> "),
        ("PUT a 1", "QUEUED 1 in the group", "kv*> "),
        ("GTE a", "did you mean GET?", "kv*> "),
        ("PUT b", "PUT takes a key and a value", "kv*> "),
        ("PUT b \"2", "never closed", "kv*> "),
        ("PUT b 2", "QUEUED 2 in the group", "kv*> "),
        ("COMMIT", "OK 1 of 5 buffered", "kv> "),
        ("BEGIN", "OK", "kv*> "),
        ("PUT a 3", "QUEUED 1 in the group", "kv*> "),
        ("PUT \"\" v", "the key is empty; a key has 1 to 65536 bytes", "kv!> "),
        ("PUT b 4", "PUT was not queued: a command failed since BEGIN", "kv!> "),
        ("DEL b", "DEL was not queued: a command failed since BEGIN", "kv!> "),
        ("COMMIT", "nothing of the group was written", "kv> "),
        ("BEGIN", "OK", "kv*> "),
        ("EXPORT no/dir/x", "nothing was exported", "kv!> "),
        ("ROLLBACK", "OK", "kv> "),
    ] {
        say_then(&mut session, line, answer, then);
    }
    // Pasted lines run without a look at the replies, as in a script.
    session.send("\x1b[200~BEGIN\nPUT a 5\nGTE a\nPUT b 6\nCOMMIT\n\x1b[201~\n").unwrap();
    for answer in ["kv*> PUT a 5", "kv*> GTE a", "kv!> PUT b 6", "kv!> COMMIT", "nothing of the group was written"] {
        session.exp_string(answer).unwrap();
    }
    session.exp_string("kv> ").unwrap();
    session.send_line("EXIT").unwrap();
    session.exp_eof().unwrap();
    assert_eq!(store.script("SCAN\nkv!> GET a\n"), "a 1\nb 2\n1\n");
}

#[test]
fn case_51_a_dumb_terminal_gets_a_new_prompt_after_ctrl_c() {
    let store = Store::new();
    let mut session = on_terminal(&store, "dumb", 80);
    // This terminal does not repeat what is typed.
    say_then(&mut session, "PUT a 1", "OK 1 of 5 buffered", "kv> ");
    session.send("PUT a 2").unwrap();
    session.flush().unwrap();
    session.send_control('c').unwrap();
    // It cannot be seen whether there was a line, so how to leave is said each time.
    session.exp_string("\r\n(EXIT or Ctrl-D to quit)\r\nkv> ").unwrap();
    // The line is gone.
    say_then(&mut session, "GET a", "1\r\n", "kv> ");
    say_then(&mut session, "BEGIN", "OK", "kv*> ");
    session.send_control('c').unwrap();
    session.exp_string("\r\n(EXIT or Ctrl-D to quit)\r\nkv*> ").unwrap();
    session.send_line("EXIT").unwrap();
    session.exp_string("bye").unwrap();
}

/// Otherwise the prompt of the shell that called it would be on the same line.
#[test]
fn ctrl_d_ends_the_line_on_every_terminal() {
    for (term, expected) in [("dumb", "\r\n"), ("xterm", "\r\n")] {
        let store = Store::new();
        let mut session = on_terminal(&store, term, 80);
        session.send_control('d').unwrap();
        assert!(session.exp_eof().unwrap().ends_with(expected), "{term}");
        assert_eq!(exit_status(&session), 0);
    }
}

#[test]
fn case_51_narrow_terminals_break_lines_between_words() {
    let store = Store::new();
    for columns in [20, 40, 80, 200] {
        let mut session = on_terminal(&store, "xterm", columns);
        for line in ["HELP", "HELP PUT", "HELP BENCH", "HELP wal", "STATS", "GTE x", "PUT a"] {
            session.send_line(line).unwrap();
            session.exp_string("\r\n").unwrap(); // the end of the typed line
            let screen = session.exp_string("kv> ").unwrap();
            for shown in screen.split(['\r', '\n']) {
                let is_one_word = !shown.trim().contains(' ');
                // Each byte is a char here, so the later bytes of a character are not counted.
                let width = shown.chars().filter(|c| !('\u{80}'..='\u{bf}').contains(c)).count();
                assert!(width <= columns as usize || is_one_word, "{line} at {columns} columns: {shown:?}");
            }
            let words = |text: &str| text.split_whitespace().map(str::to_string).collect::<Vec<_>>();
            assert!(words(&screen).len() > 3, "{line}: {screen}");
        }
        session.send_control('d').unwrap();
        session.exp_eof().unwrap();
    }
}

#[test]
fn case_51_help_knows_the_tools() {
    let store = Store::new();
    let mut session = prompt(&store, &[]);
    say_then(&mut session, "HELP", "  export, import, torture  copy all entries out and in; crash stores in memory", "kv> ");
    say_then(&mut session, "help wal", "kv_cli wal [FILE]   print the log, record by record", "kv> ");
    say_then(&mut session, "verify", "unknown command 'verify'; it is a tool, which runs outside: kv_cli verify", "kv> ");
}

#[test]
fn help_says_more_about_one_command_and_mistakes_are_guessed() {
    let store = Store::new();
    let mut session = prompt(&store, &[]);
    say(&mut session, "help put", "PUT key value   store value under key");
    session.send_line("HELP SNAP").unwrap();
    session.exp_string("example: SNAP").unwrap();
    session.exp_string("kv> ").unwrap();
    say(&mut session, "FLSH", "error: unknown command 'FLSH'; did you mean FLUSH?");
    say(&mut session, "GET \"x", "error: column 5: the quote opened here is never closed");
}

#[test]
fn stats_are_grouped_and_fit_the_screen() {
    let store = Store::new();
    let mut session = prompt(&store, &["--batch", "1"]);
    say(&mut session, "PUT x 100", "OK");
    say(&mut session, "SNAP", "SNAP OK");
    session.send_line("STATS").unwrap();
    let (_, screen) = session.exp_regex("data [^>]*kv> ").unwrap();
    let lines: Vec<&str> = screen.lines().collect();
    assert!(lines.len() <= 23 && lines.iter().all(|line| line.trim_end().chars().count() <= 80), "{screen}");
    let groups: Vec<&str> =
        lines.iter().filter_map(|line| line.split([' ', '\r']).next()).filter(|word| !word.is_empty()).collect();
    assert_eq!(groups, ["data", "writes", "log", "syncs", "snapshot", "recovery"], "{screen}");
    for text in [
        "keys      1",
        "up to write 1, 0 pending",
        "after every write",
        "1 PUT, 0 DEL",
        "count     1, together",
        "p50 ",
        "of write 1, ",
    ] {
        assert!(screen.contains(text), "{text} is not in {screen}");
    }
}

/// A prompt on `store` whose `call` on the file `name` takes that long; `None` if strace cannot trace here.
fn slowed(store: &Store, name: &str, call: &str, delay_us: u32) -> Option<PtySession> {
    let traced = store.program("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success());
    if !traced {
        skipped("strace cannot trace here");
        return None;
    }
    let mut command = store.program("strace");
    command.args(["-f", "-o", "/dev/null", "-P"]).arg(store.path(name));
    command.args(["-e", &format!("inject={call}:delay_enter={delay_us}"), env!("CARGO_BIN_EXE_kv_cli"), "--batch", "1"]);
    let options = Options::new().timeout_ms(Some(30_000)).strip_ansi_escape_codes(true);
    command.env("TERM", "xterm");
    spawn_with_options(command, options).ok()
}

#[test]
fn a_slow_command_says_how_long_it_took() {
    let store = Store::new();
    let Some(mut session) = slowed(&store, "kv.wal", "fdatasync", 600_000) else { return };
    session.exp_string("kv> ").unwrap();
    say(&mut session, "GET x", "(nil)\r\n");
    session.send_line("PUT x 100").unwrap();
    session.exp_regex(r"OK \([0-9]+\.[0-9][0-9]s\)").unwrap();
    session.send_control('d').unwrap();
    session.exp_eof().unwrap();
}

#[test]
fn a_long_opening_shows_its_progress() {
    let store = Store::new();
    let value = "v".repeat(1 << 20);
    store.script((0..8).map(|n| format!("PUT key{n} {value}\n")).collect::<String>());
    let Some(mut session) = slowed(&store, "kv.wal", "pread64", 400_000) else { return };
    session.exp_regex(r"opening .*[0-9.]+ MiB of 8\.[0-9]+ MiB").unwrap();
    session.exp_string("recovered 8 keys").unwrap();
    session.exp_string("kv> ").unwrap();
    session.send_control('d').unwrap();
    session.exp_eof().unwrap();
}

#[test]
fn timing_shows_the_time_of_every_command() {
    let store = Store::new();
    let mut session = prompt(&store, &["--timing"]);
    session.send_line("SIZE").unwrap();
    session.exp_regex(r"0 keys \([0-9.]+ [^ ]*s\)").unwrap();
}

#[test]
fn a_file_gets_replies_and_nothing_else() {
    let store = Store::new();
    let mut command = store.program("sh");
    command.args(["-c", "exec \"$0\" > replies"]).arg(env!("CARGO_BIN_EXE_kv_cli")).env("TERM", "xterm");
    let mut session = spawn_with_options(command, Options::new().timeout_ms(Some(30_000))).unwrap();
    session.exp_string("kv> ").unwrap();
    session.send_line("PUT x 1").unwrap();
    session.send_line("GET x").unwrap();
    session.send_line("EXIT").unwrap();
    session.exp_eof().unwrap();
    assert_eq!(exit_status(&session), 0);
    assert_eq!(fs::read_to_string(store.path("replies")).unwrap(), "OK\n1\nbye\n");
}

#[test]
fn no_color_means_no_color_and_data_cannot_control_the_terminal() {
    let store = Store::new();
    let mut command = store.process();
    command.env("TERM", "xterm").env("NO_COLOR", "1");
    let mut session = spawn_with_options(command, Options::new().timeout_ms(Some(30_000))).unwrap();
    session.exp_string("kv> ").unwrap();
    session.send_line("PUT x \"\\x1b[31m\\xc2\\x9b\"").unwrap();
    session.send_line("GET x").unwrap();
    session.send_line("PTU").unwrap();
    session.send_line("EXIT").unwrap();
    let screen = session.exp_eof().unwrap();
    let colors = screen.split("\x1b[").skip(1).filter(|rest| {
        let parameters = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        parameters.starts_with('m')
    });
    assert_eq!(colors.count(), 0, "{screen:?}");
    assert!(screen.contains(r#""\x1b[31m\xc2\x9b""#), "{screen:?}");
}

/// Case 23: the log is removed while a prompt is open. The state is in memory, and EXPORT saves it.
#[test]
fn the_state_can_be_exported_after_the_log_is_lost() {
    let store = Store::new();
    let mut session = prompt(&store, &["--batch", "1"]);
    say(&mut session, "PUT a 1", "OK");
    fs::remove_file(store.path("kv.wal")).unwrap();
    session.send_line("PUT b 2").unwrap();
    session.exp_string("the log was removed or renamed").unwrap();
    session.exp_string("kv> ").unwrap();
    session.send_line("EXPORT saved.kv").unwrap();
    session.exp_string("EXPORT OK entries=1 seq=1").unwrap();
    session.exp_string("kv> ").unwrap();
    session.send_line("EXIT").unwrap();
    session.exp_string("bye").unwrap();
    assert_eq!(exit_status(&session), 4);
    store.cli().args(["import", "saved.kv"]).assert().success();
    assert_eq!(store.script("SCAN\n"), "a 1\n");
}
