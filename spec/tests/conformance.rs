//! The real engine on the simulated disk is a path of the model, and the real recovery agrees with it.

use kv_spec::{conform, runs};

#[test]
fn the_engine_is_a_path_of_the_model() {
    let report = conform::run(runs::workloads(false));
    assert_eq!(report.failures, [""; 0]);
    let enough = report.changes > 10_000 && report.calls > 2_000 && report.opened > 10_000 && report.failed_syncs > 20;
    assert!(enough, "followed too little: {report:?}");
}
