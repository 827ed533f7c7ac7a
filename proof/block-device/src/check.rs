//! What must hold of a store that is opened behind a crash.

use crate::run::options;
use crate::workload::{Workload, fingerprint};
use anyhow::{Context, Result, ensure};
use kv_engine::{Engine, LogTail};
use std::path::Path;

/// A store that was opened and is as it must be.
pub(crate) struct Opened {
    pub(crate) engine: Engine,
    /// It holds the first so many writes.
    pub(crate) writes: u64,
}

/// Opens the store: no refusal, no verdict of damage, and exactly the first k writes of the workload,
/// `promised ≤ k ≤ issued`.
pub(crate) fn open(directory: &Path, workload: &Workload, promised: u64, issued: u64) -> Result<Opened> {
    let engine = options(directory).open().context("not opened")?;
    let writes = engine.recovery().last_seq;
    if let LogTail::Damaged(cut) = &engine.recovery().tail {
        anyhow::bail!("a crash is taken for damage: {cut:?}");
    }
    ensure!(writes >= promised, "LOST: write {promised} was promised, {writes} are there");
    ensure!(writes <= issued, "{writes} writes are there, {issued} were issued");
    let expected = workload.states.get(usize::try_from(writes)?).context("more writes than the workload has")?;
    ensure!(state(&engine)? == *expected, "not the state after write {writes}");
    Ok(Opened { engine, writes })
}

/// Opens it, and again; with `go_on` then writes, and opens once more.
pub(crate) fn crashed(directory: &Path, workload: &Workload, promised: u64, issued: u64, go_on: bool) -> Result<()> {
    let writes = open(directory, workload, promised, issued)?.writes;
    let again = open(directory, workload, writes, writes).context("opened a second time")?;
    if !go_on {
        return Ok(());
    }
    let ack = again.engine.put("goes", "on").context("it does not go on")?;
    ensure!(ack.seq == writes + 1, "the write behind write {writes} has the number {}", ack.seq);
    drop(again);
    let engine = options(directory).open().context("not opened when it had gone on")?;
    ensure!(engine.recovery().last_seq == ack.seq, "the write behind write {writes} is not there");
    ensure!(engine.get("goes")?.as_deref() == Some(&b"on"[..]), "the write behind write {writes} has another value");
    Ok(())
}

/// The fingerprint of what readers see.
pub(crate) fn state(engine: &Engine) -> Result<u64> {
    let entries = engine.scan("").collect::<kv_engine::Result<Vec<_>>>()?;
    Ok(fingerprint(entries))
}
