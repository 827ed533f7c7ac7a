//! The commands for the process that will be killed, the right answers, and what the answers promise.

use std::collections::BTreeMap;

pub(super) type Contents = BTreeMap<Vec<u8>, Vec<u8>>;
/// A key and its new value; `None` for a deletion.
pub(super) type Change = (Vec<u8>, Option<Vec<u8>>);

/// The batch sizes that a process is started with.
pub(super) const BATCH_SIZES: [u64; 4] = [1, 2, 5, 100];
const LATER_SIZES: [u64; 6] = [1, 2, 3, 5, 100, 1000];
/// Few keys, so that many are overwritten and deleted.
const KEYS: u64 = 3_000;

/// Pseudo-random numbers, the same for the same seed (SplitMix64, Steele 2014).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit.max(1)
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).expect("an index")]
    }
}

/// What the right answer to a line promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Nothing,
    Write,
    AllDurable,
    BatchSize(u64),
}

/// One line for the process, and the one right answer.
pub(super) struct Line {
    pub(super) text: String,
    pub(super) reply: String,
    pub(super) meaning: Meaning,
}

/// The state that the store must have after any number of the writes that were sent.
pub(super) struct Model {
    /// The state after write `seq`, which is on the disk.
    on_disk: Contents,
    pub(super) seq: u64,
    /// The writes that were sent since.
    sent: Vec<Vec<Change>>,
    /// The state after all of them.
    now: Contents,
}

impl Model {
    pub(super) fn new() -> Model {
        Model { on_disk: Contents::new(), seq: 0, sent: Vec::new(), now: Contents::new() }
    }

    /// The number of the last write that was sent.
    pub(super) fn last(&self) -> u64 {
        self.seq + self.sent.len() as u64
    }

    /// Records one write.
    pub(super) fn write(&mut self, changes: Vec<Change>) {
        changes.iter().for_each(|change| apply(&mut self.now, change));
        self.sent.push(changes);
    }

    /// A put that differs from every other one.
    pub(super) fn put(&self, random: &mut Random, in_group: usize) -> (String, String) {
        let mut value = format!("{}.{in_group}.", self.last() + 1);
        let length = match random.below(100) {
            0 => 10_000 + random.below(30_000),
            1..=5 => 500 + random.below(4_000),
            _ => random.below(120),
        };
        value.extend(std::iter::repeat_n('v', usize::try_from(length).expect("a length")));
        (key(random), value)
    }

    /// The lines of one command, or of one group.
    pub(super) fn command(&mut self, random: &mut Random, snapshots: bool, out: &mut Vec<Line>) {
        let mut line = |text: String, reply: &str, meaning| out.push(Line { text, reply: reply.into(), meaning });
        match random.below(400) {
            0 if snapshots => line("SNAP".into(), "SNAP OK", Meaning::AllDurable),
            0..=9 => line("FLUSH".into(), "FLUSH OK", Meaning::AllDurable),
            10..=19 => {
                let size = random.pick(&LATER_SIZES);
                line(format!("SETBATCH {size}"), &format!("OK batch={size}"), Meaning::BatchSize(size));
            }
            20..=29 => line("SIZE".into(), &self.now.len().to_string(), Meaning::Nothing),
            30..=59 => {
                let key = key(random);
                let value = self.now.get(key.as_bytes()).map_or("(nil)".into(), |value| String::from_utf8_lossy(value));
                line(format!("GET {key}"), &value, Meaning::Nothing);
            }
            60..=119 => {
                let key = key(random);
                let there = self.now.contains_key(key.as_bytes());
                let (reply, meaning) = if there { ("OK", Meaning::Write) } else { ("(nil)", Meaning::Nothing) };
                line(format!("DEL {key}"), reply, meaning);
                if there {
                    self.write(vec![(key.into_bytes(), None)]);
                }
            }
            120..=149 => {
                line("BEGIN".into(), "OK", Meaning::Nothing);
                let mut changes = Vec::new();
                for at in 0..1 + random.below(6) {
                    if random.one_in(3) {
                        let key = key(random);
                        line(format!("DEL {key}"), "QUEUED", Meaning::Nothing);
                        changes.push((key.into_bytes(), None));
                    } else {
                        let (key, value) = self.put(random, usize::try_from(at).expect("a few"));
                        line(format!("PUT {key} {value}"), "QUEUED", Meaning::Nothing);
                        changes.push((key.into_bytes(), Some(value.into_bytes())));
                    }
                }
                if random.one_in(8) {
                    line("ABORT".into(), "OK", Meaning::Nothing);
                } else {
                    line("COMMIT".into(), "OK", Meaning::Write);
                    self.write(changes);
                }
            }
            _ => {
                let (key, value) = self.put(random, 0);
                line(format!("PUT {key} {value}"), "OK", Meaning::Write);
                self.write(vec![(key.into_bytes(), Some(value.into_bytes()))]);
            }
        }
    }

    /// Checks that `found` is the state after write `k`. If it is, the model goes on from there.
    pub(super) fn settle(
        &mut self,
        k: u64,
        promised: u64,
        found: impl Iterator<Item = (impl AsRef<[u8]>, impl AsRef<[u8]>)>,
    ) -> Result<(), Wrong> {
        let last = self.last();
        if k < promised {
            let text = format!("the last write found is {k}, but write {promised} had been promised durable");
            return Err(Wrong { lost: promised - k, text });
        }
        if k > last {
            return Err(Wrong { lost: 0, text: format!("the last write found is {k}, but only {last} were sent") });
        }
        let count = usize::try_from(k - self.seq).expect("no more than were sent");
        self.sent.drain(..count).flatten().for_each(|change| apply(&mut self.on_disk, &change));
        self.sent.clear();
        self.seq = k;
        let mut expected = self.on_disk.iter();
        for (key, value) in found {
            if expected.next().is_none_or(|(k, v)| k != key.as_ref() || v != value.as_ref()) {
                return Err(Wrong::state(k, key.as_ref()));
            }
        }
        if let Some((key, _)) = expected.next() {
            return Err(Wrong::state(k, key));
        }
        self.now.clone_from(&self.on_disk);
        Ok(())
    }
}

fn apply(state: &mut Contents, (key, value): &Change) {
    match value {
        Some(value) => drop(state.insert(key.clone(), value.clone())),
        None => drop(state.remove(key)),
    }
}

fn key(random: &mut Random) -> String {
    format!("key:{}", random.below(KEYS))
}

/// A broken promise.
#[derive(Debug)]
pub(super) struct Wrong {
    /// Promised writes that are missing.
    pub(super) lost: u64,
    pub(super) text: String,
}

impl Wrong {
    fn state(k: u64, key: &[u8]) -> Wrong {
        let key = String::from_utf8_lossy(key);
        Wrong { lost: 1, text: format!("the state is not the one after the first {k} writes; the first wrong key is {key}") }
    }
}

/// What the answers have promised so far.
pub(super) struct Promise {
    batch: u64,
    /// Whether only full groups and FLUSH make writes durable, so that groups can be counted.
    exact: bool,
    /// The last write that was answered OK.
    pub(super) acknowledged: u64,
    pub(super) durable: u64,
}

impl Promise {
    /// For a store that was just opened, whose last write is `seq`. All of it is durable.
    pub(super) fn new(seq: u64, batch: u64, exact: bool) -> Promise {
        Promise { batch, exact, acknowledged: seq, durable: seq }
    }

    /// The right answer to a line came.
    pub(super) fn answered(&mut self, meaning: Meaning) {
        match meaning {
            Meaning::Nothing => return,
            Meaning::Write => self.acknowledged += 1,
            Meaning::AllDurable => self.durable = self.acknowledged,
            Meaning::BatchSize(size) => self.batch = size,
        }
        if self.acknowledged - self.durable >= self.batch {
            // The write that fills the group waits for its sync. With a background flush, groups may begin at other
            // writes. Then the last n - 1 writes may not be durable.
            let in_doubt = if self.exact { 0 } else { self.batch - 1 };
            self.durable = self.acknowledged - in_doubt;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn durable(exact: bool, batch: u64, answers: &[Meaning]) -> u64 {
        let mut promise = Promise::new(10, batch, exact);
        answers.iter().for_each(|&meaning| promise.answered(meaning));
        promise.durable - 10
    }

    #[test]
    fn answers_promise_durable_writes() {
        use Meaning::{AllDurable, BatchSize, Write};
        assert_eq!(durable(true, 1, &[Write]), 1);
        assert_eq!(durable(true, 5, &[Write; 4]), 0);
        assert_eq!(durable(true, 5, &[Write; 5]), 5, "the fifth waits for the sync of all");
        assert_eq!(durable(true, 5, &[Write; 7]), 5);
        assert_eq!(durable(false, 5, &[Write; 5]), 1, "a background flush may have moved the group");
        assert_eq!(durable(false, 5, &[Write; 7]), 3);
        assert_eq!(durable(true, 5, &[Write, Write, AllDurable, Write]), 2);
        assert_eq!(durable(true, 5, &[Write, Write, BatchSize(2)]), 2, "as many are pending as the new size");
        assert_eq!(durable(true, 5, &[Write, Write, BatchSize(3)]), 0);
        assert_eq!(durable(false, 5, &[Write, Write, BatchSize(2)]), 1);
    }

    #[test]
    fn only_the_state_after_k_writes_is_accepted() {
        let model = || {
            let mut model = Model::new();
            for value in ["1", "2", "3"] {
                model.write(vec![(b"x".to_vec(), Some(value.into()))]);
            }
            model
        };
        let settle = |k, promised, found: &[(&str, &str)]| {
            let found = found.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes()));
            model().settle(k, promised, found).map_err(|wrong| wrong.lost)
        };
        assert_eq!(settle(2, 2, &[("x", "2")]), Ok(()));
        assert_eq!(settle(0, 0, &[]), Ok(()));
        assert_eq!(settle(1, 3, &[("x", "1")]), Err(2), "two promised writes are missing");
        assert_eq!(settle(4, 0, &[("x", "4")]), Err(0), "never sent");
        assert_eq!(settle(2, 2, &[("x", "1")]), Err(1), "another state");
        assert_eq!(settle(2, 2, &[]), Err(1));
        assert_eq!(settle(2, 2, &[("x", "2"), ("y", "")]), Err(1));
    }

    #[test]
    fn a_script_has_every_command_and_the_right_answers() {
        let (mut model, mut random, mut lines) = (Model::new(), Random::new(1), Vec::new());
        while lines.len() < 20_000 {
            model.command(&mut random, true, &mut lines);
        }
        let writes = lines.iter().filter(|line| line.meaning == Meaning::Write).count() as u64;
        assert_eq!(writes, model.last());
        for what in ["PUT", "DEL", "GET", "SIZE", "BEGIN", "COMMIT", "ABORT", "FLUSH", "SNAP", "SETBATCH"] {
            assert!(lines.iter().any(|line| line.text.starts_with(what)), "{what}");
        }
        assert!(lines.iter().any(|line| line.text.starts_with("DEL") && line.reply == "(nil)"));
    }
}
