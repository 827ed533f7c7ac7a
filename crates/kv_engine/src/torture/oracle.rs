//! The judge: opens the state that a crash has left, and decides whether it is as promised. It also runs the later
//! sessions that go on from there.
//!
//! If a workload leaves its values in the snapshot, the openings here alternate between that and keeping all in
//! memory. The result must not depend on it.

use super::store::{Bounds, CACHE_BYTES, entropy, leaves_values_in_snapshot, on_disk, options};
use crate::disk::sim::{Change, FaultPlan, Model, Operation, SimDisk, World};
use crate::engine::Engine;
use crate::error::Error;
use crate::recovery::{Keep, LogTail};
use crate::state::{Digest, Op, State};
use std::ops::Bound;

/// Why a state is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Lost(String),
    Refused(String),
    /// It was opened, but cannot be read.
    Unread(String),
}

impl Wrong {
    pub(super) fn text(&self) -> &str {
        let (Wrong::Lost(text) | Wrong::Refused(text) | Wrong::Unread(text)) = self;
        text
    }
}

/// Judges the states of one workload.
#[derive(Clone, Copy)]
pub(super) struct Oracle<'a> {
    pub(super) workload: u64,
    /// The digest of the state after each write of the workload, beginning with no write.
    pub(super) digests: &'a [Digest],
}

/// A later session: it opens the store and writes once.
pub(super) struct Reopened {
    pub(super) trace: Vec<Change>,
    /// The number of changes that opening made. None if opening failed as planned.
    pub(super) opened: Option<usize>,
    /// The operations of opening, including those that change nothing.
    pub(super) operations: Vec<Operation>,
    /// The last write that it found.
    found: u64,
    /// The write that it issued.
    own: Option<(u64, Digest)>,
    promised: bool,
}

impl Reopened {
    /// The bounds after a crash behind the first `done` changes. `before`: the bounds before this session.
    pub(super) fn bounds(&self, done: usize, before: Bounds) -> Bounds {
        if self.opened.is_none_or(|opened| done < opened) {
            return before;
        }
        let issued = self.own.map_or(self.found, |(write, _)| write);
        let promised = if self.promised && done == self.trace.len() { issued } else { self.found };
        let known = before.later.into_iter().flatten().find(|(write, _)| *write == self.found);
        Bounds { promised, issued, later: [known, self.own] }
    }
}

impl Oracle<'_> {
    /// Opens a state twice, writes, and opens it again.
    pub(super) fn check(&self, world: World, bounds: Bounds) -> Result<(), Wrong> {
        let disk = SimDisk::of_world(world, entropy(self.workload, 9, 0));
        let (engine, k) = self.open(&disk, self.keep(0), bounds)?;
        drop(engine);
        let (engine, again) = self.open(&disk, self.keep(1), bounds)?;
        let refused = |what: &str| Wrong::Refused(format!("{what} after write {k}"));
        if again != k {
            return Err(refused("the second opening finds another state"));
        }
        engine.put("goes", "on").map_err(|error| refused(&format!("a put fails ({error})")))?;
        drop(engine);
        let opened = options(&disk, self.keep(2)).open();
        let engine = opened.map_err(|error| refused(&format!("it does not open after a new write ({error})")))?;
        if engine.recovery().last_seq != k + 1 || engine.get("goes").ok().flatten().as_deref() != Some(b"on") {
            return Err(Wrong::Lost(format!("the new write behind write {k} is not there")));
        }
        Ok(())
    }

    /// Where the opening with this number keeps its values.
    fn keep(&self, opening: usize) -> Keep {
        match opening % 3 {
            0 if leaves_values_in_snapshot(self.workload) => on_disk(0),
            2 if leaves_values_in_snapshot(self.workload) => on_disk(CACHE_BYTES),
            _ => Keep::InMemory,
        }
    }

    fn open(&self, disk: &SimDisk, keep: Keep, bounds: Bounds) -> Result<(Engine, u64), Wrong> {
        let engine = options(disk, keep).open().map_err(|error| Wrong::Refused(format!("it does not open: {error}")))?;
        let k = self.judge(&engine, bounds)?;
        Ok((engine, k))
    }

    /// Checks that an opened store is within the bounds. Returns its last write.
    fn judge(&self, engine: &Engine, bounds: Bounds) -> Result<u64, Wrong> {
        let k = engine.recovery().last_seq;
        if let LogTail::Damaged(cut) = &engine.recovery().tail {
            return Err(Wrong::Refused(format!("a crash is reported as damage: {cut:?}")));
        }
        let Bounds { promised, issued, .. } = bounds;
        if k < promised || k > issued {
            return Err(Wrong::Lost(format!("the last write is {k}, but {promised} were promised and {issued} issued")));
        }
        self.compare(engine, k, bounds).map(|()| k)
    }

    fn compare(&self, engine: &Engine, k: u64, bounds: Bounds) -> Result<(), Wrong> {
        let later = bounds.later.into_iter().flatten().find(|(write, _)| *write == k).map(|(_, digest)| digest);
        let of_workload = || usize::try_from(k).ok().and_then(|k| self.digests.get(k)).copied();
        if later.or_else(of_workload) == Some(self.seen(engine)?) {
            Ok(())
        } else {
            Err(Wrong::Lost(format!("the state is not the one after write {k}")))
        }
    }

    /// The state that readers see. If reads may go to the disk, every kind of read is tried.
    fn seen(&self, engine: &Engine) -> Result<Digest, Wrong> {
        if !leaves_values_in_snapshot(self.workload) {
            return Ok(engine.digest());
        }
        let state = entries(engine)?;
        for (key, value) in state.range(Bound::Unbounded) {
            if engine.get(key).map_err(unread)?.as_ref() != Some(value) {
                return Err(Wrong::Lost(format!("a lookup of {} finds another value than a scan", key.escape_ascii())));
            }
        }
        let count = engine.count().map_err(unread)?;
        if count != state.len() as u64 {
            return Err(Wrong::Lost(format!("the count is {count}, but a scan finds {} keys", state.len())));
        }
        Ok(state.digest())
    }

    /// On a disk that breaks its promises: the store must not serve a state that never existed. Without powersafe
    /// overwrite it must also report a loss. Returns whether the store was refused.
    pub(super) fn check_weak(&self, world: World, model: Model, bounds: Bounds) -> Result<bool, Wrong> {
        let disk = SimDisk::of_world(world, entropy(self.workload, 9, 0));
        let mut found = None;
        for _ in 0..2 {
            let keep = self.keep(usize::from(found.is_some()));
            let Ok(engine) = options(&disk, keep).open() else { return Ok(true) };
            let k = engine.recovery().last_seq;
            if k > bounds.issued || found.is_some_and(|found| found != k) {
                return Err(Wrong::Lost(format!(
                    "the last write is {k}, the opening before found {found:?}, and {} were issued",
                    bounds.issued
                )));
            }
            match self.compare(&engine, k, bounds) {
                Err(Wrong::Unread(_)) => return Ok(true),
                compared => compared?,
            }
            let silent = engine.recovery().warnings().is_empty();
            if model == Model::NoPsow && found.is_none() && k < bounds.promised && silent {
                return Err(Wrong::Lost(format!(
                    "the last write is {k}, but {} were promised, and there is no warning",
                    bounds.promised
                )));
            }
            found = Some(k);
        }
        Ok(false)
    }

    /// Continues from a crash: opens the store and writes once. `number`: which session of the store this is; the
    /// first is 0. With a plan, opening may fail.
    pub(super) fn reopen(
        &self,
        world: World,
        bounds: Bounds,
        number: usize,
        at: usize,
        plan: Option<FaultPlan>,
    ) -> Result<Reopened, Wrong> {
        let mut disk = SimDisk::of_world(world, entropy(self.workload, number, at));
        if let Some(plan) = plan {
            disk = disk.with_faults(plan);
        }
        let opened = options(&disk, self.keep(number + at)).open();
        // The result if it is not opened. Below it is completed with what was found and written.
        let reopened =
            Reopened { trace: Vec::new(), opened: None, operations: disk.operations(), found: 0, own: None, promised: false };
        let engine = match opened {
            Ok(engine) => engine,
            Err(_) if plan.is_some() => return Ok(Reopened { trace: disk.trace(), ..reopened }),
            Err(error) => return Err(Wrong::Refused(format!("it does not open: {error}"))),
        };
        let reopened = Reopened { opened: Some(disk.changes()), found: engine.recovery().last_seq, ..reopened };
        let op = Op::put(format!("open {number}").as_bytes(), b"goes on");
        let read = self.judge(&engine, bounds).and_then(|_| entries(&engine));
        let mut state = match read {
            // A read failed as planned.
            Err(Wrong::Unread(_)) if plan.is_some() => return Ok(Reopened { trace: disk.trace(), ..reopened }),
            read => read?,
        };
        state.apply(op.clone());
        let put = engine.put(&*op.key, op.value.as_deref().expect("a put"));
        let trace = disk.trace(); // taken before the engine is dropped, because that writes too
        let own = match &put {
            Ok(_) => Some((reopened.found + 1, state.digest())),
            Err(error) if plan.is_none() => {
                return Err(Wrong::Refused(format!("a put fails ({error}) after write {}", reopened.found)));
            }
            // In doubt: the next opening may find it or not.
            Err(Error::Poisoned { .. }) => Some((reopened.found + 1, state.digest())),
            Err(_) => None, // refused: the next opening must not find it
        };
        Ok(Reopened { trace, own, promised: put.is_ok_and(|ack| ack.durable), ..reopened })
    }
}

fn unread(error: Error) -> Wrong {
    Wrong::Unread(format!("the state cannot be read: {error}"))
}

/// The entries as a scan finds them.
fn entries(engine: &Engine) -> Result<State, Wrong> {
    let mut state = State::default();
    for entry in engine.scan("") {
        let (key, value) = entry.map_err(unread)?;
        state.apply(Op { key: key.as_slice().into(), value: Some(value) });
    }
    Ok(state)
}
