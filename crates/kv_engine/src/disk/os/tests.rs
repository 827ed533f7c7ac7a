//! The real disk on real files.

use super::super::{Aligned, write_all_direct_at};
use super::*;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

fn text<T>(result: io::Result<T>) -> String {
    result.map(drop).unwrap_err().to_string()
}

#[test]
fn anything_but_a_regular_file_is_refused_by_its_kind_and_never_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (pipe, socket, below) = (dir.path().join("pipe"), dir.path().join("socket"), dir.path().join("file/below"));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let _listener = UnixListener::bind(&socket).unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let opened: [fn(&Path) -> io::Result<()>; 3] =
        [|path| OsDisk.open(path).map(drop), |path| OsDisk.open_read(path).map(drop), |path| OsDisk.lock(path).map(drop)];
    for open in opened {
        assert_eq!(text(open(&pipe)), "is not a regular file");
        assert_eq!(text(open(&socket)), "is not a regular file");
        assert_eq!(text(open(dir.path())), "is a directory");
        assert_eq!(open(&below).unwrap_err().kind(), io::ErrorKind::NotADirectory, "the error of the system");
    }
}

/// For aligned and other offsets, lengths and memory, in turn with reads and writes through the cache.
#[test]
fn direct_reads_and_writes_have_the_bytes_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = OsDisk.create_new(&dir.path().join("file")).unwrap();
    let mut expected = vec![0; 40_000];
    let mut memory = Aligned::with_capacity(40_000);
    memory.resize(40_000);
    for (n, (at, from, count)) in [
        (0, 0, 30_000),
        (4096, 4096, 8192),
        (8192, 0, 4096),
        (100, 0, 5000),
        (8192, 1, 9000),
        (4096, 0, 100),
        (20_480, 0, 19_520),
    ]
    .into_iter()
    .enumerate()
    {
        memory[from..from + count].fill(n as u8 + 1);
        expected[at..at + count].fill(n as u8 + 1);
        write_all_direct_at(&*file, at as u64, &memory[from..from + count]).unwrap();
        write_all_at(&*file, 7, &[n as u8]).unwrap();
        expected[7] = n as u8;
    }
    assert!(std::fs::read(dir.path().join("file")).unwrap() == expected);
    for (at, from, count) in [(0, 0, 40_000), (4096, 4096, 4096), (4096, 1, 4096), (1, 0, 10_000), (36_864, 0, 3000)] {
        memory.resize(0);
        memory.resize(40_000);
        let mut done = 0;
        while done < count {
            done += file.read_direct_at((at + done) as u64, &mut memory[from + done..from + count]).unwrap();
        }
        assert!(memory[from..from + count] == expected[at..at + count], "{at} {from} {count}");
    }
    assert_eq!(file.read_direct_at(40_960, &mut memory[..4096]).unwrap(), 0, "behind the end");
}

#[cfg(target_os = "linux")]
#[test]
fn only_whole_blocks_bypass_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let file = OsFile::new(options(true).create_new(true).open(dir.path().join("file")).unwrap());
    let mut memory = Aligned::with_capacity(3 * DIRECT_BYTES);
    memory.resize(3 * DIRECT_BYTES);
    assert!(file.direct(1, &memory).is_none() && file.direct(0, &memory[1..]).is_none());
    assert!(file.direct(0, &memory[..DIRECT_BYTES - 1]).is_none() && file.direct.get().is_none());
    file.direct(DIRECT_BYTES as u64, &memory[..DIRECT_BYTES]);
    assert!(file.direct.get().is_some(), "opened once");
    assert_eq!([0, 4095, 4096, 8191, 8192].map(whole_blocks), [0, 0, 4096, 4096, 8192]);
    let refused = |kind: io::ErrorKind| is_refused(&Err(kind.into()));
    assert!(refused(io::ErrorKind::InvalidInput) && !refused(io::ErrorKind::StorageFull) && !is_refused(&Ok(0)));
}

/// For one file direct reads fail, for another direct writes.
#[cfg(target_os = "linux")]
#[test]
fn refused_direct_io_goes_through_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let refusing = |name: &str, direct: io::Result<fs::File>| {
        let file = options(true).create_new(true).open(dir.path().join(name)).unwrap();
        OsFile { file, direct: OnceLock::from(Some(direct.unwrap())) }
    };
    let mut memory = Aligned::with_capacity(5000);
    memory.resize(5000);
    let file = refusing("read", fs::File::open("/proc/self/ns/mnt"));
    assert!(is_refused(&file.direct(0, &memory).unwrap().read_at(&mut memory, 0)));
    file.write_at(0, &[7; 6000]).unwrap();
    assert_eq!(file.read_direct_at(0, &mut memory).unwrap(), 5000);
    assert!(memory.iter().all(|&byte| byte == 7));
    let file = refusing("written", fs::File::options().write(true).open("/proc/self/coredump_filter"));
    assert!(is_refused(&file.direct(0, &memory).unwrap().write_at(&memory, 0)));
    assert_eq!(file.write_direct_at(0, &memory).unwrap(), 5000);
    assert!(fs::read(dir.path().join("written")).unwrap() == memory[..]);
}

#[test]
fn errors_of_the_system_are_passed_on() {
    let this_program = std::env::current_exe().unwrap();
    assert_eq!(OsDisk.open(&this_program).unwrap_err().kind(), io::ErrorKind::ExecutableFileBusy);
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let pipe = OsFile::new(fs::OpenOptions::new().read(true).write(true).open(pipe).unwrap());
    assert_eq!(pipe.sync().unwrap_err().kind(), io::ErrorKind::InvalidInput, "a pipe cannot be synced");
}

#[test]
fn a_name_without_a_directory_is_in_the_current_directory() {
    assert_eq!(parent(Path::new("kv.wal")), Path::new("."));
    assert_eq!(parent(Path::new("/data/kv.wal")), Path::new("/data"));
    assert_eq!(parent(Path::new("/")), Path::new("."));
    OsDisk.sync_dir(Path::new("kv.wal")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    assert!(OsDisk.sync_dir(&dir.path().join("nowhere/kv.wal")).is_err());
}

#[test]
fn the_owner_of_a_file_matters_only_in_a_shared_directory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "").unwrap();
    let mode = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
    for shared in [0o777, 0o720, 0o702] {
        mode(shared);
        OsDisk.open(&path).unwrap(); // our own
    }
    if std::os::unix::fs::chown(&path, Some(65534), None).is_err() {
        return; // only root can change the owner
    }
    for (shared, refused) in [(0o777, true), (0o720, true), (0o702, true), (0o755, false), (0o700, false)] {
        mode(shared);
        assert_eq!(OsDisk.open(&path).is_err(), refused, "{shared:o}");
        assert!(OsDisk.open_read(&path).unwrap().is_some(), "reading only does no harm");
    }
}

#[test]
fn time_goes_on_and_random_numbers_differ() {
    let began = OsDisk.now();
    std::thread::sleep(Duration::from_millis(2));
    let passed = OsDisk.now() - began;
    assert!((Duration::from_millis(2)..Duration::from_secs(3600)).contains(&passed), "{passed:?}");
    let drawn: std::collections::HashSet<u64> = (0..1000).map(|_| OsDisk.entropy()).collect();
    assert_eq!(drawn.len(), 1000);
}

#[test]
fn a_note_replaces_the_earlier_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let lock = OsDisk.lock(&path).unwrap();
    lock.write_note("a long note\n");
    lock.write_note("short\n");
    assert_eq!(fs::read(&path).unwrap(), b"short\n");
}

#[test]
fn reserved_space_is_zeros_up_to_the_requested_length() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let file = OsFile::new(options(true).create_new(true).open(&path).unwrap());
    for len in [200_000, 3, 10, 3 + 2 * ZEROS.len()] {
        file.set_len(0).unwrap();
        file.write_at(0, b"abc").unwrap();
        file.reserve(3, len as u64).unwrap();
        let mut expected = b"abc".to_vec();
        expected.resize(len, 0);
        assert!(fs::read(&path).unwrap() == expected, "{len}");
        assert!(fs::metadata(&path).unwrap().blocks() * 512 >= len as u64, "{len}: a hole has no space");
    }
    file.set_len(0).unwrap();
    file.reserve(0, 10).unwrap();
    assert_eq!(fs::read(&path).unwrap(), [0; 10]);
    let before = file.size().unwrap();
    assert!(OsFile::new(fs::File::open(&path).unwrap()).reserve(before, before + 1).is_err(), "it is open for reading only");
    assert_eq!(file.size().unwrap(), before);
}

#[test]
fn only_one_open_file_holds_the_lock_of_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let open = || OsFile::new(options(true).create(true).open(&path).unwrap());
    let (one, other) = (open(), open());
    one.try_lock().unwrap();
    assert_eq!(other.try_lock().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    one.unlock();
    other.try_lock().unwrap();
}

#[test]
fn a_lock_knows_whether_its_name_shows_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let (path, other) = (dir.path().join("lock"), dir.path().join("other"));
    let lock = OsDisk.lock(&path).unwrap();
    assert!(lock.is_in_place());
    fs::write(&other, "").unwrap();
    fs::rename(&other, &path).unwrap();
    assert!(!lock.is_in_place(), "another one");
    fs::remove_file(&path).unwrap();
    assert!(!lock.is_in_place(), "none");
}

/// A child process that another thread starts has a copy of the descriptor until its `exec`.
#[test]
fn a_lock_ends_with_its_value_although_a_copy_of_its_file_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let file = options(true).create(true).open(&path).unwrap();
    file.try_lock().unwrap();
    let copy = file.try_clone().unwrap();
    assert_eq!(OsDisk.lock(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(OsLock { file, path: path.clone(), is_new: false });
    OsDisk.lock(&path).unwrap();
    drop(copy);
}
