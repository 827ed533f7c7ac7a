//! One disk and one worker on it. Lanes share only the list of remaining work, so they run side by side.

use crate::blocks::Blocks;
use crate::device::{Device, Event};
use crate::failing::Noticed;
use crate::filesystem::FileSystem;
use crate::image::{Replay, cuts};
use crate::worker::{Job, Worker};
use anyhow::{Result, anyhow};
use fastrand::Rng;
use std::path::Path;
use tempfile::TempDir;

/// Images of one workload. It has more, but other workloads must have their turn.
pub(crate) const IMAGES_OF_A_WORKLOAD: usize = 125;
/// One image out of this number must also accept writes.
const GOES_ON_EVERY: usize = 4;
/// Failing syncs of one workload.
pub(crate) const FAILURES_OF_A_WORKLOAD: usize = 5;

// In the order in which they must be dropped: the worker holds the loop device, which holds the disk.
pub(crate) struct Lane {
    worker: Worker,
    device: Device,
    _directory: TempDir,
    fs: FileSystem,
    empty: Blocks,
}

/// The result of a job.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) tried: usize,
    pub(crate) failures: Vec<String>,
    pub(crate) workloads: usize,
    pub(crate) disk_writes: usize,
    pub(crate) flushes: usize,
    pub(crate) poisoned: usize,
    pub(crate) refused: usize,
    pub(crate) unnoticed: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Tally) {
        self.tried += other.tried;
        self.failures.extend(other.failures);
        self.workloads += other.workloads;
        self.disk_writes += other.disk_writes;
        self.flushes += other.flushes;
        self.poisoned += other.poisoned;
        self.refused += other.refused;
        self.unnoticed += other.unnoticed;
    }

    fn noticed(&mut self, answer: &str) {
        match answer {
            _ if answer == Noticed::Poisoned.name() => self.poisoned += 1,
            _ if answer == Noticed::Refused.name() => self.refused += 1,
            _ => self.unnoticed += 1,
        }
    }
}

impl Lane {
    /// Opens a lane. It also shows that an empty file system can be mounted at all.
    pub(crate) fn open(fs: FileSystem) -> Result<Lane> {
        let directory = tempfile::Builder::new().prefix("real-disk-").tempdir()?;
        for name in ["served", "mounted", "scratch"] {
            std::fs::create_dir(directory.path().join(name))?;
        }
        let empty = fs.empty(directory.path())?;
        let device = Device::serve(&directory.path().join("served"), fs.bytes())?;
        let worker = Worker::start(fs, directory.path())?;
        let mut lane = Lane { worker, device, _directory: directory, fs, empty };
        lane.device.hold(lane.empty.clone());
        lane.worker.ask(Job::Mount)?.map_err(|why| anyhow!(why))?;
        Ok(lane)
    }

    /// Runs the workload of `seed`. Then opens at most `most` of the disks that a power cut in it can leave.
    pub(crate) fn images(&mut self, seed: u64, most: usize) -> Result<Tally> {
        self.images_of(Job::Run { seed }, seed, most)
    }

    /// The same through the server.
    pub(crate) fn served_images(&mut self, seed: u64, most: usize) -> Result<Tally> {
        self.images_of(Job::Serve { seed }, seed, most)
    }

    fn images_of(&mut self, job: Job, seed: u64, most: usize) -> Result<Tally> {
        let events = match self.recorded(job)? {
            Ok(events) => events,
            Err(why) => return Ok(Tally { tried: 1, failures: vec![why], ..Tally::default() }),
        };
        let mut tally = Tally { workloads: 1, disk_writes: writes(&events), flushes: flushes(&events), ..Tally::default() };
        let mut replay = Replay::new(self.empty.clone(), &events);
        let mut rng = Rng::with_seed(seed);
        for (number, cut) in cuts(&events, most, &mut rng).into_iter().enumerate() {
            replay.advance(cut.before);
            self.device.hold(replay.image(cut.kept, self.fs));
            let (promised, issued) = (replay.promised, replay.issued);
            let go_on = number % GOES_ON_EVERY == 0;
            tally.tried += 1;
            if let Err(why) = self.worker.ask(Job::Check { seed, promised, issued, go_on })? {
                let fs = self.fs.name();
                let of = events.len();
                tally.failures.push(format!("{fs}, {job}, event {} of {of}, kept {:?}: {why}", cut.before, cut.kept));
            }
        }
        Ok(tally)
    }

    /// Runs the workload of `seed` several times. Each time another write of the disk fails.
    pub(crate) fn failing_syncs(&mut self, seed: u64, most: usize) -> Result<Tally> {
        let events = match self.recorded(Job::Run { seed })? {
            Ok(events) => events,
            Err(why) => return Ok(Tally { tried: 1, failures: vec![why], ..Tally::default() }),
        };
        let mut tally = Tally { workloads: 1, ..Tally::default() };
        let last = events.iter().rposition(|event| matches!(event, Event::Promised(_))).unwrap_or(0);
        let positions = writes(&events[..last]) as u64;
        let mut rng = Rng::with_seed(seed);
        for _ in 0..most {
            let after = rng.u64(..positions.max(1));
            self.device.hold(self.empty.clone());
            let answer = self.worker.ask(Job::Failing { seed, after })?;
            if !self.device.has_failed() && answer.is_ok() {
                continue; // this run had fewer writes
            }
            tally.tried += 1;
            match answer {
                Ok(noticed) => tally.noticed(&noticed),
                Err(why) => tally.failures.push(format!("{}, workload {seed}, write {after} fails: {why}", self.fs.name())),
            }
        }
        Ok(tally)
    }

    pub(crate) fn thin(&mut self) -> Result<Tally> {
        let mut tally = Tally { tried: 1, ..Tally::default() };
        match self.worker.ask(Job::Thin)? {
            Ok(noticed) => tally.noticed(&noticed),
            Err(why) => tally.failures.push(format!("{}, too little room: {why}", self.fs.name())),
        }
        Ok(tally)
    }

    fn recorded(&mut self, job: Job) -> Result<Result<Vec<Event>, String>> {
        self.device.hold(self.empty.clone());
        self.device.record();
        let done = self.worker.ask(job)?;
        let events = self.device.take_events();
        Ok(done.map(|_| events).map_err(|why| format!("{}, {job} on a healthy disk: {why}", self.fs.name())))
    }
}

fn writes(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::Write { .. })).count()
}

fn flushes(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::Flush)).count()
}

/// Why this machine cannot run it.
pub(crate) fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root");
    }
    let devices = [("/dev/fuse", "no /dev/fuse"), ("/dev/loop-control", "no loop devices")];
    devices.into_iter().find(|(path, _)| !Path::new(path).exists()).map(|(_, why)| why)
}
