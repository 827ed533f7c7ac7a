//! What connections see of writes that no sync covers yet, and what they are told when the disk fails. The disk holds
//! a sync until the test lets it go on.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use support::{Client, start_gated};

const NOSPACE: &str = "-NOSPACE this was not stored: ";
const POISONED_UNKNOWN: &str = "-POISONED it is unknown whether this was stored; ";
const POISONED: &str = "-POISONED this was not stored: ";

#[test]
fn ok_comes_after_the_sync_and_others_read_meanwhile() {
    let (server, gate) = start_gated();
    let (mut writer, mut reader) = (server.connect(), server.connect());
    writer.ask("SET a 1");
    let sync = gate.hold();
    writer.send_lines("SET a 2\nGET a");
    sync.has_begun();
    assert_eq!(reader.ask("GET a"), "1", "a read of another connection waits for no sync");
    server.has_evaluated([&mut writer]);
    assert!(writer.has_no_reply());
    sync.ends();
    assert_eq!((writer.reply(), writer.reply()), ("+OK".into(), "2".into()));
    assert_eq!(reader.ask("GET a"), "2");
}

#[test]
fn commands_are_evaluated_against_what_is_in_flight() {
    let (server, gate) = start_gated();
    let mut clients: Vec<Client> = (0..5).map(|_| server.connect()).collect();
    let sync = gate.hold();
    clients[0].send_lines("INCR n");
    sync.has_begun();
    clients[1].send_lines("INCR n\nAPPEND n 0");
    server.has_evaluated(&mut clients);
    clients[2].send_lines("SETNX n 7");
    server.has_evaluated(&mut clients);
    clients[3].send_lines("DEL n\nDEL n");
    server.has_evaluated(&mut clients);
    clients[4].send_lines("MULTI\nGET n\nSET n 5\nKEYS *\nDBSIZE\nEXEC");
    server.has_evaluated(&mut clients);
    assert!(clients.iter_mut().all(Client::has_no_reply), "also the one that wrote nothing");
    sync.ends();
    assert_eq!(clients[0].reply(), ":1");
    assert_eq!((clients[1].reply(), clients[1].reply()), (":2".into(), ":2".into()));
    assert_eq!(clients[2].reply(), ":0");
    assert_eq!((clients[3].reply(), clients[3].reply()), (":1".into(), ":0".into()));
    let replies: Vec<String> = (0..6).map(|_| clients[4].reply()).collect();
    assert_eq!(replies[5], "[nil, +OK, [first, n], :2]");
    assert_eq!(clients[0].ask("GET n"), "5");
}

#[test]
fn a_watch_notices_a_write_in_flight() {
    let (server, gate) = start_gated();
    let (mut writer, mut watcher) = (server.connect(), server.connect());
    watcher.ask("WATCH k");
    let sync = gate.hold();
    writer.send_lines("SET k theirs");
    sync.has_begun();
    assert_eq!(watcher.ask("GET k"), "nil", "not visible yet");
    watcher.send_lines("MULTI\nSET k mine\nEXEC");
    assert_eq!((watcher.reply(), watcher.reply(), watcher.reply()), ("+OK".into(), "+QUEUED".into(), "nil".into()));
    sync.ends();
    assert_eq!(writer.reply(), "+OK");
    assert_eq!(watcher.ask("GET k"), "theirs");
}

#[test]
fn a_watch_that_begins_while_a_write_is_in_flight_waits_for_it() {
    let (server, gate) = start_gated();
    let (mut writer, mut watcher) = (server.connect(), server.connect());
    let sync = gate.hold();
    writer.send_lines("SET k 1");
    sync.has_begun();
    watcher.send_lines("WATCH k");
    server.has_evaluated([&mut watcher]);
    assert!(watcher.has_no_reply(), "otherwise it could read the value before, and EXEC would not notice");
    sync.ends();
    assert_eq!(watcher.reply(), "+OK");
    assert_eq!(watcher.ask("GET k"), "1");
    assert_eq!(watcher.pipeline("MULTI\nINCR k\nEXEC")[2], "[:2]");
}

#[test]
fn a_failed_sync_is_told_to_all_whose_replies_rest_on_it() {
    let (server, gate) = start_gated();
    let mut clients: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    let sync = gate.hold();
    clients[0].send_lines("GET first\nSET a 1\nGET a\nGET first");
    sync.has_begun();
    clients[1].send_lines("INCR a");
    clients[2].send_lines("SETNX a 1\nGET first");
    server.has_evaluated(&mut clients);
    sync.fails();
    let replies: Vec<String> = (0..4).map(|_| clients[0].reply()).collect();
    assert_eq!((replies[0].as_str(), replies[3].as_str()), ("1", "1"), "they rest on nothing in flight");
    for reply in [&replies[1], &replies[2], &clients[1].reply(), &clients[2].reply()] {
        assert!(reply.starts_with(POISONED_UNKNOWN), "{reply}");
    }
    assert_eq!(clients[2].reply(), "1");
    let after = clients[3].pipeline("SET b 1\nGET first\nMULTI\nSET c 1\nGET first\nEXEC\nGET b");
    assert!(after[0].starts_with(POISONED), "{after:?}");
    assert!(after[5].starts_with(POISONED) && after[6].starts_with(POISONED), "{after:?}");
    assert_eq!((after[1].as_str(), clients[3].ask("GET b").as_str()), ("1", "nil"));
}

#[test]
fn a_full_disk_refuses_and_then_goes_on() {
    let (server, gate) = start_gated();
    let (mut client, mut other) = (server.connect(), server.connect());
    client.ask("SET a 1");
    gate.is_full.store(true, std::sync::atomic::Ordering::Relaxed);
    let replies = client.pipeline("GET a\nSET a 2\nGET a\nINCR a\nGET first\nMULTI\nSET b 1\nEXEC\nSETNX b 1\nMGET first a");
    for n in [1, 2, 3, 7, 8, 9] {
        assert!(replies[n].starts_with(NOSPACE), "{n}: {replies:?}");
    }
    assert_eq!([&replies[0], &replies[4], &replies[5], &replies[6]], ["1", "1", "+OK", "+QUEUED"]);
    assert_eq!(other.pipeline("GET a\nGET b"), ["1", "nil"]);
    assert!(other.ask("SET c 1").starts_with(NOSPACE));
    gate.is_full.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(client.pipeline("GET a\nINCR a\nEXISTS b c"), ["1", ":2", ":0"]);
}

#[test]
fn nothing_that_was_evaluated_against_a_refused_write_is_stored() {
    let (server, gate) = start_gated();
    let mut clients: Vec<Client> = (0..16).map(|_| server.connect()).collect();
    clients[0].ask("SET n 0");
    let mut stored = 0;
    for round in 0..30 {
        let full = round % 2 == 0;
        let sync = gate.hold();
        let mut blocker = server.connect();
        blocker.send_lines("SET blocker 1");
        sync.has_begun();
        clients.iter_mut().for_each(|client| _ = client.send_lines("INCR n\nINCR n"));
        server.has_evaluated(&mut clients);
        gate.is_full.store(full, std::sync::atomic::Ordering::Relaxed);
        sync.ends();
        blocker.reply();
        let replies: Vec<String> = clients.iter_mut().flat_map(|client| [client.reply(), client.reply()]).collect();
        let (mut counts, refused): (Vec<String>, Vec<String>) = replies.into_iter().partition(|reply| reply.starts_with(':'));
        assert!(refused.iter().all(|reply| reply.starts_with(NOSPACE)), "{refused:?}");
        let mut counts: Vec<usize> = counts.drain(..).map(|reply| reply[1..].parse().unwrap()).collect();
        counts.sort_unstable();
        assert_eq!(counts, (stored + 1..=stored + counts.len()).collect::<Vec<_>>(), "round {round}");
        stored += counts.len();
        gate.is_full.store(false, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(clients[0].ask("GET n"), stored.to_string(), "round {round}");
    }
    assert!(stored > 0);
}

#[test]
fn a_turn_that_finds_no_room_begins_again_where_its_writes_begin() {
    let (server, gate) = start_gated();
    let (mut client, mut other) = (server.connect(), server.connect());
    server.engine.set_batch_size(3).unwrap();
    assert_eq!(other.ask("SET pending 1"), "+OK");
    let sync = gate.hold();
    std::thread::scope(|scope| {
        // The store takes nothing while it makes the pending write durable.
        let resizing = scope.spawn(|| server.engine.set_batch_size(1));
        sync.has_begun();
        client.send(b"GET first\r\nSET a 1\r\nSET b 2\r\n*2\r\n$3\r\nGE");
        assert_eq!(client.reply(), "1", "what comes before the first write is answered");
        assert!(client.has_no_reply());
        sync.ends();
        resizing.join().unwrap().unwrap();
    });
    assert_eq!([client.reply(), client.reply()], ["+OK", "+OK"]);
    client.send(b"T\r\n$1\r\nb\r\n");
    assert_eq!(client.reply(), "2");
}

#[test]
fn a_shutdown_answers_what_was_read() {
    let (server, gate) = start_gated();
    let (mut writer, mut idle) = (server.connect(), server.connect());
    assert_eq!(idle.ask("PING"), "+PONG");
    let sync = gate.hold();
    writer.send_lines("SET a 1\nGET a");
    sync.has_begun();
    server.handle.shut_down();
    assert!(idle.is_closed());
    sync.ends();
    assert_eq!((writer.reply(), writer.reply()), ("+OK".into(), "1".into()));
    assert!(writer.is_closed());
    let address = server.address;
    let engine = server.engine.clone();
    assert_eq!(server.stop().unwrap().cut, 0);
    assert!(matches!(engine.put("x", "1"), Err(kv_engine::Error::Closed)));
    assert!(std::net::TcpStream::connect(address).is_err());
}
