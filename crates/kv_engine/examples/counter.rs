//! A counter that survives `kill -9`: it never forgets a number that it has printed.
//!
//! `cargo run --example counter [DIRECTORY]` counts until it is killed. Start it again, and it continues.

#![allow(clippy::print_stderr, reason = "an example talks")]

use kv_engine::{Options, Result};
use std::io::{Write, stdout};
use std::path::PathBuf;

fn main() -> Result<()> {
    let dir = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let engine = Options::new(dir.join("counter.wal"), dir.join("counter.snapshot")).open()?;
    eprintln!("{}", engine.recovery());
    loop {
        let count = match engine.get("count")? {
            Some(bytes) => u64::from_le_bytes(bytes[..].try_into().expect("this program wrote it")) + 1,
            None => 1,
        };
        // Batch size 1, the default of the library: when put returns, the number is on the disk.
        engine.put("count", count.to_le_bytes())?;
        // Only now may it be printed.
        if writeln!(stdout(), "{count}").is_err() {
            return engine.close(); // the reader is gone
        }
    }
}
