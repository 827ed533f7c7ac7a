//! The file of commands that a prompt runs before the first line.
//!
//! Only a prompt reads it, so no script and no single command does something else because of it. Its lines run as those
//! of a script: an error names the file and the line, and no question is asked.
//!
//! | | the file |
//! |---|---|
//! | `--no-rc`, or `KV_RC` is empty | none |
//! | `KV_RC` has a path | that one; if it cannot be read, a warning says so |
//! | otherwise | `kv_cli/rc` in `$XDG_CONFIG_HOME`, or in `~/.config`; there may be none |

use crate::gate::Gate;
use crate::script;
use crate::session::Flow;
use crate::streams::Patient;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Runs the lines of the file, if there is one.
pub(super) fn run(gate: &Gate) -> Flow {
    if gate.hold().settings.no_rc {
        return Flow::On;
    }
    let Some((path, is_named)) = path(|name| std::env::var_os(name), std::env::home_dir()) else { return Flow::On };
    let name = path.display().to_string();
    match open(&path) {
        Ok(file) => script::run(gate, Patient(file), &name),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => Flow::On,
        Err(error) => {
            let text = format!("the commands in {name} were not run: {error}; --no-rc runs none");
            gate.hold().output.warn(&text);
            Flow::On
        }
    }
}

/// The file, and whether the user has named it.
fn path(variable: impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Option<(PathBuf, bool)> {
    if let Some(path) = variable("KV_RC") {
        return Some((PathBuf::from(path), true)).filter(|(path, _)| !path.as_os_str().is_empty());
    }
    let config = variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    Some((config.or_else(|| Some(home?.join(".config")))?.join("kv_cli/rc"), false))
}

/// Only a regular file: opening a pipe would wait for a writer.
fn open(path: &Path) -> io::Result<File> {
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    File::open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_the_named_one_or_the_one_of_the_user() {
        let path = |set: &[(&str, &str)]| {
            let variable = |name: &str| set.iter().find(|(set, _)| *set == name).map(|(_, value)| OsString::from(value));
            path(variable, Some("/home/me".into())).map(|(path, is_named)| (path.display().to_string(), is_named))
        };
        let expected = |path: &str, is_named| Some((path.to_string(), is_named));
        assert_eq!(path(&[]), expected("/home/me/.config/kv_cli/rc", false));
        assert_eq!(path(&[("XDG_CONFIG_HOME", "/etc/x")]), expected("/etc/x/kv_cli/rc", false));
        assert_eq!(path(&[("XDG_CONFIG_HOME", "relative")]), expected("/home/me/.config/kv_cli/rc", false));
        assert_eq!(path(&[("XDG_CONFIG_HOME", "/etc/x"), ("KV_RC", "my.rc")]), expected("my.rc", true));
        assert_eq!(path(&[("KV_RC", "")]), None);
        assert!(open(Path::new("/")).is_err());
    }
}
