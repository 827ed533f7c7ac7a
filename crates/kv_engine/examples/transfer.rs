//! Money that is never lost: a transfer reads and changes two accounts in one transaction.
//!
//! `cargo run --example transfer [DIRECTORY]` moves money between accounts until it is killed. The next start always
//! finds the same sum, because after a crash either all of a transfer is there or nothing of it.

#![allow(clippy::print_stdout, reason = "an example talks")]

use kv_engine::{Batch, Engine, Options, Result, Value};
use std::path::PathBuf;

const ACCOUNTS: u64 = 10;
const EACH: i64 = 100;

fn number(value: Option<Value>) -> i64 {
    value.map_or(0, |bytes| i64::from_le_bytes(bytes[..].try_into().expect("this program wrote it")))
}

/// One step, also with other threads: nothing changes the two accounts between the reads and the write.
fn transfer(engine: &Engine, from: u64, to: u64, amount: i64) -> Result<()> {
    let (from, to) = (format!("account/{from}"), format!("account/{to}"));
    let done = engine.transaction(|tx| -> Result<()> {
        let (payer, payee) = (number(tx.get(&from)?), number(tx.get(&to)?));
        if from != to && payer >= amount {
            tx.put(&from, (payer - amount).to_le_bytes()).put(&to, (payee + amount).to_le_bytes());
        }
        Ok(())
    });
    done.map(drop)
}

fn main() -> Result<()> {
    let dir = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    // A crash may lose the last 99 transfers, and never half of one.
    let engine = Options::new(dir.join("bank.wal"), dir.join("bank.snapshot")).batch_size(100).open()?;
    if engine.is_empty() {
        let mut opening = Batch::new();
        for account in 0..ACCOUNTS {
            opening.put(format!("account/{account}"), EACH.to_le_bytes());
        }
        engine.write(opening)?;
    }
    for round in 0.. {
        if round % 1000 == 0 {
            let sum = (0..ACCOUNTS).map(|account| Ok(number(engine.get(format!("account/{account}"))?))).sum::<Result<i64>>()?;
            println!("sum {sum} after {} transfers", engine.stats().appended - 1);
            assert_eq!(sum, ACCOUNTS as i64 * EACH, "money was made or lost");
        }
        transfer(&engine, round % ACCOUNTS, round * 7 % ACCOUNTS, 1 + (round % 5) as i64)?;
    }
    Ok(())
}
