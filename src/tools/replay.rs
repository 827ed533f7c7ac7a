//! `kv_cli replay`: rebuilds the state at any write from the files. It shows that state, exports it, gives one value of
//! it, or compares it with the state of another store.
//!
//! Steps: rebuild the state, then report what is wrong with the files, then answer. Memory holds the whole state, and
//! with `--diff` two of them. Reports go to stderr, so that stdout has only the answer.
//!
//! Status 1 if `--diff` found a difference, 3 if the files are damaged or do not have that write. In JSON each answer
//! is an object (`docs/json.md` lists the fields), and a failure is an object too.

use crate::args::{Args, ReplayArgs};
use crate::error::{Code, CommandError};
use crate::output::{Output, Place, write_raw};
use crate::settings::Format;
use crate::signals::{self, Flags};
use crate::text::{bytes, counted, safe, write_value, write_word};
use crate::tools::status::DAMAGED;
use crate::transfer::export::{self, Request, Source};
use kv_engine::inspect::BARE_END;
use kv_engine::replay::{Replayed, replay};
use kv_engine::{Error, KeptCopy, LogTail, Seq, inspect};
use serde_json::Value as Json;
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub(super) fn run(args: &Args, replay_args: &ReplayArgs, flags: &'static Flags) -> u8 {
    let mut output = Output::new(args.format(), args.color, false);
    let status = work(args, replay_args, &mut output, flags).unwrap_or_else(|error| {
        output.error(&Place::Words, &CommandError::from(error));
        DAMAGED
    });
    output.finish(status)
}

fn work(args: &Args, asked: &ReplayArgs, output: &mut Output, flags: &'static Flags) -> Result<u8, Error> {
    let (log, snapshot) = match &asked.log {
        Some(dir) if dir.is_dir() => args.other_store(dir),
        Some(log) => (log.clone(), args.snapshot_of(log)),
        None => (args.wal.clone(), args.snapshot.clone()),
    };
    let one = replay(&log, &snapshot, asked.until, |state| {
        if asked.steps && !output.is_broken() {
            show(state, asked.digest, output);
        }
    })?;
    let mut status = report(&log, &one, output);
    // A log without its snapshot, for example a kept copy, is not a store.
    if let Some(lacking) = one.mismatch.as_ref().filter(|_| log == args.wal || asked.log.as_ref().is_some_and(|dir| dir.is_dir()))
    {
        output.error(&Place::Words, &CommandError::new(Code::Failed, lacking.to_string()));
        status = DAMAGED;
    }
    let kept = inspect::kept_copies(&log, &snapshot);
    inspect::kept_copy_warnings(&kept, &snapshot).iter().for_each(|text| output.warn(text));
    if kept.iter().any(|copy| matches!(copy, KeptCopy::Damaged(_))) {
        status = DAMAGED;
    }
    let answered = match (&asked.export, &asked.get, &asked.diff) {
        (Some(file), ..) => export(args, (&log, &snapshot), &one, file, output, flags),
        (None, Some(key), _) => get(&one, key, output),
        (None, None, Some(other)) => compare((&log, &one), args.other_store(other), asked.until, output)?,
        _ => 0,
    };
    let is_state_asked = asked.export.is_none() && asked.get.is_none() && !asked.steps;
    if is_state_asked {
        show(&one, asked.digest, output);
    }
    Ok(status.max(answered))
}

/// A line about a state.
fn show(state: &Replayed, digest: bool, output: &mut Output) {
    let digest = digest.then(|| state.digest().to_string());
    if output.format == Format::Json {
        let mut fields: Vec<(&str, Json)> =
            vec![("cmd", "replay".into()), ("ok", true.into()), ("seq", state.seq.into()), ("keys", state.keys().into())];
        fields.extend(digest.map(|digest| ("digest", digest.into())));
        return output.line_json(&fields);
    }
    let digest = digest.map(|digest| format!(", digest {digest}")).unwrap_or_default();
    output.line(&format!("write {}, {}{digest}", state.seq, counted(state.keys(), "key")));
}

/// Reports how the log ends, if that is not as it should be. Returns the exit status.
fn report(log: &Path, state: &Replayed, output: &mut Output) -> u8 {
    let log = log.display();
    if state.ends_bare {
        output.warn(&format!("{log} {BARE_END}"));
    }
    let LogTail::Damaged(cut) = &state.tail else { return 0 };
    let text =
        format!("{log}: damaged at byte {}: {}, and {}; the records after it are not replayed", cut.offset, cut.fault, cut.proof);
    output.error(&Place::Words, &CommandError::new(Code::Failed, text));
    DAMAGED
}

/// Writes the state in the form of an export.
fn export(
    args: &Args,
    (wal, snapshot): (&Path, &Path),
    state: &Replayed,
    file: &Path,
    output: &mut Output,
    flags: &'static Flags,
) -> u8 {
    let file = Some(file.to_path_buf()).filter(|file| file.as_os_str() != "-");
    let request = Request { wal, snapshot, file, quiet: args.quiet };
    let done = signals::note_only(flags)
        .map_err(|error| CommandError::new(Code::Failed, format!("cannot handle signals: {error}; nothing was exported")))
        .and_then(|()| export::run(&request, Source::Replayed(state), output, flags));
    let Err(error) = done else { return 0 };
    output.error(&Place::Words, &error);
    flags.stop_signal().map_or(1, |signal| u8::try_from(128 + signal).unwrap_or(255))
}

/// Prints the value of a key as GET does. As there, a key without a value is not a failure.
fn get(state: &Replayed, key: &OsStr, output: &mut Output) -> u8 {
    let value = state.get(key.as_bytes());
    match output.format {
        Format::Json => {
            let value = value.map_or(("value", Json::Null), |value| bytes("value", "value_base64", value));
            output.line_json(&[("cmd", "replay".into()), ("ok", true.into()), ("seq", state.seq.into()), value]);
        }
        Format::Raw => {
            let terminal = output.terminal;
            output.write(|out| {
                let Some(value) = value else { return Ok(()) };
                write_raw(value, terminal, out)?;
                out.write_all(b"\n")
            });
        }
        Format::Text | Format::Csv => output.write(|out| {
            match value {
                Some(value) => write_value(value, out)?,
                None => out.write_all(b"(nil)")?,
            }
            out.write_all(b"\n")
        }),
    }
    0
}

/// Compares a state with that of another store. Returns the exit status.
fn compare(
    (log, one): (&Path, &Replayed),
    (other_log, snapshot): (PathBuf, PathBuf),
    until: Option<Seq>,
    output: &mut Output,
) -> Result<u8, Error> {
    let other = replay(&other_log, &snapshot, until, |_| {})?;
    let status = report(&other_log, &other, output);
    let differ = diff(one, &other, output);
    if output.format == Format::Json {
        output.line_json(&[
            ("cmd", "replay".into()),
            ("ok", true.into()),
            ("differ", differ.into()),
            ("seq", one.seq.into()),
            ("other_seq", other.seq.into()),
        ]);
    } else {
        let keys = if differ == 1 { "key differs" } else { "keys differ" };
        let (log, other_log) = (log.display(), other_log.display());
        let text = format!("{differ} {keys} between write {} of {log} and write {} of {other_log}", one.seq, other.seq);
        output.line(&safe(&text));
    }
    Ok(status.max(u8::from(differ > 0)))
}

/// Prints lines as `diff` does: `-` for entries that only the first has, `+` for entries that only the second has.
/// Returns how many keys differ.
fn diff(one: &Replayed, other: &Replayed, output: &mut Output) -> u64 {
    let mut count = 0;
    for (key, value) in one.entries() {
        let theirs = other.get(key);
        if theirs != Some(value) {
            count += 1;
            line("-", key, value, output);
            if let Some(theirs) = theirs {
                line("+", key, theirs, output);
            }
        }
    }
    for (key, value) in other.entries().filter(|(key, _)| one.get(key).is_none()) {
        count += 1;
        line("+", key, value, output);
    }
    count
}

fn line(sign: &str, key: &[u8], value: &[u8], output: &mut Output) {
    if output.format == Format::Json {
        let entry = [bytes("key", "key_base64", key), bytes("value", "value_base64", value)];
        return output.line_json(&[&[("cmd", "replay".into()), ("diff", sign.into())], entry.as_slice()].concat());
    }
    output.write(|out| {
        write!(out, "{sign} ")?;
        write_word(key, out)?;
        out.write_all(b" ")?;
        write_word(value, out)?;
        out.write_all(b"\n")
    });
}
