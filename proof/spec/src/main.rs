//! Checks the right protocol in every state, shows how each wrong protocol loses writes, and follows the real engine
//! along the model. `--long` uses larger bounds. Numbers after `trace` select workloads.

use kv_spec::cases::CASES;
use kv_spec::check::Found;
use kv_spec::{check, conform, runs, story};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    let is_part = |argument: &&str| *argument != "--long" && argument.parse::<u64>().is_err();
    let parts: Vec<&str> = arguments.iter().map(String::as_str).filter(is_part).collect();
    if let Some(unknown) = parts.iter().find(|part| !known.contains(part)) {
        eprintln!("unknown argument {unknown}. Usage: kv-spec [--long] [model] [trace [WORKLOAD...]]");
        return ExitCode::from(2);
    }
    let chosen: Vec<u64> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let wanted = |part| parts.is_empty() || parts.contains(&part);
    let mut failed = 0;
    if wanted("model") {
        failed += model(long).failed;
    }
    if wanted("trace") {
        failed += trace(long, chosen).failed;
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
        let ended = if visited.exhausted { "all visited" } else { "NOT FINISHED" };
        println!(
            "{}\n  {} states, {} steps, at most {} steps deep, {ended}, {took:.1} s",
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
    println!("\n== wrong protocols, and the history that breaks each of them");
    for (case, found) in CASES.iter().zip(counterexamples()) {
        println!("\n{}; breaks: {}", case.title, case.breaks);
        match found {
            Some(found) => {
                print!("{}", story::tell(&found.history));
                totals.tried += found.states;
            }
            None => {
                println!("  NO COUNTEREXAMPLE within {:?}", case.bounds);
                totals.failed += 1;
            }
        }
    }
    println!();
    totals.end("model");
    totals
}

/// The counterexample of each case, searched for on two threads.
fn counterexamples() -> Vec<Option<Found>> {
    let next = AtomicUsize::new(0);
    let found: Vec<OnceLock<Option<Found>>> = CASES.iter().map(|_| OnceLock::new()).collect();
    let worker = || {
        let mine = || Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((CASES.get(at)?, &found[at])));
        while let Some((case, found)) = mine() {
            found.get_or_init(|| check::counterexample(case));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(worker);
        worker();
    });
    found.into_iter().map(|found| found.into_inner().expect("every case was searched")).collect()
}

fn trace(long: bool, chosen: Vec<u64>) -> Totals {
    println!("== the real engine on the simulated disk, followed along the model");
    let seeds = if chosen.is_empty() { (1..=runs::workloads(long)).collect() } else { chosen };
    let report = conform::run(&seeds);
    println!(
        "{} workloads: {} changes of the disk, {} calls and {} failed syncs agree; the real recovery opened {} disks after crashes",
        report.traces, report.changes, report.calls, report.failed_syncs, report.opened
    );
    for (seed, why) in &report.failures {
        println!("  workload {seed}: {why}; repeat with: scripts/dev/spec trace {seed}");
    }
    let totals = Totals { tried: report.traces + report.opened, failed: report.failures.len() };
    totals.end("conformance");
    totals
}
