//! Repeats a failing case and makes it smaller: steps are left out and lost pieces are restored as long as it still
//! fails. Then the case is described.

use super::case::{Case, End, Session};
use super::enumerate::{Effort, Script};
use super::model::Recorded;
use super::oracle::{Oracle, Reopened, Wrong};
use super::report::Report;
use super::steps::steps;
use super::store::{Bounds, SNAPSHOT, WAL};
use super::workload::{record, run};
use crate::disk::Disk;
use crate::disk::sim::{Change, Fate, Image, Model, PowerCut, Rest, SimDisk, World};
use crate::record::Kind;
use crate::scan::{Frames, Next};
use crate::{recovery, snapshot, wal};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

/// At most this many searches for a smaller case, because each takes time.
const SEARCHES: usize = 120;
/// At most this many changes before a crash are listed.
const LISTED_CHANGES: usize = 14;

/// Only the first session.
const FIRST_SESSION: Effort =
    Effort { judge_first: true, second_every: 0, die_every: 0, behind_recovery: true, cuts: 0, third_every: 0 };
/// Later sessions of every state.
const LATER_SESSIONS: Effort =
    Effort { judge_first: false, second_every: 1, die_every: 1, behind_recovery: true, cuts: 12, third_every: 0 };

/// Repeats a case. Returns what is wrong, or `None`.
///
/// ```
/// let case: kv_engine::torture::Case = "3:20.kill".parse()?;
/// assert_eq!(kv_engine::torture::replay(&case), None);
/// # Ok::<(), String>(())
/// ```
#[must_use]
pub fn replay(case: &Case) -> Option<String> {
    judge(case).map(|wrong| wrong.text().to_string())
}

/// Repeats a case, looks for a smaller one that also fails, and describes it: the steps that remain, the changes
/// before the crash, what was lost, what was left on the disk, and what is wrong with it.
///
/// ```
/// let case: kv_engine::torture::Case = "3:20.kill".parse()?;
/// let story = kv_engine::torture::story(&case);
/// assert!(story.contains("nothing is wrong"));
/// # Ok::<(), String>(())
/// ```
#[must_use]
pub fn story(case: &Case) -> String {
    let small = if judge(case).is_some() { shrink(case) } else { case.clone() };
    describe(&small)
}

/// The sessions of a case, in order.
struct Played {
    /// The disk before each session, and the session's changes up to its end.
    sessions: Vec<(World, Vec<Change>)>,
    recorded: Recorded,
    /// The disk at the end of the last session.
    world: World,
    bounds: Bounds,
    /// What was wrong in a later session itself.
    wrong: Option<Wrong>,
}

fn play(case: &Case) -> Played {
    let Script { seed, steps, .. } = &Script::without(case.workload, case.dropped.clone());
    let recorded = match case.sessions[0].plan {
        None => record(*seed, steps),
        Some(plan) => run(steps, &SimDisk::new(&Image::new(), *seed).with_faults(plan), |_| {}),
    };
    let at = case.sessions[0].at.min(recorded.trace.len());
    let mut world = World::default();
    for (i, change) in recorded.trace[..at].iter().enumerate() {
        if let Some((model, from)) = case.weak
            && from <= i
        {
            world.model = model;
        }
        world.apply(change);
    }
    let mut sessions = vec![(World::default(), recorded.trace[..at].to_vec())];
    let mut bounds = recorded.bounds(at);
    for (number, pair) in case.sessions.windows(2).enumerate() {
        let [before, session] = pair else { unreachable!("pairs") };
        let oracle = Oracle { workload: *seed, digests: &recorded.digests };
        let found = before.end.leaves(&world);
        let reopened = match oracle.reopen(found.clone(), bounds, number + 1, before.at, session.plan) {
            Ok(reopened) => reopened,
            Err(wrong) => {
                sessions.push((found.clone(), Vec::new()));
                return Played { sessions, recorded, world: found, bounds, wrong: Some(wrong) };
            }
        };
        let Reopened { trace, .. } = &reopened;
        let at = session.at.min(trace.len());
        bounds = reopened.bounds(at, bounds);
        world = found.clone();
        trace[..at].iter().for_each(|change| world.apply(change));
        sessions.push((found, trace[..at].to_vec()));
    }
    Played { sessions, recorded, world, bounds, wrong: None }
}

impl Played {
    fn verdict(&self, case: &Case) -> Option<Wrong> {
        if self.wrong.is_some() {
            return self.wrong.clone();
        }
        if let Some(misread) = &self.recorded.misread
            && case.sessions.len() == 1
            && misread.changes <= case.sessions[0].at
        {
            return Some(Wrong::Lost(misread.text.clone()));
        }
        let last = case.sessions.last().expect("a case has a session");
        let left = last.end.leaves(&self.world);
        let oracle = Oracle { workload: case.workload, digests: &self.recorded.digests };
        match case.weak {
            None => oracle.check(left, self.bounds).err(),
            Some((model, _)) => oracle.check_weak(left, model, self.bounds).err(),
        }
    }
}

pub(super) fn judge(case: &Case) -> Option<Wrong> {
    play(case).verdict(case)
}

fn shrink(case: &Case) -> Case {
    let mut case = case.clone();
    let all = steps(case.workload).len();
    let mut searches = 0;
    let mut chunk = all / 2;
    while chunk > 0 {
        let kept: Vec<usize> = (0..all).filter(|step| !case.dropped.contains(step)).collect();
        // Begins at the end: most later steps do not matter.
        for part in kept.chunks(chunk).rev() {
            if searches == SEARCHES || part.len() + case.dropped.len() == all {
                continue;
            }
            searches += 1;
            let mut dropped = [case.dropped.as_slice(), part].concat();
            dropped.sort_unstable();
            if let Some(smaller) = like(&case, Script::without(case.workload, dropped)) {
                case = smaller;
            }
        }
        chunk /= 2;
    }
    restore(case)
}

/// The first case of the script that fails in the same way as `case`: at the same stage, with the same fault.
fn like(case: &Case, script: Script) -> Option<Case> {
    let plan_of = |session: usize| case.sessions.get(session).and_then(|session| session.plan);
    let report: Report = match (case.weak, plan_of(0), plan_of(1)) {
        (Some(_), ..) => script.weak(true),
        (_, plan @ Some(_), _) => script.faults(plan, true),
        (.., plan @ Some(_)) => script.faults_in_recovery(plan, true),
        _ => {
            let simple = script.crash(&FIRST_SESSION, true);
            let later = case.sessions.len() > 1 || case.sessions[0].end == End::Die;
            let third_every = if case.sessions.len() > 2 { 4 } else { 0 };
            let later_sessions = Effort { third_every, ..LATER_SESSIONS };
            if simple.cases.is_empty() && later { script.crash(&later_sessions, true) } else { simple }
        }
    };
    report.cases.into_iter().find(|found| judge(found).is_some())
}

/// Restores lost pieces, one by one, if the case still fails.
fn restore(mut case: Case) -> Case {
    let fails = |case: &Case| judge(case).is_some();
    for session in (0..case.sessions.len()).rev() {
        let mut plain = case.clone();
        plain.sessions[session].end = End::Kill(None);
        if case.sessions[session].end != End::Die && fails(&plain) {
            case = plain;
        }
        let End::Cut(cut) = case.sessions[session].end.clone() else { continue };
        let with = |case: &Case, cut: PowerCut| {
            let mut other = case.clone();
            other.sessions[session].end = End::Cut(cut);
            other
        };
        let mut cut = cut;
        for unit in 0..cut.fates.len() {
            for fate in [Fate::Kept, Fate::Lost] {
                let mut other = cut.clone();
                other.fates[unit] = fate;
                if cut.fates[unit] != Fate::Kept && fails(&with(&case, other.clone())) {
                    cut = other;
                    break;
                }
            }
        }
        let plain = PowerCut { rests: vec![Rest::default()], ..cut.clone() };
        if fails(&with(&case, plain.clone())) {
            cut = plain;
        }
        case = with(&case, cut);
    }
    case
}

fn describe(case: &Case) -> String {
    let played = play(case);
    let script = Script::without(case.workload, case.dropped.clone());
    let mut out = String::new();
    let mut line = |text: String| writeln!(out, "{text}").expect("writing to a string cannot fail");
    let all = script.steps.len() + script.dropped.len();
    line(format!("case {case}"));
    line(format!("the {} of {all} steps that are necessary:", script.steps.len()));
    let at = played.sessions[0].1.len();
    let under_way = played.recorded.step_under_way(at);
    for (n, step) in script.steps.iter().enumerate() {
        let mark = if n == under_way { "   <- under way at the end" } else { "" };
        line(format!("  {:>2} {step}{mark}", n + 1));
    }
    if let Some((model, from)) = case.weak {
        let does = if model == Model::Lying {
            "reports each sync as done and does nothing"
        } else {
            "damages the neighbours of a torn sector"
        };
        line(format!("the disk {does}, from change {from} on"));
    }
    for (n, ((before, changes), Session { plan, end, .. })) in played.sessions.iter().zip(&case.sessions).enumerate() {
        line(format!(
            "session {}: {} changes to the disk{}",
            n + 1,
            changes.len(),
            if n == 0 { "" } else { ", beginning with opening" }
        ));
        if let Some(plan) = plan {
            line(format!("  fault plan {plan}"));
        }
        let mut world = before.clone();
        let first = changes.len().saturating_sub(LISTED_CHANGES);
        for (i, change) in changes.iter().enumerate() {
            if i >= first {
                line(format!("  {:>3} {} {}{}", i + 1, change.kind(), world.subject(change), extent(change)));
            }
            if let Some((model, from)) = case.weak
                && from <= i
                && n == 0
            {
                world.model = model;
            }
            world.apply(change);
        }
        match end {
            End::Die => line("  the process dies; its writes are still in the page cache".into()),
            End::Kill(None) => line("  the process dies; all its writes reach the disk".into()),
            End::Kill(Some(short)) => line(format!("  the process dies; only {short} bytes of its last write reach the disk")),
            End::Cut(cut) => {
                line("  the power is cut".into());
                for (unit, name) in world.unit_names().into_iter().enumerate() {
                    match cut.fates.get(unit).unwrap_or(&Fate::Lost) {
                        Fate::Kept => {}
                        Fate::Lost => line(format!("    lost: {name}")),
                        Fate::Torn(at) => line(format!("    torn after {at} bytes (modulo the length): {name}")),
                        Fate::Garbage(at) => line(format!("    garbage from byte {at} (modulo the length): {name}")),
                        Fate::Stale(file) => line(format!("    stale bytes of gone file {file}: {name}")),
                    }
                }
                if cut.rests.iter().any(|rest| *rest != Rest::default()) {
                    line(format!("    a length other than the last, or a hole without zeros: {cut}"));
                }
            }
        }
        for (path, bytes) in end.image(&world) {
            line(format!("  left on the disk: {}, {} bytes", path.display(), bytes.len()));
            listing(&path, &bytes).into_iter().for_each(|text| line(format!("    {text}")));
        }
    }
    match played.verdict(case) {
        None => line("nothing is wrong with this case".into()),
        Some(wrong) => line(format!("wrong: {}", wrong.text())),
    }
    out
}

fn extent(change: &Change) -> String {
    match change {
        Change::Write(_, at, bytes) => format!(", bytes {at} to {}", at + bytes.len() as u64),
        Change::SetLen(_, len) => format!(" to {len}"),
        Change::Rename(from, _) => format!(" (was {})", from.display()),
        _ => String::new(),
    }
}

/// The content of a file, record by record.
fn listing(path: &Path, bytes: &[u8]) -> Vec<String> {
    let disk = SimDisk::new(&Image::from([(path.to_path_buf(), bytes.to_vec())]), 0);
    let file = disk.open(path).ok().flatten().expect("a healthy disk");
    let name = path.display().to_string();
    if name.starts_with(SNAPSHOT) {
        return vec![match snapshot::load(file, path, |_, _| {}) {
            Ok(header) => format!("the state after write {}, {} entries", header.seq, header.entries),
            Err(error) => format!("{error}"),
        }];
    }
    if !name.starts_with(WAL) {
        return Vec::new();
    }
    let header = match recovery::read_header(&*file, path) {
        Ok(header) => header,
        Err(error) => return vec![format!("{error}")],
    };
    let mut lines = vec![format!("header: store {}, begins after write {}", header.store_id, header.base)];
    let at = wal::HEADER_BYTES as u64;
    let Ok(mut frames) = Frames::new(Arc::clone(&file), path, Kind::WRITE, header.salt, at, header.base) else { return lines };
    loop {
        match frames.next() {
            Ok(Next::End) => break,
            Ok(Next::Frame(frame)) => {
                let kind = match frame.header.kind {
                    Kind::WRITE => "write",
                    Kind::OPENED => "opened, after write",
                    _ => "closed, after write",
                };
                let (seq, durable, end) = (frame.header.seq, frame.header.durable, frame.body.len());
                lines.push(format!("byte {}: {kind} {seq}, {end} B, known durable: {durable}", frame.offset));
            }
            Ok(Next::Bad(fault)) => {
                lines.push(format!("byte {}: {fault}", frames.offset()));
                break;
            }
            Err(error) => {
                lines.push(format!("{error}"));
                break;
            }
        }
    }
    lines
}
