//! The first eight bytes of each file, and a description of files that begin with other bytes.
//!
//! As in PNG, a byte with the high bit set tells the file from text, and CR LF shows whether a transfer has converted
//! line ends.

/// A log.
pub(crate) const LOG: [u8; 8] = *b"\x89kvwal\r\n";
/// A snapshot.
pub(crate) const SNAPSHOT: [u8; 8] = *b"\x89kvsna\r\n";

/// Says what a file seems to be that does not begin with the expected bytes.
pub(crate) fn describe(bytes: &[u8]) -> String {
    if bytes.starts_with(b"KVLG") {
        let text = "this is a log of an earlier key-value store (magic KVLG), not of kv-engine";
        let is_cpp = bytes.starts_with(b"KVLG\x01\0"); // its version; the log of a third store has a time there
        return if is_cpp { format!("{text}; to copy it into a new store, use: kv_cli import") } else { text.to_string() };
    }
    if bytes.starts_with(&SNAPSHOT) {
        return "this is a kv-engine snapshot, not a log; are --wal and --snapshot swapped?".to_string();
    }
    if bytes.starts_with(&LOG) {
        return "this is a kv-engine log, not a snapshot; are --wal and --snapshot swapped?".to_string();
    }
    let start = &bytes[..bytes.len().min(8)];
    format!("this is not a kv-engine file (it begins with \"{}\")", start.escape_ascii())
}
