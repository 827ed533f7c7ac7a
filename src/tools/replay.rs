//! `kv_cli replay`: rebuilds the state at any write from the files, shows its digest, and compares two stores.
//!
//! Status 1 if `--diff` found a difference, 3 if the files are damaged or do not have that write.

use crate::args::{Args, ReplayArgs};
use crate::streams;
use crate::text::{counted, safe, write_word};
use crate::tools::status::DAMAGED;
use kv_engine::inspect::BARE_END;
use kv_engine::replay::{Replayed, replay};
use kv_engine::{Error, KeptCopy, LogTail, inspect};
use std::io::{self, BufWriter, Write};
use std::path::Path;

pub(super) fn run(args: &Args, replay_args: &ReplayArgs) -> u8 {
    let mut out = BufWriter::new(streams::stdout());
    let done = work(args, replay_args, &mut out);
    let flushed = out.flush();
    match done {
        Ok(status) => streams::finish(flushed, status),
        Err(Failure::Output(error)) => streams::finish(Err(error), 0),
        Err(Failure::Store(error)) => {
            streams::say(&format!("kv_cli: error: {}", safe(&error.to_string())));
            DAMAGED
        }
    }
}

enum Failure {
    Store(Error),
    Output(io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Store(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

fn work(args: &Args, replay_args: &ReplayArgs, out: &mut impl Write) -> Result<u8, Failure> {
    let log = replay_args.log.as_ref().unwrap_or(&args.wal);
    let mut written = Ok(());
    let one = replay(log, &args.snapshot_of(log), replay_args.until, |state| {
        if replay_args.steps && written.is_ok() {
            written = summary(state, replay_args.digest, out);
        }
    })?;
    written?;
    let mut status = damage(log, &one, out)?;
    if one.ends_bare {
        writeln!(out, "{} {}", safe(&log.display().to_string()), BARE_END)?;
    }
    // Only the store's own log belongs to the snapshot.
    if let Some(lacking) = one.mismatch.as_ref().filter(|_| *log == args.wal) {
        writeln!(out, "{}", safe(&lacking.to_string()))?;
        status = DAMAGED;
    }
    let kept = inspect::kept_copies(log, &args.snapshot);
    for text in inspect::kept_copy_warnings(&kept, &args.snapshot) {
        streams::say(&format!("kv_cli: {}", safe(&text)));
    }
    if kept.iter().any(|copy| matches!(copy, KeptCopy::Damaged(_))) {
        status = DAMAGED;
    }
    if let Some(other) = &replay_args.diff {
        let snapshot = replay_args.diff_snapshot.clone().unwrap_or_else(|| args.snapshot_of(other));
        let other_state = replay(other, &snapshot, replay_args.until, |_| {})?;
        status = status.max(damage(other, &other_state, out)?);
        let differences = diff(&one, &other_state, out)?;
        writeln!(
            out,
            "{differences} {} between write {} of {} and write {} of {}",
            if differences == 1 { "key differs" } else { "keys differ" },
            one.seq,
            log.display(),
            other_state.seq,
            other.display()
        )?;
        status = status.max(u8::from(differences > 0));
    }
    if !replay_args.steps {
        summary(&one, replay_args.digest, out)?;
    }
    Ok(status)
}

fn summary(state: &Replayed, digest: bool, out: &mut impl Write) -> io::Result<()> {
    write!(out, "write {}, {}", state.seq, counted(state.keys(), "key"))?;
    match digest {
        true => writeln!(out, ", digest {}", state.digest()),
        false => writeln!(out),
    }
}

fn damage(log: &Path, state: &Replayed, out: &mut impl Write) -> io::Result<u8> {
    match &state.tail {
        LogTail::Damaged(cut) => {
            let log = safe(&log.display().to_string());
            writeln!(
                out,
                "{log}: damaged at byte {}: {}, and {}; the records after it are not replayed",
                cut.offset, cut.fault, cut.proof
            )?;
            Ok(DAMAGED)
        }
        _ => Ok(0),
    }
}

/// Prints lines as `diff` does: `-` for entries that only the first has, `+` for entries that only the second has.
/// Returns how many keys differ.
fn diff(one: &Replayed, other: &Replayed, out: &mut impl Write) -> io::Result<u64> {
    let mut count = 0;
    for (key, value) in one.entries() {
        let theirs = other.get(key);
        if theirs != Some(value) {
            count += 1;
            line(b"- ", key, value, out)?;
            theirs.map_or(Ok(()), |theirs| line(b"+ ", key, theirs, out))?;
        }
    }
    for (key, value) in other.entries().filter(|(key, _)| one.get(key).is_none()) {
        count += 1;
        line(b"+ ", key, value, out)?;
    }
    Ok(count)
}

fn line(sign: &[u8], key: &[u8], value: &[u8], out: &mut impl Write) -> io::Result<()> {
    out.write_all(sign)?;
    write_word(key, out)?;
    out.write_all(b" ")?;
    write_word(value, out)?;
    out.write_all(b"\n")
}
