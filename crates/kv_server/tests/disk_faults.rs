//! What clients are told when the disk fails or is slow, and what a crash at any change to the disk leaves.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use kv_engine::disk::sim::{Fault, FaultPlan, Lasts, Operation, PowerCut, SyncFailure, World};
use kv_server::{OnPoison, Options};
use std::collections::BTreeMap;
use std::sync::Mutex;
use support::{Client, Image, Random, Running, SimDisk, in_memory, serve, start_gated, start_gated_with, try_in_memory};

fn watched(then: OnPoison) -> Options {
    Options::default().metrics(Some(([127, 0, 0, 1], 0).into())).on_poison(then)
}

/// Fails the sync of a write, and checks what all connections are told.
fn poison(server: &Running, gate: &support::Gate) {
    assert_eq!(server.page("/ready"), 200);
    let mut clients: Vec<Client> = (0..3).map(|_| server.connect()).collect();
    let sync = gate.hold();
    clients[0].send_lines("SET a 1");
    sync.has_begun();
    clients[1].send_lines("MULTI\nSET b 1\nGET first\nEXEC");
    server.has_evaluated(&mut clients);
    sync.fails();
    let in_doubt = "-POISONED it is unknown whether this was stored";
    assert!(clients[0].reply().starts_with(in_doubt));
    assert_eq!((0..3).map(|_| clients[1].reply()).collect::<Vec<_>>(), ["+OK", "+QUEUED", "+QUEUED"]);
    assert!(clients[1].reply().starts_with(in_doubt));
    assert!(clients[2].ask("SET c 1").starts_with("-POISONED this was not stored"));
    assert_eq!(clients[2].ask("GET first"), "1");
    assert_eq!(server.page("/ready"), 503);
    assert_eq!(server.page("/health"), 200);
}

#[test]
fn after_a_failed_sync_a_server_that_stays_goes_on_reading() {
    let (server, gate) = start_gated_with(watched(OnPoison::Stay));
    poison(&server, &gate);
    // Longer than a server takes that does not stay.
    std::thread::sleep(std::time::Duration::from_millis(600));
    let mut client = server.connect();
    assert_eq!(client.ask("GET first"), "1");
    for write in ["SET d 1", "DEL first", "INCR n", "FLUSHALL"] {
        assert!(client.ask(write).starts_with("-POISONED this was not stored"), "{write}");
    }
    assert_eq!(client.pipeline("GET a\nGET b\nDBSIZE"), ["nil", "nil", ":1"]);
    assert!(server.stop().is_err(), "the end says that not everything is stored");
}

#[test]
fn after_a_failed_sync_a_server_ends_unless_it_is_told_to_stay() {
    let (server, gate) = start_gated_with(watched(OnPoison::Exit));
    poison(&server, &gate);
    let mut client = server.connect();
    assert!(client.ask("SET d 1").starts_with("-POISONED this was not stored"));
    assert!(client.is_closed());
    assert!(server.ended().is_err());
}

#[test]
fn reads_of_all_connections_go_on_during_a_sync() {
    let (server, gate) = start_gated();
    let mut readers: Vec<Client> = (0..30).map(|_| server.connect()).collect();
    let mut writer = server.connect();
    assert_eq!(writer.ask("MSET a 1 b 2"), "+OK");
    let sync = gate.hold();
    writer.send_lines("MSET a 8 b 9");
    sync.has_begun();
    for reader in &mut readers {
        let replies = reader.pipeline("GET a\nMGET a b\nEXISTS a b c\nSTRLEN a\nDBSIZE\nKEYS *\nPING");
        assert_eq!(replies, ["1", "[1, 2]", ":2", ":1", ":3", "[a, b, first]", "+PONG"]);
    }
    assert!(writer.has_no_reply());
    sync.ends();
    assert_eq!(writer.reply(), "+OK");
    readers.iter_mut().for_each(|reader| assert_eq!(reader.ask("MGET a b"), "[8, 9]"));
}

type State = BTreeMap<Vec<u8>, Vec<u8>>;

fn contents(disk: &SimDisk) -> State {
    let engine = try_in_memory(disk).unwrap_or_else(|error| panic!("after a crash the store opens: {error}"));
    engine.scan("").map(|entry| entry.unwrap()).map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

/// What one connection has sent: the state of its keys after each command, and how far the disk had come when the reply
/// was there.
struct Story {
    states: Vec<State>,
    acknowledged: Vec<usize>,
}

/// One connection: groups, counters, values longer than a sector, and deletions, several in one piece.
fn tell(server: &Running, disk: &SimDisk, number: usize, rounds: usize) -> Story {
    let mut client = server.connect();
    let key = |name: &str| format!("{number}:{name}");
    let mut state = State::new();
    let mut story = Story { states: vec![State::new()], acknowledged: vec![0] };
    let mut random = Random(number as u64 + 99);
    for round in 0..rounds {
        let value = format!("{round}.").repeat(1 + usize::try_from(random.below(400)).unwrap());
        let (n, a, b, gone, long) = (key("n"), key("a"), key("b"), key("gone"), key("long"));
        let gone_after = (round % 2 == 0).then(|| round.to_string());
        let last = match &gone_after {
            Some(value) => format!("SET {gone} {value}"),
            None => format!("DEL {gone}"),
        };
        client.send_lines(&format!("INCR {n}\nMULTI\nSET {a} {value}\nSET {b} {round}\n{last}\nEXEC\nSET {long} {value}"));
        let count = round + 1;
        let in_group = if round % 2 == 0 { "+OK" } else { ":1" };
        let group = format!("[+OK, +OK, {in_group}]");
        let wanted = [&format!(":{count}"), "+OK", "+QUEUED", "+QUEUED", "+QUEUED", &group, "+OK"];
        let put = |state: &mut State, key: &str, value: &str| drop(state.insert(key.into(), value.into()));
        for (at, wanted) in wanted.into_iter().enumerate() {
            assert_eq!(client.reply(), *wanted);
            match at {
                0 => put(&mut state, &n, &count.to_string()),
                5 => {
                    put(&mut state, &a, &value);
                    put(&mut state, &b, &round.to_string());
                    match &gone_after {
                        Some(value) => put(&mut state, &gone, value),
                        None => drop(state.remove(gone.as_bytes())),
                    }
                }
                6 => put(&mut state, &long, &value),
                _ => continue,
            }
            story.states.push(state.clone());
            story.acknowledged.push(disk.changes());
        }
        if number == 0 && round == rounds / 2 {
            assert_eq!(client.ask("SAVE"), "+OK");
        }
    }
    story
}

/// Crashes of every kind at one place: the process dies, also in the middle of a write, or the power is cut, and any of
/// the unsynced changes are kept.
fn crashes(world: &World, random: &mut Random) -> Vec<Image> {
    let mut images = vec![world.after_death(None), world.after_power_cut(&PowerCut::nothing())];
    if let Some(bytes) = world.last_write_bytes() {
        images.push(world.after_death(Some(bytes / 2)));
    }
    for _ in 0..4 {
        let fates: String =
            (0..world.units()).map(|_| ["K1", "L1", "K1", "T100"][usize::try_from(random.below(4)).unwrap()]).collect();
        let length = [0, 1, u64::from(u16::MAX)][usize::try_from(random.below(3)).unwrap()];
        images.push(world.after_power_cut(&format!("{fates}/{length}+0").parse().unwrap()));
    }
    images
}

#[test]
fn a_crash_at_any_change_keeps_every_ok_and_halves_no_group() {
    const CLIENTS: usize = 3;
    let disk = SimDisk::new(&Image::new(), 1);
    let server = serve(in_memory(&disk), Options::default());
    let stories = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (server, disk, stories) = (&server, &disk, &stories);
            scope.spawn(move || {
                let story = tell(server, disk, number, 24);
                stories.lock().unwrap().insert(number, story);
            });
        }
    });
    let stories = stories.into_inner().unwrap();
    let trace = disk.trace();
    drop(server);
    let mut random = Random(7);
    let (mut world, mut crashed) = (World::of(&Image::new()), 0);
    for done in 0..=trace.len() {
        for image in crashes(&world, &mut random) {
            let found = contents(&SimDisk::new(&image, 2));
            for (number, story) in &stories {
                let own = format!("{number}:").into_bytes();
                let own: State =
                    found.iter().filter(|(key, _)| key.starts_with(&own)).map(|(k, v)| (k.clone(), v.clone())).collect();
                let least = story.acknowledged.iter().rposition(|&changes| changes <= done).unwrap();
                assert!(
                    story.states[least..].contains(&own),
                    "client {number}, after {done} of {} changes: {least} commands were acknowledged, and this is there: {:?}",
                    trace.len(),
                    own.iter().map(|(k, v)| (k.escape_ascii().to_string(), v.len())).collect::<Vec<_>>()
                );
            }
            crashed += 1;
        }
        if let Some(change) = trace.get(done) {
            world.apply(change);
        }
    }
    assert!(crashed > 500, "{crashed} crashes of {} changes", trace.len());
}

/// Every sync of a session fails once, as on ext4 and as on btrfs. Before it everything is OK, after it nothing is, and
/// after a power cut everything that was OK is there.
#[test]
fn whichever_sync_fails_no_ok_is_lost_and_no_later_write_is_accepted() {
    let session = |plan: Option<FaultPlan>| {
        let disk = SimDisk::new(&Image::new(), 1);
        let disk = match plan {
            Some(plan) => disk.with_faults(plan),
            None => disk,
        };
        let Ok(engine) = try_in_memory(&disk) else { return (disk, Vec::new()) };
        let server = serve(engine, Options::default().on_poison(OnPoison::Stay));
        let mut client = server.connect();
        let mut replies = Vec::new();
        for n in 0..12 {
            let write = if n % 3 == 0 { format!("MULTI\nSET a {n}\nSET b {n}\nEXEC") } else { format!("SET k{n} {n}") };
            replies.push(client.pipeline(&write).pop().unwrap());
            assert!(["nil", &n.to_string()].contains(&client.ask(&format!("GET k{n}")).as_str()));
        }
        drop(server);
        (disk, replies)
    };
    let (healthy, replies) = session(None);
    assert!(replies.iter().all(|reply| ["+OK", "[+OK, +OK]"].contains(&reply.as_str())), "{replies:?}");
    let syncs: Vec<usize> =
        (0..).zip(healthy.operations()).filter(|(_, operation)| *operation == Operation::Sync).map(|(at, _)| at).collect();
    assert!(syncs.len() >= 12, "{syncs:?}");
    let mut told = 0;
    for at in syncs {
        for failure in [SyncFailure::LosesPages, SyncFailure::RevertsPages] {
            let (disk, replies) = session(Some(FaultPlan { at, fault: Fault::Sync(failure), lasts: Lasts::Once }));
            let good = replies.iter().take_while(|reply| !reply.starts_with('-')).count();
            for (n, reply) in replies.iter().enumerate().skip(good) {
                let wanted = if n == good { "-POISONED it is unknown" } else { "-POISONED this was not stored" };
                let is_first_of_log = n == good && reply.starts_with("-ERR this was not stored");
                assert!(reply.starts_with(wanted) || is_first_of_log, "sync {at}, write {n}: {reply}");
                told += 1;
            }
            let found = contents(&SimDisk::new(&disk.world().after_power_cut(&PowerCut::nothing()), 2));
            let last_group = |writes: usize| (0..writes).rfind(|n| n % 3 == 0).map(|n| n.to_string().into_bytes());
            let group = found.get(&b"a"[..]).cloned();
            assert!([last_group(good), last_group(good + 1)].contains(&group), "sync {at}: {group:?} after {good} writes");
            for n in (0..good).filter(|n| n % 3 != 0) {
                assert_eq!(found.get(format!("k{n}").as_bytes()), Some(&n.to_string().into_bytes()), "sync {at}, write {n}");
            }
            assert_eq!(found.get(&b"a"[..]), found.get(&b"b"[..]), "sync {at}: half of a group");
        }
    }
    assert!(told > 50, "{told} refused writes");
}
