//! `kv_cli verify`: checks every byte of log and snapshot. Status 3 if something is wrong.

use crate::args::Args;
use crate::settings::Format;
use crate::streams;
use crate::text::{Fitted, Tone, object, safe, toned};
use crate::tools::status::DAMAGED;
use kv_engine::inspect::{self, Health, Verification};
use serde_json::Value as Json;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

pub(super) fn run(args: &Args) -> u8 {
    let found = inspect::verify(&args.wal, &args.snapshot);
    let is_sound = found.is_sound();
    let json = args.format() == Format::Json;
    let mut out = Fitted::stdout(BufWriter::new(streams::stdout()), json);
    let text = found.to_string();
    let written = if json {
        out.write_all(in_json(&found, &text).as_bytes())
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

/// The lines of the text, and the same in parts.
fn in_json(found: &Verification, text: &str) -> String {
    let file = |(path, health): &(PathBuf, Health)| {
        let (verdict, about) = match health {
            Health::Missing => ("missing", Json::Null),
            Health::Empty => ("empty", Json::Null),
            Health::Sound(text) => ("sound", text.as_str().into()),
            Health::Torn(text) => ("torn", text.as_str().into()),
            Health::Bad(error) => ("bad", error.to_string().into()),
            Health::Unreadable(error) => ("unreadable", error.to_string().into()),
            _ => ("unknown", Json::Null),
        };
        Json::from_iter([("file", shown(path)), ("verdict", verdict.into()), ("about", about)])
    };
    let kept = found.kept.iter().map(|copy| Json::from(copy.path().display().to_string()));
    object(&[
        ("ok", found.is_sound().into()),
        ("found", text.lines().map(Json::from).collect()),
        ("log", file(&found.log)),
        ("snapshot", file(&found.snapshot)),
        ("pair", found.pair.as_ref().map(ToString::to_string).into()),
        ("kept", kept.collect()),
    ])
}

fn shown(path: &Path) -> Json {
    path.display().to_string().into()
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
