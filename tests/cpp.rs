//! The log and the snapshot of the C++ store are imported as that store reads them. Where that store would lose
//! entries, the import does better. The tests make the bytes of these files from the description of the formats.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{Store, untimed};
use std::fs;

/// CRC-32 of IEEE 802.3, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

fn record(kind: u8, seq: u64, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = b"KVLG".to_vec();
    bytes.extend(1_u16.to_le_bytes());
    bytes.push(kind);
    bytes.extend(u32::try_from(key.len()).unwrap().to_le_bytes());
    bytes.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
    bytes.extend(seq.to_le_bytes());
    bytes.extend(key);
    bytes.extend(value);
    let check = crc(&bytes);
    bytes.extend(check.to_le_bytes());
    bytes
}

fn put(seq: u64, key: &str, value: &[u8]) -> Vec<u8> {
    record(1, seq, key.as_bytes(), value)
}

/// Imports a file with these bytes. Returns stdout, stderr and the exit status.
fn import(store: &Store, bytes: &[u8], options: &[&str]) -> (String, String, i32) {
    fs::write(store.path("old"), bytes).unwrap();
    let output = store.process().arg("import").args(options).arg("old").output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (untimed(&text(output.stdout)), text(output.stderr), output.status.code().unwrap())
}

fn held(store: &Store) -> String {
    let output = store.process().arg("SCAN").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_record_has_the_bytes_of_the_description() {
    assert_eq!(crc(b"123456789"), 0xcbf4_3926);
    let bytes = put(7, "k", b"vv");
    assert_eq!(bytes[..26], *b"KVLG\x01\0\x01\x01\0\0\0\x02\0\0\0\x07\0\0\0\0\0\0\0kvv");
    assert_eq!(bytes.len(), 27 + 3);
}

#[test]
fn a_log_is_read_in_the_order_of_the_file_not_of_its_numbers() {
    let store = Store::new();
    // The numbers begin again after a snapshot. After a failed sync, records are in the log twice.
    let log = [
        put(1, "a", b"1"),
        put(2, "b", b"two words"),
        put(2, "b", b"two words"),
        record(2, 3, b"a", b""),
        put(1, "c", b"\0\xff\n"),
        put(2, "d", b""),
    ];
    let (out, err, status) = import(&store, &log.concat(), &[]);
    assert_eq!((out.as_str(), err.as_str(), status), ("IMPORT OK entries=6 written=5 unchanged=1\n", "", 0));
    assert_eq!(held(&store), "b \"two words\"\nc \"\\0\\xff\\n\"\nd \"\"\n");
    let (out, ..) = import(&store, &log.concat(), &[]);
    assert!(out.starts_with("IMPORT OK entries=6 written="), "{out}");
    assert_eq!(held(&store), "b \"two words\"\nc \"\\0\\xff\\n\"\nd \"\"\n", "again: the same");
}

/// The log is cut at every byte. The complete records are imported, with a warning if a part of a record is there.
#[test]
fn a_torn_tail_is_left_out_and_reported() {
    let whole = [put(1, "a", b"1"), put(2, "b", b"2")];
    let (first, log) = (whole[0].len(), whole.concat());
    for cut in [first, first + 1, first + 3, first + 5, first + 22, first + 23, first + 26, log.len() - 1, log.len()] {
        let store = Store::new();
        let (out, err, status) = import(&store, &log[..cut], &[]);
        let entries = if cut == log.len() { 2 } else { 1 };
        assert_eq!((out, status), (format!("IMPORT OK entries={entries} written={entries} unchanged=0\n"), 0), "{cut}");
        if cut == first || cut == log.len() {
            assert_eq!(err, "");
        } else {
            let skipped = if cut == first + 1 { "1 byte".to_string() } else { format!("{} bytes", cut - first) };
            let says = format!(
                "kv_cli: warning: old: the log is damaged at byte {first}: the file ends inside a record; skipped {skipped} outside of \
                 records\n"
            );
            assert_eq!(err, says, "{cut}");
        }
        assert_eq!(held(&store).lines().count(), entries);
    }
}

/// Records that the C++ store appended after a torn tail are in the file, but that store never reads them.
#[test]
fn records_after_a_bad_one_are_counted_and_imported_on_request() {
    let mut torn = put(2, "torn", b"x");
    torn.truncate(20);
    let log = [put(1, "a", b"1"), torn.clone(), put(3, "b", b"2"), vec![0; 9], put(4, "a", b"3"), b"KVLG\x01".to_vec()].concat();
    let store = Store::new();
    let (out, err, status) = import(&store, &log, &[]);
    assert_eq!((out.as_str(), status), ("IMPORT OK entries=1 written=1 unchanged=0\n", 0));
    assert!(err.contains("old: the log is damaged at byte 29: "), "{err}");
    assert!(
        err.contains("skipped 34 bytes outside of records; 2 intact records after it are not imported")
            && err.contains("kv_cli import --salvage"),
        "{err}"
    );
    let (out, err, _) = import(&store, &log, &["--salvage"]);
    assert_eq!(out, "IMPORT OK entries=3 written=2 unchanged=1\n");
    assert!(err.contains("2 intact records after it are imported too, although the C++ store never read them"), "{err}");
    assert_eq!(held(&store), "a 3\nb 2\n");

    // A flipped bit in any byte of a record is detected.
    let good = put(2, "key", b"value");
    for bit in (48 + 3..good.len() * 8).step_by(8) {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let store = Store::new();
        let (_, err, _) = import(&store, &[put(1, "a", b"1"), bad, put(3, "b", b"2")].concat(), &[]);
        assert!(err.contains("the log is damaged at byte 29: "), "bit {bit}: {err}");
        assert_eq!(held(&store), "a 1\n", "bit {bit}");
    }
}

/// The file is read in portions. A record may begin at the end of one.
#[test]
fn a_record_is_found_wherever_it_begins() {
    const PORTION: usize = 256 << 10;
    for at in PORTION - 6..=PORTION + 1 {
        let store = Store::new();
        let (out, ..) = import(&store, &[vec![b'K'; at], put(1, "a", b"1")].concat(), &["--from", "cpp-log", "--salvage"]);
        assert_eq!((out.as_str(), held(&store).as_str()), ("IMPORT OK entries=1 written=1 unchanged=0\n", "a 1\n"), "{at}");
    }
}

#[test]
fn an_empty_key_cannot_be_stored_and_is_counted() {
    let store = Store::new();
    let log = [put(1, "", b"x"), put(2, "a", b"1")].concat();
    let (out, err, status) = import(&store, &log, &[]);
    assert_eq!((out.as_str(), status), ("", 1));
    assert_eq!(
        err,
        "kv_cli: error: old: skipped 1 entry with an empty key, which this store does not allow; imported: 1 entry\n"
    );
    assert_eq!(held(&store), "a 1\n");
    let (_, err, status) = import(&store, b"\tx\nb\t2\n", &["--from", "cpp-snapshot"]);
    assert!(
        err.contains("skipped 1 entry with an empty key, which this store does not allow; imported: 1 entry") && status == 1,
        "{err}"
    );
    assert_eq!(held(&store), "a 1\nb 2\n");
}

#[test]
fn a_snapshot_is_lines_of_key_tab_value() {
    let store = Store::new();
    // The reader of that store splits at any blank, and makes wrong pairs of these lines.
    let snapshot = b"b\t2\nempty\t\ntwo\thello world\ntab\ta\tb\n#x\t\xff\n";
    let (out, err, status) = import(&store, snapshot, &["--from", "cpp-snapshot"]);
    assert_eq!((out.as_str(), err.as_str(), status), ("IMPORT OK entries=5 written=5 unchanged=0\n", "", 0));
    assert_eq!(held(&store), "#x \"\\xff\"\nb 2\nempty \"\"\ntab \"a\\tb\"\ntwo \"hello world\"\n");

    // First the snapshot, then the log, as that store does at opening.
    fs::write(store.path("log"), [put(1, "b", b"new"), record(2, 2, b"tab", b"")].concat()).unwrap();
    fs::write(store.path("old"), b"b\t2\nempty\t\ntwo\thello world\n").unwrap();
    let output = store.process().args(["import", "old", "log"]).output().unwrap();
    let out = untimed(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(out, "IMPORT OK entries=5 written=2 unchanged=3\n");
    assert!(held(&store).contains("b new\n") && !held(&store).contains("tab"));

    let (_, err, status) = import(&Store::new(), b"a\t1\nb\ttwo\nlines\nc\t3\n", &[]);
    assert!(err.starts_with("kv_cli: error: old:3: column 1: there is no tab between key and value") && status == 1, "{err}");
    assert!(err.contains("; nothing was stored"), "{err}");
    let store = Store::new();
    let (_, err, status) = import(&store, b"a\t1\nb\t2000", &[]);
    assert!(err.contains("error: old:2: the snapshot ends inside the value of 'b': it was cut off"), "{err}");
    assert_eq!((held(&store).as_str(), status), ("", 1));
    let (_, err, status) = import(&store, b"a\t1\nb\t2000", &["--salvage"]);
    assert!(
        err.contains("old: line 2: the snapshot ends inside the value of 'b', which was skipped; imported: 1 entry"),
        "{err}"
    );
    assert_eq!((held(&store).as_str(), status), ("a 1\n", 1));
}

/// A table with tabs is not taken for a snapshot, unless the user says so. A snapshot has no mark that would tell.
#[test]
fn case_42_what_a_snapshot_rarely_has_is_refused_without_from() {
    for (bytes, column, says) in
        [(&b"a\t1\nname\tage\tcity\n"[..], 9, "there is a second tab"), (b"a\t1\nb\tcaf\xe9\n", 6, "the text is not UTF-8")]
    {
        let store = Store::new();
        let (out, err, status) = import(&store, bytes, &[]);
        let expected = format!(
            "kv_cli: error: old:2: column {column}: {says}, so this may not be a snapshot of the C++ store; nothing was stored; if \
             it is one: import it with --from cpp-snapshot\n"
        );
        assert_eq!((out.as_str(), err.as_str(), status), ("", expected.as_str(), 1));
        assert_eq!(import(&store, bytes, &["--from", "cpp-snapshot"]).0, "IMPORT OK entries=2 written=2 unchanged=0\n");
    }
}

#[test]
fn files_of_other_stores_are_refused_by_name() {
    let store = Store::new();
    for (bytes, says) in [
        (&b"KVLG\x01\x17\x2a\0\0\0\0\0\0\0\0\0\x01a"[..], "begins with KVLG, but is not a log of the C++ store"),
        (b"KVSP\0\0\0\0", "begins with KVSP"),
        (b"\x89kvwal\r\n\x01\0\0\0", "this is the log of a kv-engine store, not an export"),
        (b"dear diary\n", "this is not an export, and not a log or snapshot of the C++ store; it begins with 'dear diary'"),
    ] {
        let (out, err, status) = import(&store, bytes, &[]);
        assert!(out.is_empty() && err.contains(says) && err.contains("nothing was stored") && status == 1, "{err}");
    }
    assert_eq!(held(&store), "");
}
