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
        text.contains("the state after write 3 is not in the files any more: the snapshot holds exactly the state after write 7")
            && text.ends_with("; the states after writes 7 to 8 can be rebuilt\n")
            && status == 3,
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

#[test]
fn case_48_a_state_before_the_snapshot_is_refused_with_the_true_reason() {
    let store = Store::new();
    store.script("PUT a 1\nPUT b 2\nPUT c 3\nSNAP\n");
    let reason = "the state after write 2 is not in the files any more: the snapshot holds exactly the state after write 3, and \
                  the log the writes after it";
    let (text, status) = replay(&store, &["--until", "2"]);
    assert_eq!((text.contains(reason), status), (true, 3), "{text}");
    assert!(text.ends_with("; only the state after write 3 can be rebuilt\n") && !text.contains("not one store"), "{text}");
    store.script("PUT d 4\nPUT e 5\n");
    for (until, says) in [("2", reason), ("9", "there is no write 9: the last write is 5")] {
        for asked in [&["--steps"][..], &["--get", "a"], &["--export", "-"]] {
            let (text, status) = replay(&store, &[&["--until", until], asked].concat());
            assert!(text.contains(says) && status == 3, "{text}");
            assert!(text.ends_with("; the states after writes 3 to 5 can be rebuilt\n"), "{text}");
        }
    }
    assert_eq!(replay(&store, &["--until", "3"]), ("write 3, 3 keys\n".to_string(), 0));
}

#[test]
fn case_48_the_state_after_any_write_is_exported() {
    let store = Store::new();
    store.script(WRITES.join("\n"));
    for n in 0..=WRITES.len() {
        let until = n.to_string();
        let fresh = Store::new();
        let text = replay(&store, &["--until", &until, "--export", "-"]).0;
        assert!(text.contains(&format!("\n# the state after write {n}; ")), "{text}");
        for name in ["state.kv", "state.jsonl"] {
            let (said, status) = replay(&store, &["--until", &until, "--export", name]);
            assert!(said.starts_with("EXPORT OK entries=") && said.contains(&format!(" seq={n} took_ms=")), "{said}");
            assert_eq!(status, 0);
            fresh.cli().arg("import").arg(store.path(name)).assert().success();
            // Nothing is deleted by an import, so the states are compared in fresh stores.
            assert_eq!(digest(&fresh, &[]), digest(&store, &["--until", &until]), "write {n}, {name}");
        }
        assert_eq!(fs::read_to_string(store.path("state.kv")).unwrap(), text, "stdout has the same export");
    }
    let last = fs::read(store.path("state.kv")).unwrap();
    store.cli().args(["export", "last.kv"]).assert().success();
    assert_eq!(fs::read(store.path("last.kv")).unwrap(), last, "as kv_cli export writes it");
    // As safe as EXPORT.
    fs::write(store.path("notes"), "mine").unwrap();
    for name in ["notes", "kv.wal", "kv.snapshot"] {
        let (said, status) = replay(&store, &["--export", name]);
        assert!(said.contains("nothing was exported") && status == 1, "{name}: {said}");
    }
    assert_eq!(fs::read(store.path("notes")).unwrap(), b"mine");
}

#[test]
fn case_48_a_value_is_shown_as_it_was() {
    let store = Store::new();
    store.script(WRITES.join("\n"));
    let get = |until: &str, words: &[&str]| replay(&store, &[&["--until", until], words].concat());
    for (until, key, value) in
        [("1", "a", "1"), ("3", "a", "(nil)"), ("4", "b", "two words"), ("7", "b", "2"), ("7", "d", "\"\"")]
    {
        assert_eq!(get(until, &["--get", key]), (format!("{value}\n"), 0), "{key} after write {until}");
    }
    assert_eq!(get("3", &["--get", "a", "--json"]).0, "{\"cmd\":\"replay\",\"ok\":true,\"seq\":3,\"value\":null}\n");
    let (text, _) = get("4", &["--get", "c", "--json"]);
    assert_eq!(text, "{\"cmd\":\"replay\",\"ok\":true,\"seq\":4,\"value_base64\":\"AP8=\"}\n");
    let raw = store.process().args(["--raw", "replay", "--get", "c"]).output().unwrap();
    assert_eq!(raw.stdout, b"\0\xff\n");
    for both in [&["--get", "a", "--export", "-"][..], &["--get", "a", "--steps"]] {
        assert_eq!(get("1", both).1, 2, "one answer at a time");
    }
}

#[test]
fn case_49_every_answer_of_replay_is_an_object() {
    let (one, other) = (Store::new(), Store::new());
    one.script("PUT a 1\nPUT b 2\n");
    other.script("PUT a 1\nPUT \"\\xff\" 3\n");
    let json = |words: &[&str]| {
        let output = one.process().args(["replay", "--json"]).args(words).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (lines, text, output.status.code().unwrap())
    };
    let (lines, _, status) = json(&["--steps", "--digest"]);
    assert_eq!((lines.len(), status), (3, 0));
    for (n, line) in lines.iter().enumerate() {
        assert_eq!((&line["cmd"], &line["seq"], &line["keys"]), (&"replay".into(), &n.into(), &n.into()));
        assert!(line["ok"] == true && line["digest"].as_str().unwrap().len() == 32);
    }
    assert_eq!(json(&[]).1, "{\"cmd\":\"replay\",\"ok\":true,\"seq\":2,\"keys\":2}\n");
    // The other store by its directory, and by its log.
    for place in [other.dir.path().to_path_buf(), other.path("kv.wal")] {
        let (lines, text, status) = json(&["--diff", place.to_str().unwrap()]);
        assert_eq!(status, 1, "{text}");
        assert!(text.starts_with("{\"cmd\":\"replay\",\"diff\":\"-\",\"key\":\"b\",\"value\":\"2\"}\n"), "{text}");
        assert!(text.contains("{\"cmd\":\"replay\",\"diff\":\"+\",\"key_base64\":\"/w==\",\"value\":\"3\"}\n"), "{text}");
        assert_eq!((&lines[2]["differ"], &lines[2]["seq"], &lines[2]["other_seq"]), (&2.into(), &2.into(), &2.into()));
    }
    let (lines, text, status) = json(&["--until", "9"]);
    assert_eq!((&lines[0]["ok"], &lines[0]["code"], status), (&false.into(), &"failed".into(), 3), "{text}");
    assert!(lines[0]["error"].as_str().unwrap().contains("there is no write 9: the last write is 2"), "{text}");
    let (lines, text, _) = json(&["--export", "x.jsonl"]);
    assert_eq!((&lines[0]["cmd"], &lines[0]["entries"]), (&"EXPORT".into(), &2.into()), "{text}");
}

/// A directory has its log and snapshot under the usual names, also after a snapshot.
#[test]
fn two_directories_are_compared() {
    let (one, other) = (Store::new(), Store::new());
    one.script("PUT a 1\nPUT b 2\nSNAP\nPUT c 3\n");
    other.script("PUT b 2\nPUT c 3\nPUT a 1\nSNAP\n");
    let mut process = one.process();
    process.env_remove("KV_SNAPSHOT").env("KV_WAL", "elsewhere.wal").arg("replay").arg(one.dir.path());
    let output = process.arg("--diff").arg(other.dir.path()).output().unwrap();
    let (text, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(text.starts_with("0 keys differ between write 3 of ") && output.status.success(), "{text}{err}");
}
