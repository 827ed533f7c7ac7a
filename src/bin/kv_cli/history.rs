//! The lines that were typed: where they are kept, and which.
//!
//! A line is appended to the file before it runs, so that it survives `kill -9`. Not kept: lines
//! that begin with a blank, repeat the one before, or are long. Whatever fails here fails silently
//! (`--verbose` tells); nobody's data depends on it.

use crate::assist::Assist;
use rustyline::Editor;
use rustyline::history::FileHistory;
use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Lines that are kept.
pub(crate) const LINES: usize = 10_000;
/// A longer line is not.
const LINE_BYTES: usize = 4096;

/// The history file, when there is one.
#[derive(Debug)]
pub(crate) struct History {
    path: Option<PathBuf>,
}

impl History {
    /// Loads the history into `editor`; the text says why there is none.
    pub(crate) fn load(editor: &mut Editor<Assist, FileHistory>) -> (History, Option<String>) {
        let Some(path) = path() else { return (History { path: None }, Some("history is off".into())) };
        match create(&path) {
            Err(error) => (History { path: None }, Some(format!("no history: {}: {error}", path.display()))),
            Ok(()) => {
                let trouble = editor.load_history(&path).err().map(|error| format!("history {}: {error}", path.display()));
                (History { path: Some(path) }, trouble)
            }
        }
    }

    /// Keeps a line that is about to run.
    pub(crate) fn keep(&self, editor: &mut Editor<Assist, FileHistory>, line: &str) {
        if line.len() <= LINE_BYTES
            && editor.add_history_entry(line).unwrap_or(false)
            && let Some(path) = &self.path
        {
            let _ = editor.append_history(path);
        }
    }
}

/// `$KV_HISTORY`, where empty means none; else below the state directory.
fn path() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    if let Some(path) = variable("KV_HISTORY") {
        return Some(path).filter(|path| !path.as_os_str().is_empty());
    }
    let state = variable("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let state = state.or_else(|| Some(std::env::home_dir()?.join(".local/state")))?;
    Some(state.join("kv_cli/history"))
}

/// Readable by its owner only: it holds values.
fn create(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(drop)
}
