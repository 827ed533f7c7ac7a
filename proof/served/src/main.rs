//! The server as a process: killed under load, and checked for linearizability.
//!
//! | rung | what it does |
//! |---|---|
//! | `server-kills` | clients count their OKs, the server is killed, and what it recovers is compared with the count |
//! | `linear` | clients record what they called and got, with kills between; then an order is searched that explains it |
//! | `bad-clients` | broken, slow and hostile clients; the server's replies, memory and files are counted |
//!
//! The last line of a rung is `rung NAME tried=N failed=F skipped=0`. A failure prints its seed and its round.

mod bad;
mod client;
mod kills;
mod linear;
mod ops;
mod server;
mod wgl;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use server::Program;
use std::path::PathBuf;
use std::process::ExitCode;

/// Kills the server under load, and checks what its clients saw.
#[derive(Parser)]
#[command(name = "served")]
struct Arguments {
    #[arg(value_enum)]
    rung: Rung,
    /// The program to start.
    #[arg(long, default_value = "target/release/kv_cli")]
    kv: PathBuf,
    /// How often the server is killed.
    #[arg(long, default_value_t = 500)]
    rounds: u64,
    /// How many changed streams of commands are sent.
    #[arg(long, default_value_t = 100_000)]
    streams: u64,
    /// The same seed gives the same commands. The moment of the kill differs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Another option for the server; repeatable.
    #[arg(long = "option", allow_hyphen_values = true)]
    options: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Rung {
    ServerKills,
    Linear,
    BadClients,
}

fn main() -> Result<ExitCode> {
    let Arguments { rung, kv, rounds, streams, seed, options } = Arguments::parse();
    let program = Program { kv: kv.canonicalize()?, options };
    let (name, failed) = match rung {
        Rung::ServerKills => ("server-kills", kills::run(&program, rounds, seed)?),
        Rung::Linear => ("linear", linear::run(&program, rounds, seed)?),
        Rung::BadClients => ("bad-clients", bad::run(&program, streams, seed)?),
    };
    let tried = if matches!(rung, Rung::BadClients) { streams } else { rounds };
    println!("rung {name} tried={tried} failed={failed} skipped=0");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
