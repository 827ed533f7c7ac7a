//! The bytes of a log, field by field, with their meaning: `kv_cli wal --hex`.

use crate::text::{Tone, toned, write_escaped};
use kv_engine::inspect::{Field, header_fields, record_fields};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

const ROW_BYTES: usize = 8;
/// At most this many rows of one field are shown.
const ROWS: usize = 8;

pub(super) fn header(out: &mut impl Write, path: &Path, count: u64, color: bool) -> io::Result<()> {
    show(out, path, 0, count, header_fields, color)
}

pub(super) fn record(out: &mut impl Write, path: &Path, at: u64, count: u64, color: bool) -> io::Result<()> {
    show(out, path, at, count, record_fields, color)
}

fn show(out: &mut impl Write, path: &Path, at: u64, count: u64, cut: fn(&[u8]) -> Vec<Field>, color: bool) -> io::Result<()> {
    let mut bytes = vec![0; usize::try_from(count).map_err(io::Error::other)?];
    // The log may have been replaced or truncated since it was read.
    if let Err(error) = File::open(path).and_then(|file| file.read_exact_at(&mut bytes, at)) {
        return writeln!(out, "{at:>10} cannot read the bytes again: {error}");
    }
    cut(&bytes).iter().try_for_each(|field| rows(out, at, &bytes, field, color))
}

fn rows(out: &mut impl Write, at: u64, bytes: &[u8], field: &Field, color: bool) -> io::Result<()> {
    let data = &bytes[field.bytes.clone()];
    for (n, row) in data.chunks(ROW_BYTES).enumerate() {
        let offset = at + (field.bytes.start + n * ROW_BYTES) as u64;
        if n == ROWS {
            return writeln!(out, "{offset:>10} … and {} more bytes", data.len() - n * ROW_BYTES);
        }
        let hex: Vec<_> = row.iter().map(|byte| format!("{byte:02x}")).collect();
        let hex = toned(&format!("{:<23}", hex.join(" ")), Tone::Dim, color);
        let name = if n == 0 { field.name } else { "" };
        let meaning = match (field.meaning.as_str(), n) {
            ("", _) => text(row),
            (meaning, 0) => meaning.to_string(),
            _ => String::new(),
        };
        let line = format!("{offset:>10} {hex} {name:<12} {meaning}");
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// The bytes as text, with escapes.
fn text(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    // Writing to memory cannot fail.
    let _ = write_escaped(bytes, true, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}
