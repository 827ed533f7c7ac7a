//! Commands on values and keys, against a server over TCP. The replies are those of Redis 7.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use support::{Client, check, start};

#[test]
fn values_are_set_and_read() {
    let server = start();
    let mut client = server.connect();
    check(
        &mut client,
        "GET a => nil
        SET a 1 => +OK
        GET a => 1
        GET a b => -ERR wrong number of arguments for 'get' command
        SET a 2 NX => nil
        GET a => 1
        SET b 2 NX => +OK
        SET c 2 XX => nil
        SET a 3 XX => +OK
        SET a 4 GET => 3
        SET d 4 GET => nil
        SET d 5 NX GET => 4
        GET d => 4
        SET e 5 NX GET => nil
        GET e => 5
        SET a 1 KEEPTTL => +OK
        SET a 1 NX XX => -ERR syntax error
        SET a 1 FOO => -ERR syntax error
        SET a 9 EX 10 => -ERR keys do not expire in this store
        SET a 9 PXAT 10 => -ERR keys do not expire in this store
        GET a => 1
        SETEX a 10 9 => -ERR keys do not expire in this store
        SETNX a 9 => :0
        SETNX f 9 => :1
        GETSET f 10 => 9
        GETSET g 1 => nil
        GETDEL g => 1
        GETDEL g => nil
        GETEX f => 10
        GETEX f PERSIST => 10
        GETEX f EX 5 => -ERR keys do not expire in this store
        GETEX f 1 => -ERR syntax error
        MSET x 1 y 2 x 3 => +OK
        MGET x y z => [3, 2, nil]
        MSET x 1 y => -ERR wrong number of arguments for 'mset' command
        MSETNX x 1 q 2 => :0
        GET q => nil
        MSETNX p 1 q 2 => :1
        STRLEN x => :1
        STRLEN nothing => :0
        get X => nil
        gEt x => 3",
    );
}

#[test]
fn numbers_are_added() {
    let server = start();
    check(
        &mut server.connect(),
        "INCR n => :1
        INCRBY n 10 => :11
        DECR n => :10
        DECRBY n 20 => :-10
        GET n => -10
        INCRBY n 1x => -ERR value is not an integer or out of range
        SET s word => +OK
        INCR s => -ERR value is not an integer or out of range
        SET m 9223372036854775807 => +OK
        INCR m => -ERR increment or decrement would overflow
        DECRBY m -9223372036854775808 => -ERR decrement would overflow
        GET m => 9223372036854775807
        INCRBYFLOAT f 0.1 => 0.1
        INCRBYFLOAT f 0.2 => 0.3
        INCRBYFLOAT f 5.0e3 => 5000.3
        INCRBYFLOAT f x => -ERR value is not a valid float
        INCRBYFLOAT s 1 => -ERR value is not a valid float
        INCRBYFLOAT f inf => -ERR increment would produce NaN or Infinity
        GET f => 5000.3",
    );
}

#[test]
fn parts_of_values_are_read_and_written() {
    let server = start();
    let mut client = server.connect();
    check(
        &mut client,
        "APPEND a Hello => :5
        APPEND a World => :10
        GETRANGE a 0 4 => Hello
        GETRANGE a -5 -1 => World
        SUBSTR a 3 5 => loW
        GETRANGE a 20 30 =>
        GETRANGE nothing 0 -1 =>
        SETRANGE a 5 -Redis => :11
        GET a => Hello-Redis
        SETRANGE a -1 x => -ERR offset is out of range
        SETRANGE a 268435456 x => -ERR string exceeds maximum allowed size (proto-max-bulk-len)
        STRLEN a => :11",
    );
    assert_eq!(client.ask_words(&["SETRANGE", "b", "3", "x"]), ":4");
    assert_eq!(client.ask("GET b"), "\0\0\0x");
    assert_eq!(client.ask_words(&["SETRANGE", "c", "3", ""]), ":0");
    assert_eq!(client.ask("EXISTS c"), ":0");
}

#[test]
fn keys_are_found_moved_and_deleted() {
    let server = start();
    let mut client = server.connect();
    check(
        &mut client,
        "MSET a 1 b 2 user:1 x user:2 y => +OK
        EXISTS a b a nothing => :3
        TOUCH a nothing => :1
        TYPE a => +string
        TYPE nothing => +none
        DBSIZE => :4
        KEYS user:* => [user:1, user:2]
        KEYS ? => [a, b]
        KEYS [^a] => [b]
        KEYS none* => []
        RENAME a a => +OK
        RENAME a c => +OK
        GET a => nil
        GET c => 1
        RENAME nothing c => -ERR no such key
        RENAME nothing nothing => -ERR no such key
        RENAMENX c b => :0
        RENAMENX c d => :1
        RENAMENX nothing d => -ERR no such key
        COPY d e => :1
        COPY b e => :0
        COPY b e REPLACE => :1
        GET e => 2
        COPY b e DB 1 => -ERR DB index is out of range
        COPY b b => -ERR source and destination objects are the same
        COPY nothing e REPLACE => :0
        DEL d d nothing => :1
        UNLINK e => :1
        TTL b => :-1
        PTTL nothing => :-2
        EXPIRETIME b => :-1
        PERSIST b => :0
        EXPIRE b 1 => -ERR keys do not expire in this store
        KEYS * => [b, user:1, user:2]
        FLUSHALL NOW => -ERR syntax error
        FLUSHALL => +OK
        DBSIZE => :0
        RANDOMKEY => nil
        SET only 1 => +OK
        RANDOMKEY => only
        FLUSHDB ASYNC => +OK
        KEYS * => []
        LPUSH l 1 => -ERR unknown command 'LPUSH', with args beginning with: 'l' '1'
        COMMAND FOO => -ERR unknown subcommand 'FOO'. Try COMMAND HELP.",
    );
    let long = "k".repeat(65_537);
    assert_eq!(client.ask_words(&["SET", "", "x"]), "-ERR the key is empty; a key has 1 to 65536 bytes");
    assert_eq!(client.ask_words(&["MGET", "a", &long]), "-ERR the key is too long; a key has 1 to 65536 bytes");
    assert_eq!(client.ask_words(&["SET", &long[1..], "x"]), "+OK");
    assert_eq!(client.ask_words(&["MSET", "a", "1", "", "2"]), "-ERR the key is empty; a key has 1 to 65536 bytes");
    assert_eq!(client.ask("GET a"), "nil", "none of the keys");
}

/// All keys of one scan, in the order of the replies.
fn scanned(client: &mut Client, options: &str, mut between: impl FnMut(&mut Client, &str)) -> Vec<String> {
    let (mut cursor, mut found) = ("0".to_string(), Vec::new());
    loop {
        let reply = client.ask(&format!("SCAN {cursor}{options}"));
        let (next, keys) = reply.strip_prefix('[').unwrap().strip_suffix("]]").unwrap().split_once(", [").unwrap();
        found.extend(keys.split(", ").filter(|key| !key.is_empty()).map(str::to_string));
        if next == "0" {
            return found;
        }
        cursor = next.to_string();
        between(client, found.last().map_or("", String::as_str));
    }
}

#[test]
fn a_scan_neither_misses_nor_repeats_a_key_that_stays() {
    let server = start();
    let mut client = server.connect();
    let keys: Vec<String> = (0..100).map(|n| format!("key:{n:03}")).collect();
    keys.iter().for_each(|key| assert_eq!(client.ask(&format!("SET {key} x")), "+OK"));
    assert_eq!(scanned(&mut client, "", |_, _| {}), keys);
    assert_eq!(scanned(&mut client, " COUNT 1000", |_, _| panic!("one call")), keys);
    assert_eq!(scanned(&mut client, " MATCH key:01* COUNT 3", |_, _| {}), keys[10..20]);
    assert_eq!(scanned(&mut client, " MATCH *7 COUNT 7 TYPE string", |_, _| {}).len(), 10);
    assert_eq!(scanned(&mut client, " TYPE list", |_, _| {}).len(), 0);
    // The last key of each call is deleted, and keys are added on both sides of it.
    let mut round = 0;
    let found = scanned(&mut client, " COUNT 7", |client, last| {
        round += 1;
        assert_eq!(client.ask(&format!("DEL {last}")), ":1");
        client.ask(&format!("SET a{round} x"));
        client.ask(&format!("SET {last}a x"));
    });
    let stayed: Vec<&String> = found.iter().filter(|key| keys.contains(key)).collect();
    assert_eq!(stayed, keys.iter().collect::<Vec<_>>());
    assert!(client.ask("SCAN 12345").starts_with("-ERR this cursor is not known any more"));
    assert_eq!(client.ask("SCAN x"), "-ERR invalid cursor");
    assert_eq!(client.ask("SCAN 0 COUNT 0"), "-ERR syntax error");
    assert_eq!(client.ask("SCAN 0 MATCH"), "-ERR syntax error");
}

#[test]
fn bytes_are_kept_as_they_are() {
    let server = start();
    let mut client = server.connect();
    let all: Vec<u8> = (0..=255).collect();
    client.send(&support::command(&[b"SET".to_vec(), all.clone(), all.clone()]));
    assert_eq!(client.reply(), "+OK");
    assert_eq!(server.engine.get(&all).unwrap().as_deref(), Some(&all[..]));
    let long = vec![b'x'; 3 << 20];
    client.send(&support::command(&[&b"SET"[..], b"long", &long]));
    assert_eq!(client.reply(), "+OK");
    assert_eq!(client.ask("GET long").len(), long.len());
}
