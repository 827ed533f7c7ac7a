//! Transactions and pipelines, against a server over TCP.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use support::{check, start};

#[test]
fn a_transaction_is_queued_and_executed() {
    let server = start();
    let mut client = server.connect();
    check(
        &mut client,
        "EXEC => -ERR EXEC without MULTI
        DISCARD => -ERR DISCARD without MULTI
        MULTI => +OK
        MULTI => -ERR MULTI calls can not be nested
        SET a 1 => +QUEUED
        INCR a => +QUEUED
        GET a => +QUEUED
        KEYS * => +QUEUED
        DBSIZE => +QUEUED
        SCAN 0 => +QUEUED
        WATCH a => -ERR WATCH inside MULTI is not allowed
        EXEC => [+OK, :2, 2, [a], :1, [0, [a]]]
        MULTI => +OK
        SET s word => +QUEUED
        INCR s => +QUEUED
        SET t 1 => +QUEUED
        EXEC => [+OK, -ERR value is not an integer or out of range, +OK]
        GET t => 1
        MULTI => +OK
        SET u 1 => +QUEUED
        NOSUCH => -ERR unknown command 'NOSUCH', with args beginning with:
        EXEC => -EXECABORT Transaction discarded because of previous errors.
        MULTI => +OK
        SET u 1 => +QUEUED
        GET => -ERR wrong number of arguments for 'get' command
        EXEC => -EXECABORT Transaction discarded because of previous errors.
        MULTI => +OK
        SET u 1 => +QUEUED
        DISCARD => +OK
        GET u => nil
        MULTI => +OK
        EXEC => []
        MULTI => +OK
        FLUSHALL => +QUEUED
        SET z 1 => +QUEUED
        KEYS * => +QUEUED
        DBSIZE => +QUEUED
        DEL z => +QUEUED
        RANDOMKEY => +QUEUED
        EXEC => [+OK, +OK, [z], :1, :1, nil]",
    );
}

#[test]
fn what_a_transaction_writes_is_one_write_with_the_last_values() {
    let server = start();
    let before = server.engine.stats().appended;
    let replies = server.connect().pipeline("MULTI\nSET a 1\nINCR a\nINCR a\nSET b x\nDEL b\nSET c 1\nEXEC");
    assert_eq!(replies.last().unwrap(), "[+OK, :2, :3, +OK, :1, +OK]");
    assert_eq!(server.engine.stats().appended, before + 1);
    let feed: Vec<String> = server.engine.scan("").map(|entry| format!("{:?}", entry.unwrap())).collect();
    assert_eq!(feed.len(), 2, "{feed:?}");
}

#[test]
fn a_watched_key_that_was_written_stops_exec() {
    let server = start();
    let (mut one, mut two) = (server.connect(), server.connect());
    let run = |watched: bool, write: &dyn Fn(&mut support::Client), one: &mut support::Client, two: &mut support::Client| {
        one.ask("SET k 1");
        if watched {
            assert_eq!(one.ask("WATCH k other"), "+OK");
        }
        write(two);
        one.pipeline("MULTI\nSET k mine\nEXEC").pop().unwrap()
    };
    let set = |client: &mut support::Client| drop(client.ask("SET k theirs"));
    assert_eq!(run(true, &set, &mut one, &mut two), "nil");
    assert_eq!(one.ask("GET k"), "theirs");
    assert_eq!(run(false, &set, &mut one, &mut two), "[+OK]", "EXEC has ended the watch");
    assert_eq!(run(true, &|client| drop(client.ask("GET k")), &mut one, &mut two), "[+OK]");
    assert_eq!(run(true, &|client| drop(client.ask("SET unwatched 1")), &mut one, &mut two), "[+OK]");
    assert_eq!(run(true, &|client| drop(client.ask("SETNX k 1")), &mut one, &mut two), "[+OK]", "nothing was written");
    assert_eq!(run(true, &|client| drop(client.ask("FLUSHALL")), &mut one, &mut two), "nil");
    assert_eq!(run(true, &|client| drop(client.ask("SET other 1")), &mut one, &mut two), "nil");
    one.ask("WATCH k");
    two.ask("SET k 2");
    assert_eq!(one.ask("UNWATCH"), "+OK");
    assert_eq!(one.pipeline("MULTI\nGET k\nEXEC")[2], "[2]");
    one.ask("WATCH k");
    one.ask("SET k 3");
    assert_eq!(one.pipeline("MULTI\nGET k\nEXEC")[2], "nil", "its own write counts");
    let replies = one.pipeline("WATCH k\nSET k 4\nMULTI\nGET k\nEXEC\nMULTI\nGET k\nEXEC");
    assert_eq!((replies[4].as_str(), replies[7].as_str()), ("nil", "[4]"));
    let replies = one.pipeline("MULTI\nGET k\nEXEC\nWATCH k\nMULTI\nINCR k\nEXEC\nMULTI\nINCR k\nEXEC");
    assert_eq!((replies[6].as_str(), replies[9].as_str()), ("[:5]", "[:6]"));
}

#[test]
fn a_pipeline_is_answered_in_its_order_and_sees_its_own_writes() {
    let server = start();
    let mut client = server.connect();
    let lines: String = (0..5000).map(|n| format!("SET k{} {n}\nGET k{}\nINCR n\n", n % 7, n % 7)).collect();
    let before = server.engine.stats();
    let replies = client.pipeline(&lines);
    for (n, replies) in replies.chunks(3).enumerate() {
        assert_eq!(replies, ["+OK".to_string(), n.to_string(), format!(":{}", n + 1)]);
    }
    let after = server.engine.stats();
    assert_eq!(after.appended - before.appended, 10_000);
    assert!(after.syncs - before.syncs < 1000, "{} syncs", after.syncs - before.syncs);
}

#[test]
fn counters_of_many_connections_lose_nothing() {
    let server = start();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = server.connect();
                for _ in 0..50 {
                    client.pipeline("INCR n\nAPPEND log x\nMULTI\nINCR n\nINCR m\nEXEC");
                }
            });
        }
    });
    let mut client = server.connect();
    check(&mut client, "GET n => 800\nGET m => 400\nSTRLEN log => :400");
}

#[test]
fn optimistic_transactions_lose_no_update() {
    let server = start();
    server.connect().ask("SET n 0");
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut client = server.connect();
                let mut done = 0;
                while done < 40 {
                    client.ask("WATCH n");
                    let n: u64 = client.ask("GET n").parse().unwrap();
                    let replies = client.pipeline(&format!("MULTI\nSET n {}\nEXEC", n + 1));
                    done += usize::from(replies[2] != "nil");
                }
            });
        }
    });
    assert_eq!(server.connect().ask("GET n"), "240");
}
