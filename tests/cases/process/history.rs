//! History files that cannot be used, and the lines in a history file.

use super::*;

const WHAT: &str = "warning: lines that are typed are not kept: ";

/// Joins the lines that were broken to fit the terminal.
fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The shell starts, explains once why lines are not kept, and works.
fn works_without(history: &Path, why: &str) {
    let store = Store::new();
    let mut session = prompt(&store, &[], history);
    let mut seen = on_one_line(&session.exp_string("kv> ").unwrap());
    assert!(seen.contains(why), "{seen}");
    say(&mut session, "PUT a 1", "OK");
    say(&mut session, UP, "OK 2 of 5 buffered"); // the shell still knows its own lines
    seen += &leave(session);
    assert_eq!(seen.matches(WHAT).count(), 1, "{seen}");
}

#[test]
fn case_11_the_shell_works_without_a_usable_file() {
    let store = Store::new();
    works_without(Path::new("/dev/zero"), "that is a device");
    works_without(Path::new("/dev/full"), "that is a device");
    works_without(store.dir.path(), "that is a directory");
    rustix::fs::mkfifoat(rustix::fs::CWD, store.path("pipe"), rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    works_without(&store.path("pipe"), "that is a pipe");
    let socket = std::os::unix::net::UnixListener::bind(store.path("socket")).unwrap();
    works_without(&store.path("socket"), "that is not a regular file");
    drop(socket);
    fs::write(store.path("notes"), "mine\n").unwrap();
    works_without(&store.path("notes"), "the file is not a history of kv_cli");
    assert_eq!(fs::read(store.path("notes")).unwrap(), b"mine\n");
    works_without(&store.path("notes/history"), "(os error");
}

#[test]
fn case_11_a_lock_on_the_history_is_ignored() {
    let store = Store::new();
    let history = store.path("h");
    fs::write(&history, "#V2\nSIZE\n").unwrap();
    let held = File::open(&history).unwrap();
    held.lock().unwrap();
    let mut session = prompt(&store, &[], &history);
    session.exp_string("kv> ").unwrap();
    say(&mut session, UP, "0 keys");
    say(&mut session, "PUT a 1", "OK");
    assert!(!leave(session).contains(WHAT));
    assert_eq!(fs::read_to_string(&history).unwrap(), "#V2\nSIZE\nPUT a 1\nEXIT\n");
}

#[test]
fn case_11_lines_that_are_not_text_are_skipped_and_the_others_are_kept() {
    let store = Store::new();
    let history = store.path("h");
    fs::write(&history, b"#V2\nSIZE\nPUT \xff\nPUT \x1b]0;title\x07 1").unwrap();
    let mut session = prompt(&store, &[], &history);
    session.exp_string("kv> ").unwrap();
    say(&mut session, UP, "0 keys");
    leave(session);
    let kept = fs::read(&history).unwrap();
    assert_eq!(text(&kept), text(b"#V2\nSIZE\nPUT \xff\nPUT \x1b]0;title\x07 1\nEXIT\n"));
}

#[test]
fn case_11_a_huge_history_takes_little_memory() {
    let store = Store::new();
    let history = store.path("h");
    let mut file = File::create(&history).unwrap();
    file.write_all(b"#V2\n").unwrap();
    file.set_len(8 << 30).unwrap();
    drop(file);
    File::options().append(true).open(&history).unwrap().write_all(b"\nSIZE\n").unwrap();
    let mut command = shell(&store, "ulimit -v 1000000; exec \"$KV_CLI\"");
    command.env("KV_HISTORY", &history);
    let mut session = terminal(command);
    session.exp_string("kv> ").unwrap();
    say(&mut session, UP, "0 keys");
    leave(session);
    // The file was shortened for the next shell.
    assert!(fs::metadata(&history).unwrap().len() < 100);
}

#[test]
fn case_33_a_file_of_the_store_is_not_used_as_history() {
    let store = Store::new();
    fs::create_dir(store.path("d")).unwrap();
    std::os::unix::fs::symlink(store.path("kv.wal"), store.path("link")).unwrap();
    store.script("PUT a 1\nSNAP\nPUT b 2\n");
    fs::hard_link(store.path("kv.wal"), store.path("hard")).unwrap();
    let names = [
        "kv.wal",
        "kv.snapshot",
        "kv.wal.lock",
        "kv.snapshot.lock",
        "kv.wal.tmp",
        "kv.snapshot.tmp-00",
        "kv.wal.damaged-1",
        "kv.wal.bench",
        "d/../kv.wal",
        "link",
        "hard",
    ];
    for name in names {
        let (before, all) = (fs::read(store.path("kv.snapshot")).unwrap(), fs::read_dir(store.dir.path()).unwrap().count());
        let mut session = prompt(&store, &[], &store.path(name));
        let seen = on_one_line(&session.exp_string("kv> ").unwrap());
        assert!(
            seen.contains(WHAT) && (seen.contains("that is a file of the store") || seen.contains("that is a name of the store")),
            "{name}: {seen}"
        );
        say(&mut session, "GET a", "1");
        assert!(!leave(session).contains(WHAT), "{name}");
        assert_eq!(fs::read(store.path("kv.snapshot")).unwrap(), before, "{name}");
        assert_eq!(fs::read_dir(store.dir.path()).unwrap().count(), all, "{name}");
    }
    assert_eq!(store.script("GET a\nGET b\n"), "1\n2\n");
}

#[test]
fn case_34_controls_in_a_history_never_reach_the_terminal() {
    let store = Store::new();
    let history = store.path("h");
    fs::write(&history, "#V2\nSIZE\nPUT bell \u{7} 1\nPUT csi \u{9b}31m\n").unwrap();
    let mut session = prompt(&store, &[], &history);
    session.exp_string("kv> ").unwrap();
    session.send(UP).unwrap();
    session.send(UP).unwrap();
    session.send_line("").unwrap();
    let seen = session.exp_string("0 keys").unwrap();
    assert!(!seen.contains(['\u{7}', '\u{9b}']) && !seen.contains("bell"), "{seen:?}");
    leave(session);
}
