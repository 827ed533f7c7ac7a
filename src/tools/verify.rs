//! `kv_cli verify`: checks every byte of log and snapshot. Status 3 if something is wrong.

use crate::args::Args;
use crate::streams;
use crate::text::{Fitted, Tone, object, safe, toned};
use crate::tools::status::DAMAGED;
use kv_engine::inspect::{self, Health};
use serde_json::Value as Json;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;

pub(super) fn run(args: &Args) -> u8 {
    let found = inspect::verify(&args.wal, &args.snapshot);
    let is_sound = found.is_sound();
    let mut out = Fitted::stdout(BufWriter::new(streams::stdout()), args.json);
    let text = found.to_string();
    let written = if args.json {
        let lines = text.lines().map(Json::from).collect::<Json>();
        out.write_all(object(&[("ok", is_sound.into()), ("found", lines)]).as_bytes())
    } else {
        let color = args.color.on(io::stdout().is_terminal());
        let tones = [tone("log", &found.log), tone("snapshot", &found.snapshot)];
        let mut lines = text.lines().zip(tones.into_iter().chain(std::iter::repeat((0, Tone::Bad))));
        lines.try_for_each(|(line, (from, tone))| {
            let tone = if line.starts_with("kept: ") && is_sound { Tone::Torn } else { tone };
            let (head, verdict) = line.split_at_checked(from).unwrap_or(("", line));
            writeln!(out, "{}{}", safe(head), toned(&safe(verdict), tone, color))
        })
    };
    let status = streams::finish(written.and_then(|()| out.flush()), if is_sound { 0 } else { DAMAGED });
    if let Some(text) = args.old_place().filter(|_| !is_sound) {
        streams::say(&format!("kv_cli: {}", safe(&text)));
    }
    status
}

/// Where the verdict begins in the line about a file, and its colour.
fn tone(name: &str, (path, health): &(PathBuf, Health)) -> (usize, Tone) {
    let after_path = name.len() + 1 + path.display().to_string().len() + 2;
    match health {
        Health::Sound(_) => (after_path, Tone::Good),
        Health::Torn(_) => (after_path, Tone::Torn),
        Health::Missing => (after_path, Tone::Dim),
        _ => (name.len() + 1, Tone::Bad),
    }
}
