//! Conditional writes: what follows from a value in the store is decided in log order, against what is applied or in
//! flight. Counters lose nothing, with any number of threads, at any batch size, and across kills.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use kv_engine::{Batch, Engine, Error, Options, Result, Swap, Updated};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write, stdout};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, yield_now};
use std::time::Duration;
use support::{Place, contents};

fn number(value: Option<&[u8]>) -> u64 {
    value.map_or(0, |value| std::str::from_utf8(value).unwrap().parse().unwrap())
}

fn add_one(engine: &Engine, key: &str) -> Result<u64> {
    let updated = engine.update(key, |old| Some((number(old) + 1).to_string()))?;
    Ok(number(updated.new.as_deref()))
}

fn value(engine: &Engine, key: &str) -> u64 {
    number(engine.get(key).unwrap().as_deref())
}

/// Adds one to two keys in one transaction. Returns the new values.
fn add_to_both(engine: &Engine) -> Result<(u64, u64)> {
    let (both, _) = engine.transaction(|tx| -> Result<_> {
        let both = (number(tx.get("left")?.as_deref()) + 1, number(tx.get("right")?.as_deref()) + 1);
        tx.put("left", both.0.to_string()).put("right", both.1.to_string());
        Ok(both)
    })?;
    Ok(both)
}

fn add_by_swapping(engine: &Engine, key: &str) -> Result<()> {
    let mut old = engine.get(key)?;
    loop {
        let new = (number(old.as_deref()) + 1).to_string();
        match engine.compare_and_swap(key, old, Some(new))? {
            Swap::Done(_) => return Ok(()),
            Swap::Differs { current } => old = current,
        }
    }
}

/// Adds with a batch that requires the old value.
fn add_by_requiring(engine: &Engine, key: &str) -> Result<()> {
    loop {
        let mut batch = Batch::new();
        let old = engine.get(key)?;
        match &old {
            Some(old) => batch.require(key, old),
            None => batch.require_absent(key),
        };
        batch.put(key, (number(old.as_deref()) + 1).to_string());
        match engine.write(batch) {
            Err(Error::Condition { key: differs }) => assert_eq!(differs, key.as_bytes()),
            done => return done.map(drop),
        }
    }
}

#[test]
fn case_53_four_threads_with_a_thousand_updates_each_make_four_thousand() {
    for batch_size in [1, 1000] {
        let place = Place::in_memory();
        let engine = place.options().batch_size(batch_size).open().unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).map(|_| add_one(&engine, "n").unwrap()).max());
            }
        });
        assert_eq!(value(&engine, "n"), 4000);
        drop(engine);
        assert_eq!(value(&place.open(), "n"), 4000);
    }
}

/// Every way to add one, from 64 threads, on shared keys and on own ones.
#[test]
fn counters_of_64_threads_lose_nothing_at_any_batch_size() {
    const THREADS: u64 = 64;
    const TIMES: u64 = 6;
    for batch_size in [1, 5, 1000] {
        let place = Place::in_memory();
        let engine = place.options().batch_size(batch_size).open().unwrap();
        thread::scope(|scope| {
            for number in 0..THREADS {
                let engine = &engine;
                scope.spawn(move || {
                    for _ in 0..TIMES {
                        add_one(engine, "updated").unwrap();
                        add_one(engine, &format!("own {number}")).unwrap();
                        let (left, right) = add_to_both(engine).unwrap();
                        assert_eq!(left, right, "both keys are always written together");
                        add_by_swapping(engine, "swapped").unwrap();
                        add_by_requiring(engine, "required").unwrap();
                        engine.put(format!("put {number}"), "beside them").unwrap();
                    }
                });
            }
        });
        let check = |engine: &Engine| {
            for key in ["updated", "left", "right", "swapped", "required"] {
                assert_eq!(value(engine, key), THREADS * TIMES, "{key} at batch size {batch_size}");
            }
            assert!((0..THREADS).all(|number| value(engine, &format!("own {number}")) == TIMES));
        };
        check(&engine);
        engine.close().unwrap();
        check(&place.open());
    }
}

/// With values that stay in the snapshot, the effective value may come from the snapshot, the map, or the log.
#[test]
fn counters_lose_nothing_beside_checkpoints_if_values_stay_in_the_snapshot() {
    let place = Place::in_memory();
    let engine = place.options().values_in_snapshot(0).open().unwrap();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let adders: Vec<_> = (0..4).map(|_| scope.spawn(|| (0..100).map(|_| add_to_both(&engine).unwrap()).max())).collect();
        let snapshots = scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                engine.snapshot().unwrap();
            }
        });
        assert!(adders.into_iter().all(|adder| adder.join().unwrap().is_some()));
        ended.store(true, Ordering::Relaxed);
        snapshots.join().unwrap();
    });
    assert_eq!((value(&engine, "left"), value(&engine, "right")), (400, 400));
}

/// Transactions move money between accounts while others sum it up. Every sum is of one moment.
#[test]
fn a_transaction_reads_one_moment() {
    const ACCOUNTS: u64 = 8;
    const SUM: u64 = 100 * ACCOUNTS;
    for batch_size in [1, 1000] {
        let place = Place::in_memory();
        let engine = place.options().batch_size(batch_size).open().unwrap();
        for account in 0..ACCOUNTS {
            engine.put(account.to_string(), "100").unwrap();
        }
        let runs = AtomicU64::new(0);
        thread::scope(|scope| {
            for first in 0..6 {
                let (engine, runs) = (&engine, &runs);
                scope.spawn(move || {
                    for n in 0..60 {
                        let (from, to) = ((first + n) % ACCOUNTS, (first + 3 * n + 1) % ACCOUNTS);
                        let moved = engine.transaction(|tx| -> Result<bool> {
                            runs.fetch_add(1, Ordering::Relaxed);
                            let (from, to) = (from.to_string(), to.to_string());
                            let has = number(tx.get(&from)?.as_deref());
                            if has < 7 {
                                return Ok(false);
                            }
                            tx.put(&from, (has - 7).to_string());
                            let gets = number(tx.get(&to)?.as_deref()) + 7;
                            tx.put(&to, gets.to_string());
                            Ok(true)
                        });
                        moved.unwrap();
                    }
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let summed = engine.transaction(|tx| -> Result<u64> {
                            let mut sum = 0;
                            for account in 0..ACCOUNTS {
                                yield_now(); // others write in the meantime
                                sum += number(tx.get(account.to_string())?.as_deref());
                            }
                            assert_eq!(sum, SUM, "even a run that is repeated sees only what was there together");
                            Ok(sum)
                        });
                        assert_eq!(summed.unwrap().0, SUM);
                    }
                });
            }
        });
        let sum: u64 = (0..ACCOUNTS).map(|account| value(&engine, &account.to_string())).sum();
        assert_eq!(sum, SUM);
        assert!(runs.into_inner() >= 6 * 60);
    }
}

#[test]
fn each_call_does_what_it_says_on_values_that_are_there_and_absent() {
    let place = Place::in_memory();
    let engine = place.open();
    let seqs = || engine.stats().appended;

    let none = engine.update("x", |old| old.map(<[u8]>::to_vec)).unwrap();
    assert_eq!((none.old, none.new, none.ack, seqs()), (None, None, None, 0), "absent and still absent: nothing is logged");
    let Updated { old, new, ack, .. } = engine.update("x", |_| Some("1")).unwrap();
    assert_eq!((old, new.as_deref(), ack.unwrap().seq), (None, Some(&b"1"[..]), 1));
    assert!(ack.unwrap().durable);
    let Updated { old, new, ack, .. } = engine.update("x", |_| None::<&str>).unwrap();
    assert_eq!((old.as_deref(), new, ack.unwrap().seq), (Some(&b"1"[..]), None, 2));
    assert_eq!(engine.get("x").unwrap(), None);

    assert!(matches!(engine.put_if_absent("x", "").unwrap(), Swap::Done(ack) if ack.seq == 3 && ack.durable));
    let Swap::Differs { current } = engine.put_if_absent("x", "2").unwrap() else { panic!("it is there") };
    assert_eq!(current.as_deref(), Some(&b""[..]), "an empty value is a value");
    assert!(!engine.compare_and_swap("x", None::<&str>, None::<&str>).unwrap().is_done());
    assert!(!engine.compare_and_swap("x", Some("1"), Some("2")).unwrap().is_done());
    assert!(engine.compare_and_swap("x", Some(""), Some("2")).unwrap().is_done());
    assert!(engine.compare_and_swap("x", Some("2"), None::<&str>).unwrap().is_done());
    let Swap::Differs { current } = engine.compare_and_swap("x", Some("2"), Some("3")).unwrap() else { panic!("it is gone") };
    assert_eq!((current, seqs()), (None, 5));
    let Swap::Done(ack) = engine.compare_and_swap("x", None::<&str>, None::<&str>).unwrap() else { panic!("it is absent") };
    assert_eq!((ack.seq, seqs()), (5, 5), "nothing to write");

    let stats = engine.stats();
    assert_eq!((stats.puts, stats.deletes, stats.batches), (3, 2, 0), "they are logged as plain puts and deletes");
    for key in [&b""[..], &[7; 70_000]] {
        assert!(matches!(engine.update(key, |_| Some("")), Err(Error::Limit { what: "key", .. })));
        assert!(matches!(engine.put_if_absent(key, ""), Err(Error::Limit { what: "key", .. })));
        assert!(matches!(engine.transaction(|tx| tx.get(key)), Err(Error::Limit { what: "key", .. })));
        assert!(matches!(engine.write(Batch::new().require_absent(key).clone()), Err(Error::Limit { what: "key", .. })));
    }
}

#[test]
fn a_batch_with_conditions_is_written_only_if_all_hold() {
    let place = Place::in_memory();
    let engine = place.open();
    engine.put("a", "1").unwrap();
    let mut batch = Batch::new();
    batch.require("a", "1").require_absent("b").put("a", "2").put("b", "3");
    assert_eq!(engine.write(batch.clone()).unwrap().seq, 2);
    let before = contents(&engine);
    assert!(matches!(engine.write(batch).unwrap_err(), Error::Condition { key } if key == b"a"));
    for (batch, differs) in [
        (Batch::new().put("c", "4").require("b", "4").clone(), "b"),
        (Batch::new().require("a", "2").require_absent("b").delete("a").clone(), "b"),
        (Batch::new().put("c", "4").require("c", "4").clone(), "c"), // it looks at the store before the batch
        (Batch::new().require("absent", "").clone(), "absent"),
    ] {
        let error = engine.write(batch).unwrap_err();
        assert!(matches!(&error, Error::Condition { key } if key == differs.as_bytes()), "{error}");
        assert!(error.to_string().starts_with(&format!("the key \"{differs}\" does not have the value")), "{error}");
    }
    assert_eq!(contents(&engine), before);
    assert_eq!(engine.write(Batch::new().require("a", "2").clone()).unwrap().seq, 2, "only a question");
    assert_eq!(engine.stats().appended, 2);
}

#[test]
fn a_transaction_is_one_write_that_sees_itself_and_an_error_undoes_it() {
    let place = Place::in_memory();
    let engine = place.open();
    engine.put("a", "1").unwrap();
    let (seen, ack) = engine
        .transaction(|tx| -> Result<_> {
            tx.put("b", "2").delete("a");
            let seen = (tx.get("a")?, tx.get("b")?, tx.contains_key("c")?);
            tx.put("b", "3").put("c", "4");
            assert_eq!(engine.get("b")?, None, "it may call the engine, which does not see it");
            Ok(seen)
        })
        .unwrap();
    assert_eq!((seen.0, seen.1.as_deref(), seen.2), (None, Some(&b"2"[..]), false));
    assert_eq!((ack.seq, ack.durable, engine.stats().batches), (2, true, 1));
    let expected = BTreeMap::from([(b"b".to_vec(), b"3".to_vec()), (b"c".to_vec(), b"4".to_vec())]);
    assert_eq!(contents(&engine), expected);

    #[derive(Debug)]
    struct Mine(Option<Error>);
    impl From<Error> for Mine {
        fn from(error: Error) -> Mine {
            Mine(Some(error))
        }
    }
    let refused = engine.transaction(|tx| {
        tx.put("b", "5").get("d")?;
        Err::<(), Mine>(Mine(None))
    });
    assert!(matches!(refused, Err(Mine(None))));
    assert_eq!((contents(&engine), engine.stats().appended), (expected, 2));
    assert_eq!(engine.transaction(|tx| tx.get("b")).unwrap().1.seq, 2, "a transaction that only reads logs nothing");
    engine.close().unwrap();
    assert!(matches!(engine.transaction(|tx| tx.get("b")), Err(Error::Closed)));
    assert!(matches!(engine.update("b", |_| Some("")), Err(Error::Closed)));
    assert!(matches!(engine.put_if_absent("b", ""), Err(Error::Closed)));
    let blind = engine.transaction(|tx| {
        tx.put("b", "");
        Err::<(), Mine>(Mine(None))
    });
    assert!(matches!(blind, Err(Mine(None))), "its own error comes first");
}

/// A closure that is re-run gets `Conflict` from its reads, also if it swallows the error.
#[test]
fn a_run_whose_reads_have_changed_is_dropped_and_runs_again() {
    let place = Place::in_memory();
    let engine = place.open();
    engine.put("a", "1").unwrap();
    let mut runs = Vec::new();
    let (sum, _) = engine
        .transaction(|tx| -> Result<u64> {
            let a = number(tx.get("a")?.as_deref());
            if runs.is_empty() {
                engine.put("a", "10")?; // as another thread would
            }
            let b = tx.get("b");
            runs.push(b.is_ok());
            assert_eq!(b.is_err(), tx.get("a").is_err(), "from then on no read succeeds");
            let sum = a + number(b.unwrap_or_default().as_deref());
            tx.put("sum", sum.to_string());
            Ok(sum)
        })
        .unwrap();
    assert_eq!((sum, runs), (10, vec![false, true]));
    assert_eq!(value(&engine, "sum"), 10);
    // A write that does not touch what was read does not matter.
    let mut count = 0;
    let kept = engine.transaction(|tx| -> Result<u64> {
        count += 1;
        let a = number(tx.get("a")?.as_deref());
        engine.put("other", "1")?;
        let again = number(tx.get("sum")?.as_deref());
        engine.put("other", "2")?;
        tx.put("sum", (a + again).to_string());
        Ok(a)
    });
    assert_eq!((kept.unwrap().0, count, value(&engine, "sum")), (10, 1, 20));
}

/// Many attempts are lost, so the caller takes its turn. It does not keep it. A closure that updates something itself
/// waits for the turn of its own thread, but not for ever.
#[test]
fn a_caller_that_loses_often_takes_its_turn_and_gives_it_back() {
    const LOST: u64 = 18;
    let place = Place::in_memory();
    let engine = place.open();
    let mut left = LOST;
    let updated = engine.update("x", |old| {
        let old = number(old);
        if left > 0 {
            left -= 1;
            engine.put("x", (old + 10).to_string()).unwrap();
            add_one(&engine, "x").unwrap();
        }
        Some((old + 1).to_string())
    });
    assert_eq!(number(updated.unwrap().new.as_deref()), LOST * 11 + 1);
    assert_eq!(add_one(&engine, "x").unwrap(), LOST * 11 + 2);
}

/// The environment variable that makes this program count in a directory until it is killed.
const COUNT_IN: &str = "KV_CONDITIONAL_COUNT_IN";

/// The body of the process that is killed. Each number is printed only when its update has returned.
#[test]
fn counts_until_it_is_killed_if_it_was_started_for_that() {
    let Some(dir) = std::env::var_os(COUNT_IN) else { return };
    let dir = Path::new(&dir);
    let engine = Options::new(dir.join("kv.wal"), dir.join("kv.snapshot")).open().unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let count = add_one(&engine, "count").unwrap();
                    add_to_both(&engine).unwrap();
                    if writeln!(stdout(), "count {count}").is_err() {
                        std::process::exit(0);
                    }
                }
            });
        }
    });
}

#[test]
fn a_counter_of_eight_threads_holds_every_acknowledged_number_after_sigkill() {
    let place = Place::new();
    let mut before = 0;
    for lines in [30, 1, 80] {
        let body = ["--exact", "counts_until_it_is_killed_if_it_was_started_for_that", "--nocapture"];
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(body)
            .env(COUNT_IN, place.dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap());
        let mut counts = output.filter_map(|line| line.rsplit_once("count ").map(|(_, count)| count.parse::<u64>().unwrap()));
        let mut acknowledged: Vec<u64> = counts.by_ref().take(lines).collect();
        child.kill().unwrap();
        acknowledged.extend(counts);
        child.wait().unwrap();
        let engine = place.open();
        let count = value(&engine, "count");
        acknowledged.sort_unstable();
        assert!(acknowledged.len() >= lines && acknowledged.windows(2).all(|pair| pair[0] < pair[1]), "no number comes twice");
        assert!(acknowledged[0] > before && count >= *acknowledged.last().unwrap(), "{before}, {count}: {acknowledged:?}");
        assert_eq!(value(&engine, "left"), value(&engine, "right"), "a transaction is there as a whole or not at all");
        before = count;
    }
}

#[test]
fn a_question_begins_no_log() {
    let place = Place::in_memory();
    place.open().put("x", "1").unwrap();
    place.open().snapshot().unwrap();
    std::fs::remove_file(&place.wal).unwrap();
    let engine = place.options().flush_interval(Duration::ZERO).open().unwrap();
    let header = || std::fs::metadata(&place.wal).is_ok();
    let before = header();
    assert!(!engine.put_if_absent("x", "2").unwrap().is_done());
    assert_eq!(engine.transaction(|tx| tx.get("x")).unwrap().0.as_deref(), Some(&b"1"[..]));
    assert_eq!(engine.update("y", |_| None::<&str>).unwrap().ack, None);
    assert_eq!(header(), before, "nothing was written, so no log was begun");
    assert!(engine.put_if_absent("y", "2").unwrap().is_done());
    assert!(header());
}
