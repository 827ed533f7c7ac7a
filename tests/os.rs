//! The shipped program on real file systems in bad states: full, read-only, immutable, replaced, too large. Also the
//! limits of a process, signals, and other processes on the same store. `scripts/dev/real-os` counts the tests that
//! were skipped.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod common;

use common::{Shell, Store, eventually, is_ignored, signal, skipped};
use predicates::prelude::*;
use rustix::process::Signal;
use std::fs::{self, File};
use std::io::{BufRead, Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const KV_CLI: &str = env!("CARGO_BIN_EXE_kv_cli");

/// Runs a tool of the system. Returns whether it succeeded.
fn tool(words: &[&str]) -> bool {
    Command::new(words[0]).args(&words[1..]).output().is_ok_and(|output| output.status.success())
}

/// A file system of its own. It is unmounted when this is dropped.
struct Mounted {
    at: PathBuf,
    image: PathBuf,
    _dir: tempfile::TempDir,
}

impl Mounted {
    /// A small ext4 in a file. `None` if it cannot be mounted here.
    fn ext4(mib: u64) -> Option<Mounted> {
        let dir = tempfile::tempdir().unwrap();
        let (at, image) = (dir.path().join("mount"), dir.path().join("image"));
        fs::create_dir(&at).unwrap();
        File::create(&image).unwrap().set_len(mib << 20).unwrap();
        let mounted = Mounted { at, image, _dir: dir };
        let made = tool(&["mkfs.ext4", "-q", "-F", "-m", "0", mounted.image.to_str().unwrap()]);
        if made && mounted.mount() {
            return Some(mounted);
        }
        skipped("an ext4 image cannot be made and mounted here");
        None
    }

    fn mount(&self) -> bool {
        tool(&["mount", "-o", "loop,errors=remount-ro", self.image.to_str().unwrap(), self.at.to_str().unwrap()])
    }

    fn remount(&self, how: &str) {
        eventually("the file system is remounted", || {
            tool(&["mount", "-o", &format!("remount,{how}"), self.at.to_str().unwrap()])
        });
    }

    fn store(&self) -> Store {
        Store { dir: tempfile::tempdir_in(&self.at).unwrap() }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let at = self.at.to_str().unwrap();
        let _ = tool(&["umount", at]) || tool(&["umount", "-l", at]);
    }
}

/// Runs kv_cli after commands of a shell that set limits or traps.
fn limited(store: &Store, words: &str, args: &str, script: &str) -> Output {
    let mut command = store.program("sh");
    command.args(["-c", &format!("{words}; exec \"$0\" --flush-interval 0 {args}"), KV_CLI]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(script.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn bytes_of(store: &Store) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(store.dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn on_a_read_only_file_system_only_the_tools_work() {
    let Some(disk) = Mounted::ext4(16) else { return };
    let store = disk.store();
    store.script("PUT a 1\nSNAP\nPUT b 2\n");
    let before = bytes_of(&store);
    disk.remount("ro");
    let refused = store.cli().write_stdin("PUT c 3\n").assert().code(3).stdout("");
    refused.stderr(predicate::str::contains("Read-only file system"));
    for look in ["wal", "verify", "replay"] {
        store.cli().arg(look).assert().success();
    }
    assert!(bytes_of(&store) == before);
    disk.remount("rw");
    assert_eq!(store.script("PUT c 3\nSIZE\n"), "OK\n3\n");
}

/// ext4 becomes read-only after an error while the store is open. The failing write is real, not injected.
#[test]
fn a_file_system_that_fails_under_an_open_store() {
    for batch in ["1", "3"] {
        let Some(disk) = Mounted::ext4(16) else { return };
        let store = disk.store();
        let mut shell = Shell::on(&store, &["--batch", batch]);
        (1..=3).for_each(|n| assert_eq!(shell.ask(&format!("PUT k{n} 1")), "OK"));
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let device = mounts.lines().find(|line| line.contains(disk.at.to_str().unwrap())).and_then(|line| line.split(' ').next());
        let name = Path::new(device.unwrap()).file_name().unwrap().to_str().unwrap().to_string();
        if let Err(error) = fs::write(format!("/sys/fs/ext4/{name}/trigger_fs_error"), "a test") {
            return skipped(&format!("cannot make ext4 fail: {error}"));
        }
        (1..=5).for_each(|n| shell.to.write_all(format!("PUT late{n} 1\n").as_bytes()).unwrap_or_default());
        let (answers, err, status) = shell.end();
        // With three writes in a group, the first two are accepted and not promised. The third needs the disk.
        assert_eq!(answers.lines().count(), batch.parse::<usize>().unwrap() - 1, "{answers}{err}");
        assert_eq!(status, Some(4), "{err}");
        assert!(err.contains("no write is accepted until the store is opened again"), "{err}");
        assert!(tool(&["umount", disk.at.to_str().unwrap()]));
        Command::new("e2fsck").args(["-fy", disk.image.to_str().unwrap()]).output().unwrap();
        assert!(disk.mount());
        let found = store.script("KEYS k\n");
        assert_eq!(found, "k1\nk2\nk3\n");
    }
}

#[test]
fn a_full_ext4_refuses_writes_and_unsaved_writes_are_counted_at_the_end() {
    let Some(disk) = Mounted::ext4(8) else { return };
    let store = disk.store();
    let mut shell = Shell::on(&store, &["--batch", "3"]);
    (1..=3).for_each(|n| assert_eq!(shell.ask(&format!("PUT safe{n} {}", "s".repeat(5_000))), "OK"));
    let ballast = File::create(disk.at.join("ballast")).unwrap();
    let chunk = vec![b'b'; 64 << 10];
    while (&ballast).write_all(&chunk).is_ok() {}
    // The last free blocks can be used only after a sync.
    while ballast.sync_all().is_ok() && (&ballast).write_all(&chunk[..4 << 10]).is_ok() {}
    drop(ballast);
    (1..=2).for_each(|n| assert_eq!(shell.ask(&format!("PUT wait{n} {}", "w".repeat(50_000))), "OK"));
    shell.say("PUT refused 1");
    shell.say("SNAP");
    shell.say("FLUSH");
    assert_eq!(shell.ask("SIZE"), "5");
    let (rest, err, status) = shell.end();
    assert_eq!((rest.as_str(), status), ("", Some(4)), "{err}");
    assert!(err.contains("no room to write the log") && err.contains("2 accepted writes not saved"), "{err}");
    fs::remove_file(disk.at.join("ballast")).unwrap();
    assert_eq!(store.script("KEYS\nPUT more 1\nSNAP\n"), "safe1\nsafe2\nsafe3\nOK\nSNAP OK\n");
}

/// The flags are set with `chattr`.
#[test]
fn immutable_and_append_only_files() {
    struct Freed<'a>(&'a Path);
    impl Drop for Freed<'_> {
        fn drop(&mut self) {
            tool(&["chattr", "-i", "-a", self.0.to_str().unwrap()]);
        }
    }
    for flag in ["+i", "+a"] {
        let store = Store::new();
        store.script("PUT a 1\nSNAP\nPUT b 2\n");
        let before = fs::read(store.path("kv.wal")).unwrap();
        for name in ["kv.wal", "kv.snapshot", "kv.wal.lock"] {
            let path = store.path(name);
            if !tool(&["chattr", flag, path.to_str().unwrap()]) {
                return skipped("files cannot be made immutable here");
            }
            let freed = Freed(&path);
            let refused = store.cli().write_stdin("PUT c 3\n").assert().code(3).stdout("");
            refused.stderr(predicate::str::contains("Operation not permitted"));
            assert_eq!(fs::read(store.path("kv.wal")).unwrap(), before);
            drop(freed);
        }
        // In a directory that accepts no new names, writes go on, but no snapshot is taken.
        let mut shell = Shell::on(&store, &["--batch", "1"]);
        assert_eq!(shell.ask("PUT c 3"), "OK");
        assert!(tool(&["chattr", "+i", store.dir.path().to_str().unwrap()]));
        let freed = Freed(store.dir.path());
        shell.say("SNAP");
        assert_eq!(shell.ask("PUT d 4"), "OK");
        drop(freed);
        assert_eq!(shell.ask("SNAP"), "SNAP OK");
        let (_, err, status) = shell.end();
        assert_eq!(status, Some(1));
        assert!(err.contains("SNAP failed: "), "{err}");
        assert_eq!(store.script("SIZE\n"), "4\n");
    }
    // The log becomes immutable while it is open. The system may accept writes or not. Every OK must be true.
    let store = Store::new();
    let mut shell = Shell::on(&store, &["--batch", "1"]);
    assert_eq!(shell.ask("PUT a 1"), "OK");
    let wal = store.path("kv.wal");
    assert!(tool(&["chattr", "+i", wal.to_str().unwrap()]));
    let freed = Freed(&wal);
    let _ = shell.to.write_all(b"PUT b 2\nPUT c 3\n");
    let (answers, err, status) = shell.end();
    drop(freed);
    let oks = answers.lines().filter(|&line| line == "OK").count();
    assert_eq!(status, Some(if oks == 2 { 0 } else { 4 }), "{err}");
    assert_eq!(store.script("SIZE\n"), format!("{}\n", 1 + oks), "{err}");
}

/// A file size limit whose signal is ignored, and a snapshot that is larger than the limit.
#[test]
fn a_file_size_limit_is_a_full_disk() {
    let store = Store::new();
    let value = "x".repeat(900);
    let script: String = (0..20).map(|n| format!("PUT k{n} {value}\n")).collect();
    let output = limited(&store, "trap '' XFSZ; ulimit -f 8", "--batch 1", &script);
    let oks = text(&output.stdout).lines().count();
    assert!((1..20).contains(&oks) && output.status.code() == Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("no room to write the log"));
    assert_eq!(store.script("SIZE\n"), format!("{oks}\n"));

    let store = Store::new();
    store.script((0..5).map(|n| format!("PUT k{n} {value}\nSNAP\n")).collect::<String>());
    let output = limited(&store, "ulimit -f 3", "--batch 1", "SNAP\nDEL k0\nSNAP\n");
    assert_eq!((text(&output.stdout).as_str(), output.status.code()), ("OK\n", Some(1)), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr).matches("SNAP failed: ").count(), 2);
    assert_eq!(store.script("SIZE\nSNAP\n"), "4\nSNAP OK\n");
}

#[test]
fn too_few_file_descriptors() {
    let store = Store::new();
    store.script("PUT a 1\n");
    let (mut expected, mut outcomes) = (1, Vec::new());
    for most in 3..20 {
        let output = limited(&store, &format!("ulimit -n {most}"), "--batch 1", &format!("PUT k{most} 1\nSNAP\n"));
        let (answers, err) = (text(&output.stdout), text(&output.stderr));
        assert!(!err.contains("panicked") && output.status.code().is_some(), "{most}: {err}");
        expected += usize::from(answers.starts_with("OK\n"));
        outcomes.push(output.status.code().unwrap());
        assert_eq!(store.script("SIZE\n"), format!("{expected}\n"), "{most}: {err}");
    }
    assert_eq!(outcomes.last(), Some(&0), "{outcomes:?}");
    assert!(outcomes.iter().any(|status| *status != 0), "some limit was too low: {outcomes:?}");
}

/// Length fields say a gigabyte, and memory is limited. The program must not allocate what they say.
#[test]
fn false_lengths_allocate_nothing() {
    const HEADER_BYTES: usize = 64;
    const SALT_AT: usize = 28;
    let store = Store::new();
    store.script("PUT a 1\nPUT b 2\n");
    let path = store.path("kv.wal");
    let whole = fs::read(&path).unwrap();
    let salt = u32::from_le_bytes(whole[SALT_AT..SALT_AT + 4].try_into().unwrap());
    // The first frame with another body length, and the right checksum for it.
    for length in [1_u32 << 30, (1 << 30) + 1, u32::MAX, 60_000_000] {
        let mut log = whole.clone();
        let frame = &mut log[HEADER_BYTES..];
        frame[4..8].copy_from_slice(&length.to_le_bytes());
        let mut check = crc32fast::Hasher::new_with_initial(salt);
        check.update(&frame[4..33]);
        let check = check.finalize().to_le_bytes();
        frame[..4].copy_from_slice(&check);
        fs::write(&path, &log).unwrap();
        let output = limited(&store, "ulimit -v 400000", "--batch 1", "SIZE\nPUT c 3\n");
        assert_eq!(text(&output.stdout), "0\nOK\n", "{length}: {}", text(&output.stderr));
        let words = text(&output.stderr);
        assert!(words.contains("damaged at byte 64") || words.contains("torn record at byte 64"), "{length}: {words}");
    }
    // The lengths of the snapshot, in a header with the right checksum. The kept copies of the damaged logs are removed
    // first.
    let beside = fs::read_dir(store.dir.path()).unwrap().map(|entry| entry.unwrap().path());
    beside.filter(|path| path.to_str().unwrap().contains(".damaged-")).for_each(|path| fs::remove_file(path).unwrap());
    store.script("PUT a 1\nSNAP\n");
    let path = store.path("kv.snapshot");
    let whole = fs::read(&path).unwrap();
    for (at, what) in
        [(28, vec![0xff_u8; 4]), (40, vec![0xff; 8]), (48, vec![0xff; 8]), (48, (1_u64 << 40).to_le_bytes().to_vec())]
    {
        let mut snapshot = whole.clone();
        snapshot[at..at + what.len()].copy_from_slice(&what);
        let check = crc32fast::hash(&snapshot[..92]).to_le_bytes();
        snapshot[92..96].copy_from_slice(&check);
        fs::write(&path, &snapshot).unwrap();
        let output = limited(&store, "ulimit -v 400000", "--batch 1", "SIZE\n");
        assert_eq!((text(&output.stdout).as_str(), output.status.code()), ("", Some(3)), "{at}: {}", text(&output.stderr));
        assert_eq!(fs::read(&path).unwrap(), snapshot);
    }
}

/// Files of more than four gibibytes, nearly all of them holes.
#[test]
fn offsets_beyond_four_gibibytes() {
    const LONG: u64 = (4 << 30) + 12_345;
    let store = Store::new();
    store.script("PUT a 1\nSNAP\nPUT b 2\n");
    let snapshot = fs::read(store.path("kv.snapshot")).unwrap();
    if let Err(error) = lengthen(&store.path("kv.snapshot"), LONG) {
        return skipped(&format!("no sparse file of this length here: {error}"));
    }
    let refused = store.cli().write_stdin("SIZE\n").assert().code(3).stdout("");
    refused.stderr(predicate::str::contains(format!("the file has {LONG} bytes, but its header says {}", snapshot.len())));
    // A header that promises this length, and holes where the entries should be.
    let mut header = snapshot[..96].to_vec();
    header[48..56].copy_from_slice(&(LONG - 96).to_le_bytes());
    let check = crc32fast::hash(&header[..92]).to_le_bytes();
    header[92..].copy_from_slice(&check);
    let file = File::create(store.path("kv.snapshot")).unwrap();
    file.write_all_at(&header, 0).unwrap();
    file.set_len(LONG).unwrap();
    store.cli().write_stdin("SIZE\n").assert().code(3).stderr(
        predicate::str::contains("kv.snapshot: damaged at byte 96").and(predicate::str::contains("kv_cli export --salvage")),
    );
    assert_eq!(fs::metadata(store.path("kv.snapshot")).unwrap().len(), LONG);
    fs::write(store.path("kv.snapshot"), snapshot).unwrap();

    let foreign = File::create(store.path("kv.wal")).unwrap();
    foreign.write_all_at(b"not a log\n", 0).unwrap();
    foreign.set_len(LONG).unwrap();
    store.cli().write_stdin("SIZE\n").assert().code(3).stderr(predicate::str::contains("not a kv-engine file"));
    assert_eq!(fs::metadata(store.path("kv.wal")).unwrap().len(), LONG);
}

fn lengthen(path: &Path, length: u64) -> std::io::Result<()> {
    File::options().write(true).open(path).and_then(|file| file.set_len(length))
}

fn a_tail_of_zeros_is_cut(length: u64) {
    let store = Store::new();
    store.script("PUT a 1\nSNAP\nPUT b 2\n");
    if let Err(error) = lengthen(&store.path("kv.wal"), length) {
        return skipped(&format!("no sparse file of this length here: {error}"));
    }
    let opened = store.cli().timeout(std::time::Duration::from_secs(900)).write_stdin("SIZE\nPUT c 3\n").assert().success();
    opened.stdout("2\nOK\n").stderr(""); // it looks like reserved space
    assert!(fs::metadata(store.path("kv.wal")).unwrap().len() < 1_000);
    assert_eq!(store.script("SIZE\n"), "3\n");
}

#[test]
fn a_tail_of_holes_is_cut() {
    a_tail_of_zeros_is_cut(32 << 20);
}

#[test]
#[ignore = "reads four gibibytes: a minute"]
fn a_tail_of_holes_beyond_four_gibibytes_is_cut() {
    a_tail_of_zeros_is_cut((4 << 30) + 12_345);
}

/// Many processes open a store that does not exist yet. Only one at a time has it, and every OK is true.
#[test]
fn processes_that_race_for_a_store() {
    let store = Store::new();
    let mut kept = 0;
    for round in 0..5 {
        let start = |n| {
            store
                .process()
                .args(["--batch", "1", "PUT", &format!("r{round}n{n}"), "1"])
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
        };
        let racers: Vec<Child> = (0..8).map(|n| start(n).unwrap()).collect();
        for racer in racers {
            let output = racer.wait_with_output().unwrap();
            match output.status.code() {
                Some(0) => kept += 1,
                status => {
                    assert!(
                        status == Some(3) && text(&output.stderr).contains(" open, so nothing was done"),
                        "{}",
                        text(&output.stderr)
                    )
                }
            }
        }
        assert!(kept > round, "at least one of them");
    }
    assert_eq!(store.script("SIZE\n"), format!("{kept}\n"));
}

/// All paths lead to the same lock.
#[test]
fn one_store_by_several_paths() {
    let store = Store::new();
    let link = tempfile::tempdir().unwrap();
    let detour = link.path().join("detour");
    symlink(store.dir.path(), &detour).unwrap();
    let mut shell = Shell::on(&store, &["--batch", "1"]);
    assert_eq!(shell.ask("PUT a 1"), "OK");
    let name = store.dir.path().file_name().unwrap();
    for dir in [detour, store.dir.path().join("..").join(name), PathBuf::from(".")] {
        let second = store
            .cli()
            .arg("--wal")
            .arg(dir.join("kv.wal"))
            .arg("--snapshot")
            .arg(dir.join("other"))
            .args(["-c", "SIZE"])
            .assert();
        second.code(3).stderr(predicate::str::contains("has the store "));
    }
    assert_eq!(shell.end().2, Some(0));
}

/// A file of the user has a name that the store needs, or another user has linked a file there.
#[test]
fn files_with_the_names_of_helper_files_are_not_overwritten() {
    for suffix in ["kv.wal.lock", "kv.snapshot.lock"] {
        for linked in [false, true] {
            let store = Store::new();
            let (victim, lock) = (store.path("victim"), store.path(suffix));
            fs::write(&victim, "precious\n").unwrap();
            if linked {
                fs::hard_link(&victim, &lock).unwrap()
            } else {
                fs::copy(&victim, &lock).map(drop).unwrap()
            }
            let refused = store.cli().args(["PUT", "a", "1"]).assert().code(3);
            refused.stderr(predicate::str::contains(format!("{suffix}: the store needs this name for a lock")));
            assert_eq!((fs::read(&victim).unwrap(), fs::read(&lock).unwrap()), (b"precious\n".to_vec(), b"precious\n".to_vec()));
            fs::write(&lock, [0; 40]).unwrap(); // after a power cut, the note in it may be zeros
            store.script("PUT a 1\n");
        }
    }
    for suffix in ["kv.wal.tmp", "kv.snapshot.tmp"] {
        let store = Store::new();
        fs::write(store.path("victim"), "precious\n").unwrap();
        fs::hard_link(store.path("victim"), store.path(suffix)).unwrap();
        store.script("PUT a 1\nSNAP\n");
        assert_eq!(fs::read(store.path("victim")).unwrap(), b"precious\n");
        assert_eq!(fs::read(store.path(suffix)).unwrap(), b"precious\n");
    }
}

#[test]
fn files_of_other_users_and_modes() {
    const NOBODY: u32 = 65534;
    let store = Store::new();
    store.script("PUT a 1\nSNAP\nPUT b 2\n");
    let before = bytes_of(&store);
    let as_nobody = |args: &[&str]| {
        let ids = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".into(), KV_CLI.into()];
        store.program("setpriv").args(ids).args(args).stdin(Stdio::null()).output()
    };
    fs::set_permissions(store.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    if !as_nobody(&["--version"]).is_ok_and(|output| output.status.success()) {
        return skipped("this program cannot be run as another user here");
    }
    for (mode, file_mode) in [(0o700, 0o600), (0o755, 0o600), (0o755, 0o444), (0o777, 0o666), (0o1777, 0o666)] {
        fs::set_permissions(store.dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        let files: Vec<PathBuf> = before.iter().map(|(path, _)| path.clone()).collect();
        files.iter().for_each(|path| fs::set_permissions(path, fs::Permissions::from_mode(file_mode)).unwrap());
        let output = as_nobody(&["PUT", "c", "3"]).unwrap();
        let err = text(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(3), 0), "{mode:o} {file_mode:o}: {err}");
        assert!(err.contains("Permission denied") || err.contains("belongs to user"), "{mode:o} {file_mode:o}: {err}");
    }
    assert!(bytes_of(&store) == before);
}

/// The directory of an open store is moved away, and another store begins under its name. The first store must not
/// replace the log and the snapshot of the other one.
#[test]
fn a_directory_that_is_replaced_while_the_store_is_open() {
    let store = Store::new();
    let home = store.path("home");
    fs::create_dir(&home).unwrap();
    let paths = ["--batch", "1", "--wal", "home/kv.wal", "--snapshot", "home/kv.snapshot"];
    let mut first = Shell::on(&store, &paths);
    assert_eq!(first.ask("PUT first 1"), "OK");
    fs::rename(&home, store.path("away")).unwrap();
    fs::create_dir(&home).unwrap();
    store.cli().args(paths).write_stdin("PUT second 1\nSNAP\nPUT third 1\n").assert().success();
    first.say("SNAP");
    let (answers, err, status) = first.end();
    assert!(status == Some(4) && !answers.contains("OK") && err.contains("replaced by another file"), "{err}");
    store.cli().args(paths).write_stdin("KEYS\n").assert().success().stdout("second\nthird\n");
    let away = ["--wal", "away/kv.wal", "--snapshot", "away/kv.snapshot"];
    store.cli().args(away).write_stdin("KEYS\n").assert().success().stdout(predicate::str::contains("first\n"));
}

#[test]
fn a_directory_that_is_removed_while_the_store_is_open() {
    let store = Store::new();
    let mut shell = Shell::on(&store, &["--batch", "1"]);
    assert_eq!(shell.ask("PUT a 1"), "OK");
    fs::remove_dir_all(store.dir.path()).unwrap();
    shell.say("SNAP");
    let (answers, err, status) = shell.end();
    assert!(status == Some(4) && answers.is_empty() && err.contains("the log was removed"), "{err}");
    assert!(!store.dir.path().exists());
}

/// A signal ends the process while it works. Every acknowledged write is kept, with any batch size.
#[test]
fn signals_under_load_keep_every_ok() {
    for (at, which) in [Signal::TERM, Signal::HUP, Signal::INT, Signal::TERM, Signal::HUP, Signal::INT].into_iter().enumerate() {
        if is_ignored(which) {
            continue;
        }
        let store = Store::new();
        let mut shell = Shell::on(&store, &["--batch", ["1", "7", "1000000"][at % 3]]);
        assert_eq!(shell.ask("PUT k0 1"), "OK");
        let mut to = shell.to;
        let feeder = std::thread::spawn(move || {
            for chunk in 0.. {
                let lines: String = (1..100).map(|n| format!("PUT k{} 1\n", chunk * 100 + n)).collect();
                if to.write_all(lines.as_bytes()).and_then(|()| to.write_all(if at > 2 { b"SNAP\n" } else { b"" })).is_err() {
                    return;
                }
            }
        });
        let mut answers = String::new();
        (0..50 + 100 * at).for_each(|_| assert!(shell.from.read_line(&mut answers).unwrap() > 0));
        signal(&shell.child, which);
        shell.from.read_to_string(&mut answers).unwrap();
        assert_eq!(shell.child.wait().unwrap().code(), Some(128 + which.as_raw()));
        feeder.join().unwrap();
        let oks = 1 + answers.lines().filter(|&line| line == "OK").count();
        assert_eq!(store.script("SIZE\n"), format!("{oks}\n"), "{which:?}");
    }
}

/// A short run of the SIGKILL torture. The program checks itself.
#[test]
fn processes_killed_at_random_instants() {
    let store = Store::new();
    let mut command = store.process();
    let output = command
        .env("TMPDIR", store.dir.path())
        .args(["torture", "--rung", "kills", "--states", "40", "--ledger"])
        .output()
        .unwrap();
    let err = text(&output.stdout);
    assert!(output.status.success(), "{err}{}", text(&output.stderr));
    assert!(err.ends_with("rung kills tried=40 failed=0 skipped=0\n"), "{err}");
    assert!(fs::read_dir(store.dir.path()).unwrap().next().is_none(), "the temporary stores are removed");
}
