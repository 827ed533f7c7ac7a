//! The conversation with the process that will be killed: one thread sends commands, another reads the answers, and a
//! third waits for the right moment.

use super::model::{Line, Meaning, Model, Random};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A process that does not answer for this long is stuck.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// No process gets more lines than this.
const MOST_LINES: usize = 20_000;
/// The step that a kill is aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    Load,
    Recovery,
    Snapshot,
}

/// What the threads have seen so far.
#[derive(Default)]
pub(super) struct Talk {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
pub(super) struct Seen {
    pub(super) answers: usize,
    pub(super) snap_sent: bool,
    pub(super) snap_answered: bool,
    /// The process is dead, or its stdout is closed.
    pub(super) over: bool,
}

impl Talk {
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen());
        self.changed.notify_all();
    }

    /// Waits until `done`, or the end of the process, or at most `time`. Returns whether it is done.
    pub(super) fn wait(&self, time: Duration, done: impl Fn(&Seen) -> bool) -> bool {
        let wait = self.changed.wait_timeout_while(self.seen(), time, |seen| !done(seen) && !seen.over);
        done(&wait.unwrap_or_else(PoisonError::into_inner).0)
    }
}

/// Sends lines until the end of the process, never more than `window` unanswered ones. Returns what was sent, and
/// whether SNAP was among it.
pub(super) fn feed(
    mut to: impl Write,
    model: &mut Model,
    aim: Aim,
    window: usize,
    random: &mut Random,
    talk: &Talk,
) -> (Vec<Line>, bool) {
    let (mut lines, mut snap_sent) = (Vec::new(), false);
    let snap_after = 1 + usize::try_from(random.below(200)).expect("a few");
    loop {
        let sent = lines.len();
        let chunk = 1 + usize::try_from(random.below(window as u64)).expect("a few");
        let end = if aim == Aim::Snapshot && !snap_sent { snap_after.min(sent + chunk) } else { sent + chunk };
        while lines.len() < end {
            model.command(random, aim == Aim::Load, &mut lines);
        }
        if aim == Aim::Snapshot && !snap_sent && lines.len() >= snap_after {
            lines.push(Line { text: "SNAP".into(), reply: "SNAP OK".into(), meaning: Meaning::AllDurable });
            snap_sent = true;
        }
        let mut text = String::new();
        for line in &lines[sent..] {
            let _ = writeln!(text, "{}", line.text);
        }
        let written = to.write_all(text.as_bytes());
        talk.update(|seen| seen.snap_sent = snap_sent);
        let full = lines.len() >= MOST_LINES;
        let answered = |seen: &Seen| !full && lines.len() - seen.answers.min(lines.len()) < window;
        if written.is_err() || !talk.wait(PATIENCE, answered) {
            // Its input stays open until it is dead. At the end of its input it would close the store cleanly.
            talk.wait(PATIENCE, |_| false);
            return (lines, snap_sent);
        }
    }
}

/// Reads the answers, also those that are still in the pipe when the process is dead.
pub(super) fn read(from: impl Read, talk: &Talk) -> Vec<Vec<u8>> {
    let (mut from, mut replies) = (BufReader::new(from), Vec::new());
    loop {
        let mut line = Vec::new();
        match from.read_until(b'\n', &mut line) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Ok(_) if line.pop() == Some(b'\n') => {}
            _ => break, // the end, or an incomplete answer
        }
        let snap = line == b"SNAP OK";
        replies.push(line);
        talk.update(|seen| {
            seen.answers += 1;
            seen.snap_answered |= snap;
        });
    }
    talk.update(|seen| seen.over = true);
    replies
}

/// Waits until `is_time`, or until it is too `late`, or for five seconds.
pub(super) fn poll(talk: &Talk, is_time: impl Fn() -> bool, late: impl Fn(&Seen) -> bool) {
    const AT_MOST: Duration = Duration::from_secs(5);
    let began = Instant::now();
    while !is_time() && began.elapsed() < AT_MOST {
        let seen = talk.seen();
        if seen.over || late(&seen) {
            return;
        }
        drop(seen);
        std::thread::sleep(Duration::from_micros(20));
    }
}
