//! `kv_cli torture --rung kills`: kills processes of this program, and checks the stores that they leave.
//!
//! It starts itself as a shell on a temporary store, sends commands, reads the answers, and kills the process with
//! SIGKILL at a random moment. Then it compares the files with the promises of the answers.
//!
//! One store is used for many kills, so that each recovery starts from the files that the one before left. The files
//! show which step a kill hit, which may differ from its aim. A seed repeats the commands and the pauses. It does not
//! repeat the moments of the kills, which depend on the machine.

mod model;
mod round;
mod talk;
mod tally;

use crate::progress::Progress;
use crate::signals::Flags;
use round::{Pace, Store};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
pub(super) use tally::Kills;

/// After this many failures more of them would show nothing new.
const ENOUGH_FAILURES: usize = 10;

/// Kills `count` processes, on every core. It stops early after [`ENOUGH_FAILURES`]. At a signal it stops after the
/// kills that have begun, and removes its temporary stores.
pub(super) fn run(count: u64, seed: u64, flags: &Flags) -> Kills {
    let stop = AtomicBool::new(false);
    let is_over = || stop.load(Ordering::Relaxed) || flags.stop_signal().is_some();
    let progress = Progress::new("killing {wide_bar} {human_pos} of {human_len}", Some(count), false);
    let (total, claimed) = (Mutex::new(Kills::default()), AtomicU64::new(0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (total, claimed, stop, progress, is_over) = (&total, &claimed, &stop, &progress, &is_over);
            let mut random = model::Random::new(seed.wrapping_mul(1_000_003).wrapping_add(thread));
            let work = move || {
                let (mut store, mut pace) = (None, Pace::default());
                while !is_over() && claimed.fetch_add(1, Ordering::Relaxed) < count {
                    let mut kills = Kills::default();
                    store = one(store, &mut random, &mut pace, &mut kills);
                    let mut total = lock(total);
                    total.add(kills);
                    progress.set(total.kills);
                    if total.failures.len() >= ENOUGH_FAILURES {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
                let mut kills = Kills::default();
                end(store, &mut kills);
                lock(total).add(kills);
            };
            if let Err(error) = std::thread::Builder::new().spawn_scoped(scope, work)
                && thread == 0
            {
                lock(total).failures.push(format!("cannot start a thread: {error}; nothing was tried"));
            }
        }
    });
    drop(progress);
    total.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Kills one process, on this store or on a new one. Returns the store for the next kill.
fn one(store: Option<Store>, random: &mut model::Random, pace: &mut Pace, kills: &mut Kills) -> Option<Store> {
    let store = match store {
        Some(store) if store.is_old() => {
            end(Some(store), kills);
            None
        }
        store => store,
    };
    let mut store = match store.map_or_else(|| Store::begin(random), Ok) {
        Ok(store) => store,
        Err(error) => {
            kills.failures.push(format!("cannot make a temporary store: {error:#}"));
            return None;
        }
    };
    kills.kills += 1;
    match store.round(random, pace, kills) {
        Ok(()) => Some(store),
        Err(trouble) => {
            failed(&store, &trouble, kills);
            None
        }
    }
}

/// Checks the store a last time, and removes it.
fn end(store: Option<Store>, kills: &mut Kills) {
    let Some(mut store) = store else { return };
    if let Err(trouble) = store.end(kills) {
        failed(&store, &trouble, kills);
    }
}

/// The files of a store that failed stay, so that the cause can be found.
fn failed(store: &Store, trouble: &round::Trouble, kills: &mut Kills) {
    kills.lost_writes += trouble.lost;
    kills.failures.push(format!("FAILED, {}: {}; the store is kept in {}", store.history(), trouble.text, store.dir.display()));
}

fn lock(total: &Mutex<Kills>) -> std::sync::MutexGuard<'_, Kills> {
    total.lock().unwrap_or_else(PoisonError::into_inner)
}
