//! Which store `kv_cli` opens, what it creates, and how it reads: from the files, beside a running process, as a list.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{Shell, Store, skipped};
use predicates::prelude::*;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

/// `kv_cli` in the directory of the store, without variables that name a store.
fn unnamed(store: &Store, args: &[&str]) -> assert_cmd::Command {
    let mut cli = store.cli();
    cli.env_remove("KV_WAL").env_remove("KV_SNAPSHOT").args(args);
    cli
}

#[test]
fn case_41_a_directory_has_both_files_of_its_store() {
    let store = Store::new();
    fs::create_dir(store.path("d")).unwrap();
    for (args, out) in [
        (&["--dir", "d", "PUT", "a", "1"][..], "OK\n"),
        (&["-c", "SNAP", "d"], "SNAP OK\n"),
        (&["--dir", "d/", "GET", "a"], "1\n"),
        (&["--dir", "d", "SIZE"], "1\n"),
    ] {
        unnamed(&store, args).assert().success().stdout(out).stderr("");
    }
    unnamed(&store, &["d"]).write_stdin("GET a\n").assert().success().stdout("1\n");
    store.cli().args(["-c", "GET a"]).env_remove("KV_WAL").env_remove("KV_SNAPSHOT").env("KV_DIR", "d").assert().stdout("1\n");
    // An option is stronger than the variables of the other kind.
    store.cli().args(["--dir", "d", "GET", "a"]).assert().success().stdout("1\n");
    for tool in [&["--dir", "d", "verify"][..], &["verify", "--dir", "d"], &["wal", "--dir", "d"], &["replay", "--dir", "d"]] {
        unnamed(&store, tool).assert().success();
    }
    unnamed(&store, &["export", "--dir", "d"]).assert().success().stdout(predicate::str::contains("PUT a 1\n"));
    let mut files: Vec<_> = fs::read_dir(store.path("d")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["kv.snapshot", "kv.snapshot.lock", "kv.wal", "kv.wal.lock"]);
    assert_eq!(store.names(), ["d"]);

    for (args, says) in [
        (&["--dir", "d", "--wal", "w", "SIZE"][..], "cannot be used together with --wal"),
        (&["--dir", "d", "--snapshot", "s", "SIZE"], "cannot be used together with --snapshot"),
        (&["--dir", "d", "d/"], "two directories are given"),
        (&["d/", "GET", "a"], "d/ is a directory and not a command; to run a command on the store in it: --dir d/ before"),
    ] {
        unnamed(&store, args).assert().code(2).stdout("").stderr(predicate::str::contains(says));
    }
    store
        .cli()
        .env("KV_DIR", "d")
        .arg("SIZE")
        .assert()
        .code(2)
        .stderr(predicate::str::contains("KV_DIR and KV_WAL are both set"));
}

#[test]
fn case_41_a_store_that_is_split_the_old_way_is_told_how_to_mend_it() {
    // The place is one for the whole machine, so another store may have it.
    let old = Path::new("/tmp/kv.snapshot");
    let Ok(taken) = File::options().write(true).create_new(true).open(old) else {
        return skipped("there is a file at /tmp/kv.snapshot");
    };
    drop(taken);
    let store = Store::new();
    unnamed(&store, &["--wal", "a b.wal", "-c", "PUT a 1", "-c", "SNAP", "-c", "PUT b 2"]).assert().success();
    fs::copy(store.path("a b.snapshot"), old).unwrap();
    fs::remove_file(store.path("a b.snapshot")).unwrap();
    let mends = format!("once: mv {} 'a b.snapshot'", old.display());
    let said: Vec<_> = [&["GET", "a"][..], &["PUT", "c", "3"], &["--read-only", "SIZE"], &["verify"], &["export"], &["wal"]]
        .iter()
        .map(|args| unnamed(&store, &[&["--wal", "a b.wal"], *args].concat()).output().unwrap())
        .collect();
    let mended = store.program("sh").args(["-c", mends.strip_prefix("once: ").unwrap()]).status().unwrap();
    // Before any assertion, so that the place is free again.
    let _ = fs::remove_file(old);
    for output in said {
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(3) && err.contains(&mends), "{err}");
    }
    assert!(mended.success());
    unnamed(&store, &["--wal", "a b.wal", "SCAN"]).assert().success().stdout("a 1\nb 2\n").stderr("");
}

#[test]
fn case_52_a_command_that_only_reads_creates_nothing() {
    let store = Store::new();
    let commands: [&[&str]; 12] = [
        &["GET", "x"],
        &["KEYS"],
        &["SCAN"],
        &["SIZE"],
        &["STATS"],
        &["EXPORT"],
        &["EXPORT", "out.kv"],
        &["-c", "GET x", "-c", "HELP", "-c", "EXIT"],
        &["--read-only", "GET", "x"],
        &["--read-only", "-c", "PUT a 1"],
        &["--snapshot-on-exit", "SIZE"],
        &["--values-in-snapshot", "1MiB", "SIZE"],
    ];
    for args in commands {
        let said = store.cli().args(args).assert().code(3);
        said.stderr(predicate::str::contains(format!(
            "there is no store at {}; nothing was created",
            store.path("kv.wal").display()
        )));
        assert_eq!(store.names(), [""; 0], "{args:?}");
    }
    let json = store.cli().args(["--json", "SIZE"]).assert().code(3);
    json.stdout(predicate::str::starts_with(r#"{"ok":false,"code":"no_store","error":"there is no store at "#));
    store
        .cli()
        .write_stdin("HELP\nGET x\nSIZE\n")
        .assert()
        .code(3)
        .stderr(predicate::str::contains("<stdin>:3: error: there is no"));
    for args in [&["-f", "nofile"][..], &["import", "nofile"], &["IMPORT", "nofile"]] {
        store.cli().args(args).assert().code(1).stderr(predicate::str::contains("nofile: "));
    }
    assert_eq!(store.names(), [""; 0]);

    // The first command that writes creates the store. In an open group an empty store is found before that.
    let mixed = store.cli().write_stdin("GET a\nBEGIN\nPUT a 1\nGET b\nCOMMIT\nGET a\n").assert().code(3);
    mixed.stdout("OK\nQUEUED\n(nil)\nOK\n1\n").stderr(predicate::str::contains("<stdin>:1: error: there is no store"));
    assert_eq!(store.names(), ["kv.snapshot.lock", "kv.wal", "kv.wal.lock"]);
}

#[test]
fn case_52_reading_a_store_changes_no_file() {
    let store = Store::new();
    store.script("PUT a 1\nSNAP\nPUT b 2\n");
    fs::remove_file(store.path("kv.wal.lock")).unwrap();
    fs::remove_file(store.path("kv.snapshot.lock")).unwrap();
    let all = || store.names().into_iter().map(|name| (fs::read(store.path(&name)).unwrap(), name)).collect::<Vec<_>>();
    let before = all();
    for (args, out) in [
        (&["GET", "b"][..], "2\n"),
        (&["GET", "c"], "(nil)\n"),
        (&["KEYS", "a"], "a\n"),
        (&["SCAN"], "a 1\nb 2\n"),
        (&["SIZE"], "2\n"),
    ] {
        store.cli().args(args).assert().success().stdout(out).stderr("");
        store.cli().arg("--read-only").args(args).assert().success().stdout(out).stderr("");
        assert!(all() == before, "{args:?}");
    }
    store.cli().args(["EXPORT"]).assert().success().stdout(predicate::str::contains("PUT a 1\nPUT b 2\n"));
    let read_only = store.cli().arg("--read-only").write_stdin("STATS\nPUT c 3\nBEGIN\nSNAP\nGET a\nEXIT\n").assert().code(1);
    read_only
        .stdout(predicate::str::starts_with("STATS keys=2 written=2 ").and(predicate::str::ends_with("\n1\nbye\n")))
        .stderr(predicate::str::contains("PUT may write, and this session only reads; nothing was changed"));
    assert!(all() == before);
}

#[test]
fn case_52_a_directory_that_does_not_exist_is_named_with_the_command_that_makes_it() {
    let store = Store::new();
    for args in
        [&["--dir", "my d", "PUT", "a", "1"][..], &["my d/"], &["--wal", "my d/w", "GET", "a"], &["-c", "PUT a 1", "my d/"]]
    {
        let said = unnamed(&store, args).assert().code(3).stdout("");
        said.stderr("kv_cli: error: there is no directory my d; nothing was created; to make it: mkdir 'my d'\n");
    }
    assert_eq!(store.names(), [""; 0]);
}

/// No crash removes both files, so it is said; and a file that is beside them still says that a store was here.
#[test]
fn case_52_a_store_whose_files_were_removed_is_missed() {
    let store = Store::new();
    store.script("PUT a 1\n");
    fs::remove_file(store.path("kv.wal")).unwrap();
    let gone = format!("a store was open at {} before, but its log and snapshot are gone", store.path("kv.wal").display());
    store.cli().args(["GET", "a"]).assert().code(3).stdout("").stderr(predicate::str::contains(&gone));
    let said = store.cli().args(["PUT", "a", "2"]).assert().success().stdout("OK\n");
    said.stderr(format!("kv_cli: warning: {gone}; a new store was begun\n"));
    store.cli().args(["GET", "a"]).assert().success().stdout("2\n").stderr("");
}

#[test]
fn case_50_a_store_that_is_in_use_can_be_read() {
    let store = Store::new();
    let mut shell = Shell::on(&store, &["--batch", "3"]);
    for line in ["PUT a 1", "PUT b 2", "PUT c 3", "PUT d 4"] {
        assert_eq!(shell.ask(line), "OK");
    }
    let pid = shell.child.id();
    // The fourth write is not synced, so it is not in the files.
    let note = format!(
        "kv_cli: process {pid} has the store {} open; this is the state in its files, after write 3; what that process has not \
         synced yet is not in it\n",
        store.path("kv.wal").display()
    );
    for (args, out) in [
        (&["GET", "c"][..], "3\n"),
        (&["GET", "d"], "(nil)\n"),
        (&["SIZE"], "3\n"),
        (&["KEYS"], "a\nb\nc\n"),
        (&["SCAN", "b"], "b 2\n"),
    ] {
        store.cli().args(args).assert().success().stdout(out).stderr(note.clone());
        store.cli().arg("-q").args(args).assert().success().stdout(out).stderr("");
        store.cli().arg("--read-only").args(args).assert().success().stdout(out).stderr("");
    }
    store.cli().arg("STATS").assert().success().stdout(predicate::str::contains("STATS keys=3 written=3 ")).stderr(note.clone());
    store.cli().arg("EXPORT").assert().success().stdout(predicate::str::contains("PUT c 3\n# end of 3")).stderr(note.clone());
    let script = store.cli().arg("--read-only").write_stdin("GET c\nPUT c 4\nSIZE\n").assert().code(1);
    script.stdout("3\n3\n").stderr(predicate::str::contains("<stdin>:2: error: PUT may write, and this session only reads"));

    // What may write is refused, and the error says what works.
    let says = format!(
        "process {pid} has the store {} open, so nothing was done; to read it now: --read-only (kv_cli export, verify and wal also \
         work); to use another store: --dir DIR, or --wal PATH",
        store.path("kv.wal").display()
    );
    store.cli().args(["PUT", "a", "2"]).assert().code(3).stdout("").stderr(format!("kv_cli: error: {says}\n"));
    let json = store.cli().args(["--json", "-c", "GET a"]).assert().code(3);
    json.stdout(format!("{{\"ok\":false,\"code\":\"in_use\",\"error\":\"{says}\"}}\n"));

    // The next look finds what was synced since.
    shell.ask("FLUSH");
    store.cli().args(["-q", "GET", "d"]).assert().success().stdout("4\n");
    assert_eq!(shell.end().2, Some(0));
    store.cli().args(["GET", "d"]).assert().success().stdout("4\n").stderr("");
}

/// A process that was killed leaves a log without an end. Reading by the files finds what opening finds.
/// A store that is opened with this option may save its snapshot in another form.
#[test]
fn case_50_one_command_that_reads_changes_nothing_with_any_form_of_snapshot() {
    let store = Store::new();
    store.script("PUT a 1\nPUT b 2\nSNAP\nPUT c 3\n");
    let files = || ["kv.wal", "kv.snapshot"].map(|name| fs::read(store.path(name)).unwrap());
    let before = files();
    for args in [&["GET", "a"][..], &["SIZE"], &["SCAN"]] {
        store.cli().args(["--values-in-snapshot", "1MiB"]).args(args).assert().success().stderr("");
        store.cli().env("KV_VALUES_IN_SNAPSHOT", "1MiB").args(args).assert().success().stderr("");
    }
    assert_eq!(files(), before);
}

#[test]
fn case_50_the_files_of_a_killed_process_give_the_answers_of_opening() {
    let store = Store::new();
    let mut shell = Shell::on(&store, &["--batch", "4"]);
    for n in 0..11 {
        shell.ask(&format!("PUT k{n:02} v{n}"));
        if n == 4 {
            shell.ask("SNAP");
        }
    }
    shell.child.kill().unwrap();
    drop(shell.end());
    let read = |args: &[&str]| String::from_utf8(store.cli().args(args).output().unwrap().stdout).unwrap();
    let by_files = [read(&["--read-only", "SCAN"]), read(&["SCAN"])];
    assert!(by_files[0].lines().count() >= 8, "{}", by_files[0]);
    let opened = read(&["-c", "SCAN"]);
    assert_eq!(by_files, [opened.clone(), opened]);
}

#[test]
fn case_43_damage_is_refused_where_nothing_is_changed_and_told_at_each_read() {
    let store = Store::new();
    store.cli().args(["--batch", "1"]).write_stdin("PUT a 1\nPUT b 2\nPUT c 3\n").assert().success();
    let mut log = fs::read(store.path("kv.wal")).unwrap();
    log[160] ^= 1;
    fs::write(store.path("kv.wal"), &log).unwrap();
    for _ in 0..2 {
        let said = store.cli().args(["--read-only", "GET", "a"]).assert().code(3).stdout("");
        said.stderr(predicate::str::contains("damaged at byte ").and(predicate::str::contains("export --salvage")));
        assert!(fs::read(store.path("kv.wal")).unwrap() == log && !store.has("kv.wal.damaged"));
    }
    let json = store.cli().args(["--json", "--read-only", "GET", "a"]).assert().code(3);
    json.stdout(predicate::str::starts_with(r#"{"ok":false,"code":"not_opened","error":""#));
    // Without --read-only the store is opened, as it needs a repair. From then on each read tells of the copy.
    store.cli().args(["GET", "a"]).assert().code(3).stdout("1\n");
    for args in [&["GET", "c"][..], &["--read-only", "GET", "c"]] {
        store.cli().args(args).assert().code(3).stdout("(nil)\n").stderr(predicate::str::contains("kv.wal.damaged-1"));
    }
}

/// Each list is read while it is printed, so its reader may see the first line long before the last.
#[test]
fn case_44_a_list_comes_line_by_line_and_ends_with_its_reader() {
    let store = Store::new();
    store.script((0..20_000).map(|n| format!("PUT {n:05}{} v{n}\n", "k".repeat(100))).collect::<String>());
    for args in [&["SCAN"][..], &["KEYS"], &["--json", "SCAN"], &["--raw", "SCAN"], &["-c", "SCAN"], &["--read-only", "SCAN"]] {
        let mut child = store.piped(args);
        let mut from = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        from.read_line(&mut first).unwrap();
        assert!(first.contains("00000kkk"), "{args:?}: {first}");
        // The rest does not fit into the pipe, so the process is still at work.
        assert_eq!(child.try_wait().unwrap(), None);
        drop(from);
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), text_of(&output.stderr)), (Some(0), String::new()), "{args:?}");
    }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn case_44_json_has_one_object_to_a_line_and_a_last_one_with_the_count() {
    let store = Store::new();
    store.script("PUT a 1\nPUT b \"\\xff\"\nPUT c 3\n");
    for args in [&[][..], &["--read-only"], &["--values-in-snapshot", "1MiB"]] {
        let listed = |words: &[&str]| {
            let output = store.cli().args(args).arg("--json").args(words).assert().success();
            text_of(&output.get_output().stdout)
        };
        let entries = [
            "{\"key\":\"a\",\"value\":\"1\"}\n",
            "{\"key\":\"b\",\"value_base64\":\"/w==\"}\n",
            "{\"key\":\"c\",\"value\":\"3\"}\n",
        ];
        let end = |count: u64, more: bool| format!("{{\"cmd\":\"SCAN\",\"ok\":true,\"count\":{count},\"more\":{more}}}\n");
        assert_eq!(listed(&["SCAN"]), entries.concat() + &end(3, false));
        assert_eq!(listed(&["SCAN", "LIMIT", "2"]), entries[..2].concat() + &end(2, true));
        assert_eq!(listed(&["SCAN", "LIMIT", "3"]), entries.concat() + &end(3, false));
        assert_eq!(listed(&["SCAN", "b"]), entries[1].to_string() + &end(1, false));
        assert_eq!(listed(&["SCAN", "nothing"]), end(0, false));
        assert_eq!(
            listed(&["KEYS", "LIMIT", "1"]),
            "{\"key\":\"a\"}\n{\"cmd\":\"KEYS\",\"ok\":true,\"count\":1,\"more\":true}\n"
        );
    }
}

/// The memory for a list does not grow with the list.
#[test]
fn case_44_a_list_needs_little_memory() {
    let store = Store::new();
    let value = "v".repeat(1000);
    store.script((0..60_000).map(|n| format!("PUT {n:06} {value}\n")).collect::<String>() + "SNAP\nPUT last 1\n");
    for args in [["--json", "SCAN"], ["--raw", "SCAN"], ["--output=text", "SCAN"], ["--output=text", "SIZE"]] {
        let mut command = store.program("sh");
        // The whole of the program and its threads; the store has 60 MB.
        let limited = command.args(["-c", "ulimit -d 20000; exec \"$0\" \"$@\""]).arg(env!("CARGO_BIN_EXE_kv_cli")).args(args);
        let output = limited.output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", text_of(&output.stderr));
        assert!(args[1] == "SIZE" || output.stdout.len() > 60_000_000);
    }
}
