//! Runs every kept input through its target, without libFuzzer. Also checks that the inputs reach the cases that they
//! are kept for.
#![allow(clippy::unwrap_used)]

use kv_engine_fuzz::input::Input;
use kv_engine_fuzz::reference::{self, LogTail};
use kv_engine_fuzz::{TARGETS, forge, store};
use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn the_corpora_pass() {
    for (name, run) in TARGETS {
        let inputs = inputs(name);
        assert!(inputs.len() >= 20, "{name} has {} inputs", inputs.len());
        for (path, data) in inputs {
            assert!(catch_unwind(|| run(&data)).is_ok(), "{name} fails with {}", path.display());
        }
    }
}

#[test]
fn the_corpora_are_small() {
    let sizes = TARGETS.map(|(name, _)| inputs(name).iter().map(|(_, data)| data.len()).sum::<usize>());
    assert!(sizes.iter().sum::<usize>() < 500_000, "{sizes:?}");
    assert!(TARGETS.iter().all(|(name, _)| inputs(name).len() <= 300));
}

/// The inputs get past the checksums: they are logs that are whole, torn or damaged, with every fault, and refused
/// ones.
#[test]
fn forged_logs_end_in_every_way() {
    let (mut ends, mut faults) = (BTreeSet::new(), BTreeSet::new());
    for (_, data) in inputs("frame") {
        let bytes = forge::log(&mut Input::new(&data));
        match reference::open(Some(&bytes), None, kv_engine::Recovery::Prefix).map(|opened| opened.tail) {
            Ok(LogTail::Clean) => drop(ends.insert("clean".to_string())),
            Ok(LogTail::Torn(cut) | LogTail::Damaged(cut)) => {
                ends.insert(if cut.promised > 0 { "promised" } else { "unpromised" }.to_string());
                faults.insert(format!("{:?}", cut.fault));
            }
            Err(refusal) => drop(ends.insert(format!("{refusal:?}"))),
        }
    }
    let all = ["Damaged", "Foreign", "Mismatch", "Version", "clean", "promised", "unpromised"];
    assert!(ends.iter().eq(all), "{ends:?}");
    let all = ["BodyChecksum", "Chain", "Content", "HeadChecksum", "Sequence", "Short"];
    assert!(faults.iter().eq(all), "{faults:?}");
}

/// The reference reads the files that the engine writes. So both agree on which files are sound.
#[test]
fn the_reference_reads_what_the_engine_writes() {
    let disk = kv_engine::disk::sim::SimDisk::new(&store::image(None, None), 1);
    let engine = store::options(&disk).open().unwrap();
    for n in 0..20_u8 {
        engine.put([n % 7], [n; 5]).unwrap();
        if n == 10 {
            engine.snapshot().unwrap();
        }
    }
    engine.close().unwrap();
    let files = store::files(&disk);
    let (log, snapshot) = (store::file(&files, store::LOG), store::file(&files, store::SNAPSHOT));
    let opened = reference::open(log, snapshot, kv_engine::Recovery::Strict).unwrap();
    assert_eq!((opened.snapshot_seq, opened.replayed, opened.last, opened.tail), (11, 9, 20, LogTail::Clean));
    assert!(opened.closed && opened.map.len() == 7);
}
