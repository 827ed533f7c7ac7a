//! The right protocol holds in every state within small bounds. Each wrong protocol has a counterexample.

use kv_spec::cases::CASES;
use kv_spec::model::{Action, Bounds};
use kv_spec::{check, runs, story};

#[test]
fn the_right_protocol_holds_in_every_state() {
    for run in runs::right(false) {
        let visited = check::every_state(run.bounds, 2);
        let violated: Vec<String> =
            visited.violated.iter().map(|(property, history)| format!("{property}\n{}", story::tell(history))).collect();
        assert!(violated.is_empty(), "{run}: {}", violated.join("\n"));
        assert!(visited.missing.is_empty(), "{run}: these never happen: {:?}", visited.missing);
        assert!(visited.exhausted, "{run}: the search did not end");
    }
}

#[test]
fn each_wrong_protocol_has_a_counterexample() {
    let without: Vec<&str> = CASES.iter().filter(|case| check::counterexample(case).is_none()).map(|case| case.title).collect();
    assert_eq!(without, [""; 0], "no counterexample");
}

#[test]
fn without_its_mistake_a_wrong_protocol_has_none() {
    for case in CASES {
        let visited = check::every_state(case.bounds, 2);
        assert!(visited.violated.is_empty(), "{}: {:?}", case.title, visited.violated.first().map(|(property, _)| property));
    }
}

#[test]
fn a_counterexample_is_the_shortest() {
    let case = &CASES[0]; // acknowledge before sync
    let found = check::counterexample(case).expect("there is a counterexample");
    let actions: Vec<&Action> = found.history.iter().filter_map(|(_, action)| action.as_ref()).collect();
    let count = |wanted: fn(&Action) -> bool| actions.iter().filter(|action| wanted(action)).count();
    assert_eq!(count(|action| matches!(action, Action::Append { .. })), 1, "{}", story::tell(&found.history));
    assert_eq!(count(|action| matches!(action, Action::PowerCut(_) | Action::Die { .. })), 1);
    assert_eq!(count(|action| matches!(action, Action::Sync | Action::Snapshot)), 0);
}

#[test]
fn a_story_is_told_in_numbered_sentences() {
    let found = check::counterexample(&CASES[0]).expect("there is a counterexample");
    let story = story::tell(&found.history);
    let lines: Vec<&str> = story.lines().collect();
    assert_eq!(lines[1], "  2. A client puts a: write 1 is appended to the buffer.");
    assert_eq!(lines[3], "  4. OK: writes up to 1 are promised to be durable.");
    assert_eq!(lines[4], "  5. Power is cut; the disk keeps log (header).");
    assert_eq!(lines[lines.len() - 1], "  7. Write 1 was promised and is lost.");
}

#[test]
fn without_crashes_few_things_happen_and_the_report_lists_the_others() {
    let visited = check::every_state(Bounds { puts: 1, ..Bounds::NONE }, 1);
    assert!(visited.violated.is_empty());
    assert!(visited.missing.contains(&"a torn tail is found"), "{:?}", visited.missing);
}
