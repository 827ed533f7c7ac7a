//! Serves the store in a directory:
//! `cargo run --release --example embedded -- DIR [PORT [BATCH [WORKERS [PASSWORD]]]]`.

use kv_server::Server;
use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let dir = words.next().ok_or("which directory?")?;
    let port: u16 = words.next().map_or(Ok(6379), |port| port.parse())?;
    let batch: u64 = words.next().map_or(Ok(1), |batch| batch.parse())?;
    std::fs::create_dir_all(&dir)?;
    let engine = kv_engine::Options::in_dir(dir).batch_size(batch).open()?;
    let mut options = kv_server::Options::default().listen([([127, 0, 0, 1], port).into()]);
    if let Some(workers) = words.next() {
        options = options.workers(workers.parse()?);
    }
    if let Some(password) = words.next() {
        options = options.password(password);
    }
    let server = Server::start(engine, options)?;
    writeln!(std::io::stdout(), "listening on {}; stop it with the command SHUTDOWN", server.addresses()[0])?;
    let ended = server.wait()?;
    writeln!(std::io::stdout(), "ended: {ended:?}")?;
    Ok(())
}
