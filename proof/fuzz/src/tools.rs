//! A log and a snapshot, with or without an index. Every way of reading is tried on them: a store with its values in
//! the snapshot or in memory, EXPORT, salvage, `verify`, `replay`, `wal` and `wal --follow`.
//!
//! None of them panics, hangs, or requests more memory than the files justify. A store opens to the same state
//! wherever its values are. An export has the same entries, and salvage loses none of them.

use crate::input::Input;
use crate::{bounded, forge, store};
use kv_engine::disk::sim::{Image, SimDisk};
use kv_engine::inspect::{self, Follow};
use kv_engine::{Engine, Error, Recovery, export, replay::replay};
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::LazyLock;

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// Tries every way of reading on the forged files.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.byte();
    let log = (choice & 3 != 3).then(|| forge::log(&mut input.part()));
    let snapshot = match choice >> 2 & 3 {
        0 => None,
        1 => Some(forge::snapshot(&mut input.part())),
        _ => Some(forge::indexed(&mut input.part())),
    };
    let bytes = log.as_ref().map_or(0, Vec::len) + snapshot.as_ref().map_or(0, Vec::len);
    bounded(bytes, || {
        let image = store::image(log.as_deref(), snapshot.as_deref());
        let opened = in_memory(&image);
        stays_in_snapshot(&image, choice, opened.as_ref());
        from_files(log.as_deref(), snapshot.as_deref(), opened.as_ref(), input.rest());
    });
}

fn held(engine: &Engine) -> Result<Entries, Error> {
    engine.scan("").map(|entry| entry.map(|(key, value)| (key, value.to_vec()))).collect()
}

/// The state of the files, if they are one sound store.
fn in_memory(image: &Image) -> Option<Entries> {
    let engine = store::options(&SimDisk::new(image, 1)).recovery(Recovery::Strict).open().ok()?;
    Some(held(&engine).expect("reading memory"))
}

fn stays_in_snapshot(image: &Image, choice: u8, opened: Option<&Entries>) {
    let disk = SimDisk::new(image, 1);
    let cache_bytes = [0, 1 << 14][usize::from(choice >> 4 & 1)];
    let options = || store::options(&disk).values_in_snapshot(cache_bytes);
    let policy = if choice & 0x20 == 0 { Recovery::Strict } else { Recovery::Prefix };
    let engine = match options().recovery(policy).open() {
        Ok(engine) => engine,
        Err(error) => {
            return assert!(opened.is_none(), "files that open in memory do not open with values in the snapshot: {error}");
        }
    };
    let Some(opened) = opened else {
        // Something in it is damaged. Reads that do not touch the damage are answered.
        let first = held(&engine).ok().and_then(|held| held.into_keys().next()).unwrap_or_else(|| b"a".to_vec());
        drop((engine.get(&first), engine.delete(&first), engine.put("b", "new"), engine.count()));
        drop((engine.snapshot(), engine.close()));
        return;
    };
    assert_eq!(held(&engine).expect("the files are sound"), *opened);
    assert_eq!(engine.count().expect("the files are sound"), opened.len() as u64);
    let mut expected = opened.clone();
    if let Some(first) = opened.keys().next() {
        assert_eq!(engine.get(first).expect("the files are sound").as_deref(), opened.get(first).map(|value| &value[..]));
        if engine.delete(first).is_ok() {
            expected.remove(first);
        }
    }
    if engine.put("b", "new").is_ok() {
        expected.insert(b"b".to_vec(), b"new".to_vec());
    }
    assert_eq!(held(&engine).expect("the files are sound"), expected);
    engine.snapshot().expect("no error on a healthy disk");
    assert_eq!(held(&engine).expect("the snapshot was just saved"), expected);
    engine.close().expect("no error on a healthy disk");
    drop(engine);
    let engine = options().recovery(Recovery::Strict).open().expect("the store was closed cleanly");
    assert_eq!(held(&engine).expect("the files are sound"), expected);
}

/// Real files, in a directory of this process.
static REAL: LazyLock<[PathBuf; 2]> = LazyLock::new(|| {
    let dir = std::env::temp_dir().join(format!("kv-engine-fuzz-tools-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a directory for temporary files");
    [dir.join("kv.wal"), dir.join("kv.snapshot")]
});

fn from_files(log: Option<&[u8]>, snapshot: Option<&[u8]>, opened: Option<&Entries>, more: &[u8]) {
    let [log_path, snapshot_path] = &*REAL;
    for (path, bytes) in [(log_path, log), (snapshot_path, snapshot)] {
        match bytes {
            Some(bytes) => fs::write(path, bytes).expect("room for a small file"),
            None => drop(fs::remove_file(path)),
        }
    }
    let verified = inspect::verify(log_path, snapshot_path);
    assert!(!verified.to_string().is_empty());
    let mut salvaged = Entries::new();
    let report = export::salvage(log_path, snapshot_path).each(|key, value| {
        salvaged.insert(key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    });
    assert_eq!(report.entries, salvaged.len() as u64);
    let mut exported = Entries::new();
    let export = export::read(log_path, snapshot_path).and_then(|export| {
        export.each(|key, value| {
            exported.insert(key.to_vec(), value.to_vec());
            ControlFlow::Continue(())
        })
    });
    if let (Ok(()), Some(opened)) = (&export, opened) {
        assert!(exported == *opened, "an export differs from the state that the store opens to");
        // Behind a torn end it also reads writes that were never promised.
        assert!(
            !report.notes.is_empty() || salvaged == *opened,
            "salvage of sound files differs from the state that the store opens to"
        );
    }
    let until = more.first().map(|&seq| u64::from(seq));
    drop(replay(log_path, snapshot_path, until, |_| {}));
    drop(inspect::log(log_path, inspect::snapshot_seq(snapshot_path), |_| ControlFlow::Continue(())));
    // `--follow` reads again when the log grows and when it shrinks.
    if let (Ok(mut follow), Some(log)) = (Follow::new(log_path), log) {
        for bytes in [log, &[log, more].concat(), &log[..log.len() / 2], log] {
            fs::write(log_path, bytes).expect("room for a small file");
            drop(follow.look(|_| ControlFlow::Continue(())));
        }
    }
}
