//! The lines typed before, and the file that keeps them.
//!
//! A line is appended to the file before it runs, so it survives `kill -9`. These lines are not kept: lines that begin
//! with a blank, repeat the line before, are long, or have characters that a terminal would obey.
//!
//! No data depends on the file, so the shell never waits for it. There is no lock, a line is one write to the end of
//! the file, and at most [`MOST_BYTES`] are read. The file begins with [`HEAD`]. Each following line of text is one
//! typed line, with `\n` and `\\` escaped; other lines are skipped. If the name belongs to something else (a directory,
//! a pipe, a device, a file of the store, a text of the user), the file is not touched: the shell reports that once and
//! keeps no history.

use crate::outfile::{begins_like_store_suffix, directory, id, with_suffix};
use crate::prompt::assist::Assist;
use crate::text::is_hidden;
use rustix::fs::OFlags;
use rustyline::Editor;
use rustyline::history::MemHistory;
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How many lines are kept.
pub(crate) const LINES: usize = 10_000;
/// A longer line is not kept.
const LINE_BYTES: usize = 4096;
/// If the file is longer, only its end is read, and the file is made shorter.
const MOST_BYTES: u64 = 4 << 20;
/// What the file begins with.
const HEAD: &[u8] = b"#V2\n";

/// The history file, when there is one.
#[derive(Debug)]
pub(crate) struct History {
    path: Option<PathBuf>,
    /// The log and the snapshot; no file of the store may be written.
    store: [PathBuf; 2],
}

/// Why lines are not kept.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The user does not want a history.
    Off,
    Unusable(String),
}

impl History {
    /// Loads the history into `editor`. `store` is the log and the snapshot.
    pub(crate) fn load(editor: &mut Editor<Assist<'_>, MemHistory>, store: [&Path; 2]) -> (History, Option<Trouble>) {
        let mut history = History { path: path(), store: store.map(Path::to_path_buf) };
        let Some(path) = &history.path else { return (history, Some(Trouble::Off)) };
        let loaded = open(path, &history.store).and_then(|file| {
            let (lines, is_long) = read(&file)?;
            let newest = lines.len().saturating_sub(LINES);
            lines[newest..]
                .iter()
                .try_for_each(|line| editor.add_history_entry(line.as_str()).map(drop))
                .map_err(io::Error::other)?;
            if is_long {
                // If that fails, the next start tries again.
                let _ = shorten(path, &lines[newest..]);
            }
            Ok(())
        });
        let trouble = loaded.err().map(|error| history.give_up(&error));
        (history, trouble)
    }

    /// Keeps a line that is about to run. After the first failure no line is kept.
    pub(crate) fn keep(&mut self, editor: &mut Editor<Assist<'_>, MemHistory>, line: &str) -> Option<Trouble> {
        let keeps = line.len() <= LINE_BYTES && is_safe(line) && editor.add_history_entry(line).unwrap_or(false);
        let path = self.path.as_ref().filter(|_| keeps)?;
        let done = open(path, &self.store).and_then(|mut file| {
            // Another process may have written an incomplete line; it gets its line feed first.
            let mut text = if ends_a_line(&file)? { String::new() } else { "\n".to_string() };
            text += &escaped(line);
            file.write_all(text.as_bytes())
        });
        done.err().map(|error| self.give_up(&error))
    }

    fn give_up(&mut self, error: &io::Error) -> Trouble {
        let path = self.path.take().unwrap_or_default();
        Trouble::Unusable(format!(
            "lines that are typed are not kept: {}: {error}; set KV_HISTORY to another file, or to nothing for no history",
            path.display()
        ))
    }
}

/// `$KV_HISTORY` (empty: no history), otherwise a file in the state directory.
fn path() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    if let Some(path) = variable("KV_HISTORY") {
        return Some(path).filter(|path| !path.as_os_str().is_empty());
    }
    let state = variable("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let state = state.or_else(|| Some(std::env::home_dir()?.join(".local/state")))?;
    Some(state.join("kv_cli/history"))
}

/// Opens or creates the file. Only its owner may read it, because it has values of the store.
fn open(path: &Path, store: &[PathBuf]) -> io::Result<File> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let mut how = OpenOptions::new();
    how.read(true).append(true).mode(0o600).custom_flags(i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0));
    // Before it is opened, because opening a device may have an effect.
    match path.metadata() {
        Ok(about) => check(path, &about, store)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if is_named_like_the_stores(path, store) {
                return Err(io::Error::other("that is a name of the store's own files"));
            }
            match how.clone().create_new(true).open(path) {
                // A link to nothing, or another shell was faster.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => return made.and_then(|mut file| file.write_all(HEAD).map(|()| file)),
            }
        }
        Err(error) => return Err(error),
    }
    let file = how.open(path)?;
    check(path, &file.metadata()?, store)?;
    let mut head = [0; HEAD.len()];
    match file.read_at(&mut head, 0)? {
        0 => (&file).write_all(HEAD)?,
        count if HEAD.starts_with(&head[..count]) => {}
        _ => return Err(io::Error::other("the file is not a history of kv_cli")),
    }
    Ok(file)
}

/// Refuses everything that may not be written: anything but a regular file, and files of the store.
fn check(path: &Path, about: &Metadata, store: &[PathBuf]) -> io::Result<()> {
    let kind = about.file_type();
    let what = match kind {
        _ if is_one_of(about, store) || is_named_like_the_stores(path, store) => "that is a file of the store",
        _ if kind.is_dir() => "that is a directory",
        _ if kind.is_fifo() => "that is a pipe",
        _ if kind.is_char_device() || kind.is_block_device() => "that is a device",
        _ if !kind.is_file() => "that is not a regular file",
        _ => return Ok(()),
    };
    Err(io::Error::other(what))
}

/// Whether it is one of the store's files, under any name.
fn is_one_of(about: &Metadata, store: &[PathBuf]) -> bool {
    let names = store.iter().flat_map(|path| ["", ".lock"].map(|suffix| with_suffix(path, suffix)));
    names.filter_map(|path| path.symlink_metadata().ok()).any(|file| id(&file) == id(about))
}

/// Whether the store may use that name, under any spelling.
fn is_named_like_the_stores(path: &Path, store: &[PathBuf]) -> bool {
    let real = path.canonicalize().ok();
    let is_like = |path: &Path, own: &PathBuf| -> Option<bool> {
        let rest = path.file_name()?.as_bytes().strip_prefix(own.file_name()?.as_bytes())?;
        let is_its = rest.is_empty() || begins_like_store_suffix(rest);
        Some(is_its && directory(path)? == directory(own)?)
    };
    [Some(path), real.as_deref()].into_iter().flatten().any(|path| store.iter().any(|own| is_like(path, own) == Some(true)))
}

/// The typed lines in the file, and whether the file is so long that older ones were left out.
fn read(file: &File) -> io::Result<(Vec<String>, bool)> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(MOST_BYTES);
    let mut bytes = vec![0; usize::try_from(length - from).map_err(io::Error::other)?];
    let mut end = 0;
    while end < bytes.len() {
        match file.read_at(&mut bytes[end..], from + end as u64) {
            Ok(0) => break,
            Ok(count) => end += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    // The first one is the head, or incomplete.
    let lines = bytes[..end].split(|&b| b == b'\n').skip(1).filter(|line| !line.is_empty() && line.len() <= 2 * LINE_BYTES);
    let lines = lines.filter_map(|line| unescaped(std::str::from_utf8(line).ok()?)).filter(|line| is_safe(line));
    Ok((lines.collect(), from > 0))
}

fn ends_a_line(file: &File) -> io::Result<bool> {
    let mut last = [b'\n'];
    if let Some(at) = file.metadata()?.len().checked_sub(1) {
        file.read_at(&mut last, at)?;
    }
    Ok(last == [b'\n'])
}

/// Replaces the file by one with these lines.
fn shorten(path: &Path, lines: &[String]) -> io::Result<()> {
    let path = path.canonicalize()?;
    let new = with_suffix(&path, &format!(".new-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let text = lines.iter().map(|line| escaped(line)).collect::<String>();
    let done = file.write_all(HEAD).and_then(|()| file.write_all(text.as_bytes())).and_then(|()| std::fs::rename(&new, &path));
    done.inspect_err(|_| drop(std::fs::remove_file(&new)))
}

/// A line of the file, with its end.
fn escaped(line: &str) -> String {
    line.replace('\\', "\\\\").replace('\n', "\\n") + "\n"
}

fn unescaped(line: &str) -> Option<String> {
    let (mut out, mut chars) = (String::with_capacity(line.len()), line.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next()? {
                '\\' => out.push('\\'),
                'n' => out.push('\n'),
                _ => return None,
            },
            c => out.push(c),
        }
    }
    Some(out)
}

/// Whether a line may be shown unchanged, as the line editor does it.
fn is_safe(line: &str) -> bool {
    !line.contains(|c| is_hidden(c) && c != '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(text: &[u8]) -> Vec<String> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("history");
        std::fs::write(&path, text).expect("a file");
        read(&File::open(&path).expect("the file")).expect("readable").0
    }

    #[test]
    fn bad_lines_are_skipped_and_the_others_are_kept() {
        assert_eq!(
            lines_of(b"#V2\nGET a\nPUT \xff\nPUT \x1b[31m 1\nbad \\q\n\nPUT b \"\\\\t\"\nGET c"),
            ["GET a", "PUT b \"\\t\"", "GET c"]
        );
    }

    #[test]
    fn only_the_end_of_a_long_file_is_read() {
        let mut text = HEAD.to_vec();
        while text.len() as u64 <= MOST_BYTES + 100 {
            text.extend_from_slice(b"GET older\n");
        }
        text.extend_from_slice(b"GET newest\n");
        let lines = lines_of(&text);
        assert_eq!(lines.last().map(String::as_str), Some("GET newest"));
        assert!(lines.len() as u64 <= MOST_BYTES / 10 && lines.iter().all(|line| line.starts_with("GET ")));
    }

    #[test]
    fn a_line_comes_back_as_it_was() {
        for line in ["PUT a \"\\n\"", "a\\", "\\\\n"] {
            assert_eq!(unescaped(escaped(line).trim_end_matches('\n')).as_deref(), Some(line));
        }
    }

    #[test]
    fn the_names_of_the_store_are_known_under_any_spelling() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        let store = [at("w"), at("s")];
        std::fs::create_dir(at("d")).expect("a directory");
        std::os::unix::fs::symlink(dir.path(), at("link")).expect("a link");
        for name in [
            "w",
            "s",
            "./w",
            "d/../w",
            "link/s",
            "w.lock",
            "w.tmp",
            "s.tmp-0123456789abcdef",
            "w.damaged-1",
            "w.bench.bare",
            "w.benchmark",
            "w.import-1",
            "w.17",
        ] {
            assert!(is_named_like_the_stores(&at(name), &store), "{name}");
        }
        for name in ["history", "w.history", "s.", "d/w", "ww", "w.1x"] {
            assert!(!is_named_like_the_stores(&at(name), &store), "{name}");
        }
    }
}
