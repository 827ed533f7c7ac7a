//! Every length, offset and depth that is read from a file is checked. Memory is in proportion to the data.

use crate::common::Store;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Output};

const HEADER: usize = 96;
const HEAD: usize = 33;

fn crc(salt: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(bytes);
    hasher.finalize()
}

/// A false snapshot of a store: with its store id, and after the same write as the real one.
struct Crafted {
    bytes: Vec<u8>,
    salt: u32,
}

/// Offset, length and check of a block.
type Ref = (u64, u32, u32);

impl Crafted {
    /// Begins with the header of a real snapshot that has an index.
    fn of(store: &Store) -> Crafted {
        store.cli().args(["--values-in-snapshot", "1MiB", "-c", "PUT key value", "-c", "SNAP"]).assert().success();
        let bytes = fs::read(store.path("kv.snapshot")).unwrap()[..HEADER].to_vec();
        let salt = crc(crc(0, &bytes[12..28]), &bytes[32..40]);
        Crafted { bytes, salt }
    }

    /// Appends a frame with this check and any body. The link in its head is chosen so that the check is right.
    fn frame(&mut self, kind: u8, body: &[u8], check: u32) -> Ref {
        let at = self.bytes.len() as u64;
        let head = |link: u32| {
            let mut head = vec![0; HEAD];
            head[4..8].copy_from_slice(&(body.len() as u32).to_le_bytes());
            head[24..28].copy_from_slice(&link.to_le_bytes());
            head[28..32].copy_from_slice(&crc(self.salt, body).to_le_bytes());
            head[32] = kind;
            head
        };
        let check_of = |link: u32| crc(self.salt, &head(link)[4..]);
        let mut frame = head(link_for(check, check_of));
        frame[..4].copy_from_slice(&check.to_le_bytes());
        self.bytes.extend_from_slice(&frame);
        self.bytes.extend_from_slice(body);
        (at, (HEAD + body.len()) as u32, check)
    }

    fn index(&mut self, listed: &[Ref], check: u32) -> Ref {
        let body = listed.iter().enumerate().flat_map(|(n, at)| index_entry(*at, n as u8)).collect::<Vec<_>>();
        self.frame(5, &body, check)
    }

    /// Completes the header, and replaces the snapshot of the store. With `len` the file has this length.
    fn put(&mut self, store: &Store, root: Ref, len: Option<u64>) {
        let data = len.unwrap_or(self.bytes.len() as u64) - HEADER as u64 - u64::from(self.meta_len());
        self.bytes[48..56].copy_from_slice(&data.to_le_bytes());
        self.bytes[76..84].copy_from_slice(&root.0.to_le_bytes());
        self.bytes[84..88].copy_from_slice(&root.1.to_le_bytes());
        self.bytes[88..92].copy_from_slice(&root.2.to_le_bytes());
        let check = crc(0, &self.bytes[..92]);
        self.bytes[92..96].copy_from_slice(&check.to_le_bytes());
        let path = store.path("kv.snapshot");
        fs::write(&path, &self.bytes).unwrap();
        len.into_iter().for_each(|len| set_len(&path, len));
    }

    fn meta_len(&self) -> u32 {
        u32::from_le_bytes(self.bytes[28..32].try_into().unwrap())
    }
}

fn index_entry((offset, len, check): Ref, n: u8) -> Vec<u8> {
    let key = [b'a', n];
    [&offset.to_le_bytes()[..], &len.to_le_bytes(), &check.to_le_bytes(), &(key.len() as u32).to_le_bytes(), &key].concat()
}

/// Finds the link with which a head has this check. The check is linear in the bits of the link.
fn link_for(check: u32, check_of: impl Fn(u32) -> u32) -> u32 {
    let mut rows: Vec<(u32, u32)> = (0..32).map(|bit| (check_of(1 << bit) ^ check_of(0), 1 << bit)).collect();
    let (mut left, mut link) = (check ^ check_of(0), 0);
    for bit in 0..32 {
        let at = rows.iter().position(|(changes, _)| changes >> bit & 1 == 1).unwrap();
        let (changes, by) = rows.swap_remove(at);
        rows.iter_mut().filter(|row| row.0 >> bit & 1 == 1).for_each(|row| *row = (row.0 ^ changes, row.1 ^ by));
        if left >> bit & 1 == 1 {
            (left, link) = (left ^ changes, link ^ by);
        }
    }
    link
}

fn set_len(path: &Path, len: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
}

/// Runs `kv_cli` with at most this many kilobytes of address space.
fn limited(store: &Store, kilobytes: u64, args: &[&str]) -> Output {
    let mut command = store.program("sh");
    command.args(["-c", &format!("ulimit -v {kilobytes}; exec \"$0\" \"$@\"")]);
    command.arg(assert_cmd::cargo::cargo_bin!("kv_cli")).args(args);
    output(command)
}

fn output(command: Command) -> Output {
    assert_cmd::Command::from_std(command).timeout(std::time::Duration::from_secs(120)).output().unwrap()
}

fn text_of(output: &Output) -> String {
    [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat()
}

/// Every command that reads the snapshot reports damage, with either place for the values, and changes nothing.
#[track_caller]
fn all_report_damage(store: &Store) {
    let file = store.path("kv.snapshot");
    let is_small = fs::metadata(&file).unwrap().len() < 10 << 20;
    let before = is_small.then(|| fs::read(&file).unwrap());
    let commands: [&[&str]; 6] = [&["GET", "aa"], &["DEL", "aa"], &["SCAN"], &["KEYS"], &["SNAP"], &["SIZE"]];
    for place in [&[][..], &["--values-in-snapshot", "1MiB"]] {
        for command in commands {
            let is_size = command == ["SIZE"] && !place.is_empty(); // this one reads only the header
            let output = limited(store, 400_000, &[place, command].concat());
            let says = text_of(&output);
            assert!(is_size || says.contains("kv.snapshot: damaged at byte "), "{place:?} {command:?}: {says}");
            assert!(is_size || matches!(output.status.code(), Some(1 | 3)), "{place:?} {command:?}: {:?} {says}", output.status);
        }
    }
    for command in ["verify", "export"] {
        let output = limited(store, 400_000, &[command]);
        assert_eq!(output.status.code(), Some(3), "{command}: {}", text_of(&output));
        assert!(text_of(&output).contains("damaged at byte "), "{command}: {}", text_of(&output));
    }
    let salvaged = limited(store, 400_000, &["export", "--salvage"]);
    assert!(salvaged.status.code().is_some_and(|status| status < 128), "{}", text_of(&salvaged));
    assert!(before.is_none_or(|before| fs::read(&file).unwrap() == before), "it is not overwritten");
}

#[test]
fn case_25_a_block_of_the_index_that_lists_itself_is_damage() {
    let store = Store::new();
    let mut crafted = Crafted::of(&store);
    let itself = (HEADER as u64, 55, 7);
    assert_eq!(crafted.index(&[itself], 7), itself);
    crafted.put(&store, itself, None);
    assert!(fs::metadata(store.path("kv.snapshot")).unwrap().len() < 157);
    all_report_damage(&store);
}

#[test]
fn case_25_blocks_of_the_index_that_list_each_other_are_damage() {
    let store = Store::new();
    let mut crafted = Crafted::of(&store);
    let second = (HEADER as u64 + 55, 55, 7);
    let first = crafted.index(&[second], 8);
    assert_eq!(crafted.index(&[first], 7), second);
    crafted.put(&store, second, None);
    all_report_damage(&store);
}

#[test]
fn case_25_an_index_that_is_nested_too_deeply_is_damage() {
    let store = Store::new();
    let mut crafted = Crafted::of(&store);
    let mut top = crafted.frame(4, b"\x01\x02\0\0\0\x01\0\0\0a\0v", 1);
    for n in 0..40_000 {
        top = crafted.index(&[top], n);
    }
    crafted.put(&store, top, None);
    assert!(crafted.bytes.len() > 2 << 20);
    all_report_damage(&store);
}

/// Each level lists the block below twice, so a thousand million ways lead to one block.
#[test]
fn case_25_a_block_that_is_listed_twice_at_each_level_is_damage() {
    let store = Store::new();
    let mut crafted = Crafted::of(&store);
    let mut top = crafted.frame(4, b"\x01\x02\0\0\0\x01\0\0\0a\0v", 1);
    for n in 0..30 {
        top = crafted.index(&[top, top], n);
    }
    crafted.put(&store, top, None);
    all_report_damage(&store);
}

/// A sparse file that takes no space on the disk, and has the length that its header claims.
#[test]
fn case_26_the_length_of_the_meta_bytes_is_not_believed() {
    let store = Store::new();
    let mut crafted = Crafted::of(&store);
    crafted.bytes[28..32].copy_from_slice(&u32::MAX.to_le_bytes());
    crafted.put(&store, (HEADER as u64, 55, 7), Some(HEADER as u64 + u64::from(u32::MAX) + 55));
    all_report_damage(&store);
}

#[test]
fn case_26_the_length_of_the_root_of_the_index_is_not_believed() {
    for (kind, body_len) in [(5, 700_u32 << 20), (5, 1 << 20), (4, 257 << 20)] {
        let store = Store::new();
        let mut crafted = Crafted::of(&store);
        let (at, _, check) = crafted.frame(kind, b"", 7);
        crafted.bytes.truncate(HEADER);
        // The head has the same length as the reference, and a right check.
        let mut head = vec![0; HEAD];
        head[4..8].copy_from_slice(&body_len.to_le_bytes());
        head[32] = kind;
        let check = crc(crafted.salt, &head[4..]).max(check);
        head[..4].copy_from_slice(&check.to_le_bytes());
        crafted.bytes.extend_from_slice(&head);
        crafted.put(&store, (at, body_len + 33, check), Some(at + u64::from(body_len) + 33));
        all_report_damage(&store);
    }
}

#[test]
fn case_26_the_number_of_entries_is_not_believed() {
    let store = Store::new();
    let mut crafted = Crafted::of(&store);
    crafted.bytes[40..48].copy_from_slice(&u64::MAX.to_le_bytes());
    let leaf = crafted.frame(4, b"\x01\x02\0\0\0\x01\0\0\0a\0v", 1);
    crafted.put(&store, leaf, None);
    all_report_damage(&store);
}

/// A log with a head that claims a gigabyte, most of it a hole, and a long log of nothing but zeros.
#[test]
fn case_26_the_length_of_a_record_is_not_believed() {
    for (claims, len) in [(600_u32 << 20, 601 << 20), (1 << 30, 1 << 20), (u32::MAX, 1 << 20), (0, 601 << 20)] {
        let store = Store::new();
        store.script("PUT a 1\n");
        let log = store.path("kv.wal");
        let mut bytes = fs::read(&log).unwrap();
        let salt = u32::from_le_bytes(bytes[28..32].try_into().unwrap());
        let mut head = vec![0; HEAD];
        if claims > 0 {
            let last = bytes.len() - HEAD; // the mark of the close
            head[4..8].copy_from_slice(&claims.to_le_bytes());
            head[8..16].copy_from_slice(&2_u64.to_le_bytes());
            head[24..28].copy_from_slice(&bytes[last..last + 4]);
            head[28..32].copy_from_slice(&7_u32.to_le_bytes());
            head[32] = 1;
            let check = crc(salt, &head[4..]);
            head[..4].copy_from_slice(&check.to_le_bytes());
        }
        bytes.extend_from_slice(&head);
        fs::write(&log, &bytes).unwrap();
        set_len(&log, len);
        for command in [&["export"][..], &["verify"], &["wal"], &["GET", "a"]] {
            let output = limited(&store, 400_000, command);
            assert!(
                output.status.code().is_some_and(|status| status < 128),
                "{command:?}: {:?} {}",
                output.status,
                text_of(&output)
            );
        }
        assert_eq!(store.script("GET a\n"), "1\n");
    }
}

/// A store whose log has about this many megabytes.
fn store_of(megabytes: usize) -> Store {
    let store = Store::new();
    let value = "v".repeat(1000);
    let puts: String = (0..megabytes * 1000).map(|n| format!("PUT key{n} {value}\n")).collect();
    store.cli().args(["--batch", "10000", "--checkpoint-log", "1GiB"]).write_stdin(puts).assert().success();
    assert!(fs::metadata(store.path("kv.wal")).unwrap().len() > megabytes as u64 * 1_000_000);
    store
}

/// The least address space in kilobytes with which a store can be opened, within an eighth.
fn least(store: &Store) -> u64 {
    let (mut too_few, mut enough) = (4_u64 << 10, 4_u64 << 20);
    while enough - too_few > too_few / 8 {
        let between = too_few.midpoint(enough);
        let opened = limited(store, between, &["SIZE"]);
        if opened.status.success() { enough = between } else { too_few = between }
    }
    enough
}

#[test]
fn case_29_the_memory_to_open_a_log_grows_with_its_length() {
    let [small, middle, large] = [3, 6, 24].map(|megabytes| least(&store_of(megabytes)));
    assert!(middle <= 2 * small, "{middle} kB for 6 MB, {small} kB for 3 MB");
    assert!(large <= 8 * small, "{large} kB for 24 MB, {small} kB for 3 MB");
}

/// Without enough memory for the entries, the store is not opened, an error says why, and the files are unchanged.
#[test]
fn case_29_a_store_that_does_not_fit_into_memory_is_refused() {
    let store = store_of(40);
    let before = fs::read(store.path("kv.wal")).unwrap();
    for kilobytes in [30_000, 40_000, 50_000] {
        let output = limited(&store, kilobytes, &["-c", "GET key1"]);
        assert!(matches!(output.status.code(), Some(1 | 3)), "{kilobytes}: {:?} {}", output.status, text_of(&output));
        assert!(text_of(&output).contains("there is no memory for "), "{}", text_of(&output));
        assert!(fs::read(store.path("kv.wal")).unwrap() == before);
    }
    assert_eq!(store.cli().arg("SIZE").output().unwrap().stdout, b"40000\n");
}

/// The peak memory of a process so far, in bytes.
fn most_memory(process: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// The store has one copy in memory. A snapshot needs two more, and so does an opening.
#[test]
fn case_29_a_long_value_is_copied_at_most_three_times() {
    const VALUE_BYTES: u64 = 64 << 20;
    let store = Store::new();
    let value = vec![b'v'; VALUE_BYTES as usize];
    store.cli().args(["-x", "PUT", "key"]).write_stdin(value).assert().success();
    for options in [&[][..], &["--values-in-snapshot", "1MiB"]] {
        let mut process = store.piped(options);
        let (mut input, mut replies) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()).lines());
        for command in ["SIZE", "SNAP", "SNAP"] {
            writeln!(input, "{command}").unwrap();
            let reply = replies.next().unwrap().unwrap();
            assert!(reply == "1" || reply.starts_with("SNAP OK"), "{reply}");
            let copies = most_memory(&process) as f64 / VALUE_BYTES as f64;
            assert!(copies < 3.4, "{copies} copies for {command} {options:?}");
        }
        drop(input);
        assert!(process.wait().unwrap().success());
    }
}

/// A write that does not fit into memory is refused with an error. The stored entries stay, and the store goes on.
#[test]
fn case_29_a_long_value_for_which_there_is_no_memory_is_refused() {
    let store = Store::new();
    store.script("PUT kept 1\n");
    for kilobytes in [40_000, 100_000, 150_000] {
        let mut limited = store.program("sh");
        let words = format!("ulimit -v {kilobytes}; exec \"$0\" -x PUT long");
        let value = store.path("value");
        fs::write(&value, vec![b'v'; 48 << 20]).unwrap();
        let output = limited
            .args(["-c", &words])
            .arg(assert_cmd::cargo::cargo_bin!("kv_cli"))
            .stdin(fs::File::open(&value).unwrap())
            .output()
            .unwrap();
        let err = text_of(&output);
        // 3: there is no memory to open the store either.
        assert!(matches!(output.status.code(), Some(1 | 3)) && output.stdout.is_empty(), "{kilobytes}: {err}");
        assert!(err.contains("memory"), "{kilobytes}: {err}");
        assert_eq!(store.script("SCAN\n"), "kept 1\n");
    }
}

/// How many bytes of a log `kv_engine` reads to find what is wrong with it.
fn bytes_read(log: &Path) -> u64 {
    use kv_engine::disk::File;
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Debug)]
    struct Counted(fs::File, AtomicU64);
    impl File for Counted {
        fn size(&self) -> io::Result<u64> {
            Ok(self.0.metadata()?.len())
        }
        fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
            let count = self.0.read_at(out, offset)?;
            self.1.fetch_add(count as u64, Ordering::Relaxed);
            Ok(count)
        }
        fn write_at(&self, _: u64, _: &[u8]) -> io::Result<usize> {
            unreachable!("it is only read")
        }
        fn set_len(&self, _: u64) -> io::Result<()> {
            unreachable!("it is only read")
        }
        fn sync(&self) -> io::Result<()> {
            unreachable!("it is only read")
        }
        fn drop_cache(&self) {}
    }
    let file = Arc::new(Counted(fs::File::open(log).unwrap(), 0.into()));
    let each = &mut |_: kv_engine::inspect::Entry<'_>| std::ops::ControlFlow::Continue(());
    drop(kv_engine::inspect::log_in(Arc::clone(&file) as Arc<dyn File>, log, 0, each));
    file.1.load(Ordering::Relaxed)
}

/// Valid heads, each with a length up to the end of the file. The log has a good header, or a bad one.
#[test]
fn case_32_heads_that_claim_the_rest_of_the_file_cost_no_more_than_its_length() {
    for (megabytes, with_header) in [(1, true), (8, true), (1, false), (8, false)] {
        let store = Store::new();
        store.script("PUT a 1\n");
        let log = store.path("kv.wal");
        let mut bytes = fs::read(&log).unwrap();
        let salt = u32::from_le_bytes(bytes[28..32].try_into().unwrap());
        let heads = (megabytes << 20) / HEAD;
        for n in (0..heads).rev() {
            let mut head = [0; HEAD];
            head[4..8].copy_from_slice(&((n * HEAD) as u32).to_le_bytes());
            head[8..16].copy_from_slice(&3_u64.to_le_bytes());
            head[28..32].copy_from_slice(&7_u32.to_le_bytes());
            head[32] = 1;
            let check = crc(salt, &head[4..]);
            head[..4].copy_from_slice(&check.to_le_bytes());
            bytes.extend_from_slice(&head);
        }
        bytes[40] ^= u8::from(!with_header);
        fs::write(&log, &bytes).unwrap();
        let read = bytes_read(&log);
        assert!(read < 20 * bytes.len() as u64, "{read} of {} with a header: {with_header}", bytes.len());
        store.cli().arg("verify").assert().code(if with_header { 0 } else { 3 });
        store.cli().args(["export", "--salvage"]).assert().stdout(predicates::str::contains("PUT a 1"));
    }
}

/// A log and a snapshot that are both undamaged, but of different stores or different times.
#[test]
fn case_35_export_refuses_files_that_are_not_one_store() {
    let [one, other] = [Store::new(), Store::new()];
    for store in [&one, &other] {
        store.script("PUT a 1\nSNAP\nPUT b 2\n");
    }
    let own = fs::read(one.path("kv.snapshot")).unwrap();
    let refused = |why: &str| {
        let output = one.cli().arg("export").output().unwrap();
        assert_eq!((output.status.code(), &*output.stdout), (Some(3), &b""[..]), "{}", text_of(&output));
        assert!(text_of(&output).contains(why), "{}", text_of(&output));
    };
    fs::copy(other.path("kv.snapshot"), one.path("kv.snapshot")).unwrap();
    refused("they are not one store: the log is of store");
    fs::remove_file(one.path("kv.snapshot")).unwrap();
    refused("is missing");
    fs::write(one.path("kv.snapshot"), &own).unwrap();
    one.script("SNAP\n");
    fs::write(one.path("kv.snapshot"), &own).unwrap();
    refused("older than the one that was here");
}
