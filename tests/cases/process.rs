//! Signals, pipes, terminals, history and memory.

use crate::common::{Store, eventually, is_ignored, signal, skipped};
use rexpect::session::{Options, PtySession, spawn_with_options};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal};
use rustix::termios::{InputModes, LocalModes, OptionalActions, tcgetattr, tcsetattr};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

/// Case 9.
mod background;
/// Cases 11, 33 and 34.
mod history;

const UP: &str = "\x1b[A";

/// Runs `command` on a terminal.
fn terminal(mut command: Command) -> PtySession {
    command.env("TERM", "xterm");
    spawn_with_options(command, Options::new().timeout_ms(Some(30_000)).strip_ansi_escape_codes(true)).unwrap()
}

/// A prompt on `store`, after the banner.
fn prompt(store: &Store, args: &[&str], history: &Path) -> PtySession {
    let mut command = store.process();
    command.args(args).env("KV_HISTORY", history);
    let mut session = terminal(command);
    session.exp_string("EXIT or Ctrl-D leaves.").unwrap();
    session
}

/// Types a line and waits for what is printed below it.
fn say(session: &mut PtySession, line: &str, answer: &str) {
    session.send_line(line).unwrap();
    session.exp_string(&format!("\r\n{answer}")).unwrap();
    session.exp_string("kv> ").unwrap();
}

fn type_in(session: &mut PtySession, text: &str, shown: &str) {
    session.send(text).unwrap();
    session.flush().unwrap();
    session.exp_string(shown).unwrap();
}

fn leave(mut session: PtySession) -> String {
    session.send_line("EXIT").unwrap();
    session.exp_eof().unwrap()
}

fn shell(store: &Store, script: &str) -> Command {
    let mut command = store.program("sh");
    let program = store.process().get_program().to_owned();
    command.arg("-c").arg(script).env("KV_CLI", program);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    line
}

/// Waits until the process ends by itself.
fn end(child: &mut Child, what: &str) -> ExitStatus {
    let mut status = None;
    eventually(what, || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

fn set_nonblocking(stream: &impl AsFd) {
    fcntl_setfl(stream, fcntl_getfl(stream).unwrap() | OFlags::NONBLOCK).unwrap();
}

#[test]
fn case_10_a_stdin_that_does_not_block_is_waited_for() {
    let store = Store::new();
    let (reader, mut to) = std::io::pipe().unwrap();
    set_nonblocking(&reader);
    let mut child = store.process().stdin(reader).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut from = BufReader::new(child.stdout.take().unwrap());
    // After each answer the pipe is empty.
    for n in 0..20 {
        writeln!(to, "PUT k{n} {n}").unwrap();
        assert_eq!(line(&mut from), "OK\n");
    }
    drop(to);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
    assert_eq!(store.script("SIZE\n"), "20\n");
}

#[test]
fn case_10_import_and_x_wait_too() {
    let store = Store::new();
    for (args, begin, rest) in [
        (&["import", "-"][..], "PUT a 1\n", "PUT b 2\n"),
        (&["-x", "PUT", "c"], "va", "lue"),
        (&["-f", "-"], "PUT d 4\n", "PUT e 5\n"),
    ] {
        let (reader, mut to) = std::io::pipe().unwrap();
        set_nonblocking(&reader);
        let unread = reader.try_clone().unwrap();
        let mut command = store.process();
        let mut child = command.args(args).stdin(reader).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(command);
        to.write_all(begin.as_bytes()).unwrap();
        eventually("the beginning is read", || {
            rustix::io::ioctl_fionread(&unread).unwrap() == 0 || child.try_wait().unwrap().is_some()
        });
        let _ = to.write_all(rest.as_bytes());
        drop((to, unread));
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    }
    assert_eq!(store.script("SIZE\nGET c\nGET e\n"), "5\nvalue\n5\n");
}

#[test]
fn case_10_a_full_stdout_that_does_not_block_is_waited_for() {
    let store = Store::new();
    store.script((0..3000).map(|n| format!("PUT k{n} {}\n", "v".repeat(100))).collect::<String>());
    for args in [&["SCAN"][..], &["--json", "SCAN"], &["wal"], &["export"], &["--raw", "SCAN"]] {
        let expected = store.process().args(args).output().unwrap().stdout.len();
        let (mut from, writer) = std::io::pipe().unwrap();
        set_nonblocking(&writer);
        let mut command = store.process();
        let mut child = command.args(args).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        drop(command);
        // The pipe is full before anything is read.
        let mut before = (0, 0);
        eventually("the pipe is full, or given up", || {
            let full = rustix::io::ioctl_fionread(&from).unwrap();
            before = if full == before.0 { (full, before.1 + 1) } else { (full, 0) };
            full > 0 && before.1 > 20 || child.try_wait().unwrap().is_some()
        });
        let mut got = Vec::new();
        from.read_to_end(&mut got).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        // Between the two runs the log has grown by the marks of an opening and a close.
        assert!(got.len() >= expected && expected > 200_000, "{args:?}: {} of {expected}", got.len());
    }
}

#[test]
fn case_12_a_byte_order_mark_is_skipped() {
    let store = Store::new();
    let mark = "\u{feff}";
    assert_eq!(store.script(format!("{mark}PUT a 1\n")), "OK\n");
    fs::write(store.path("script"), format!("{mark}PUT b 2\r\n")).unwrap();
    store.cli().args(["-f", "script"]).assert().success().stdout("OK\n");
    store.cli().args(["import", "script"]).assert().success();
    fs::write(store.path("lines.jsonl"), format!("{mark}{{\"key\":\"c\",\"value\":\"3\"}}\n")).unwrap();
    store.cli().args(["import", "lines.jsonl"]).assert().success();
    store.cli().args(["import", "-"]).write_stdin(format!("{mark}\nPUT d 4\n")).assert().success();
    assert_eq!(store.script("GET a\nGET b\nGET c\nGET d\nSIZE\n"), "1\n2\n3\n4\n4\n");
    // Only at the start. In a value it is data.
    assert_eq!(store.script(format!("PUT e {mark}\nGET e\n")), format!("OK\n{mark}\n"));
}

#[test]
fn case_13_file_names_complete_to_what_the_commands_take() {
    let store = Store::new();
    store.script("PUT a 1\n");
    store.cli().args(["export", "my file.kv"]).assert().success();
    fs::create_dir(store.path("a dir")).unwrap();
    store.cli().args(["export", "a dir/it's.kv"]).assert().success();
    let mut session = prompt(&store, &[], Path::new(""));
    session.exp_string("kv> ").unwrap();
    say(&mut session, "IMPORT my\t", "IMPORT OK entries=1");
    say(&mut session, "IMPORT 'my f\t", "IMPORT OK entries=1");
    say(&mut session, "IMPORT a\ti\t", "IMPORT OK entries=1");
    say(&mut session, "EXPORT my\t", "EXPORT OK entries=1");
    leave(session);
}

fn to_full(store: &Store, args: &[&str]) -> Output {
    store.process().args(args).stdout(File::options().write(true).open("/dev/full").unwrap()).output().unwrap()
}

#[test]
fn case_15_help_that_cannot_be_written_is_an_error() {
    let store = Store::new();
    let mut all = vec![
        vec!["HELP"],
        vec!["HELP", "PUT"],
        vec!["BENCH", "--help"],
        vec!["--help"],
        vec!["-h"],
        vec!["--version"],
        vec!["-V"],
    ];
    for tool in ["wal", "verify", "export", "import", "replay", "torture"] {
        all.extend([vec![tool, "--help"], vec![tool, "-h"]]);
    }
    all.extend([vec!["--generate", "man"], vec!["--generate", "complete-bash"], vec!["-c", "HELP"]]);
    for args in all {
        let output = to_full(&store, &args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert_eq!(text(&output.stderr), "kv_cli: <stdout>: error: No space left on device (os error 28)\n", "{args:?}");
        // A reader that stops, or a closed stdout, is not an error.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = store.process().args(&args).stdout(writer).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {}", text(&output.stderr));
        let output = shell(&store, "\"$KV_CLI\" \"$@\" >&-").arg("sh").args(&args).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn case_14_a_file_size_limit_is_an_error_in_every_command() {
    let store = Store::new();
    store.script((0..3000).map(|n| format!("PUT k{n} {}\n", "v".repeat(100))).collect::<String>());
    for args in ["--help", "HELP", "--generate man", "wal", "SCAN", "export", "replay --steps"] {
        let script = format!("ulimit -f 1; \"$KV_CLI\" {args} > out; echo $?");
        let output = shell(&store, &script).output().unwrap();
        assert_eq!(text(&output.stdout), "1\n", "{args}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains("File too large"), "{args}: {}", text(&output.stderr));
    }
}

/// The process that has the store open.
fn holder(store: &Store) -> Option<i32> {
    let note = fs::read_to_string(store.path("kv.wal.lock")).ok()?;
    note.split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty())?.parse().ok()
}

#[test]
fn case_16_after_a_stop_from_outside_the_line_is_drawn_again() {
    let store = Store::new();
    store.create();
    // Without colour, the editor writes only the typed key.
    let mut session = prompt(&store, &["--color", "never"], Path::new(""));
    session.exp_string("kv> ").unwrap();
    let number = holder(&store).unwrap();
    let (pid, stat) = (Pid::from_raw(number).unwrap(), format!("/proc/{number}/stat"));
    let tty = File::options().read(true).write(true).open(format!("/proc/{number}/fd/0")).unwrap();
    for n in 0..3 {
        type_in(&mut session, "PUT half ty", "PUT half ty");
        rustix::process::kill_process(pid, Signal::STOP).unwrap();
        eventually("it stops", || fs::read_to_string(&stat).unwrap().contains(") T "));
        // Changes the modes of the terminal, as a shell does in between.
        let mut modes = tcgetattr(&tty).unwrap();
        modes.local_modes |= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        modes.input_modes |= InputModes::ICRNL;
        tcsetattr(&tty, OptionalActions::Now, &modes).unwrap();
        rustix::process::kill_process(pid, Signal::CONT).unwrap();
        session.exp_string("kv> PUT half ty").unwrap();
        eventually("the modes are the editor's", || !tcgetattr(&tty).unwrap().local_modes.contains(LocalModes::ECHO));
        session.send("ped\r").unwrap();
        session.flush().unwrap();
        let seen = session.exp_string(&format!("OK {} of 5 buffered", n + 1)).unwrap();
        assert_eq!(seen.matches("ped").count(), 1, "{seen:?}");
        session.exp_string("kv> ").unwrap();
    }
    say(&mut session, "GET half", "typed");
    session.send_line("EXIT").unwrap();
    session.exp_string("bye").unwrap();
    assert!(tcgetattr(&tty).unwrap().local_modes.contains(LocalModes::ICANON | LocalModes::ISIG));
}

/// stdout is a pipe that is read slowly, so that the list cannot end before the Ctrl-C arrives.
#[test]
fn case_17_ctrl_c_stops_a_list_that_is_printed() {
    for (format, command) in [("text", "SCAN LIMIT 20000"), ("json", "SCAN LIMIT 20000"), ("raw", "KEYS LIMIT 20000")] {
        let store = Store::new();
        // The keys are long, so that a list of keys alone fills the pipe.
        store.script((0..12_000).map(|n| format!("PUT {n:05}{} v\n", "k".repeat(1000))).collect::<String>());
        rustix::fs::mkfifoat(rustix::fs::CWD, store.path("out"), rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        let mut shell = shell(&store, "exec \"$KV_CLI\" --output $FORMAT > out");
        shell.env("KV_HISTORY", "").env("FORMAT", format);
        let mut session = terminal(shell);
        let mut out = File::open(store.path("out")).unwrap();
        session.exp_string("kv> ").unwrap();
        session.send_line(command).unwrap();
        eventually("the pipe is full", || rustix::io::ioctl_fionread(&out).unwrap() > 60_000);
        session.send_control('c').unwrap();
        let (mut listed, mut err, mut page) = (Vec::new(), String::new(), [0; 4096]);
        eventually("it stops", || {
            if rustix::io::ioctl_fionread(&out).unwrap() > 0 {
                let count = out.read(&mut page).unwrap();
                listed.extend_from_slice(&page[..count]);
            }
            err.extend(std::iter::from_fn(|| session.try_read()));
            err.contains("entries were listed, there are more")
        });
        session.send_line("SIZE").unwrap();
        session.send_line("EXIT").unwrap();
        out.read_to_end(&mut listed).unwrap();
        session.exp_eof().unwrap();
        let listed = text(&listed);
        let (entries, after) = listed.split_once(if format == "json" { "{\"ok\":false,\"code\":" } else { "\n12000\n" }).unwrap();
        assert!(entries.contains("00000kkk") && !entries.contains("11999kkk"), "{format}");
        assert!(format != "json" || after.starts_with("\"interrupted\",\"error\":\"interrupted; "), "{after}");
    }
}

/// Case 27.
mod at_start {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn ended_by(status: ExitStatus, signal: Signal) -> bool {
        status.signal() == Some(signal.as_raw()) || status.code() == Some(128 + signal.as_raw())
    }

    /// stdin stays open and empty. If the process lost the signal, it would wait for ever.
    #[test]
    fn case_27_no_signal_is_lost_at_any_moment() {
        let ignored = is_ignored(Signal::INT);
        for (n, sent) in [Signal::TERM, Signal::HUP, Signal::INT].into_iter().cycle().take(60).enumerate() {
            if sent == Signal::INT && ignored {
                continue;
            }
            let store = Store::new();
            let mut child = store.piped(&[]);
            let _open = child.stdin.take();
            std::thread::sleep(std::time::Duration::from_micros(500 * n as u64));
            signal(&child, sent);
            let status = end(&mut child, "the process ends");
            assert!(ended_by(status, sent), "{sent:?}: {status:?}");
        }
    }

    /// The process is held while it installs its signal handlers.
    #[test]
    fn case_27_no_signal_is_lost_while_the_handlers_are_installed() {
        if Command::new("strace").arg("-V").output().is_err() {
            return skipped("there is no strace");
        }
        for held in ["socketpair", "pipe2", "clone3"] {
            let store = Store::new();
            let program = store.process().get_program().to_owned();
            let mut tracer = store.program("strace");
            tracer.args(["-f", "-o", "/dev/null", "-e", &format!("inject={held}:delay_enter=1000000:when=1")]).arg(program);
            let mut tracer = tracer.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            let mut open = tracer.stdin.take();
            let Some(pid) = held_child(&mut tracer) else {
                drop(open.take());
                let output = tracer.wait_with_output().unwrap();
                skipped(&format!("strace cannot hold {held}: {}", text(&output.stderr)));
                continue;
            };
            rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
            let status = end(&mut tracer, "the process ends");
            assert!(ended_by(status, Signal::TERM), "{held}: {status:?}");
        }
    }

    /// The traced process, after it has been stopped for a while. `None` if it is never stopped.
    fn held_child(tracer: &mut Child) -> Option<i32> {
        let children = format!("/proc/{0}/task/{0}/children", tracer.id());
        let (mut stopped, mut pid) = (0, None);
        for _ in 0..1000 {
            let child = fs::read_to_string(&children).ok().and_then(|all| all.split_whitespace().next()?.parse::<i32>().ok());
            let state = child.and_then(|child| fs::read_to_string(format!("/proc/{child}/stat")).ok());
            let is_ours =
                child.is_some_and(|child| fs::read_link(format!("/proc/{child}/exe")).is_ok_and(|exe| exe.ends_with("kv_cli")));
            stopped = if is_ours && state.is_some_and(|state| state.contains(") t ")) { stopped + 1 } else { 0 };
            if stopped > 40 {
                pid = child;
                break;
            }
            if tracer.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        pid
    }

    #[test]
    fn case_08_without_threads_there_is_an_error_and_no_panic() {
        use std::os::unix::fs::PermissionsExt;
        let store = Store::new();
        fs::set_permissions(store.dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        // A user that no other process has, and that may have one process.
        let limited = "exec setpriv --reuid=54398 --regid=54398 --clear-groups prlimit --nproc=1 \"$KV_CLI\" \"$@\"";
        let run = |args: &[&str]| shell(&store, limited).arg("sh").args(args).output().unwrap();
        if !run(&["--version"]).status.success() {
            return skipped("the limit on processes cannot be set here");
        }
        for args in [
            &["PUT", "a", "1"][..],
            &["export"],
            &["torture", "--states", "10", "--kills", "0"],
            &["torture", "--rung", "kills", "--states", "1"],
        ] {
            let output = run(args);
            assert!(!text(&output.stderr).contains("panicked"), "{args:?}: {}", text(&output.stderr));
            assert!(output.status.code().is_some_and(|code| code < 128), "{args:?}: {:?}", output.status);
        }
        let refused = run(&["PUT", "a", "1"]);
        assert!(text(&refused.stderr).contains("signals cannot be listened to"), "{}", text(&refused.stderr));
        assert!(!store.path("kv.wal").exists());
    }
}

#[test]
fn case_29_a_line_that_cannot_be_a_command_takes_little_memory() {
    let store = Store::new();
    let mut child = shell(&store, "ulimit -v 400000; exec \"$KV_CLI\"");
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut to = child.stdin.take().unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let zeros = vec![0; 1 << 20];
    to.write_all(&zeros).unwrap();
    // The line is refused before it ends. The rest of it is skipped.
    eventually("it is refused", || rustix::io::ioctl_fionread(err.get_ref()).unwrap() > 0);
    assert!(line(&mut err).starts_with("kv_cli: <stdin>:1: error: unknown command '\\0\\0"));
    for _ in 0..600 {
        to.write_all(&zeros).unwrap();
    }
    to.write_all(b"\nPUT a 1\nWHAT\n").unwrap();
    drop(to);
    assert_eq!(line(&mut err), "kv_cli: <stdin>:3: error: unknown command 'WHAT'; HELP lists the commands\n");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), "OK\n"));
    assert_eq!(store.script("GET a\n"), "1\n");
}

/// Case 34.
mod hostile {
    use super::*;

    const CONTROLS: [char; 4] = ['\u{1b}', '\u{7}', '\u{9b}', '\r'];

    #[test]
    fn case_34_arguments_that_are_refused_reach_no_terminal_raw() {
        let store = Store::new();
        let word = "\u{1b}[31m\u{7}\n\u{9b}x";
        let cases: [&[&str]; 9] = [
            &[&format!("--{word}")],
            &["--batch", word, "GET", "a"],
            &[&format!("--batch={word}")],
            &["--output", word],
            &["wal", "--record", word],
            &["torture", "--case", word],
            &["verify", word],
            &["-f", word],
            &[word],
        ];
        for args in cases {
            let output = store.process().args(args).output().unwrap();
            let err = text(&output.stderr);
            assert!(!output.status.success() && !err.contains(CONTROLS), "{args:?}: {err:?}");
            assert!(!err.contains("\n\u{9b}") && !err.lines().any(|line| line.starts_with('x')), "{args:?}: {err:?}");
        }
        let output = store.process().env("KV_BATCH", word).arg("SIZE").output().unwrap();
        assert!(output.status.code() == Some(2) && !text(&output.stderr).contains(CONTROLS));
        for name in ["PUT", "import", "export", "replay"] {
            let output = store.process().args([name, &format!("no{word}")]).output().unwrap();
            assert!(!text(&output.stderr).contains(CONTROLS), "{name}: {:?}", text(&output.stderr));
        }
    }

    #[test]
    fn case_34_a_directory_may_have_a_line_feed_in_its_name() {
        let store = Store::new();
        let dir = store.path("two\nlines");
        fs::create_dir(&dir).unwrap();
        let run = |args: &[&str]| {
            let mut command = store.process();
            command.env("KV_WAL", dir.join("kv.wal")).env("KV_SNAPSHOT", dir.join("kv.snapshot"));
            command.args(args).output().unwrap()
        };
        for args in
            [&["PUT", "a", "1"][..], &["SNAP"], &["GET", "a"], &["verify"], &["export", "out"], &["wal"], &["BENCH", "10"]]
        {
            let output = run(args);
            assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        }
        // The error names the process that has it open, and the file, on one line.
        let mut command = store.process();
        command.env("KV_WAL", dir.join("kv.wal")).env("KV_SNAPSHOT", dir.join("kv.snapshot"));
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut to = holder.stdin.take().unwrap();
        to.write_all(b"SIZE\n").unwrap();
        line(&mut BufReader::new(holder.stdout.take().unwrap()));
        let err = text(&run(&["GET", "a"]).stderr);
        assert!(err.contains("two\\nlines") && err.contains(&holder.id().to_string()), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
        drop(to);
        holder.wait().unwrap();
        let mut command = store.process();
        command
            .env("KV_WAL", dir.join("kv.wal"))
            .env("KV_SNAPSHOT", dir.join("kv.snapshot"))
            .env("KV_HISTORY", "")
            .env("KV_RC", "");
        let mut session = terminal(command);
        session.exp_string("two\\nlines/kv.wal").unwrap();
        session.exp_string("kv> ").unwrap();
        leave(session);
    }
}

#[test]
fn case_46_at_its_own_prompt_the_shell_handles_ctrl_c_although_it_was_ignored() {
    let store = Store::new();
    let mut command = shell(&store, "trap '' INT; exec \"$KV_CLI\" --batch 1");
    command.env("KV_HISTORY", "").env("KV_RC", "");
    let mut session = terminal(command);
    session.exp_string("kv> ").unwrap();
    session.send_line("BENCH 100000000").unwrap();
    eventually("the bench begins", || {
        fs::read_dir(store.dir.path()).unwrap().any(|entry| entry.unwrap().file_name().to_string_lossy().contains(".bench"))
    });
    session.send_control('c').unwrap();
    session.exp_string("stopped after").unwrap();
    session.exp_string("kv> ").unwrap();
    say(&mut session, "SIZE", "0 keys");
    leave(session);
}

#[test]
fn case_46_in_a_script_it_stays_ignored() {
    let store = Store::new();
    let mut child = shell(&store, "trap '' INT; exec \"$KV_CLI\"");
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut to, mut from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    for _ in 0..3 {
        to.write_all(b"PUT a 1\n").unwrap();
        assert_eq!(line(&mut from), "OK\n");
        signal(&child, Signal::INT);
    }
    drop(to);
    assert!(child.wait().unwrap().success());
}
