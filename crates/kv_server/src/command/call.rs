//! [`Call`]: what a command sees and may do. [`Spec`]: the row of a command. [`Table`]: all rows.

use crate::limits;
use crate::refusal::Refusal;
use crate::resp::{Args, Reply};
use crate::sequencer::{Evaluation, Finished, Place};
use crate::session::{Multi, Session};
use crate::shared::Shared;
use crate::store::SomeKeys;
use kv_engine::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use std::collections::HashMap;
use tokio::task::block_in_place;

/// The function of a command. What it returns as an error is its reply. It checks its words before it writes.
pub(crate) type Run = fn(&mut Call<'_>, Args<'_>) -> Result<(), Refusal>;

/// The row of a command, or of a subcommand.
pub(crate) struct Spec {
    /// In lower case; of a subcommand only its own word.
    pub(crate) name: &'static str,
    /// The number of words with the name; negative: at least so many.
    pub(crate) arity: i64,
    pub(crate) flags: u32,
    /// The words that are keys: first, last (negative: from the end), step.
    pub(crate) keys: (i64, i64, i64),
    pub(crate) group: &'static str,
    /// The version of Redis that had it first.
    pub(crate) since: &'static str,
    pub(crate) complexity: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) run: Run,
    pub(crate) subcommands: &'static [Spec],
}

/// What a command does, as COMMAND tells it.
pub(crate) mod flag {
    pub(crate) const WRITE: u32 = 1;
    pub(crate) const READONLY: u32 = 1 << 1;
    pub(crate) const DENYOOM: u32 = 1 << 2;
    pub(crate) const ADMIN: u32 = 1 << 3;
    pub(crate) const NOSCRIPT: u32 = 1 << 4;
    pub(crate) const LOADING: u32 = 1 << 5;
    pub(crate) const STALE: u32 = 1 << 6;
    pub(crate) const FAST: u32 = 1 << 7;
    /// Runs before the client has given the password.
    pub(crate) const NO_AUTH: u32 = 1 << 8;
    /// Is refused between MULTI and EXEC.
    pub(crate) const NO_MULTI: u32 = 1 << 9;
    /// Runs between MULTI and EXEC, and is not queued. Not told to clients.
    pub(crate) const IMMEDIATE: u32 = 1 << 10;
    /// Begins a new turn if a write comes before it. Not told to clients.
    pub(crate) const ALONE: u32 = 1 << 11;
}

/// The keys of a command without keys.
pub(crate) const NO_KEYS: (i64, i64, i64) = (0, 0, 0);
/// The keys of a command on one key.
pub(crate) const ONE_KEY: (i64, i64, i64) = (1, 1, 1);
/// The keys of a command whose words are all keys.
pub(crate) const ALL_KEYS: (i64, i64, i64) = (1, -1, 1);

impl Spec {
    pub(crate) const fn new(name: &'static str, arity: i64, flags: u32, keys: (i64, i64, i64), run: Run) -> Spec {
        Spec { name, arity, flags, keys, group: "", since: "", complexity: "", summary: "", run, subcommands: &[] }
    }

    /// What people read about it.
    pub(crate) const fn about(
        self,
        group: &'static str,
        since: &'static str,
        complexity: &'static str,
        summary: &'static str,
    ) -> Spec {
        Spec { group, since, complexity, summary, ..self }
    }

    pub(crate) const fn subcommands(self, subcommands: &'static [Spec]) -> Spec {
        Spec { subcommands, ..self }
    }

    pub(crate) fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn takes(&self, words: usize) -> bool {
        let words = i64::try_from(words).unwrap_or(i64::MAX);
        if self.arity < 0 { words >= -self.arity } else { words == self.arity }
    }

    pub(crate) fn has_keys(&self) -> bool {
        self.keys.0 > 0
    }

    /// The words that are keys, by their numbers.
    pub(crate) fn key_numbers(&self, words: usize) -> impl Iterator<Item = usize> + use<> {
        let (first, last, step) = self.keys;
        let words = i64::try_from(words).unwrap_or(i64::MAX);
        let last = if last < 0 { words + last } else { last.min(words - 1) };
        let numbers = first..=if first == 0 { -1 } else { last };
        let step = usize::try_from(step).unwrap_or(1).max(1);
        numbers.step_by(step).filter_map(|number| usize::try_from(number).ok())
    }
}

/// A row, where it is found.
pub(crate) struct Row {
    pub(crate) spec: &'static Spec,
    /// The name as errors say it: `get`, `client|list`.
    pub(crate) full_name: String,
    /// The rows of its subcommands, by their words.
    pub(crate) subcommands: HashMap<&'static str, usize>,
    pub(crate) is_subcommand: bool,
}

/// All commands. Each one with subcommands also has HELP, which tells them.
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
    names: HashMap<&'static str, usize>,
}

/// No command has a longer name.
const NAME_BYTES: usize = 24;

/// Calls `find` with the name in lower case.
fn lowered<T>(name: &[u8], find: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    let mut lower = [0; NAME_BYTES];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    find(std::str::from_utf8(lower).ok()?)
}

impl Table {
    pub(crate) fn new(groups: &[&'static [Spec]], help: &'static Spec) -> Table {
        let mut specs: Vec<&'static Spec> = groups.iter().copied().flatten().collect();
        specs.sort_by_key(|spec| spec.name);
        let mut table = Table { rows: Vec::new(), names: HashMap::new() };
        for spec in specs {
            let number = table.add(spec, spec.name.to_string(), false);
            table.names.insert(spec.name, number);
            let help = if spec.subcommands.is_empty() { None } else { Some(help) };
            for sub in spec.subcommands.iter().chain(help) {
                let sub_number = table.add(sub, format!("{}|{}", spec.name, sub.name), true);
                table.rows[number].subcommands.insert(sub.name, sub_number);
            }
        }
        table
    }

    fn add(&mut self, spec: &'static Spec, full_name: String, is_subcommand: bool) -> usize {
        self.rows.push(Row { spec, full_name, subcommands: HashMap::new(), is_subcommand });
        self.rows.len() - 1
    }

    /// The row of a command by its name, in any case.
    pub(crate) fn find(&self, name: &[u8]) -> Option<usize> {
        lowered(name, |name| self.names.get(name).copied())
    }

    pub(crate) fn find_sub(&self, command: usize, sub: &[u8]) -> Option<usize> {
        lowered(sub, |sub| self.rows[command].subcommands.get(sub).copied())
    }

    /// A command by its name, a subcommand as `client|list`.
    pub(crate) fn find_full(&self, name: &[u8]) -> Option<usize> {
        match name.iter().position(|&byte| byte == b'|') {
            None => self.find(name),
            Some(bar) => self.find_sub(self.find(&name[..bar])?, &name[bar + 1..]),
        }
    }

    /// The row that runs for these words.
    ///
    /// # Errors
    /// There is none, or it takes another number of words.
    pub(crate) fn row_of(&self, args: Args<'_>) -> Result<usize, Refusal> {
        let number = self.named(args)?;
        let row = &self.rows[number];
        if row.spec.takes(args.len()) { Ok(number) } else { Err(Refusal::arity(&row.full_name)) }
    }

    /// The row whose name the first words are.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn named(&self, args: Args<'_>) -> Result<usize, Refusal> {
        let unknown = || Refusal::unknown_command(args.at(0), args.from(1));
        let mut number = self.find(args.at(0)).ok_or_else(unknown)?;
        let command = &self.rows[number];
        if !command.subcommands.is_empty() && args.len() > 1 {
            let sub = self.find_sub(number, args.at(1));
            number = sub.ok_or_else(|| Refusal::unknown_subcommand(&command.spec.name.to_ascii_uppercase(), args.at(1)))?;
        }
        Ok(number)
    }

    /// The command that is not a subcommand, in the order of their names.
    pub(crate) fn commands(&self) -> impl Iterator<Item = (usize, &Row)> {
        self.rows.iter().enumerate().filter(|(_, row)| !row.is_subcommand)
    }
}

/// What a turn counts for INFO.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) errors: u64,
}

/// One command, or the commands of one turn one after the other.
pub(crate) struct Call<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) session: &'a mut Session,
    pub(crate) reply: &'a mut Reply,
    pub(crate) table: &'static Table,
    /// From the first command of the turn that writes on.
    evaluation: Option<Evaluation<'a>>,
    pub(crate) counts: Counts,
    /// The row of the last command that was found in the table.
    pub(crate) last_row: usize,
    /// The transaction that the last command has executed.
    pub(crate) spent: Option<Box<Multi>>,
    /// The watches end when the turn is submitted.
    pub(crate) must_unwatch: bool,
}

impl<'a> Call<'a> {
    pub(crate) fn new(shared: &'a Shared, session: &'a mut Session, reply: &'a mut Reply, table: &'static Table) -> Call<'a> {
        Call {
            shared,
            session,
            reply,
            table,
            evaluation: None,
            counts: Counts::default(),
            last_row: 0,
            spent: None,
            must_unwatch: false,
        }
    }

    /// From here on this turn sees what is in flight, and no other turn comes between.
    pub(crate) fn sequence(&mut self) -> &mut Evaluation<'a> {
        let shared = self.shared;
        self.evaluation.get_or_insert_with(|| shared.sequencer.evaluate(&shared.store))
    }

    /// Shows `see` the value of `key`.
    pub(crate) fn with<T>(&mut self, key: &[u8], see: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, Refusal> {
        match &mut self.evaluation {
            None => self.shared.store.with(key, see),
            Some(evaluation) => evaluation.with(key, see),
        }
    }

    pub(crate) fn exists(&mut self, key: &[u8]) -> Result<bool, Refusal> {
        Ok(self.with(key, |_| ())?.is_some())
    }

    /// A copy of the value of `key`.
    pub(crate) fn value(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        self.with(key, <[u8]>::to_vec)
    }

    /// Replies the value of `key`, or null.
    pub(crate) fn reply_value(&mut self, key: &[u8]) -> Result<(), Refusal> {
        let reply = &mut *self.reply;
        let found = match &mut self.evaluation {
            None => self.shared.store.with(key, |value| reply.bulk(value))?,
            Some(evaluation) => evaluation.with(key, |value| reply.bulk(value))?,
        };
        match found {
            Some(()) => self.counts.hits += 1,
            None => {
                self.counts.misses += 1;
                self.reply.null();
            }
        }
        Ok(())
    }

    /// Replies the values of `keys`, each one or null, in a reply that began at `begin`.
    ///
    /// # Errors
    /// The reply is too long, or a value cannot be read.
    pub(crate) fn reply_values(&mut self, begin: usize, keys: &[&[u8]]) -> Result<(), Refusal> {
        if self.evaluation.is_some() {
            // What is in flight is looked up first, key by key.
            return keys.iter().try_for_each(|key| self.reply_value(key).and_then(|()| self.check_reply(begin)));
        }
        let (reply, counts, mut fits) = (&mut *self.reply, &mut self.counts, true);
        self.shared.store.with_many(keys, |_, value| {
            fits = fits && reply.bytes.len() - begin <= limits::REPLY_BYTES;
            if fits {
                reply.value(value);
                *(if value.is_some() { &mut counts.hits } else { &mut counts.misses }) += 1;
            }
        })?;
        if fits { self.check_reply(begin) } else { Err(Refusal::LARGE_REPLY) }
    }

    /// All keys that begin with `prefix` and that `of` accepts, in their order. Other connections of this worker go on
    /// meanwhile.
    pub(crate) fn keys(&mut self, prefix: &[u8], of: impl Fn(&[u8]) -> bool) -> Result<Vec<Vec<u8>>, Refusal> {
        let store = &self.shared.store;
        let Some(evaluation) = &mut self.evaluation else {
            return block_in_place(|| store.keys(prefix, of));
        };
        let in_flight = evaluation.in_flight(|key| key.starts_with(prefix) && of(key));
        let mut keys = block_in_place(|| store.keys(prefix, |key| of(key) && !in_flight.contains_key(key)))?;
        keys.extend(in_flight.into_iter().filter(|(_, exists)| *exists).map(|(key, _)| key.to_vec()));
        keys.sort_unstable();
        Ok(keys)
    }

    /// The next keys behind `after` that begin with `prefix`, in their order: about `most`.
    pub(crate) fn keys_after(&mut self, after: &[u8], prefix: &[u8], most: usize) -> Result<SomeKeys, Refusal> {
        let mut found = self.shared.store.keys_after(after, prefix, most)?;
        if let Some(evaluation) = &mut self.evaluation {
            let last = found.last.as_deref();
            let is_between = |key: &[u8]| key > after && last.is_none_or(|last| key <= last);
            let in_flight = evaluation.in_flight(|key| key.starts_with(prefix) && is_between(key));
            found.keys.retain(|key| !in_flight.contains_key(&key[..]));
            found.keys.extend(in_flight.into_iter().filter(|(_, exists)| *exists).map(|(key, _)| key.to_vec()));
            found.keys.sort_unstable();
        }
        Ok(found)
    }

    /// The number of keys.
    pub(crate) fn count(&mut self) -> Result<usize, Refusal> {
        let store = &self.shared.store;
        let mut count = usize::try_from(store.count()?).unwrap_or(usize::MAX);
        if let Some(evaluation) = &mut self.evaluation {
            for (key, exists) in evaluation.in_flight(|_| true) {
                let existed = store.with(&key, |_| ())?.is_some();
                count = count + usize::from(exists) - usize::from(existed);
            }
        }
        Ok(count)
    }

    /// # Errors
    /// The value is too long, or the writes of this command are.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if value.len() > MAX_VALUE_BYTES {
            return Err(Refusal::LONG_STRING);
        }
        self.sequence().put(key, value)
    }

    /// # Errors
    /// The writes of this command are too long.
    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<(), Refusal> {
        self.sequence().delete(key)
    }

    /// Whether the reply that begins at `from` may still grow.
    ///
    /// # Errors
    /// It is too long.
    pub(crate) fn check_reply(&self, from: usize) -> Result<(), Refusal> {
        if self.reply.bytes.len() - from > limits::REPLY_BYTES { Err(Refusal::LARGE_REPLY) } else { Ok(()) }
    }

    /// Runs the command of a row whose words were checked, and writes its reply.
    pub(crate) fn run(&mut self, row: usize, args: Args<'_>) -> Result<(), Refusal> {
        let spec = self.table.rows[row].spec;
        if spec.has(flag::WRITE) {
            self.sequence();
        }
        let begin = self.reply.bytes.len();
        (spec.run)(self, args).inspect_err(|_| self.reply.bytes.truncate(begin))
    }

    /// Ends the command. The place that its reply rests on; 0: none.
    pub(crate) fn end_command(&mut self) -> Place {
        self.evaluation.as_mut().map_or(0, Evaluation::end_command)
    }

    pub(crate) fn take_back_command(&mut self) {
        if let Some(evaluation) = &mut self.evaluation {
            evaluation.take_back_command();
        }
    }

    pub(crate) fn has_writes(&self) -> bool {
        self.evaluation.as_ref().is_some_and(Evaluation::has_writes)
    }

    pub(crate) fn written_bytes(&self) -> usize {
        self.evaluation.as_ref().map_or(0, Evaluation::bytes)
    }

    /// Ends the turn.
    pub(crate) fn finish(mut self) -> Finished {
        let Some(evaluation) = &mut self.evaluation else { return Finished::Settled };
        let finished = evaluation.finish();
        if self.must_unwatch && !matches!(finished, Finished::Full(_)) {
            evaluation.unwatch(&mut self.session.watches);
        }
        finished
    }

    pub(crate) fn watch(&mut self, key: &[u8]) {
        self.sequence();
        if let Some(evaluation) = &mut self.evaluation {
            evaluation.watch(key, &mut self.session.watches);
        }
    }

    /// Whether a watched key was written.
    pub(crate) fn is_dirty(&mut self) -> bool {
        if self.session.watches.is_empty() || self.must_unwatch {
            return false;
        }
        self.sequence();
        self.evaluation.as_ref().is_some_and(|evaluation| evaluation.is_dirty(&self.session.watches))
    }

    /// Ends the watches of this connection: at once, or if a write comes before, when the turn is submitted.
    pub(crate) fn unwatch(&mut self) {
        if self.session.watches.is_empty() {
            return;
        }
        if self.has_writes() {
            self.must_unwatch = true;
            return;
        }
        let watches = &mut self.session.watches;
        match &mut self.evaluation {
            Some(evaluation) => evaluation.unwatch(watches),
            None => self.shared.sequencer.unwatch(watches),
        }
    }
}

/// # Errors
/// The store takes no key of this length.
pub(crate) fn check_key(key: &[u8]) -> Result<(), Refusal> {
    match key.len() {
        0 => Err(Refusal::EMPTY_KEY),
        1..=MAX_KEY_BYTES => Ok(()),
        _ => Err(Refusal::LONG_KEY),
    }
}
