//! [`Case`]: one crash, or several in a row, written down so that it can be repeated.

use crate::disk::sim::{FaultPlan, Image, Model, PowerCut, World};
use std::fmt;
use std::str::FromStr;

/// No workload has more steps than this.
const MOST_STEPS: usize = 1000;

/// A history of the store: a workload, and then its sessions. For each session: the planned fault, the number of
/// changes after which it ended, and how it ended.
///
/// As text, for example `17:45.cut=K3L1/0+0`: workload 17 loses power after its 45th change; of the unsynced units
/// three are kept and one is lost. Each further session follows after another colon. `17-3..9,12` is workload 17
/// without steps 3 to 9 and 12.
///
/// ```
/// use kv_engine::torture::{Case, replay};
///
/// let case: Case = "17:45.die:3.kill".parse()?; // the second process dies during its recovery
/// assert_eq!(case.to_string(), "17:45.die:3.kill");
/// assert_eq!(replay(&case), None); // nothing is wrong afterwards
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The seed of the workload.
    pub(super) workload: u64,
    /// The steps that are left out.
    pub(super) dropped: Vec<usize>,
    /// How the disk breaks its promises, and from which change on.
    pub(super) weak: Option<(Model, usize)>,
    /// At least one session.
    pub(super) sessions: Vec<Session>,
}

/// One session of a process, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) plan: Option<FaultPlan>,
    /// The number of changes after which it ended.
    pub(super) at: usize,
    pub(super) end: End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The process died. The page cache still has its writes, and a later power cut may still take them.
    Die,
    /// The process died, and the system wrote everything to the disk. With a number: only this many bytes of the last
    /// write were done.
    Kill(Option<usize>),
    /// The power was cut.
    Cut(PowerCut),
}

impl End {
    /// The files that the next process finds.
    pub(super) fn image(&self, world: &World) -> Image {
        match self {
            End::Die => world.after_death(None),
            End::Kill(short) => world.after_death(*short),
            End::Cut(cut) => world.after_power_cut(cut),
        }
    }

    /// The disk of the next process.
    pub(super) fn leaves(&self, world: &World) -> World {
        match self {
            End::Die => world.clone(),
            End::Kill(_) | End::Cut(_) => World::of(&self.image(world)),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Die => f.write_str("die"),
            End::Kill(None) => f.write_str("kill"),
            End::Kill(Some(short)) => write!(f, "kill{short}"),
            End::Cut(cut) => write!(f, "cut={cut}"),
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.workload)?;
        for (n, run) in self.dropped.chunk_by(|a, b| a + 1 == *b).enumerate() {
            write!(f, "{}{}", if n == 0 { '-' } else { ',' }, run[0])?;
            if run.len() > 1 {
                write!(f, "..{}", run[run.len() - 1])?;
            }
        }
        if let Some((model, from)) = self.weak {
            write!(f, ":{model}@{from}")?;
        }
        for Session { plan, at, end } in &self.sessions {
            f.write_str(":")?;
            if let Some(plan) = plan {
                write!(f, "{plan}@")?;
            }
            write!(f, "{at}.{end}")?;
        }
        Ok(())
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Case, String> {
        let wrong = |part: &str| format!("{part:?} in {text:?} is not a part of a case; an example is 17:45.die:3.kill");
        let number = |digits: &str| digits.parse::<usize>().map_err(|_| wrong(digits));
        let mut parts = text.trim().split(':').peekable();
        let first = parts.next().unwrap_or_default();
        let (seed, dropped) = first.split_once('-').unwrap_or((first, ""));
        let workload = seed.parse().map_err(|_| wrong(first))?;
        let mut case = Case { workload, dropped: Vec::new(), weak: None, sessions: Vec::new() };
        for run in dropped.split(',').filter(|run| !run.is_empty()) {
            let (from, to) = run.split_once("..").unwrap_or((run, run));
            case.dropped.extend(number(from)?..=number(to)?.min(MOST_STEPS));
        }
        if let Some((model, from)) = parts.peek().and_then(|part| part.split_once('@'))
            && let Ok(model) = model.parse::<Model>()
        {
            case.weak = Some((model, number(from)?));
            parts.next();
        }
        for part in parts {
            let (plan, rest) = match part.split_once('@') {
                Some((plan, rest)) => (Some(plan.parse()?), rest),
                None => (None, part),
            };
            let (at, end) = rest.split_once('.').ok_or_else(|| wrong(part))?;
            let end = match end {
                "die" => End::Die,
                "kill" => End::Kill(None),
                end => match (end.strip_prefix("kill"), end.strip_prefix("cut=")) {
                    (Some(short), _) => End::Kill(Some(number(short)?)),
                    (_, Some(cut)) => End::Cut(cut.parse()?),
                    _ => return Err(wrong(end)),
                },
            };
            case.sessions.push(Session { plan, at: number(at)?, end });
        }
        if case.sessions.is_empty() { Err(format!("{text:?} names no crash; an example is 17:45.die")) } else { Ok(case) }
    }
}
