//! A million piped PUT lines, and SIGKILL. The recovered state is exactly a prefix of the script, and every write that
//! was acknowledged as durable is in it.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../crates/kv_engine/tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use support::{Place, Random, contents};

const LINES: u64 = 1_000_000;
const BATCH: u64 = 1000;

/// The lines of the script, as a user would write them, with their keys and values.
struct Script(Random);

impl Script {
    fn new() -> Script {
        Script(Random(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let random = &mut self.0;
        let key = format!("key:{}", random.below(300_000)).into_bytes();
        let (word, value): (Vec<u8>, Vec<u8>) = match random.below(10) {
            0 => (b"\"\"".to_vec(), Vec::new()),
            1 => {
                let n = random.below(1 << 20);
                (format!("\"quoted \\\"value\\\" {n}\\n\"").into_bytes(), format!("quoted \"value\" {n}\n").into_bytes())
            }
            2 => {
                let text = format!("'grün und 漢字 {}'", random.below(100));
                (text.clone().into_bytes(), text.trim_matches('\'').as_bytes().to_vec())
            }
            3 => {
                let bytes: Vec<u8> = (0..random.below(20)).map(|_| random.below(256) as u8).collect();
                let word: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
                (format!("\"{word}\"").into_bytes(), bytes)
            }
            4 if random.below(100) == 0 => {
                let long = vec![b'v'; random.below(20_000) as usize + 1];
                (long.clone(), long)
            }
            _ => {
                let plain = vec![b'a' + random.below(26) as u8; random.below(150) as usize + 1];
                (plain.clone(), plain)
            }
        };
        let line = [b"PUT ", &key[..], b" ", &word[..], b"\n"].concat();
        (line, key, value)
    }
}

fn start(place: &Place) -> Child {
    Command::new(env!("CARGO_BIN_EXE_kv_cli"))
        .args(["--batch", &BATCH.to_string(), "--flush-interval", "0", "--wal"])
        .arg(&place.wal)
        .arg("--snapshot")
        .arg(&place.snapshot)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Counts the answers of a child until its stdout ends. `watch` sees each of them.
fn count_answers(child: &mut Child, mut watch: impl FnMut(&str) + Send + 'static) -> thread::JoinHandle<u64> {
    let stdout = child.stdout.take().unwrap();
    thread::spawn(move || {
        let mut count = 0;
        for line in BufReader::new(stdout).lines() {
            let Ok(line) = line else { break };
            count += u64::from(line == "OK");
            watch(&line);
        }
        count
    })
}

/// Opens the store and checks that it holds the first k lines of the script. Returns k.
fn check_prefix(place: &Place) -> u64 {
    let engine = place.open();
    let k = engine.recovery().last_seq;
    let mut script = Script::new();
    let mut model = BTreeMap::new();
    for _ in 0..k {
        let (_, key, value) = script.next();
        model.insert(key, value);
    }
    assert!(contents(&engine) == model, "the state is not the one after the first {k} lines");
    k
}

#[test]
fn after_a_kill_midway_a_prefix_with_every_promised_write_is_left() {
    let place = Place::new();
    let mut child = start(&place);
    let answers = count_answers(&mut child, |_| {});
    let mut stdin = BufWriter::new(child.stdin.take().unwrap());
    let mut script = Script::new();
    let mut sent = 0;
    while sent < LINES / 2 + 12_345 {
        stdin.write_all(&script.next().0).unwrap();
        sent += 1;
    }
    child.kill().unwrap(); // while it works: the pipe is still full
    child.wait().unwrap();
    drop(stdin);
    let acknowledged = answers.join().unwrap();
    let k = check_prefix(&place);
    assert!(k <= sent, "{k} of {sent}");
    assert!(k + (BATCH - 1) >= acknowledged, "{k} were recovered, {acknowledged} were acknowledged");
    assert!(k > 0 && acknowledged > 0);
}

#[test]
fn after_a_kill_behind_the_last_flush_all_million_lines_are_there() {
    let place = Place::new();
    let mut child = start(&place);
    let (flushed, wait_for_flush) = std::sync::mpsc::channel();
    let answers = count_answers(&mut child, move |line| {
        if line == "FLUSH OK" {
            flushed.send(()).unwrap();
        }
    });
    let mut stdin = BufWriter::new(child.stdin.take().unwrap());
    let mut script = Script::new();
    for _ in 0..LINES {
        stdin.write_all(&script.next().0).unwrap();
    }
    stdin.write_all(b"FLUSH\n").unwrap();
    stdin.flush().unwrap();
    wait_for_flush.recv().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    drop(stdin);
    assert_eq!(answers.join().unwrap(), LINES);
    assert_eq!(check_prefix(&place), LINES);
}
