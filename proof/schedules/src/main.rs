//! Runs the threads of the store under many schedules. Shuttle runs one thread at a time, and decides at each lock,
//! wait and disk operation which thread runs next. For one half of the schedules the choices are random. For the other
//! half they follow PCT with 3 changes of priority (Burckhardt et al., "A Randomized Scheduler with Probabilistic
//! Guarantees of Finding Bugs", ASPLOS 2010).
//!
//! Every schedule follows from a seed. A failing schedule is printed and can be repeated. Run it as
//! `scripts/dev/schedules`, which builds the store for it.
//!
//! ```text
//! scripts/dev/schedules [SCHEDULES]                   all scenes, as a table
//! scripts/dev/schedules --scene NAME [SCHEDULES]      one scene
//! scripts/dev/schedules --replay NAME SCHEDULE        one schedule, as it was printed
//! scripts/dev/schedules --all [AT MOST]               every schedule of the smallest scenes
//! ```
#[cfg(not(shuttle))]
compile_error!("the store must be built with --cfg shuttle: use scripts/dev/schedules");

mod draw;
mod follow;
mod history;
mod play;
mod scenes;
mod stage;
mod submitter;

use draw::Draw;
use play::{opening_operations, play};
use scenes::{Named, SCENES, smallest};
use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, RoundRobinScheduler, Scheduler};
use shuttle::{Config, Runner};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Schedules of one seed.
const JOB: u64 = 500;
const PCT_DEPTH: usize = 3;
/// If no schedule ends in this time, a thread must be in an endless loop.
const PATIENCE_SECONDS: u64 = 30;

/// Schedules begun by all threads.
static BEGUN: AtomicU64 = AtomicU64::new(0);

/// The counts of one scene and one way to choose.
#[derive(Default)]
struct Count {
    tried: AtomicU64,
    failed: AtomicBool,
    /// For the job that failed: the number of schedules it had tried, and its seed.
    at: Mutex<Option<(u64, u64)>>,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().ok().filter(|n| *n > 0);
    let named = |name: &str| SCENES.iter().find(|(n, _)| *n == name);
    match words[..] {
        [] => explore(&SCENES, 100_000),
        [n] if number(n).is_some() => explore(&SCENES, number(n).expect("just parsed")),
        ["--scene", name] if named(name).is_some() => explore(&[*named(name).expect("just found")], 10_000),
        ["--scene", name, n] if named(name).is_some() && number(n).is_some() => {
            explore(&[*named(name).expect("just found")], number(n).expect("just parsed"))
        }
        ["--replay", name, schedule] if named(name).is_some() => {
            let (_, scene) = *named(name).expect("just found");
            let opening = opening();
            shuttle::replay(
                move || play(scene(&mut Draw(shuttle::rand::Rng::r#gen(&mut shuttle::rand::thread_rng()))), opening),
                schedule,
            );
            println!("the schedule passes");
            ExitCode::SUCCESS
        }
        ["--all"] => all(None),
        ["--all", n] if number(n).is_some() => all(number(n)),
        _ => {
            eprintln!(
                "Usage: scripts/dev/schedules [SCHEDULES] | --scene NAME [SCHEDULES] | --replay NAME SCHEDULE | --all [AT MOST]"
            );
            eprintln!("scenes: {}", SCENES.map(|(name, _)| name).join("; "));
            ExitCode::from(2)
        }
    }
}

/// Ends the program if no schedule ends for a long time. Shuttle cannot stop a thread that runs without a lock, a wait
/// or a disk operation.
fn watch() {
    std::thread::spawn(|| {
        loop {
            let before = BEGUN.load(Ordering::Relaxed);
            std::thread::sleep(Duration::from_secs(PATIENCE_SECONDS));
            let tried = BEGUN.load(Ordering::Relaxed);
            if tried == before {
                println!("a thread runs in an endless loop and lets no other thread run");
                println!("rung schedules tried={tried} failed=1 skipped=0");
                std::process::exit(1);
            }
        }
    });
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = 0x20000;
    config.max_steps = shuttle::MaxSteps::FailAfter(100_000);
    config
}

/// The number of operations of an opening, counted once.
fn opening() -> u64 {
    let counted = std::sync::Arc::new(AtomicU64::new(0));
    let inside = std::sync::Arc::clone(&counted);
    Runner::new(RoundRobinScheduler::new(1), config()).run(move || inside.store(opening_operations(), Ordering::Relaxed));
    counted.load(Ordering::Relaxed)
}

/// Runs this number of schedules of the scenes, half of them with each way to choose.
fn explore(scenes: &[Named], schedules: u64) -> ExitCode {
    let began = Instant::now();
    let opening = opening();
    let each = schedules.div_ceil(scenes.len() as u64 * 2);
    let counts: Vec<[Count; 2]> = scenes.iter().map(|_| Default::default()).collect();
    let jobs: Vec<(usize, usize, u64, u64)> = (0..each.div_ceil(JOB))
        .flat_map(|part| {
            (0..scenes.len()).flat_map(move |scene| (0..2).map(move |way| (scene, way, part, JOB.min(each - part * JOB))))
        })
        .collect();
    watch();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((scene, way, part, many)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let count = &counts[*scene][*way];
            if !count.failed.load(Ordering::Relaxed) {
                job(scenes[*scene], *way, seed(*scene, *way, *part), *many, opening, count);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });

    println!("{:<20} {:>10} {:>10}   result", "scene", "random", "PCT");
    let (mut tried, mut failed) = (0, 0);
    for ((name, _), ways) in scenes.iter().zip(&counts) {
        let [random, pct] = ways.each_ref().map(|count| count.tried.load(Ordering::Relaxed));
        tried += random + pct;
        let mut result = String::new();
        for (count, way) in ways.iter().zip(["random", "PCT"]) {
            if let Some((at, seed)) = *count.at.lock().expect("never poisoned") {
                failed += 1;
                result += &format!("FAILED ({way}: schedule {at} of seed {seed}) ");
            }
        }
        println!("{name:<20} {random:>10} {pct:>10}   {}", if result.is_empty() { "passed" } else { &result });
    }
    println!("{tried} schedules in {:.1} s", began.elapsed().as_secs_f64());
    println!("rung schedules tried={tried} failed={failed} skipped=0");
    if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn seed(scene: usize, way: usize, part: u64) -> u64 {
    Draw((scene as u64) << 40 | (way as u64) << 32 | part).next()
}

fn job((name, scene): Named, way: usize, seed: u64, many: u64, opening: u64, count: &Count) {
    let many = usize::try_from(many).expect("a job is small");
    let tried = std::sync::Arc::new(AtomicU64::new(0));
    let inside = std::sync::Arc::clone(&tried);
    let one = move || {
        inside.fetch_add(1, Ordering::Relaxed);
        BEGUN.fetch_add(1, Ordering::Relaxed);
        play(scene(&mut Draw(shuttle::rand::Rng::r#gen(&mut shuttle::rand::thread_rng()))), opening);
    };
    let run = || match way {
        0 => run(RandomScheduler::new_from_seed(seed, many), one),
        _ => run(PctScheduler::new_from_seed(seed, PCT_DEPTH, many), one),
    };
    let failed = catch_unwind(AssertUnwindSafe(run)).is_err();
    let tried = tried.load(Ordering::Relaxed);
    count.tried.fetch_add(tried, Ordering::Relaxed);
    if failed && !count.failed.swap(true, Ordering::Relaxed) {
        *count.at.lock().expect("never poisoned") = Some((tried, seed));
        eprintln!(
            "scene '{name}' failed. Repeat it with: scripts/dev/schedules --replay '{name}' SCHEDULE (SCHEDULE is printed above)"
        );
    }
}

fn run(scheduler: impl Scheduler + 'static, one: impl Fn() + Send + Sync + 'static) {
    Runner::new(scheduler, config()).run(one);
}

/// Runs every schedule of the smallest scenes, or at most this number of each.
fn all(at_most: Option<u64>) -> ExitCode {
    let opening = opening();
    let at_most = at_most.map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    watch();
    let mut total = 0;
    for (writers, batch_size) in [(2, 1), (2, 2), (3, 3), (3, 1)] {
        let began = Instant::now();
        let one = move || {
            BEGUN.fetch_add(1, Ordering::Relaxed);
            play(smallest(writers, batch_size), opening);
        };
        let run = || Runner::new(DfsScheduler::new(at_most, false), config()).run(one);
        let Ok(tried) = catch_unwind(AssertUnwindSafe(run)) else {
            println!("rung all-schedules tried={} failed=1 skipped=0", BEGUN.load(Ordering::Relaxed));
            return ExitCode::FAILURE;
        };
        let ended = if at_most.is_none_or(|most| tried < most) { "all schedules" } else { "not all" };
        let seconds = began.elapsed().as_secs_f64();
        println!("{writers} writers with one put each, batch size {batch_size}: {tried} schedules in {seconds:.1} s, {ended}");
        total += tried;
    }
    println!("rung all-schedules tried={total} failed=0 skipped=0");
    ExitCode::SUCCESS
}
