//! A counter that survives `kill -9`: what it has printed, it never forgets.
//!
//! `cargo run --example counter [DIRECTORY]` counts until it is killed; start it again, and it goes on.

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
        // Batch size 1, the library's default: when put returns, it is on the disk.
        engine.put("count", count.to_le_bytes())?;
        // Only now may anybody hear of it.
        if writeln!(stdout(), "{count}").is_err() {
            return engine.close(); // nobody listens any more
        }
    }
}
