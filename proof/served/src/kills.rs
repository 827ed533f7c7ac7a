//! The rung `server-kills`. A round:
//!
//! 1. Start the server, and read what every client had written. It must be the state after the first k commands of
//!    that client, for some k that is at least the number of its OKs. So no acknowledged write is lost, and no group is
//!    halved. Every fourth time the server is killed once more while it recovers, before.
//! 2. [`CLIENTS`] clients send commands, many at a time, and count their OKs. Each reply is compared with the model.
//!    All of them also increment one shared counter.
//! 3. After a random time: SIGKILL.

use crate::client::{Client, Reply};
use crate::ops::{Op, State, keys_of};
use crate::server::{Program, Server};
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const CLIENTS: usize = 8;
/// Commands of one client that are under way at a time, at most.
const DEPTH: usize = 32;
/// After this many rounds a new store is begun.
const ROUNDS_OF_A_STORE: u64 = 50;
/// Then the rung ends: more failures would tell nothing new.
const MOST_FAILURES: u64 = 5;
const LONGEST_MS: u64 = 60;

/// What one client has sent since the last known state.
struct Sent {
    base: State,
    ops: Vec<Op>,
    /// How many of them were acknowledged.
    acknowledged: usize,
}

/// How often the shared counter was incremented: for certain, and at most.
#[derive(Default)]
struct Shared {
    acknowledged: AtomicU64,
    sent: AtomicU64,
}

pub(crate) fn run(program: &Program, rounds: u64, seed: u64) -> Result<u64> {
    let (mut failed, mut acknowledged) = (0, 0);
    let mut round = 0;
    while round < rounds && failed < MOST_FAILURES {
        let dir = tempfile::tempdir()?;
        let mut clients: Vec<Sent> =
            (0..CLIENTS).map(|_| Sent { base: State::new(), ops: Vec::new(), acknowledged: 0 }).collect();
        let shared = Shared::default();
        for _ in 0..ROUNDS_OF_A_STORE.min(rounds - round) {
            round += 1;
            let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(1_000_003) + round);
            if let Err(error) = one(program, dir.path(), &mut clients, &shared, &mut random) {
                failed += 1;
                println!("server-kills: seed {seed}, round {round}: {error:#}");
                break;
            }
            acknowledged += clients.iter().map(|client| client.acknowledged as u64).sum::<u64>();
        }
    }
    println!("server-kills: {acknowledged} acknowledged commands in {rounds} rounds");
    ensure!(failed > 0 || acknowledged > rounds, "hardly any command was acknowledged, so the rounds prove nothing");
    Ok(failed)
}

fn one(program: &Program, dir: &Path, clients: &mut [Sent], shared: &Shared, random: &mut fastrand::Rng) -> Result<()> {
    if random.u8(..4) == 0 {
        let mut server = program.spawn(dir)?;
        thread::sleep(Duration::from_micros(random.u64(..20_000)));
        server.kill()?;
    }
    let mut server = program.start(dir)?;
    check(&server, clients, shared)?;
    let lives = Duration::from_micros(random.u64(..LONGEST_MS * 1000));
    let seeds: Vec<u64> = clients.iter().map(|_| random.u64(..)).collect();
    let socket = server.socket.clone();
    thread::scope(|scope| {
        let work: Vec<_> = (0..)
            .zip(clients.iter_mut().zip(seeds))
            .map(|(number, (client, seed))| {
                let mut connection = Client::connect(&socket)?;
                Ok(scope.spawn(move || load(number, client, &mut connection, shared, &mut fastrand::Rng::with_seed(seed))))
            })
            .collect::<Result<_>>()?;
        thread::sleep(lives);
        server.kill()?;
        work.into_iter().try_for_each(|client| client.join().expect("no panic"))
    })
}

/// Sends commands until the connection ends. An error: a reply was wrong.
fn load(number: usize, sent: &mut Sent, connection: &mut Client, shared: &Shared, random: &mut fastrand::Rng) -> Result<()> {
    let mut model = sent.base.clone();
    loop {
        let begin = sent.ops.len();
        for _ in 0..1 + random.usize(..DEPTH) {
            let op = Op::random(random, (begin + sent.ops.len()) as u64);
            op.add(number, connection);
            sent.ops.push(op);
        }
        connection.add(&[b"INCR", b"shared"]);
        shared.sent.fetch_add(1, Ordering::Relaxed);
        if connection.send().is_err() {
            return Ok(());
        }
        for op in &sent.ops[begin..] {
            for _ in 0..op.replies_before() {
                match connection.reply() {
                    Err(_) => return Ok(()),
                    Ok(Reply::Error(error)) => bail!("client {number}: {op:?}: {error}"),
                    Ok(_) => {}
                }
            }
            let Ok(reply) = connection.reply() else { return Ok(()) };
            let expected = op.apply(number, &mut model);
            ensure!(reply == expected, "client {number}: {op:?}: {reply:?} instead of {expected:?}");
            sent.acknowledged += 1;
        }
        match connection.reply() {
            Err(_) => return Ok(()),
            Ok(Reply::Number(_)) => drop(shared.acknowledged.fetch_add(1, Ordering::Relaxed)),
            Ok(other) => bail!("client {number}: INCR shared: {other:?}"),
        }
    }
}

/// Step 1.
fn check(server: &Server, clients: &mut [Sent], shared: &Shared) -> Result<()> {
    let mut connection = Client::connect(&server.socket)?;
    let mut keys = 0;
    for (number, client) in clients.iter_mut().enumerate() {
        let found = read(&mut connection, number)?;
        keys += found.len() as i64;
        let mut state = client.base.clone();
        let mut explained = (client.acknowledged == 0 && state == found).then_some(0);
        for (done, op) in (1..).zip(&client.ops) {
            let halfway = op.halfway(number, &state).is_some_and(|halfway| halfway == found);
            if halfway && done > client.acknowledged {
                explained = Some(done);
                break;
            }
            op.apply(number, &mut state);
            if done >= client.acknowledged && state == found {
                explained = Some(done);
                break;
            }
        }
        explained.with_context(|| {
            let (of, sent) = (client.acknowledged, client.ops.len());
            format!("client {number}: {of} of {sent} commands were acknowledged, and no state after them is {found:?}")
        })?;
        *client = Sent { base: found, ops: Vec::new(), acknowledged: 0 };
    }
    let count = match connection.ask(&[b"GET", b"shared"])? {
        Reply::Nil => 0,
        Reply::Bytes(bytes) => std::str::from_utf8(&bytes)?.parse::<u64>()?,
        other => bail!("GET shared: {other:?}"),
    };
    let (least, most) = (shared.acknowledged.load(Ordering::Relaxed), shared.sent.load(Ordering::Relaxed));
    ensure!((least..=most).contains(&count), "the shared counter is {count}; {least} were acknowledged, {most} sent");
    shared.acknowledged.store(count, Ordering::Relaxed);
    shared.sent.store(count, Ordering::Relaxed);
    let size = connection.ask(&[b"DBSIZE"])?;
    ensure!(size == Reply::Number(keys + i64::from(count > 0)), "DBSIZE is {size:?}, and {keys} keys were found");
    Ok(())
}

fn read(connection: &mut Client, number: usize) -> Result<State> {
    let keys = keys_of(number);
    let words: Vec<&[u8]> = std::iter::once(&b"MGET"[..]).chain(keys.iter().map(|key| key.as_bytes())).collect();
    let Reply::List(values) = connection.ask(&words)? else { bail!("MGET answers no list") };
    let mut state = State::new();
    for (key, value) in keys.into_iter().zip(values) {
        match value {
            Reply::Nil => {}
            Reply::Bytes(bytes) => drop(state.insert(key, bytes)),
            other => bail!("MGET: {other:?}"),
        }
    }
    Ok(state)
}
