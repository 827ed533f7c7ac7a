//! Crash enumeration on the simulated disk, the short run; and the simulated disk against the real
//! one: on any sequence of operations both say the same.
#![allow(clippy::unwrap_used, missing_docs)]

use kv_engine::disk::sim::{Choices, Fate, Image, SimDisk, World};
use kv_engine::disk::{Disk, File, OsDisk};
use kv_engine::torture::{Report, fault_plans, workload};
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;

#[test]
fn no_crash_loses_a_promised_write_or_is_refused() {
    let mut total = Report::default();
    for seed in 1..=120 {
        total.add(workload(seed));
    }
    assert!(total.failures.is_empty(), "{}", total.failures.join("\n"));
    assert_eq!((total.lost_writes, total.refused), (0, 0));
    assert!(total.states() > 80_000 && total.power_cuts > 15_000 && total.second_crashes > 20_000, "{total:?}");
}

#[test]
fn no_failing_operation_loses_a_promised_write() {
    let mut total = Report::default();
    for seed in 1..=8 {
        total.add(fault_plans(seed));
    }
    assert!(total.failures.is_empty(), "{}", total.failures.join("\n"));
    assert_eq!((total.lost_writes, total.refused), (0, 0));
    assert!(total.fault_plans > 8_000 && total.fault_states > 60_000, "{total:?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    assert_eq!(format!("{:?}", workload(7)), format!("{:?}", workload(7)));
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

/// What an operation answers, in words that do not depend on the disk.
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

/// Keeps nothing that was not synced.
struct Nothing;

impl Choices for Nothing {
    fn fate(&mut self) -> Fate {
        Fate::Lost
    }
    fn pick(&mut self, count: usize) -> usize {
        count - 1
    }
    fn garbage(&mut self) -> u8 {
        0
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
        // After the death of a process the next one sees all of it; and what was synced, names too,
        // survives any power cut.
        let world = sim.world();
        for (path, bytes) in world.after_death(None) {
            prop_assert_eq!(std::fs::read(path).unwrap(), bytes);
        }
        for n in 0..3 {
            run(&sim, dir.path(), &Step::Sync(n));
        }
        run(&sim, dir.path(), &Step::SyncDir);
        let world = sim.world();
        prop_assert_eq!(world.after_power_cut(&mut Nothing), world.after_death(None));
    }
}

#[test]
fn what_is_not_synced_may_be_lost_and_what_is_may_not() {
    let path = Path::new("/sim/file");
    let disk = SimDisk::new(&Image::new(), 1);
    let cut = |disk: &SimDisk| disk.world().after_power_cut(&mut Nothing);
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
