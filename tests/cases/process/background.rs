//! A checkpoint that fails in the background is reported.

use super::*;

const WHAT: &str = "error: a background snapshot failed: ";

/// Sends STATS until a checkpoint has failed, and returns the last answer.
fn fail(store: &Store, to: &mut impl Write, from: &mut impl BufRead, sign: &str) -> (String, usize) {
    // A rename cannot replace a directory.
    fs::create_dir(store.path("kv.snapshot")).unwrap();
    let mut lines = 1;
    to.write_all(b"PUT b 2\n").unwrap();
    line(from);
    let mut stats = String::new();
    eventually("a checkpoint fails", || {
        to.write_all(b"STATS\n").unwrap();
        stats = line(from);
        lines += 1;
        stats.contains(sign)
    });
    (stats, lines)
}

#[test]
fn case_09_a_failed_checkpoint_is_reported_once_with_the_line_and_shown_in_stats() {
    let store = Store::new();
    store.script("PUT a 1\n");
    let mut child = store.piped(&["--checkpoint-interval", "20ms"]);
    let (mut to, mut from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    to.write_all(b"SIZE\n").unwrap();
    line(&mut from);
    let (stats, lines) = fail(&store, &mut to, &mut from, "checkpoint_failed=\"");
    assert!(!stats.contains("checkpoint_failures=0 "), "{stats}");
    to.write_all(b"SIZE\nSIZE\n").unwrap();
    drop(to);
    let output = child.wait_with_output().unwrap();
    let err = text(&output.stderr);
    assert_eq!(err.matches(WHAT).count(), 1, "{err}");
    let report = err.lines().find(|line| line.contains(WHAT)).unwrap();
    let number: usize = report.strip_prefix("kv_cli: <stdin>:").and_then(|rest| rest.split(':').next()?.parse().ok()).unwrap();
    assert!((1..=lines + 3).contains(&number), "{report}");
}

#[test]
fn case_09_json_shows_it_too_and_damage_makes_the_status_1() {
    let store = Store::new();
    store.script("PUT a 1\n");
    let mut child = store.piped(&["--json", "--checkpoint-interval", "20ms"]);
    let (mut to, mut from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    to.write_all(b"SIZE\n").unwrap();
    line(&mut from);
    let (stats, _) = fail(&store, &mut to, &mut from, "\"checkpoint_failed\":\"");
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    assert!(stats["checkpoint_failures"].as_u64() > Some(0), "{stats}");
    let met_damage = stats["checkpoint_met_damage"].as_bool().unwrap();
    drop(to);
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stderr).matches(WHAT).count(), 1);
    assert_eq!(output.status.code(), Some(i32::from(met_damage)));
}

#[test]
fn case_09_at_a_prompt_it_comes_before_the_next_one() {
    let store = Store::new();
    store.create();
    let mut session = prompt(&store, &["--checkpoint-interval", "20ms"], Path::new(""));
    session.exp_string("kv> ").unwrap();
    fs::create_dir(store.path("kv.snapshot")).unwrap();
    say(&mut session, "PUT a 1", "OK");
    let mut seen = String::new();
    eventually("it is reported", || {
        session.send_line("SIZE").unwrap();
        seen += &session.exp_string("1 key").unwrap();
        seen += &session.exp_string("kv> ").unwrap();
        seen.contains(WHAT)
    });
    (0..3).for_each(|_| {
        session.send_line("SIZE").unwrap();
        session.exp_string("1 key").unwrap();
        seen += &session.exp_string("kv> ").unwrap();
    });
    seen += &leave(session);
    assert_eq!(seen.matches(WHAT).count(), 1, "{seen}");
}

#[test]
fn case_09_a_one_shot_command_reports_it_at_the_end() {
    let store = Store::new();
    store.script("PUT a 1\n");
    // The only command takes longer than the first checkpoint.
    let mut child = store.process();
    child.args(["--checkpoint-log", "1", "-c", "IMPORT -"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    eventually("the store is open", || holder(&store).is_some_and(|pid| pid.unsigned_abs() == child.id()));
    fs::create_dir(store.path("kv.snapshot")).unwrap();
    let mut to = child.stdin.take().unwrap();
    for group in 0..40 {
        for n in 0..1000 {
            writeln!(to, "PUT k{group}-{n} v").unwrap();
        }
    }
    drop(to);
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stderr).matches(WHAT).count(), 1, "{}", text(&output.stderr));
}
