//! What an input is, by its first bytes.

use super::cpp;
use super::form::Form;
use super::importer::Refusal;
use crate::lines::BYTE_ORDER_MARK;
use crate::settings::Import as Source;
use crate::text::{Words, displayed};

const UNPACK: &str = "unpack it and import again";
const CONVERT: &str = "convert it to UTF-8 and import again";
const CHOOSE: &str = "choose another file";

/// Files that people have beside exports: the place of some bytes, the bytes, the kind of file, and what to do with it.
const KNOWN: &[(usize, &[u8], &str, &str)] = &[
    (0, b"\x1f\x8b", "gzip", UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "zstd", UNPACK),
    (0, b"\xfd7zXZ\0", "xz", UNPACK),
    (0, b"BZh", "bzip2", UNPACK),
    (0, b"PK\x03\x04", "zip", UNPACK),
    (0, b"PK\x05\x06", "zip", UNPACK),
    (0, b"\x04\x22\x4d\x18", "lz4", UNPACK),
    (0, b"LZIP", "lzip", UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "7-Zip", UNPACK),
    (0, b"\x1f\x9d", "compress", UNPACK),
    (0, b"\xff\xfe", "UTF-16 text", CONVERT),
    (0, b"\xfe\xff", "UTF-16 text", CONVERT),
    (0, b"\x7fELF", "a program", CHOOSE),
    (0, b"SQLite format 3\0", "an SQLite database", CHOOSE),
    (257, b"ustar", "a tar archive", UNPACK),
];

/// The format of an input that begins like this, or why it cannot be imported.
pub(super) fn detect(begin: &[u8]) -> Result<Source, Refusal> {
    let begin = begin.strip_prefix(BYTE_ORDER_MARK).unwrap_or(begin);
    match cpp::is_log(begin) {
        Ok(Some(source)) => return Ok(source),
        Ok(None) => {}
        Err(text) => return Err(Refusal::new(text, CHOOSE)),
    }
    if begin.starts_with(b"\x89kv") {
        let text = "this is a file of a kv-engine store, not an export";
        return Err(Refusal::new(text, "to export that store: kv_cli --wal … --snapshot … export"));
    }
    let is_like = |at: usize, bytes: &[u8]| begin.get(at..).is_some_and(|rest| rest.starts_with(bytes));
    if let Some((_, _, name, advice)) = KNOWN.iter().find(|(at, bytes, ..)| is_like(*at, bytes)) {
        return Err(Refusal::new(format!("this is {name}, not an export"), advice));
    }
    let lines = begin.split(|&b| b == b'\n').map(|line| (line, Words::of(line)));
    let Some((line, mut words)) = lines.into_iter().find(|(_, words)| !words.is_at_end()) else { return Ok(Source::Text) };
    let is_pair = line.contains(&b'\t');
    if line.trim_ascii_start().starts_with(b"{") && !(is_pair && Form::Json.read(line).is_err()) {
        return Ok(Source::Json);
    }
    let is_text = !begin.iter().any(|&byte| cpp::is_binary(byte));
    match words.next() {
        Some(Ok(word)) if [&b"PUT"[..], b"SET", b"DEL"].iter().any(|verb| word.eq_ignore_ascii_case(verb)) => Ok(Source::Text),
        // A value of that store may be any bytes, but most values of people are text.
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
    }
}
