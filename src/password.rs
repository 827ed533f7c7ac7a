//! The password of a server: from a file or a variable, and never from the command line, where all users can read it.

use crate::text::safe;
use anyhow::{Context, bail};
use std::fs::File;
use std::io::Read;
use std::path::Path;

const VARIABLE: &str = "KV_PASSWORD";
/// A longer file is not a password.
const MOST_BYTES: u64 = 4096;

/// The password of the file, or that of the variable. `left` says what was not done if there is an error.
pub(crate) fn read(file: Option<&Path>, left: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let (password, of) = match file {
        Some(path) => {
            let of = format!("the password file {}", safe(&path.display().to_string()));
            let mut bytes = Vec::new();
            let read = File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes));
            read.with_context(|| format!("{of} cannot be read; {left}"))?;
            if bytes.len() as u64 > MOST_BYTES {
                bail!("{of} is longer than {MOST_BYTES} bytes, so it is no password; {left}");
            }
            let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
            (line.strip_suffix(b"\r").unwrap_or(line).to_vec(), of)
        }
        None => match std::env::var_os(VARIABLE) {
            Some(value) => (value.into_encoded_bytes(), VARIABLE.to_string()),
            None => return Ok(None),
        },
    };
    if password.is_empty() {
        bail!("{of} is empty; {left}; to go without a password, leave it out");
    }
    Ok(Some(password))
}
