//! What an operator chooses and sees: a server that only reads, commands that are taken away, figures, memory.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use kv_server::{Error, Options};
use std::time::Duration;
use support::{Client, check, command, start, start_with};

/// A line of INFO.
fn figure(client: &mut Client, name: &str) -> String {
    let text = client.ask("INFO everything");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).to_string()
}

fn number(client: &mut Client, name: &str) -> f64 {
    figure(client, name).parse().unwrap()
}

#[test]
fn a_server_that_only_reads_refuses_every_write() {
    let server = start_with(Options::default().read_only(true));
    server.engine.put("a", "1").unwrap();
    let mut client = server.connect();
    let refused = "-READONLY this server takes no writes, as its operator has chosen; nothing was stored";
    for write in ["SET a 2", "INCR a", "DEL nothing", "MSET a 2 b 3", "RENAME a b", "FLUSHALL", "GETDEL a", "SETNX a 2"] {
        assert_eq!(client.ask(write), refused, "{write}");
    }
    check(
        &mut client,
        "GET a => 1
        MULTI => +OK
        GET a => +QUEUED",
    );
    assert_eq!(client.ask("SET a 2"), refused);
    check(
        &mut client,
        "EXEC => -EXECABORT Transaction discarded because of previous errors.
        CONFIG GET read-only => [read-only, yes]
        SAVE => +OK",
    );
    assert_eq!(figure(&mut client, "read_only"), "1");
    assert_eq!(server.engine.stats().appended, 1);
    check(&mut start().connect(), "CONFIG GET read-only => [read-only, no]\nSET a 1 => +OK");
}

#[test]
fn a_disabled_command_is_unknown() {
    let options = Options::default().disable(["FlushAll", "CONFIG|SET", "object"]).unwrap();
    let server = start_with(options);
    let mut client = server.connect();
    check(
        &mut client,
        "SET a 1 => +OK
        FLUSHALL => -ERR unknown command 'FLUSHALL', with args beginning with:
        flushall x y => -ERR unknown command 'flushall', with args beginning with: 'x' 'y'
        CONFIG SET timeout 1 => -ERR unknown subcommand 'SET'. Try CONFIG HELP.
        OBJECT ENCODING a => -ERR unknown command 'OBJECT', with args beginning with: 'ENCODING' 'a'
        CONFIG GET timeout => [timeout, 0]
        CONFIG GET disable => [disable, config|set flushall object]
        COMMAND INFO flushall flushdb x => [nil, [flushdb, :-1, [+write], :0, :0, :0, [+@write, +@slow], [], [], []], nil]
        COMMAND GETKEYS OBJECT ENCODING a => -ERR Invalid command specified
        COMMAND LIST FILTERBY PATTERN flush* => [flushdb]
        COMMAND LIST FILTERBY PATTERN config|set => []
        COMMAND DOCS object => []
        MULTI => +OK
        FLUSHALL => -ERR unknown command 'FLUSHALL', with args beginning with:
        EXEC => -EXECABORT Transaction discarded because of previous errors.
        GET a => 1",
    );
    assert!(!client.ask("CONFIG HELP").contains("+SET"));
    let all: i64 = start().connect().ask("COMMAND COUNT")[1..].parse().unwrap();
    assert_eq!(client.ask("COMMAND COUNT"), format!(":{}", all - 2));
}

#[test]
fn an_unknown_name_cannot_be_disabled() {
    for name in ["flushal", "config|sett", ""] {
        let Err(Error::UnknownCommand { name: said }) = Options::default().disable([name]) else { panic!("{name}") };
        assert_eq!(said, name);
    }
}

#[test]
fn help_tells_the_subcommands() {
    let server = start();
    let mut client = server.connect();
    check(
        &mut client,
        "MEMORY HELP => [+MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:, +USAGE, \
         +    Returns about how many bytes of memory an entry takes., +HELP, +    Returns the subcommands.]
        memory help x => -ERR wrong number of arguments for 'memory|help' command
        MEMORY DOCTOR => -ERR unknown subcommand 'DOCTOR'. Try MEMORY HELP.",
    );
    for name in ["COMMAND", "CLIENT", "CONFIG", "OBJECT", "SLOWLOG", "LATENCY"] {
        let told = client.ask(&format!("{name} HELP"));
        assert!(told.starts_with(&format!("[+{name} <subcommand>")) && told.contains("+HELP"), "{told}");
    }
}

#[test]
fn a_single_server_says_that_it_is_one() {
    check(
        &mut start().connect(),
        "CLUSTER INFO => cluster_enabled:0
        CLUSTER SLOTS => -ERR This instance has cluster support disabled
        CLUSTER KEYSLOT a => -ERR This instance has cluster support disabled
        SENTINEL masters => -ERR unknown command 'SENTINEL', with args beginning with: 'masters'",
    );
}

#[test]
fn info_has_what_exporters_read() {
    let server = start();
    let mut client = server.connect();
    let before = number(&mut client, "used_memory");
    let value = "x".repeat(1 << 20);
    for n in 0..64 {
        client.ask_words(&["SET", &n.to_string(), &value]);
    }
    let after = number(&mut client, "used_memory");
    assert!(after > before + f64::from(48 << 20), "{before} {after}");
    assert!(number(&mut client, "used_memory_rss") >= after);
    assert!(figure(&mut client, "used_memory_human").ends_with('M'));
    // The processor time that passes is counted.
    let used = number(&mut client, "used_cpu_user") + number(&mut client, "used_cpu_sys");
    while number(&mut client, "used_cpu_user") + number(&mut client, "used_cpu_sys") <= used {
        client.ask("KEYS *");
    }
    while number(&mut client, "instantaneous_ops_per_sec") == 0.0 {
        client.ask("PING");
    }
    assert!(number(&mut client, "total_commands_processed") >= 66.0);
}

#[test]
fn mget_of_many_keys_is_that_of_single_ones() {
    let server = start();
    for n in 0..300 {
        server.engine.put(format!("key {n}"), format!("value {n}")).unwrap();
    }
    let mut client = server.connect();
    let names: Vec<String> = (0..400).step_by(3).map(|n| format!("key {n}")).chain(["key 0".into()]).collect();
    let words: Vec<&str> = ["MGET"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let one_by_one: Vec<String> = names.iter().map(|name| client.ask_words(&["GET", name])).collect();
    assert_eq!(client.ask_words(&words), format!("[{}]", one_by_one.join(", ")));
    assert_eq!(one_by_one.iter().filter(|value| *value == "nil").count(), 34);
    let hits = one_by_one.len() as f64 - 34.0;
    assert_eq!((number(&mut client, "keyspace_hits"), number(&mut client, "keyspace_misses")), (2.0 * hits, 68.0));
    // Behind a write of the same turn it sees what is in flight.
    assert_eq!(client.pipeline("SET key_1 new\nMGET key_1 key_1 none key_1"), ["+OK", "[new, new, nil, new]"]);
}

#[test]
fn requests_that_were_read_have_one_budget() {
    const BUDGET: usize = 1 << 20;
    const VALUE: usize = 1 << 20;
    let server = start_with(Options::default().read_ahead(BUDGET));
    let value = vec![b'v'; VALUE];
    // The last byte is missing, so none of them can run. Some senders are held back by their sockets.
    let senders: Vec<_> = (0..16)
        .map(|n| {
            let (address, value) = (server.address, value.clone());
            std::thread::spawn(move || {
                let mut client = Client::new(address);
                let bytes = command(&[b"SET", n.to_string().as_bytes(), &value]);
                let (last, most) = bytes.split_last().unwrap();
                client.send(most);
                // So that they meet. Without the budget the server would have all of them by then.
                std::thread::sleep(Duration::from_millis(200));
                client.send(&[*last]);
                client.reply()
            })
        })
        .collect();
    let mut small = server.connect();
    assert_eq!(small.ask("SET small 1"), "+OK", "a short command is not held back");
    for sender in senders {
        assert_eq!(sender.join().unwrap(), "+OK", "every one has its turn");
    }
    assert_eq!(server.engine.len(), 17);
    let peak = number(&mut small, "read_ahead_peak_bytes");
    // The budget, one command with room to grow, and for each connection the free bytes and one read.
    let most = BUDGET + 2 * VALUE + 16 * (192 << 10);
    assert!(peak >= VALUE as f64 && peak <= most as f64, "{peak} of at most {most}");
    assert_eq!(number(&mut small, "read_ahead_bytes"), 0.0);
}

#[test]
fn queued_commands_count_for_the_budget() {
    let server = start();
    let mut client = server.connect();
    client.ask("MULTI");
    let value = "v".repeat(100 << 10);
    assert_eq!(client.ask_words(&["SET", "a", &value]), "+QUEUED");
    client.send(b"SET b 1\r\n"); // the server asks for memory before it reads
    assert_eq!(client.reply(), "+QUEUED");
    let mut other = server.connect();
    assert!(number(&mut other, "read_ahead_bytes") >= f64::from(100 << 10));
    assert_eq!(client.ask("EXEC"), "[+OK, +OK]");
    client.ask("PING");
    assert_eq!(number(&mut other, "read_ahead_bytes"), 0.0);
}
