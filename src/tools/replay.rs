//! `kv_cli replay`: the state at any sequence number, its digest, and what two stores differ in.

use crate::args::{Args, ReplayArgs};
use crate::command::write_word;
use crate::render::safe;
use crate::streams;
use kv_engine::replay::{Replayed, replay};
use kv_engine::{Error, KeptCopy, LogTail, inspect};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

/// Status 0; 1 when `--diff` found a difference; 3 when the files are damaged or do not hold it.
pub(crate) fn run(args: &Args, replay_args: &ReplayArgs) -> ExitCode {
    let mut out = BufWriter::new(streams::stdout());
    let done = work(args, replay_args, &mut out);
    let flushed = out.flush();
    match (done, flushed) {
        (Err(Failure::Store(error)), _) => {
            streams::say(&format!("kv_cli: error: {}", safe(&error.to_string())));
            ExitCode::from(3)
        }
        (Err(Failure::Output(error)), _) | (_, Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
            streams::say(&format!("kv_cli: <stdout>: error: {error}"));
            ExitCode::from(1)
        }
        (Ok(status), _) => ExitCode::from(status),
        _ => ExitCode::SUCCESS,
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
        writeln!(out, "{} {}", safe(&log.display().to_string()), crate::tools::BARE_END)?;
    }
    // Only the store's own log belongs to the snapshot.
    if let Some(lacking) = one.mismatch.as_ref().filter(|_| *log == args.wal) {
        writeln!(out, "{}", safe(&lacking.to_string()))?;
        status = 3;
    }
    let kept = inspect::kept_copies(log, &args.snapshot);
    for said in inspect::kept_copy_warnings(&kept, &args.snapshot) {
        let _ = writeln!(io::stderr().lock(), "kv_cli: {}", safe(&said));
    }
    status = status.max(if kept.iter().any(|copy| matches!(copy, KeptCopy::Damaged(_))) { 3 } else { 0 });
    if let Some(other) = &replay_args.diff {
        let snapshot = replay_args.diff_snapshot.clone().unwrap_or_else(|| args.snapshot_of(other));
        let other_state = replay(other, &snapshot, replay_args.until, |_| {})?;
        status = status.max(damage(other, &other_state, out)?);
        let differences = diff(&one, &other_state, out)?;
        writeln!(
            out,
            "{differences} keys differ between write {} of {} and write {} of {}",
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
    let plural = if state.keys() == 1 { "" } else { "s" };
    write!(out, "write {}, {} key{plural}", state.seq, state.keys())?;
    match digest {
        true => writeln!(out, ", digest {}", state.digest()),
        false => writeln!(out),
    }
}

fn damage(log: &Path, state: &Replayed, out: &mut impl Write) -> io::Result<u8> {
    match &state.tail {
        LogTail::Damaged(cut) => {
            let log = safe(&log.display().to_string());
            writeln!(out, "{log}: damaged at byte {}: {}, and {}; the rest is left out", cut.offset, cut.fault, cut.proof)?;
            Ok(3)
        }
        _ => Ok(0),
    }
}

/// Lines as of `diff`: `-` what only the first has, `+` what only the second has.
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
