//! The checks of a store that is opened after a crash.

use crate::run::options;
use crate::workload::{Workload, fingerprint};
use anyhow::{Context, Result, ensure};
use kv_engine::{Engine, LogTail};
use std::path::Path;

/// A store that was opened and passed its checks.
pub(crate) struct Opened {
    pub(crate) engine: Engine,
    /// It holds the first writes, up to this number.
    pub(crate) writes: u64,
}

/// Opens the store. It must not be refused, must not be called damaged, and must hold exactly the first k writes of
/// the workload, with `promised ≤ k ≤ issued`.
pub(crate) fn open(directory: &Path, workload: &Workload, promised: u64, issued: u64) -> Result<Opened> {
    let engine = options(directory).open().context("not opened")?;
    let writes = engine.recovery().last_seq;
    if let LogTail::Damaged(cut) = &engine.recovery().tail {
        anyhow::bail!("a crash is reported as damage: {cut:?}");
    }
    ensure!(writes >= promised, "LOST: write {promised} was promised, but only {writes} are there");
    ensure!(writes <= issued, "{writes} writes are there, but only {issued} were issued");
    let expected = workload.states.get(usize::try_from(writes)?).context("more writes than the workload has")?;
    ensure!(state(&engine)? == *expected, "the state is not the one after write {writes}");
    Ok(Opened { engine, writes })
}

/// Opens the store twice. With `go_on` it then writes, and opens once more.
pub(crate) fn crashed(directory: &Path, workload: &Workload, promised: u64, issued: u64, go_on: bool) -> Result<()> {
    let writes = open(directory, workload, promised, issued)?.writes;
    let again = open(directory, workload, writes, writes).context("on a second opening")?;
    if !go_on {
        return Ok(());
    }
    let ack = again.engine.put("goes", "on").context("it does not accept a write")?;
    ensure!(ack.seq == writes + 1, "the write after write {writes} has the number {}", ack.seq);
    drop(again);
    let engine = options(directory).open().context("it does not open after that write")?;
    ensure!(engine.recovery().last_seq == ack.seq, "the write after write {writes} is not there");
    ensure!(engine.get("goes")?.as_deref() == Some(&b"on"[..]), "the write after write {writes} has another value");
    Ok(())
}

/// A hash of the state that readers see.
pub(crate) fn state(engine: &Engine) -> Result<u64> {
    let entries = engine.scan("").collect::<kv_engine::Result<Vec<_>>>()?;
    Ok(fingerprint(entries))
}
