//! The real engine on the simulated disk takes a path of the model, and the real recovery agrees with the model's.

use kv_spec::{conform, runs};

#[test]
fn the_engine_is_a_path_of_the_model() {
    let report = conform::run(&(1..=runs::workloads(false)).collect::<Vec<u64>>());
    assert_eq!(report.failures, []);
    let enough = report.changes > 20_000 && report.calls > 5_000 && report.opened > 50_000 && report.failed_syncs > 200;
    assert!(enough, "too few disks or changes were followed: {report:?}");
}
