//! The real engine on the simulated disk is a path of the model, and the real recovery agrees with it.

use kv_spec::{conform, runs};

#[test]
fn the_engine_is_a_path_of_the_model() {
    let report = conform::run(runs::workloads(false));
    assert_eq!(report.failures, [""; 0]);
    let enough = report.changes > 5_000 && report.calls > 1_000 && report.opened > 10_000 && report.failed_syncs > 10;
    assert!(enough, "followed too little: {report:?}");
}
