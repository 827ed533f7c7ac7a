//! The process that mounts and works. It is not the process that serves the disk: a thread that waits for a disk of
//! its own process could never be ended. It reads one command per line and answers one line each: `ok …` or `wrong …`.

use crate::check;
use crate::failing;
use crate::filesystem::FileSystem;
use crate::mounts::LoopDevice;
use crate::run::{Notes, Run};
use crate::served;
use crate::workload::Workload;
use anyhow::{Context, Result, anyhow, bail};
use std::fmt;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A job for a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Job {
    /// Mount and unmount.
    Mount,
    /// Run a workload on a healthy disk.
    Run { seed: u64 },
    /// Run a workload on a healthy disk, through the server.
    Serve { seed: u64 },
    /// Open the store that a crash has left.
    Check { seed: u64, promised: u64, issued: u64, go_on: bool },
    /// Run a workload on a disk on which one write fails.
    Failing { seed: u64, after: u64 },
    /// Run out of room without the file system noticing.
    Thin,
}

/// FUSE splits requests longer than 128 KiB.
const FUSE_REQUEST_KIB: u32 = 64;

/// Steps of a workload.
const STEPS: usize = 60;

pub(crate) fn workload(seed: u64) -> Workload {
    Workload::of(seed, STEPS)
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Job::Mount => write!(f, "mount"),
            Job::Run { seed } => write!(f, "run {seed}"),
            Job::Serve { seed } => write!(f, "serve {seed}"),
            Job::Check { seed, promised, issued, go_on } => write!(f, "check {seed} {promised} {issued} {}", u64::from(*go_on)),
            Job::Failing { seed, after } => write!(f, "failing {seed} {after}"),
            Job::Thin => write!(f, "thin"),
        }
    }
}

impl Job {
    fn parse(line: &str) -> Result<Job> {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let numbers = words.map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        Ok(match (name, &numbers[..]) {
            ("mount", []) => Job::Mount,
            ("run", &[seed]) => Job::Run { seed },
            ("serve", &[seed]) => Job::Serve { seed },
            ("check", &[seed, promised, issued, go_on]) => Job::Check { seed, promised, issued, go_on: go_on > 0 },
            ("failing", &[seed, after]) => Job::Failing { seed, after },
            ("thin", []) => Job::Thin,
            _ => bail!("not a job: {line}"),
        })
    }
}

/// The worker, as its owner sees it. It is ended when dropped.
pub(crate) struct Worker {
    process: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    pub(crate) fn start(fs: FileSystem, directory: &Path) -> Result<Worker> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("worker").arg(fs.name()).arg(directory).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().context("starting a worker")?;
        let commands = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().context("a pipe")?);
        Ok(Worker { process, commands, answers })
    }

    /// The outer error: the worker ended. The inner error: what it found wrong.
    pub(crate) fn ask(&mut self, job: Job) -> Result<Result<String, String>> {
        writeln!(self.commands.as_ref().context("started")?, "{job}").context("the worker has ended")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        match line.trim_end().split_once(' ') {
            Some(("ok", text)) => Ok(Ok(text.to_owned())),
            Some(("wrong", text)) => Ok(Err(text.to_owned())),
            _ => Err(anyhow!("the worker ended during: {job}")),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.commands.take()); // the end of its input
        let _ = self.process.wait();
    }
}

/// The work of the worker.
pub(crate) fn work(fs: FileSystem, directory: &Path) -> Result<()> {
    let mut out = std::io::stdout();
    let mut place = None;
    for line in std::io::stdin().lines() {
        let job = Job::parse(&line?)?;
        let done = match &place {
            Some(place) => carry_out(place, job),
            None => Place::new(fs, directory).and_then(|new| carry_out(place.insert(new), job)),
        };
        match done {
            Ok(text) => writeln!(out, "ok {text}")?,
            Err(error) => writeln!(out, "wrong {}", format!("{error:#}").replace('\n', " "))?,
        }
    }
    Ok(())
}

struct Place {
    fs: FileSystem,
    disk: LoopDevice,
    notes: PathBuf,
    scratch: PathBuf,
    at: PathBuf,
}

impl Place {
    fn new(fs: FileSystem, directory: &Path) -> Result<Place> {
        let served = directory.join("served");
        let disk = LoopDevice::attach(&served.join("disk"), FUSE_REQUEST_KIB)?;
        Ok(Place { fs, disk, notes: served.join("notes"), scratch: directory.join("scratch"), at: directory.join("mounted") })
    }

    fn notes(&self) -> Result<Notes> {
        Ok(Notes::new(OpenOptions::new().write(true).open(&self.notes)?))
    }
}

fn carry_out(place: &Place, job: Job) -> Result<String> {
    let Place { fs, disk, at, .. } = place;
    match job {
        Job::Thin => return Ok(failing::thin(*fs, &place.scratch, at)?.name().to_owned()),
        Job::Failing { seed, after } => {
            let noticed = failing::survives(disk, *fs, at, &workload(seed), place.notes()?, after)?;
            return Ok(noticed.name().to_owned());
        }
        Job::Mount | Job::Run { .. } | Job::Serve { .. } | Job::Check { .. } => {}
    }
    let mounted = disk.mount(*fs, at)?;
    match job {
        Job::Run { seed } => Run::new(&workload(seed), at, Some(place.notes()?)).finish()?,
        Job::Serve { seed } => served::run(&workload(seed), seed, at, &place.scratch, place.notes()?)?,
        Job::Check { seed, promised, issued, go_on } => check::crashed(at, &workload(seed), promised, issued, go_on)?,
        Job::Mount | Job::Failing { .. } | Job::Thin => {}
    }
    mounted.unmount()?;
    Ok("done".to_owned())
}
