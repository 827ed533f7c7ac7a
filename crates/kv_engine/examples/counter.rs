//! A counter that survives `kill -9`: it never forgets a number that it has printed, and never prints one twice.
//!
//! `cargo run --example counter [DIRECTORY]` counts in two threads until it is killed. Start it again, and it
//! continues.

#![allow(clippy::print_stderr, reason = "an example talks")]

use kv_engine::{Engine, Options, Result};
use std::io::{Write, stdout};
use std::path::PathBuf;

fn main() -> Result<()> {
    let dir = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let engine = Options::new(dir.join("counter.wal"), dir.join("counter.snapshot")).open()?;
    eprintln!("{}", engine.recovery());
    std::thread::scope(|scope| {
        let other = scope.spawn(|| count(&engine));
        count(&engine)?;
        other.join().expect("it does not panic")
    })?;
    engine.close()
}

/// Counts until the reader of the numbers is gone.
fn count(engine: &Engine) -> Result<()> {
    let number = |value: Option<&[u8]>| value.map_or(0, |value| u64::from_le_bytes(value.try_into().expect("written here")));
    loop {
        // A get and then a put would lose numbers: the other thread may put in between.
        let updated = engine.update("count", |old| Some((number(old) + 1).to_le_bytes()))?;
        // Batch size 1, the default of the library: when update returns, the number is on the disk. Only now may it be
        // printed.
        if writeln!(stdout(), "{}", number(updated.new.as_deref())).is_err() {
            return Ok(());
        }
    }
}
