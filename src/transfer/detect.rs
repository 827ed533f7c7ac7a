//! What an input is, by its first bytes. This is only a first guess: the whole input must then be of that format before
//! anything is written. `--from` replaces the guess.

use super::cpp;
use super::form::Form;
use super::importer::Refusal;
use crate::lines::BYTE_ORDER_MARK;
use crate::settings::Import as Source;
use crate::text::{Words, displayed};

const CHOOSE: &str = "choose another file";
const CONVERT: &str = "convert it first: iconv -f UTF-16 -t UTF-8 FILE | kv_cli import -";
const TAR: &str = "take the export out of it first: tar -xOf FILE NAME | kv_cli import -";

/// Files that people have beside exports: the place of some bytes, the bytes, the kind of file, and what to do with it.
const KNOWN: &[(usize, &[u8], &str, &str)] = &[
    (0, b"\x1f\x8b", "gzip", "decompress it first: gzip -dc FILE | kv_cli import -"),
    (0, b"\x28\xb5\x2f\xfd", "zstd", "decompress it first: zstd -dc FILE | kv_cli import -"),
    (0, b"\xfd7zXZ\0", "xz", "decompress it first: xz -dc FILE | kv_cli import -"),
    (0, b"BZh", "bzip2", "decompress it first: bzip2 -dc FILE | kv_cli import -"),
    (0, b"PK\x03\x04", "zip", "decompress it first: unzip -p FILE | kv_cli import -"),
    (0, b"PK\x05\x06", "zip", CHOOSE), // without a file in it
    (0, b"\x04\x22\x4d\x18", "lz4", "decompress it first: lz4 -dc FILE | kv_cli import -"),
    (0, b"\x02\x21\x4c\x18", "lz4", "decompress it first: lz4 -dc FILE | kv_cli import -"), // its older format
    (0, b"LZIP", "lzip", "decompress it first: lzip -dc FILE | kv_cli import -"),
    (0, b"7z\xbc\xaf\x27\x1c", "7-Zip", "decompress it first: 7z x -so FILE | kv_cli import -"),
    (0, b"\x1f\x9d", "compress", "decompress it first: gzip -dc FILE | kv_cli import -"),
    (0, b"\xff\xfe", "UTF-16 text", CONVERT),
    (0, b"\xfe\xff", "UTF-16 text", CONVERT),
    (0, b"P\0U\0T\0", "UTF-16 text", CONVERT), // without a mark
    (0, b"\0P\0U\0T", "UTF-16 text", CONVERT),
    (0, b"\x7fELF", "a program", CHOOSE),
    (0, b"SQLite format 3\0", "an SQLite database", CHOOSE),
    (0, b"REDIS0", "a Redis dump (RDB)", CHOOSE),
    (0, b"%PDF-", "a PDF document", CHOOSE),
    (257, b"ustar", "a tar archive", TAR),
];

/// The store's own files, and the tools that read them.
const OWN: &[(&[u8], &str, &str)] = &[
    (
        b"\x89kvwal",
        "the log of a kv-engine store",
        "kv_cli wal FILE shows it; to copy its store: kv_cli --wal FILE export | kv_cli import -",
    ),
    (
        b"\x89kvsna",
        "the snapshot of a kv-engine store",
        "to copy its store: kv_cli --wal LOG --snapshot FILE export | kv_cli import -",
    ),
    (b"\x89kv", "a file of a kv-engine store", "to copy its store: kv_cli --wal LOG export | kv_cli import -"),
];

/// A bulk length of the protocol of Redis follows the number of words.
fn is_redis_log(begin: &[u8]) -> bool {
    let rest = begin.strip_prefix(b"*").unwrap_or_default();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && rest[digits..].starts_with(b"\r\n$")
}

/// The format of an input that begins like this, or why it cannot be imported.
pub(super) fn detect(begin: &[u8]) -> Result<Source, Refusal> {
    let begin = begin.strip_prefix(BYTE_ORDER_MARK).unwrap_or(begin);
    match cpp::is_log(begin) {
        Ok(Some(source)) => return Ok(source),
        Ok(None) => {}
        Err(text) => return Err(Refusal::new(text, CHOOSE)),
    }
    if let Some((_, name, advice)) = OWN.iter().find(|(magic, ..)| begin.starts_with(magic)) {
        return Err(Refusal::new(format!("this is {name}, not an export"), advice));
    }
    let is_like = |at: usize, bytes: &[u8]| begin.get(at..).is_some_and(|rest| rest.starts_with(bytes));
    if let Some((_, _, name, advice)) = KNOWN.iter().find(|(at, bytes, ..)| is_like(*at, bytes)) {
        return Err(Refusal::new(format!("this is {name}, not an export"), advice));
    }
    if is_redis_log(begin) {
        return Err(Refusal::new("this is an append-only file of Redis, not an export", CHOOSE));
    }
    let lines = begin.split(|&b| b == b'\n').map(|line| (line, Words::of(line)));
    let Some((line, mut words)) = lines.into_iter().find(|(_, words)| !words.is_at_end()) else { return Ok(Source::Text) };
    let is_pair = line.contains(&b'\t');
    if line.trim_ascii_start().starts_with(b"{") && !(is_pair && Form::Json.read(line).is_err()) {
        return Ok(Source::Json);
    }
    if line.trim_ascii_start().starts_with(b"[") && !is_pair {
        let text =
            "this is JSON, but not JSON Lines: an entry is an object on one line, for example {\"key\":\"x\",\"value\":\"1\"}";
        return Err(Refusal::new(text, "if it is an array of these objects: jq -c '.[]' FILE | kv_cli import -"));
    }
    let is_text = !begin.iter().any(|&byte| cpp::is_binary(byte));
    match words.next() {
        Some(Ok(word)) if [&b"PUT"[..], b"SET", b"DEL"].iter().any(|verb| word.eq_ignore_ascii_case(verb)) => Ok(Source::Text),
        // All of it is checked later, more strictly than if the user had named the format (see `cpp`).
        _ if is_pair && is_text => Ok(Source::CppSnapshot),
        _ if is_text => {
            let begins = displayed(line);
            let text = format!("this is not an export, and not a log or snapshot of the C++ store; it begins with '{begins}'");
            Err(Refusal::new(text, CHOOSE))
        }
        _ => {
            let begins = displayed(&line[..line.len().min(40)]);
            let text = format!("this is binary, but not an export, and not a log of the C++ store; it begins with '{begins}'");
            let advice = "if it is a snapshot of the C++ store with binary values: import it with --from cpp-snapshot";
            Err(Refusal::new(text, advice))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_file_shows_its_format() {
        for (begin, source) in [
            (&b""[..], Source::Text),
            (b"# kv_cli export 1 of\nPUT a 1", Source::Text),
            (b"\n\n put a\t1\n", Source::Text),
            (b"kv> SET a 1", Source::Text),
            (b"\xef\xbb\xbfPUT a 1\n", Source::Text),
            (b"\xef\xbb\xbf{\"export\":1}\n", Source::Json),
            (b"{\"key\":\"a\",\"value\":\"1\"}", Source::Json),
            (b"  {\"export\":1}\n", Source::Json),
            (b"{\"key\":", Source::Json),
            (b"{\t\"key\":\"a\",\"value\":\"1\"}", Source::Json),
            (b"{a}\t1\n", Source::CppSnapshot),
            (b"name\tAda\nb\t2\n", Source::CppSnapshot),
            (b"#tag\t1\nname\tAda\n", Source::CppSnapshot),
            (b"KVLG\x01\0\x01\x01\0\0\0", Source::CppLog),
            (b"[a]\t1\n", Source::CppSnapshot),
            (b"*1\t$1\n", Source::CppSnapshot),
        ] {
            assert_eq!(detect(begin), Ok(source), "{}", begin.escape_ascii());
        }
        for begin in [&b"hello\n"[..], b"\x89kvwal\r\n", b"\x89kvsna\r\n", b"KVLG\x01\x17\0", b"KVSP\0", b"a\t\0\n"] {
            assert!(detect(begin).is_err(), "{}", begin.escape_ascii());
        }
        for (at, bytes, name, _) in KNOWN {
            let begin = [&vec![b'\t'; *at][..], bytes, b"\t\n"].concat();
            let text = detect(&begin).expect_err("another kind of file").text;
            assert!(text.starts_with(&format!("this is {name}, ")), "{text}");
        }
        for (begin, says) in [
            (&b"*3\r\n$3\r\nSET\r\n"[..], "this is an append-only file of Redis"),
            (b"[{\"key\":\"a\",\"value\":\"1\"}]", "this is JSON, but not JSON Lines"),
            (b"\x89kvwal\r\n", "this is the log of a kv-engine store"),
            (b"\x89kvsna\r\n", "this is the snapshot of a kv-engine store"),
        ] {
            let text = detect(begin).expect_err("another kind of file").text;
            assert!(text.starts_with(says), "{text}");
        }
    }
}
