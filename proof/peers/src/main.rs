//! Runs this store, other stores and the floor through the same work. In each round they run one after the other, so
//! that other load on the machine affects all of them. Prints a Markdown table for each row, whether its goals are
//! met, and one machine-readable line for each figure.

mod report;
mod rows;
mod stores;
mod work;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use report::Samples;
use rows::{ROWS, Row, Run, Steps, Task, durable};
use rustix::process::{Signal, getpid, kill_process};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use stores::{KINDS, Kind};

/// Compare this store with other stores, and with the limits of the disk and the caches.
#[derive(Parser)]
struct Args {
    /// The rows to run [default: all; see --list]
    #[arg(value_name = "ROW")]
    rows: Vec<String>,
    /// How often each store runs each row
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Run only these stores
    #[arg(long, value_delimiter = ',')]
    stores: Vec<String>,
    /// Do a twentieth of the work: this shows that it runs, not how fast
    #[arg(long)]
    quick: bool,
    /// The directory for the stores' files, on the disk to measure
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// List the rows, and the stores that are built in
    #[arg(long)]
    list: bool,
    /// Instead of measuring, count the syncs of a hundred durable puts with strace
    #[arg(long)]
    check_durable: bool,
    /// For a process of its own: row, store, step, directory
    #[arg(long, num_args = 4, hide = true)]
    one: Option<Vec<String>>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.one {
        Some(words) => one(words, args.quick).map(|()| true),
        None if args.list => list().map(|()| true),
        None => compare(&args),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("compare-peers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn list() -> Result<()> {
    for row in ROWS {
        println!("{:<18} {}", row.name, row.about);
    }
    let stores: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
    println!("\nstores: {}", stores.join(" "));
    Ok(())
}

fn row(name: &str) -> Result<&'static Row> {
    ROWS.iter().find(|row| row.name == name).with_context(|| format!("there is no row {name}; --list shows all rows"))
}

fn kind(name: &str) -> Result<&'static Kind> {
    KINDS
        .iter()
        .find(|kind| kind.name == name)
        .with_context(|| format!("store {name} is not built in; --list shows the stores that are"))
}

/// Runs one step of one row with one store, in this process.
fn one(words: &[String], quick: bool) -> Result<()> {
    let [row_name, kind_name, step, dir] = words else { bail!("--one takes four words") };
    let task = Task { kind: kind(kind_name)?, dir: Path::new(dir), quick };
    if row_name == "durable" {
        durable::put(&task, step.parse()?)?;
        return Ok(());
    }
    let (run, ends_killed): (Run, bool) = match (&row(row_name)?.steps, step.as_str()) {
        (Steps::One(run), _) => (*run, false),
        (Steps::FillThenCopies(fill, _), "fill") => (*fill, true),
        (Steps::FillThenSame(fill, _), "fill") => (*fill, false),
        (Steps::FillThenCopies(_, run) | Steps::FillThenSame(_, run), _) => (*run, false),
    };
    for (name, value) in run(&task)? {
        println!("figure {name} {value}");
    }
    if ends_killed {
        kill_process(getpid(), Signal::KILL)?;
    }
    Ok(())
}

fn compare(args: &Args) -> Result<bool> {
    let kinds: Vec<&Kind> = match &args.stores[..] {
        [] => KINDS.iter().collect(),
        names => names.iter().map(|name| kind(name)).collect::<Result<_>>()?,
    };
    let rows: Vec<&Row> = match &args.rows[..] {
        [] => ROWS.iter().collect(),
        names => names.iter().map(|name| row(name)).collect::<Result<_>>()?,
    };
    if args.check_durable {
        return durable::check(&kinds, &args.dir);
    }
    print_machine(args)?;
    let mut all_ran = true;
    for row in rows {
        all_ran &= compare_row(row, &kinds, args)?;
    }
    Ok(all_ran)
}

fn compare_row(row: &Row, kinds: &[&'static Kind], args: &Args) -> Result<bool> {
    let scratch = tempfile::tempdir_in(&args.dir)?;
    let mut kinds: Vec<_> = kinds.iter().copied().filter(|kind| row.shows(kind.name)).collect();
    let mut samples = Samples::default();
    let mut all_ran = true;
    for round in 0..args.rounds as usize {
        let mut failed = Vec::new();
        for place in 0..kinds.len() {
            let kind = kinds[(place + round) % kinds.len()];
            eprintln!("{} round {} of {}: {}", row.name, round + 1, args.rounds, kind.name);
            match run(row, kind, scratch.path(), args.quick) {
                Ok(figures) => figures.iter().for_each(|(name, value)| samples.add(kind.name, name, *value)),
                Err(error) => {
                    println!("{}: {} is left out: {error:#}", row.name, kind.name);
                    samples.remove(kind.name);
                    failed.push(kind.name);
                    all_ran = false;
                }
            }
        }
        kinds.retain(|kind| !failed.contains(&kind.name));
    }
    samples.print(row);
    Ok(all_ran)
}

type Named = Vec<(String, f64)>;

/// Runs one round of one row with one store.
fn run(row: &Row, kind: &Kind, scratch: &Path, quick: bool) -> Result<Named> {
    let filled = scratch.join(kind.name);
    let fill = |killed| -> Result<()> {
        if !filled.exists() {
            fs::create_dir(&filled)?;
            child(row, kind, "fill", &filled, quick, killed)?;
        }
        Ok(())
    };
    let of_this_round = tempfile::tempdir_in(scratch)?;
    let dir = match row.steps {
        Steps::One(_) => of_this_round.path(),
        Steps::FillThenSame(..) => {
            fill(false)?;
            &filled
        }
        Steps::FillThenCopies(..) => {
            fill(true)?;
            copy(&filled, of_this_round.path())?;
            rustix::fs::sync();
            of_this_round.path()
        }
    };
    child(row, kind, "run", dir, quick, false)
}

fn child(row: &Row, kind: &Kind, step: &str, dir: &Path, quick: bool, ends_killed: bool) -> Result<Named> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--one", row.name, kind.name, step]).arg(dir);
    if quick {
        command.arg("--quick");
    }
    let output = command.output()?;
    let as_meant = if ends_killed { output.status.signal() == Some(Signal::KILL.as_raw()) } else { output.status.success() };
    ensure!(as_meant, "{step}: {}, {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    let figure = |line: &str| -> Option<(String, f64)> {
        let (name, value) = line.strip_prefix("figure ")?.split_once(' ')?;
        Some((name.to_string(), value.parse().ok()?))
    };
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(figure).collect())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&to)?;
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// Prints the machine, without which the figures say nothing.
fn print_machine(args: &Args) -> Result<()> {
    let first = |path: &str, prefix: &str| -> String {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(prefix)).unwrap_or_default().to_string();
        line.split_once(':').map_or(line.clone(), |(_, value)| value.trim().to_string())
    };
    let cores = std::thread::available_parallelism()?;
    println!("machine: {}, {cores} cores, {}", first("/proc/cpuinfo", "model name"), first("/proc/meminfo", "MemTotal"));
    println!("system: Linux {}, load {}", first("/proc/sys/kernel/osrelease", ""), first("/proc/loadavg", ""));
    println!("disk: {}", file_system(&args.dir)?);
    println!("stores: {}", versions());
    println!("rounds: {}{}", args.rounds, if args.quick { ", quick: do not use these figures" } else { "" });
    Ok(())
}

/// The line of the mount that holds `dir`.
fn file_system(dir: &Path) -> Result<String> {
    let dir = dir.canonicalize()?;
    let mounts = fs::read_to_string("/proc/mounts")?;
    let mount = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (_device, at, kind, options) = (words.next()?, words.next()?, words.next()?, words.next()?);
        dir.starts_with(at).then(|| (at.len(), format!("{kind} ({options})")))
    });
    Ok(mount.max().map_or_else(|| "unknown".to_string(), |(_, text)| text))
}

/// The versions of the other stores, as they were built in.
fn versions() -> String {
    const CRATES: [&str; 6] = ["fjall", "heed", "raft-engine", "redb", "librocksdb-sys", "libsqlite3-sys"];
    let lock = include_str!("../Cargo.lock");
    let version = |name: &str| {
        let at = lock.find(&format!("name = \"{name}\"\nversion = \""))?;
        let version = lock[at..].split('"').nth(3)?;
        Some(format!("{name} {version}"))
    };
    CRATES.into_iter().filter_map(version).collect::<Vec<_>>().join(", ")
}
