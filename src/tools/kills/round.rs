//! One temporary store, and the processes that are killed on it, one after the other.

use super::model::{BATCH_SIZES, Line, Model, Promise, Random, Wrong};
use super::talk::{Aim, PATIENCE, Talk, feed, poll, read};
use super::tally::Kills;
use anyhow::Context;
use kv_engine::disk::{Disk, OsDisk, is_scratch_of};
use kv_engine::{Engine, LogTail, Options, Recovery, replay};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};

const SIGKILL: i32 = 9;

/// How long openings and snapshots take here. It is learned from the kills that hit and those that came too late.
pub(super) struct Pace {
    opening: Duration,
    snapshot: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { opening: Duration::from_millis(5), snapshot: Duration::from_millis(15) }
    }
}

impl Pace {
    /// Shortens the time after a miss and lengthens it after a hit, so that some kills hit the very end of a step.
    fn learn(time: &mut Duration, hit: bool) {
        *time = time.mul_f64(if hit { 1.2 } else { 0.7 }).clamp(Duration::from_micros(100), Duration::from_millis(200));
    }
}

/// Why a store is not used any longer.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) lost: u64,
    pub(super) text: String,
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Trouble {
        Trouble { lost: 0, text: format!("{error:#}") }
    }
}

impl From<Wrong> for Trouble {
    fn from(wrong: Wrong) -> Trouble {
        Trouble { lost: wrong.lost, text: wrong.text }
    }
}

/// The files that the store's names lead to.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Names {
    wal: Option<u64>,
    snapshot: Option<u64>,
    /// Whether a snapshot or a log is being written.
    scratch: bool,
}

/// The result of a kill, to be checked.
struct Left {
    lines: Vec<Line>,
    snap_sent: bool,
    replies: Vec<Vec<u8>>,
    status: ExitStatus,
    pid: u32,
    before: Names,
}

pub(super) struct Store {
    pub(super) dir: PathBuf,
    wal: PathBuf,
    snapshot: PathBuf,
    model: Model,
    rounds: u64,
    most_rounds: u64,
    last: String,
}

impl Store {
    /// Makes a directory that is empty, or has a store whose log takes a while to read.
    pub(super) fn begin(random: &mut Random) -> anyhow::Result<Store> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("kv_cli-kills-{}-{number}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&dir).with_context(|| dir.display().to_string())?;
        let (wal, snapshot) = (dir.join("kv.wal"), dir.join("kv.snapshot"));
        let most_rounds = 5 + random.below(40);
        let mut store = Store { dir, wal, snapshot, model: Model::new(), rounds: 0, most_rounds, last: String::new() };
        if !random.one_in(3) {
            let engine = store.options().batch_size(1_000_000).open()?;
            for _ in 0..5_000 + random.below(20_000) {
                let (key, value) = store.model.put(random, 0);
                engine.put(&key, &value)?;
                store.model.write(vec![(key.into_bytes(), Some(value.into_bytes()))]);
            }
            engine.close()?;
            let last = store.model.last();
            store.check(last).map_err(|trouble| anyhow::anyhow!(trouble.text))?;
        }
        Ok(store)
    }

    pub(super) fn is_old(&self) -> bool {
        self.rounds >= self.most_rounds
    }

    /// What was done to it, for the report of a failure.
    pub(super) fn history(&self) -> String {
        format!("kill {} of this store: {}", self.rounds, self.last)
    }

    fn options(&self) -> Options {
        Options::new(&self.wal, &self.snapshot).flush_interval(Duration::ZERO).recovery(Recovery::Strict)
    }

    /// Starts a process, sends it commands, kills it, and checks the files.
    pub(super) fn round(&mut self, random: &mut Random, pace: &mut Pace, kills: &mut Kills) -> Result<(), Trouble> {
        self.rounds += 1;
        // Some kills that are aimed at an opening or a snapshot come too late and hit under load.
        let aim = match random.pick(&[Aim::Load, Aim::Load, Aim::Recovery, Aim::Snapshot, Aim::Snapshot]) {
            // Without a log before, a new log could not be recognized after the kill.
            Aim::Snapshot if !self.wal.exists() => Aim::Load,
            aim => aim,
        };
        let batch = random.pick(&BATCH_SIZES);
        let interval = random.pick(&[0, 0, 1, 3]);
        self.last = format!("aimed at {aim:?}, --batch {batch}, --flush-interval {interval}");
        // The state after the last check is on the disk or in the page cache, and a kill takes neither.
        let base = self.model.seq;
        let left = self.kill_one(aim, batch, interval, random, pace)?;
        let mut promise = Promise::new(base, batch, interval == 0);
        self.check_answers(&left, &mut promise)?;
        self.count_hit(aim, &left, pace, kills);
        kills.answers += left.replies.len() as u64;
        kills.acknowledged += promise.acknowledged - base;
        kills.promised += promise.durable - base;
        kills.writes += self.model.last() - base;
        kills.found_torn += u64::from(self.check(promise.durable)?);
        kills.found += self.model.seq - base;
        match random.below(10) {
            0..=3 => {
                kills.left += 1; // the next process recovers it
                Ok(())
            }
            4..=6 => self.recover_for_good(kills),
            _ => {
                self.tear(random, kills)?;
                if random.one_in(3) { self.recover_for_good(kills) } else { Ok(()) }
            }
        }
    }

    /// Opens the store and checks that a torn tail is cut off: the next recovery would change nothing.
    fn recover_for_good(&mut self, kills: &mut Kills) -> Result<(), Trouble> {
        drop(self.recover(kills)?);
        if self.check(self.model.seq)? {
            return Err(Trouble { lost: 0, text: "the log is still torn after a recovery".into() });
        }
        Ok(())
    }

    fn kill_one(&mut self, aim: Aim, batch: u64, interval: u64, random: &mut Random, pace: &Pace) -> Result<Left, Trouble> {
        let before = self.names();
        let mut child = self.start(batch, interval)?;
        let pid = child.id();
        let (to, from) = (child.stdin.take().context("stdin")?, child.stdout.take().context("stdout")?);
        let talk = Talk::default();
        let window = usize::try_from(random.pick(&[1, 4, 32, 256, 4096])).expect("a few");
        let mut feeding = Random::new(random.below(u64::MAX));
        let (model, shared) = (&mut self.model, &talk);
        let lock = beside(&self.wal, ".lock");
        let names = || Names::of(&self.wal, &self.snapshot);
        let ((lines, snap_sent), replies, status) = std::thread::scope(|scope| {
            let feeder = Builder::new().spawn_scoped(scope, move || feed(to, model, aim, window, &mut feeding, shared));
            let reader = Builder::new().spawn_scoped(scope, move || read(from, shared));
            let (feeder, reader) = match (feeder, reader) {
                (Ok(feeder), Ok(reader)) => (feeder, reader),
                (Err(error), _) | (_, Err(error)) => {
                    let _ = child.kill().and_then(|()| child.wait());
                    shared.update(|seen| seen.over = true);
                    return Err(error);
                }
            };
            match aim {
                Aim::Load => {
                    shared.wait(PATIENCE, |seen| seen.answers > 0);
                    if random.one_in(2) {
                        // From ten microseconds to a tenth of a second; each power of ten is equally likely.
                        pause(Duration::from_secs_f64(1e-5 * 10_f64.powf(random.below(4_000) as f64 / 1_000.0)));
                    } else {
                        let answers = usize::try_from(random.below(1_500)).expect("a few");
                        shared.wait(Duration::from_millis(100), |seen| seen.answers > answers);
                        pause(Duration::from_micros(random.below(400)));
                    }
                }
                Aim::Recovery => {
                    if !random.one_in(4) {
                        poll(shared, || holder(&lock) == Some(pid), |seen| seen.answers > 0);
                    }
                    pause(part(pace.opening, random));
                }
                Aim::Snapshot => {
                    shared.wait(PATIENCE, |seen| seen.snap_sent && seen.answers > 0);
                    poll(shared, || names().shows_snapshot(before), |seen| seen.snap_answered);
                    pause(part(pace.snapshot, random));
                }
            }
            let killed = child.kill();
            let status = child.wait();
            shared.update(|seen| seen.over = true);
            let fed = feeder.join().expect("the feeder does not panic");
            let replies = reader.join().expect("the reader does not panic");
            killed.and(status).map(|status| (fed, replies, status))
        })
        .context("killing the process")?;
        Ok(Left { lines, snap_sent, replies, status, pid, before })
    }

    fn start(&self, batch: u64, interval: u64) -> anyhow::Result<Child> {
        let program = std::env::current_exe().context("finding this program")?;
        let stderr = File::create(self.dir.join("stderr")).context("stderr of the process")?;
        let mut command = Command::new(program);
        command.args(["-v", "--recovery", "strict", "--batch", &batch.to_string(), "--flush-interval", &interval.to_string()]);
        command.arg("--wal").arg(&self.wal).arg("--snapshot").arg(&self.snapshot);
        // Its own process group, so that Ctrl-C reaches only this process.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).process_group(0);
        command.spawn().context("starting this program again")
    }

    fn stderr(&self) -> String {
        fs::read_to_string(self.dir.join("stderr")).unwrap_or_default()
    }

    /// Checks that every answer was right, and that the process lived until it was killed.
    fn check_answers(&self, left: &Left, promise: &mut Promise) -> Result<(), Trouble> {
        if left.status.signal() != Some(SIGKILL) {
            let text = format!("the process ended by itself, {}, with stderr: {}", left.status, self.stderr().trim());
            return Err(Trouble { lost: 0, text });
        }
        for (at, reply) in left.replies.iter().enumerate() {
            let Some(line) = left.lines.get(at) else {
                let text = format!("{} lines were sent, but {} were answered", left.lines.len(), left.replies.len());
                return Err(Trouble { lost: 0, text });
            };
            if line.reply.as_bytes() != reply {
                let (reply, stderr) = (String::from_utf8_lossy(reply), self.stderr());
                let text = format!("the answer to {:.60} was {reply:.60}, but {:.60} is right; {stderr}", line.text, line.reply);
                return Err(Trouble { lost: 0, text });
            }
            promise.answered(line.meaning);
        }
        Ok(())
    }

    /// Counts the step that the kill hit, which the files and the answers show.
    fn count_hit(&self, aim: Aim, left: &Left, pace: &mut Pace, kills: &mut Kills) {
        let stderr = self.stderr();
        let opened = !left.replies.is_empty() || stderr.contains("recovered ") || stderr.contains("new store");
        let names = self.names();
        let snap_answered = left.replies.iter().any(|reply| reply == b"SNAP OK");
        let in_snapshot = opened && left.snap_sent && !snap_answered && names.shows_snapshot(left.before);
        if aim == Aim::Recovery {
            Pace::learn(&mut pace.opening, !opened);
        } else if aim == Aim::Snapshot {
            Pace::learn(&mut pace.snapshot, !snap_answered);
        }
        let place = if holder(&beside(&self.wal, ".lock")) != Some(left.pid) {
            &mut kills.before_opening
        } else if !opened {
            &mut kills.in_recovery
        } else if in_snapshot && names.snapshot == left.before.snapshot {
            &mut kills.snapshot_written
        } else if in_snapshot && names.wal == left.before.wal {
            &mut kills.snapshot_in_place
        } else if in_snapshot {
            &mut kills.log_switched
        } else if left.replies.len() < left.lines.len() {
            &mut kills.under_load
        } else {
            &mut kills.idle
        };
        *place += 1;
    }

    /// Checks the files without changing a byte. Returns whether the log is torn.
    fn check(&mut self, promised: u64) -> Result<bool, Trouble> {
        if !self.wal.exists() && !self.snapshot.exists() {
            self.model.settle(0, promised, std::iter::empty::<([u8; 0], [u8; 0])>())?;
            return Ok(false);
        }
        let found = replay::replay(&self.wal, &self.snapshot, None, |_| {}).context("reading the files")?;
        if let LogTail::Damaged(cut) = &found.tail {
            let text = format!("the log is reported as damaged at byte {}: {}", cut.offset, cut.proof);
            return Err(Trouble { lost: 0, text });
        }
        self.model.settle(found.seq, promised, found.entries())?;
        Ok(matches!(found.tail, LogTail::Torn(_)))
    }

    /// Opens the store in this process and checks it.
    fn recover(&mut self, kills: &mut Kills) -> Result<Engine, Trouble> {
        kills.recovered += 1;
        let engine = self.options().batch_size(1_000).open().context("opening the store")?;
        let entries = engine.scan("").map_while(Result::ok);
        self.model.settle(engine.recovery().last_seq, self.model.seq, entries)?;
        let names = self.names();
        if names.scratch {
            return Err(Trouble { lost: 0, text: "there is a temporary file after opening".into() });
        }
        Ok(engine)
    }

    /// Makes the log torn, as after a power cut before the sync of a few more writes. In one of four cases it writes
    /// garbage after the log instead.
    fn tear(&mut self, random: &mut Random, kills: &mut Kills) -> Result<(), Trouble> {
        let engine = self.recover(kills)?;
        let length = || fs::metadata(&self.wal).map(|meta| meta.len()).context("the log's length");
        let begin = length()?;
        for _ in 0..1 + random.below(8) {
            let (key, value) = self.model.put(random, 0);
            engine.put(&key, &value).context("a write")?;
            self.model.write(vec![(key.into_bytes(), Some(value.into_bytes()))]);
        }
        engine.flush().context("a flush")?;
        let end = length()?;
        drop(engine);
        let log = File::options().append(true).open(&self.wal).context("the log")?;
        let garbage_after = random.one_in(4);
        let promised = if garbage_after { self.model.last() } else { self.model.seq };
        if garbage_after {
            let garbage: Vec<u8> = (0..1 + random.below(3_000)).map(|_| random.below(256).to_le_bytes()[0]).collect();
            (&log).write_all(&garbage).context("the log")?;
        } else {
            log.set_len(begin + random.below(end - begin)).context("the log")?;
        }
        kills.torn_by_us += u64::from(self.check(promised)?);
        Ok(())
    }

    /// Checks the store a last time and removes its directory.
    pub(super) fn end(&mut self, kills: &mut Kills) -> Result<(), Trouble> {
        self.last = "the last check".into();
        self.recover(kills)?;
        for entry in fs::read_dir(&self.dir).context("the directory")? {
            let name = entry.context("the directory")?.file_name();
            let known = ["kv.wal", "kv.snapshot", "kv.wal.lock", "kv.snapshot.lock", "stderr"];
            if !known.iter().any(|&known| name == known) {
                return Err(Trouble { lost: 0, text: format!("there is an unknown file {}", name.display()) });
            }
        }
        fs::remove_dir_all(&self.dir).context("removing the directory")?;
        Ok(())
    }

    fn names(&self) -> Names {
        Names::of(&self.wal, &self.snapshot)
    }
}

/// Whether there is a temporary file that will become `path`.
fn has_scratch(path: &Path) -> bool {
    OsDisk.list(path).is_ok_and(|names| names.iter().any(|name| is_scratch_of(path, name)))
}

impl Names {
    fn of(wal: &Path, snapshot: &Path) -> Names {
        let inode = |path: &Path| fs::symlink_metadata(path).ok().map(|meta| meta.ino());
        Names { wal: inode(wal), snapshot: inode(snapshot), scratch: [wal, snapshot].into_iter().any(has_scratch) }
    }

    /// Whether a snapshot has begun since `before`, when the store had been opened.
    fn shows_snapshot(self, before: Names) -> bool {
        self.scratch || self.snapshot != before.snapshot
    }
}

/// A random part of `time`, from nothing to all of it.
fn part(time: Duration, random: &mut Random) -> Duration {
    time.mul_f64(random.below(1_001) as f64 / 1_000.0)
}

/// Waits. A short time is not slept, because a sleep ends late.
fn pause(time: Duration) {
    const SHORT: Duration = Duration::from_micros(200);
    let began = Instant::now();
    if time > SHORT {
        std::thread::sleep(time);
    }
    while began.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// The process id in a lock file.
fn holder(lock: &Path) -> Option<u32> {
    fs::read_to_string(lock).ok()?.lines().next()?.trim().parse().ok()
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
