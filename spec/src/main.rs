//! Checks the right protocol in every state, tells how each wrong one loses, and follows the real
//! engine along the model. `--long` does so within larger bounds.

use kv_spec::wrong::{CASES, Case};
use kv_spec::{check, conform, runs, story};
use std::process::ExitCode;
use std::time::Instant;

#[derive(Default)]
struct Totals {
    tried: usize,
    failed: usize,
}

impl Totals {
    fn end(&self, rung: &str) {
        println!("rung {rung} tried={} failed={} skipped=0\n", self.tried, self.failed);
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let long = arguments.iter().any(|argument| argument == "--long");
    let known = ["model", "trace"];
    let parts: Vec<&str> = arguments.iter().map(String::as_str).filter(|argument| *argument != "--long").collect();
    if let Some(unknown) = parts.iter().find(|part| !known.contains(part)) {
        eprintln!("unknown argument {unknown}; usage: kv-spec [--long] [model] [trace]");
        return ExitCode::from(2);
    }
    let wanted = |part| parts.is_empty() || parts.contains(&part);
    let mut failed = 0;
    if wanted("model") {
        failed += model(long).failed;
    }
    if wanted("trace") {
        failed += trace(long).failed;
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn model(long: bool) -> Totals {
    let mut totals = Totals::default();
    println!("== the right protocol, in every state within bounds");
    for run in runs::right(long) {
        let began = Instant::now();
        let visited = check::every_state(run.bounds, 2);
        let took = began.elapsed().as_secs_f64();
        let ended = if visited.exhausted { "all visited" } else { "NOT ENDED" };
        println!(
            "{}\n  {} states, {} steps, longest way {}, {ended}, {took:.1} s",
            run, visited.states, visited.steps, visited.depth
        );
        totals.tried += visited.states;
        totals.failed += usize::from(!visited.exhausted);
        for (property, history) in &visited.violated {
            println!("  VIOLATED: {property}\n{}", story::tell(history));
            totals.failed += 1;
        }
        for property in &visited.missing {
            println!("  NEVER HAPPENS: {property}");
            totals.failed += 1;
        }
    }
    println!("\n== wrong protocols, and how each of them loses");
    for case in CASES {
        match wrong(case) {
            Some(states) => totals.tried += states,
            None => totals.failed += 1,
        }
    }
    println!();
    totals.end("model");
    totals
}

fn wrong(case: &Case) -> Option<usize> {
    println!("\n{}; breaks: {}", case.title, case.breaks);
    match check::counterexample(case) {
        Some(found) => {
            print!("{}", story::tell(&found.history));
            Some(found.states)
        }
        None => {
            println!("  NO COUNTEREXAMPLE within {:?}", case.bounds);
            None
        }
    }
}

fn trace(long: bool) -> Totals {
    println!("== the real engine on the simulated disk, as a path of the model");
    let report = conform::run(runs::workloads(long));
    println!(
        "{} workloads: {} changes of the disk, {} calls and {} failed syncs followed; {} disks after crashes opened by the real recovery",
        report.traces, report.changes, report.calls, report.failed_syncs, report.opened
    );
    for failure in &report.failures {
        println!("  {failure}");
    }
    let totals = Totals { tried: report.traces + report.opened, failed: report.failures.len() };
    totals.end("conformance");
    totals
}
