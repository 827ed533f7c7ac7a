//! The short runs of crash enumeration on the simulated disk. Also the simulated disk against the real one: any
//! sequence of operations gives the same answers on both.
#![allow(clippy::unwrap_used, missing_docs)]

use kv_engine::disk::sim::{Fate, FaultPlan, Image, Model, PowerCut, Rest, SimDisk, World};
use kv_engine::disk::{Disk, File, OsDisk};
use kv_engine::torture::{Case, Report, fault_plans, recovery, regressions, story, weak_disks, workload};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Checks the counts of failures. Prints every failure, and the story of the first one.
fn nothing_wrong(report: &Report) {
    let first = report.cases.first().map(story).unwrap_or_default();
    assert!(report.failures.is_empty(), "{}\n\n{first}", report.failures.join("\n"));
    assert_eq!((report.lost_writes, report.refused), (0, 0));
}

fn total(seeds: impl Iterator<Item = u64>, run: fn(u64) -> Report) -> Report {
    let mut total = regressions();
    nothing_wrong(&total);
    seeds.for_each(|seed| total.add(run(seed)));
    nothing_wrong(&total);
    total
}

#[test]
fn no_crash_loses_a_promised_write_or_is_refused() {
    let total = total(1..=120, workload);
    assert!(total.states() > 80_000 && total.power_cuts > 15_000 && total.second_crashes > 20_000, "{total:?}");
    assert!(total.interleaved > 300, "few writes happened in the middle of a checkpoint: {}", total.interleaved);
    assert!(total.told > 400 && total.full > 20 && total.viewed > 2_000, "few submissions or views: {total:?}");
}

#[test]
fn no_crash_in_recovery_loses_a_promised_write_or_is_refused() {
    let total = total(1..=20, recovery);
    assert!(total.second_crashes > 20_000 && total.third_crashes > 1_000, "{total:?}");
}

#[test]
fn no_failing_operation_loses_a_promised_write() {
    let total = total([1, 3, 4, 6, 7].into_iter(), fault_plans); // 4, 6 and 7 have submissions
    assert!(total.fault_plans > 4_000 && total.recovery_fault_plans > 5_000 && total.fault_states > 50_000, "{total:?}");
}

#[test]
fn a_disk_that_breaks_its_word_makes_the_store_serve_nothing_that_never_was() {
    let total = total(1..=40, weak_disks);
    assert!(total.weak_states > 20_000 && total.weak_refused > 1_000, "{total:?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    assert_eq!(format!("{:?}", workload(7)), format!("{:?}", workload(7)));
}

/// Where a crash must have been tried: the phase, the kind of change, and the files. The test also fails for an entry
/// that is not listed, so the list is complete. Recovery writes a snapshot only if values are to stay in a snapshot
/// that has no index.
const EVERYWHERE: [(&str, &str, &[&str]); 18] = [
    ("behind recovery", "set the length", &["log"]),
    ("behind recovery", "sync", &["log"]),
    ("behind recovery", "write", &["log"]),
    ("recovery", "create", &["new log", "new snapshot"]),
    ("recovery", "drop the cache", &["log", "new snapshot", "snapshot"]),
    ("recovery", "remove", &["new log", "new snapshot"]),
    ("recovery", "rename", &["kept log", "log", "snapshot"]),
    ("recovery", "set the length", &["log"]),
    ("recovery", "sync", &["log", "new log", "new snapshot", "snapshot"]),
    ("recovery", "sync the directory", &["directory"]),
    ("recovery", "write", &["log", "new log", "new snapshot"]),
    ("workload", "create", &["new log", "new snapshot"]),
    ("workload", "drop the cache", &["log", "new snapshot", "snapshot"]),
    ("workload", "rename", &["log", "snapshot"]),
    ("workload", "set the length", &["log", "new log"]),
    ("workload", "sync", &["log", "new log", "new snapshot", "snapshot"]),
    ("workload", "sync the directory", &["directory"]),
    ("workload", "write", &["log", "new log", "new snapshot"]),
];

#[test]
fn each_change_to_each_file_is_crashed_at() {
    let found = total((1..=30).chain((32..=72).step_by(4)), workload).covered;
    let files = EVERYWHERE.iter().flat_map(|(when, change, files)| files.iter().map(move |file| (*when, *change, *file)));
    let expected: BTreeSet<_> = files.collect();
    assert_eq!(found.keys().copied().collect::<BTreeSet<_>>(), expected);
    assert!(found.values().all(|&times| times >= 20), "{found:?}");
}

/// One operation on one of three names.
#[derive(Clone, Debug)]
enum Step {
    Create(usize),
    Write(usize, u64, Vec<u8>),
    SetLen(usize, u64),
    Rename(usize, usize),
    Remove(usize),
    Sync(usize),
    SyncDir,
    Read(usize, u64, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..3_usize;
    prop_oneof![
        name.clone().prop_map(Step::Create),
        (name.clone(), 0..3000_u64, proptest::collection::vec(any::<u8>(), 0..1200))
            .prop_map(|(n, at, bytes)| Step::Write(n, at, bytes)),
        (name.clone(), 0..3000_u64).prop_map(|(n, len)| Step::SetLen(n, len)),
        (name.clone(), name.clone()).prop_map(|(from, to)| Step::Rename(from, to)),
        name.clone().prop_map(Step::Remove),
        name.clone().prop_map(Step::Sync),
        Just(Step::SyncDir),
        (name, 0..4000_u64, 0..2000_usize).prop_map(|(n, at, count)| Step::Read(n, at, count)),
    ]
}

/// The answer of an operation, in words that do not depend on the disk.
fn run(disk: &dyn Disk, dir: &Path, step: &Step) -> String {
    let path = |n: &usize| dir.join(format!("file{n}"));
    let on = |n: &usize, f: &dyn Fn(Arc<dyn File>) -> String| match disk.open(&path(n)).unwrap() {
        None => "no file".to_string(),
        Some(file) => f(file),
    };
    let kind = |done: std::io::Result<()>| format!("{:?}", done.map_err(|error| error.kind()));
    match step {
        Step::Create(n) => kind(disk.create_new(&path(n)).map(drop)),
        Step::Write(n, at, bytes) => on(n, &|file| format!("{:?}", file.write_at(*at, bytes).unwrap())),
        Step::SetLen(n, len) => on(n, &|file| kind(file.set_len(*len))),
        Step::Rename(from, to) if from == to => String::new(),
        Step::Rename(from, to) => kind(disk.rename(&path(from), &path(to))),
        Step::Remove(n) => kind(disk.remove(&path(n))),
        Step::Sync(n) => on(n, &|file| {
            file.drop_cache();
            kind(file.sync())
        }),
        Step::SyncDir => kind(disk.sync_dir(&path(&0))),
        Step::Read(n, at, count) => on(n, &|file| {
            let mut bytes = vec![0; *count];
            let got = file.read_at(*at, &mut bytes).unwrap();
            format!("{} {:?}", file.size().unwrap(), &bytes[..got])
        }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_simulated_disk_and_the_real_one_say_the_same(steps in proptest::collection::vec(step(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let sim = SimDisk::new(&Image::new(), 1);
        for step in &steps {
            prop_assert_eq!(run(&sim, dir.path(), step), run(&OsDisk, dir.path(), step), "{:?}", step);
        }
        // After the death of a process, the next one sees all changes. Synced content under a synced name survives any
        // power cut.
        let world = sim.world();
        for (path, bytes) in world.after_death(None) {
            prop_assert_eq!(std::fs::read(path).unwrap(), bytes);
        }
        for n in 0..3 {
            run(&sim, dir.path(), &Step::Sync(n));
        }
        run(&sim, dir.path(), &Step::SyncDir);
        let world = sim.world();
        prop_assert_eq!(world.after_power_cut(&PowerCut::nothing()), world.after_death(None));
    }
}

#[test]
fn what_is_not_synced_may_be_lost_and_what_is_may_not() {
    let path = Path::new("/sim/file");
    let disk = SimDisk::new(&Image::new(), 1);
    let cut = |disk: &SimDisk| disk.world().after_power_cut(&PowerCut::nothing());
    let file = disk.create_new(path).unwrap();
    file.write_at(0, b"synced").unwrap();
    file.sync().unwrap();
    assert!(cut(&disk).is_empty(), "its name is not durable");
    disk.sync_dir(path).unwrap();
    file.write_at(6, b", not").unwrap();
    assert_eq!(cut(&disk)[path], b"synced");
    assert_eq!(disk.world().after_death(None)[path], b"synced, not");
    assert_eq!(disk.world().after_death(Some(2))[path], b"synced, ");
    disk.rename(path, Path::new("/sim/other")).unwrap();
    assert_eq!(cut(&disk).keys().collect::<Vec<_>>(), [path]);
    assert_eq!(World::of(&cut(&disk)).after_death(None), cut(&disk));
}

/// A disk with one durable file that holds `bytes`.
fn disk_with(path: &Path, bytes: &[u8]) -> (SimDisk, Arc<dyn File>) {
    let disk = SimDisk::new(&Image::from([(path.to_path_buf(), bytes.to_vec())]), 1);
    let file = disk.open(path).unwrap().unwrap();
    (disk, file)
}

#[test]
fn where_nothing_was_written_the_bytes_of_a_file_that_is_gone_may_stand() {
    let (old, new) = (Path::new("/sim/old"), Path::new("/sim/new"));
    let (disk, _) = disk_with(old, b"0123456789");
    disk.remove(old).unwrap();
    let file = disk.create_new(new).unwrap();
    disk.sync_dir(new).unwrap();
    file.set_len(4).unwrap();
    file.write_at(6, b"new").unwrap();
    let cut = |fates: &[Fate], hole| {
        let cut = PowerCut { fates: fates.to_vec(), rests: vec![Rest { length: 0, hole }] };
        disk.world().after_power_cut(&cut)[new].clone()
    };
    assert_eq!(disk.world().unit_names().len(), 2);
    assert_eq!(cut(&[Fate::Kept, Fate::Kept], 0), b"\x00\x00\x00\x00\x00\x00new");
    assert_eq!(cut(&[Fate::Lost, Fate::Kept], 1), b"012345new");
    assert_eq!(cut(&[Fate::Lost, Fate::Lost], 1), b"012345678");
    assert_eq!(cut(&[Fate::Kept, Fate::Stale(0)], 0), b"\x00\x00\x00\x00\x00\x00678");
    assert_eq!(cut(&[Fate::Kept, Fate::Torn(4)], 0), b"\x00\x00\x00\x00\x00\x00n\x00\x00");
}

#[test]
fn each_model_of_a_failing_sync_leaves_what_its_file_system_leaves() {
    let path = Path::new("/sim/file");
    let planned = |plan: &str| {
        let (disk, file) = disk_with(path, b"old");
        let disk = disk.with_faults(plan.parse::<FaultPlan>().unwrap());
        file.write_at(0, b"new").unwrap();
        (disk, file)
    };
    let seen = |file: &Arc<dyn File>| {
        let mut bytes = [0; 3];
        file.read_at(0, &mut bytes).unwrap();
        bytes
    };
    // Operation 0 was the opening. Operation 1 is the write.
    for (plan, seen_after, later_sync) in [
        ("2-ext4-once", b"new", true),
        ("2-btrfs-once", b"old", true),
        ("2-ext4-ever", b"new", false),
        ("2-btrfs-ever", b"old", false),
    ] {
        let (disk, file) = planned(plan);
        assert!(file.sync().is_err(), "{plan}");
        assert_eq!(&seen(&file), seen_after, "{plan}");
        for _ in 0..5 {
            assert_eq!(file.sync().is_ok(), later_sync, "{plan}");
        }
        assert_eq!(disk.world().after_power_cut(&PowerCut::nothing())[path], b"old", "{plan}");
    }
    let (_, file) = planned("2-eio-dead");
    assert!(file.sync().is_err() && file.write_at(0, b"x").is_err() && file.read_at(0, &mut [0]).is_err());
}

#[test]
fn calls_are_interrupted_and_cut_short_as_planned() {
    let planned = |plan: &str| disk_with(Path::new("/sim/file"), b"12345678").0.with_faults(plan.parse().unwrap());
    let open = |disk: &SimDisk| disk.open(Path::new("/sim/file")).unwrap().unwrap();
    let file = open(&planned("2-eintr-3"));
    let kinds: Vec<_> = (0..5).map(|_| file.write_at(0, b"x").map_err(|error| error.kind())).collect();
    assert_eq!(kinds[..4], [Err(std::io::ErrorKind::Interrupted); 3].into_iter().chain([Ok(1)]).collect::<Vec<_>>());
    for (name, writes, reads) in [("short0", 0, 0), ("short1", 1, 1), ("half", 4, 4), ("allbut1", 7, 7)] {
        let written = open(&planned(&format!("2-{name}-once"))).write_at(0, b"abcdefgh").unwrap();
        let read = open(&planned(&format!("2-{name}-once"))).read_at(0, &mut [0; 8]).unwrap();
        assert_eq!((written, read), (writes, reads), "{name}");
    }
    let file = open(&planned("2-full-2"));
    let full: Vec<_> = (0..3).map(|_| file.write_at(0, b"abcdefgh").map_err(|error| error.kind())).collect();
    assert_eq!(full, [Ok(4), Err(std::io::ErrorKind::StorageFull), Ok(8)]);
}

#[test]
fn a_write_that_takes_no_byte_is_an_error_above_the_seam() {
    let healthy = SimDisk::new(&Image::new(), 1);
    let options = |disk: &SimDisk| kv_engine::Options::new("/sim/kv.wal", "/sim/kv.snapshot").disk(Arc::new(disk.clone()));
    drop(options(&healthy).open().unwrap());
    let at = healthy.operations().len() + 1; // after space was reserved
    let disk = SimDisk::new(&Image::new(), 1).with_faults(format!("{at}-short0-once").parse().unwrap());
    let engine = options(&disk).open().unwrap();
    assert!(matches!(engine.put("x", "100"), Err(kv_engine::Error::NoSpace { .. })));
    assert!(disk.has_failed() && engine.put("x", "101").is_ok());
}

#[test]
fn weak_disks_are_weak_as_their_model_says() {
    let path = Path::new("/sim/file");
    let lost = |model| {
        let (disk, file) = disk_with(path, b"old");
        let mut world = disk.world();
        world.model = model;
        file.write_at(3, b" and new").unwrap();
        file.sync().unwrap();
        disk.trace().iter().for_each(|change| world.apply(change));
        world.after_power_cut(&PowerCut::nothing())[path].clone()
    };
    assert_eq!(lost(Model::Any), b"old and new");
    assert_eq!(lost(Model::Lying), b"old");
    let torn = |model| {
        let (disk, file) = disk_with(path, b"old");
        file.write_at(3, b" and new").unwrap();
        let mut world = disk.world();
        world.model = model;
        world.after_power_cut(&"T4/0+0".parse().unwrap())[path].clone()
    };
    assert_eq!(torn(Model::Any), b"old and\x00\x00\x00\x00");
    assert_eq!(torn(Model::NoPsow)[3..], *b" and\x00\x00\x00\x00");
    assert_ne!(torn(Model::NoPsow)[..3], *b"old");
}

#[test]
fn a_case_is_read_as_it_is_written() {
    for text in [
        "17:45.die:3.kill",
        "1-3..5,8:lying@2:9.cut=K3L1T17G5S0/0+1,2+0",
        "8:12-eio-ever@30.kill7:2-btrfs-dead@4.cut=/1+0",
        "8:1-errno99-once@3.die:0-full-2@4.kill",
    ] {
        assert_eq!(text.parse::<Case>().unwrap().to_string(), text);
    }
    for wrong in ["", "17", "x:1.die", "1:die", "1:2.cut=X3", "1:2-eio@3.die", "1:2.die:3"] {
        assert!(wrong.parse::<Case>().is_err(), "{wrong}");
    }
    for wrong in ["x-eio-once", "2-ouch-once", "2-errnox-once", "2-eio-often", "2-eio--1"] {
        assert!(format!("1:{wrong}@3.die").parse::<Case>().is_err(), "{wrong}");
    }
    for wrong in ["K", "K99999", "Kx", "/3", "/+", "/x+1", "/1+x"] {
        assert!(format!("1:2.cut={wrong}").parse::<Case>().is_err(), "{wrong}");
    }
}

#[test]
fn a_read_of_no_byte_is_not_taken_for_the_end_of_a_file() {
    let options = |disk: &SimDisk| kv_engine::Options::new("/sim/kv.wal", "/sim/kv.snapshot").disk(Arc::new(disk.clone()));
    let healthy = SimDisk::new(&Image::new(), 1);
    let engine = options(&healthy).open().unwrap();
    for key in ["a", "b", "c"] {
        engine.put(key, "value").unwrap();
    }
    drop(engine);
    let sound = healthy.world().after_death(None);
    let mut damaged = sound.clone();
    damaged.get_mut(Path::new("/sim/kv.wal")).unwrap()[130] ^= 1;
    for (image, lasts) in [(&sound, 3), (&damaged, 0)] {
        let disk = SimDisk::new(image, 1);
        drop(options(&disk).open().unwrap());
        for at in 0..disk.operations().len() {
            let disk = SimDisk::new(image, 1).with_faults(format!("{at}-short0-once").parse().unwrap());
            let opened = options(&disk).open();
            if let Ok(engine) = &opened {
                assert_eq!(engine.recovery().last_seq, lasts, "operation {at}");
            }
            let left = disk.world().after_death(None);
            let kept = left.values().any(|bytes| *bytes == image[Path::new("/sim/kv.wal")]);
            assert!(kept || *image == sound, "operation {at}: the damaged log was lost");
            drop(opened);
            assert_eq!(options(&SimDisk::new(&left, 2)).open().unwrap().recovery().last_seq, lasts, "operation {at}");
        }
    }
}

/// If the log is damaged while the store is open, no checkpoint is made and nothing is released. Nothing is written
/// behind the damage either, because the next opening would not find it.
#[test]
fn a_checkpoint_of_a_damaged_log_releases_nothing() {
    let log = Path::new("/sim/kv.wal");
    let disk = SimDisk::new(&Image::new(), 1);
    let options = kv_engine::Options::new(log, "/sim/kv.snapshot").disk(Arc::new(disk.clone()));
    let engine = options.open().unwrap();
    for (key, value) in [("a", "first"), ("b", "second"), ("c", "third")] {
        engine.put(key, value).unwrap();
    }
    let at = disk.world().after_death(None)[log].windows(6).position(|bytes| bytes == b"second").unwrap();
    disk.open(log).unwrap().unwrap().write_at(at as u64, b"S").unwrap();
    let before = disk.world().after_death(None);
    let error = engine.snapshot().unwrap_err();
    assert!(matches!(error, kv_engine::Error::Lost { .. }) && error.to_string().contains("damaged at byte"), "{error}");
    assert_eq!(disk.world().after_death(None), before, "a file was made or changed");
    assert_eq!(engine.get("b").unwrap().as_deref(), Some(&b"second"[..]));
    assert!(matches!(engine.put("d", "fourth"), Err(kv_engine::Error::Lost { .. })));
}

/// The words of a story: the kind of each change, its file, and the units that a power cut decides on.
#[test]
fn what_a_crash_decides_has_words() {
    let (one, other) = (Path::new("/sim/one"), Path::new("/sim/other"));
    let disk = SimDisk::new(&Image::new(), 1).with_faults("3-ext4-once".parse().unwrap());
    let file = disk.create_new(one).unwrap();
    file.write_at(510, b"over").unwrap();
    file.set_len(600).unwrap();
    assert!(file.sync().is_err());
    let described = |disk: &SimDisk| {
        let mut world = World::default();
        let mut words = Vec::new();
        for change in disk.trace() {
            words.push(format!("{} {}", change.kind(), world.subject(&change)));
            world.apply(&change);
        }
        words
    };
    let file_of = |what: &str| format!("{what} /sim/one");
    assert_eq!(described(&disk), ["create", "write", "set the length", "failed sync"].map(file_of));
    file.write_at(510, b"over").unwrap();
    file.set_len(700).unwrap();
    disk.rename(one, other).unwrap();
    disk.remove(other).unwrap();
    assert_eq!(
        disk.world().unit_names(),
        [
            "the creation of /sim/one",
            "the renaming of /sim/one to /sim/other",
            "the removal of /sim/other",
            "bytes 510 to 512 of file 0 without a name",
            "bytes 512 to 514 of file 0 without a name",
            "the length 700 of file 0 without a name",
        ]
    );
}
