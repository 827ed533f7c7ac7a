//! `kv_cli replay`: the same writes give the same digest, with any batch sizes, snapshots and restarts between them.
//! The state after any write can be rebuilt.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::Store;
use std::fs;

const WRITES: [&str; 7] = ["PUT a 1", "PUT b \"two words\"", "DEL a", "PUT c \"\\x00\\xff\"", "PUT b 2", "PUT d \"\"", "PUT a 3"];

fn replay(store: &Store, words: &[&str]) -> (String, i32) {
    let output = store.process().arg("replay").args(words).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (text, output.status.code().unwrap())
}

fn digest(store: &Store, words: &[&str]) -> String {
    let (text, status) = replay(store, &[words, &["--digest"]].concat());
    assert_eq!(status, 0, "{text}");
    text.split_whitespace().last().unwrap().to_string()
}

#[test]
fn the_same_writes_give_the_same_digest() {
    let plain = Store::new();
    plain.script(WRITES.join("\n"));
    let expected = digest(&plain, &[]);
    assert_eq!(expected.len(), 32);
    assert_eq!(replay(&plain, &["--digest"]).0, format!("write 7, 4 keys, digest {expected}\n"));
    for (batch, snapshot_at, restart_at) in [("1", 2, 4), ("3", 5, 1), ("100", 7, 3), ("2", 0, 6)] {
        let store = Store::new();
        for (i, write) in WRITES.iter().enumerate() {
            let mut script = format!("SETBATCH {batch}\n{write}\n");
            if i + 1 == snapshot_at {
                script += "SNAP\n";
            }
            if i + 1 >= restart_at {
                store.script(script);
            } else {
                store.script(script + "SIZE\n");
            }
        }
        assert_eq!(digest(&store, &[]), expected, "batch {batch}, snapshot at {snapshot_at}");
    }
    let other = Store::new();
    other.script(WRITES[..6].join("\n"));
    assert_ne!(digest(&other, &[]), expected);
}

#[test]
fn the_state_after_any_write_can_be_rebuilt() {
    let store = Store::new();
    store.script(WRITES.join("\n"));
    let (steps, status) = replay(&store, &["--steps", "--digest"]);
    let steps: Vec<&str> = steps.lines().collect();
    assert_eq!((steps.len(), status), (8, 0));
    for (n, step) in steps.iter().enumerate() {
        assert!(step.starts_with(&format!("write {n}, ")), "{step}");
        assert_eq!(step.split_whitespace().last().unwrap(), digest(&store, &["--until", &n.to_string()]));
    }
    let (text, status) = replay(&store, &["--until", "8"]);
    assert!(text.contains("there is no write 8: the last write is 7") && status == 3, "{text}");

    store.script("SNAP\nPUT e 5\n");
    let (text, status) = replay(&store, &["--until", "3"]);
    assert!(
        text.contains("the state after write 3 cannot be rebuilt: the snapshot holds the state after write 7") && status == 3,
        "{text}"
    );
    assert_eq!(replay(&store, &[]), ("write 8, 5 keys\n".to_string(), 0));
    let log = store.path("kv.wal");
    fs::remove_file(store.path("kv.snapshot")).unwrap();
    let (text, status) = replay(&store, &[log.to_str().unwrap()]);
    assert!(text.contains("the snapshot that holds the writes before is missing") && status == 3, "{text}");
}

#[test]
fn two_stores_are_compared_key_by_key() {
    let (one, other) = (Store::new(), Store::new());
    one.script("PUT same 1\nPUT changed before\nPUT only-here \"a b\"\n");
    other.script("PUT same 1\nPUT changed after\nPUT only-there 2\n");
    let path = other.path("kv.wal");
    let (text, status) = replay(&one, &["--diff", path.to_str().unwrap()]);
    assert_eq!(status, 1);
    for line in ["- changed before", "+ changed after", "- only-here \"a b\"", "+ only-there 2"] {
        assert!(text.lines().any(|shown| shown == line), "{line}: {text}");
    }
    assert!(text.contains("3 keys differ") && !text.contains("same 1"), "{text}");
    let path = one.path("kv.wal");
    let (text, status) = replay(&one, &["--diff", path.to_str().unwrap()]);
    assert!(text.contains("0 keys differ") && status == 0, "{text}");
}
