//! The rung `linear`. [`CLIENTS`] clients work on [`KEYS`] registers of one server and record each call: when it began,
//! when its answer came, and what it was. The server is killed and started again while they work. A call whose answer
//! did not come has an unknown end. Each register's history must be linearizable, over all kills of its store.

use crate::client::{Client, Reply};
use crate::server::Program;
use crate::wgl::{Call, Kind, Value, is_linearizable};
use anyhow::{Result, bail, ensure};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

const CLIENTS: u64 = 8;
const KEYS: usize = 4;
/// A store is killed this often, then its history is checked and a new one is begun.
const ROUNDS_OF_A_STORE: u64 = 5;
/// Then the rung ends: more failures would tell nothing new.
const MOST_FAILURES: u64 = 5;
const LONGEST_MS: u64 = 40;

/// The calls on each register.
type History = Vec<Mutex<Vec<Call>>>;

pub(crate) fn run(program: &Program, rounds: u64, seed: u64) -> Result<u64> {
    let (mut failed, mut calls) = (0, 0);
    let mut round = 0;
    while round < rounds && failed < MOST_FAILURES {
        let kills = ROUNDS_OF_A_STORE.min(rounds - round);
        let store = round / ROUNDS_OF_A_STORE;
        let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(1_000_003) + store);
        let dir = tempfile::tempdir()?;
        match one(program, dir.path(), kills, &mut random) {
            Ok(count) => calls += count,
            Err(error) => {
                failed += 1;
                println!("linear: seed {seed}, store {store}: {error:#}");
            }
        }
        round += kills;
    }
    println!("linear: {calls} calls in {rounds} rounds");
    ensure!(failed > 0 || calls > rounds * CLIENTS, "hardly any call, so the rounds prove nothing");
    Ok(failed)
}

fn one(program: &Program, dir: &Path, kills: u64, random: &mut fastrand::Rng) -> Result<u64> {
    let history: History = (0..KEYS).map(|_| Mutex::default()).collect();
    let clock = AtomicU64::new(0);
    for _ in 0..kills {
        let mut server = program.start(dir)?;
        let seeds: Vec<u64> = (0..CLIENTS).map(|_| random.u64(..)).collect();
        let (socket, stop) = (server.socket.clone(), AtomicBool::new(false));
        let lives = Duration::from_micros(random.u64(..LONGEST_MS * 1000));
        thread::scope(|scope| {
            let work: Vec<_> = seeds
                .into_iter()
                .map(|seed| {
                    let (history, clock, socket, stop) = (&history, &clock, &socket, &stop);
                    scope.spawn(move || work(socket, history, clock, stop, &mut fastrand::Rng::with_seed(seed)))
                })
                .collect();
            thread::sleep(lives);
            let killed = server.kill();
            stop.store(true, Ordering::Relaxed);
            work.into_iter().try_for_each(|client| client.join().expect("no panic"))?;
            killed
        })?;
    }
    // Each register is read once more, by a client that is alone.
    let server = program.start(dir)?;
    let mut connection = Client::connect(&server.socket)?;
    for (key, calls) in history.iter().enumerate() {
        let began = clock.fetch_add(1, Ordering::SeqCst);
        let value = value(&connection.ask(&[b"GET", name(key).as_bytes()])?)?;
        let ended = clock.fetch_add(1, Ordering::SeqCst);
        let call = Call { kind: Kind::Get, began, ended: Some((ended, value)) };
        calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }
    let mut count = 0;
    for (key, calls) in history.into_iter().enumerate() {
        let calls = calls.into_inner().unwrap_or_else(PoisonError::into_inner);
        count += calls.len() as u64;
        ensure!(is_linearizable(&calls, None), "no order explains the calls on register {key}: {calls:?}");
    }
    Ok(count)
}

fn name(key: usize) -> String {
    format!("r{key}")
}

/// Calls until the connection ends. An error: an answer has the wrong form.
fn work(socket: &Path, history: &History, clock: &AtomicU64, stop: &AtomicBool, random: &mut fastrand::Rng) -> Result<()> {
    let Ok(mut connection) = Client::connect(socket) else { return Ok(()) };
    while !stop.load(Ordering::Relaxed) {
        let key = random.usize(..history.len());
        let new = random.i64(..1_000_000);
        let kind = match random.u8(..12) {
            0..4 => Kind::Get,
            4..6 => Kind::Set(new),
            6 => Kind::Swap(new),
            7 => Kind::SetIfAbsent(new),
            8 => Kind::Delete,
            _ => Kind::Increment,
        };
        let (name, new) = (name(key), new.to_string());
        let (name, new) = (name.as_bytes(), new.as_bytes());
        let began = clock.fetch_add(1, Ordering::SeqCst);
        let answer = match kind {
            Kind::Get => connection.ask(&[b"GET", name]),
            Kind::Set(_) => connection.ask(&[b"SET", name, new]),
            Kind::Swap(_) => connection.ask(&[b"SET", name, new, b"GET"]),
            Kind::SetIfAbsent(_) => connection.ask(&[b"SETNX", name, new]),
            Kind::Delete => connection.ask(&[b"DEL", name]),
            Kind::Increment => connection.ask(&[b"INCR", name]),
        };
        let ended = answer.is_ok().then(|| clock.fetch_add(1, Ordering::SeqCst));
        let ended = match (ended, answer) {
            (Some(at), Ok(reply)) => Some((at, value(&reply)?)),
            _ => None,
        };
        history[key].lock().unwrap_or_else(PoisonError::into_inner).push(Call { kind, began, ended });
        if ended.is_none() {
            return Ok(());
        }
    }
    Ok(())
}

/// The result of a call.
fn value(reply: &Reply) -> Result<Value> {
    Ok(match reply {
        Reply::Nil => None,
        Reply::Simple(text) if text == "OK" => None,
        Reply::Number(number) => Some(*number),
        Reply::Bytes(bytes) => Some(std::str::from_utf8(bytes)?.parse()?),
        other => bail!("{other:?}"),
    })
}
