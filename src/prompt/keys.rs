//! The keys that Tab offers: those that GET would find now, in the store and in the open group.
//!
//! Tab inserts what all offered keys share, so it must know the last of them, also if only the first ones are listed.
//! An open store finds the last one at once. The files of a store can only be read from their first key on, and so can
//! a server. If they have too many, nobody knows what all keys share, and Tab inserts nothing.

use crate::session::Session;
use crate::store::Source;
use kv_engine::Operation;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// How many keys are listed.
pub(super) const MOST: usize = 100;
/// How long the files of a store are read on for the last key, once there are more than are listed. Also how long a
/// server is asked.
const TIME: Duration = Duration::from_millis(200);

/// Keys with a common beginning, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Offered {
    pub(super) listed: Vec<Vec<u8>>,
    pub(super) more: More,
}

/// What follows the listed keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum More {
    #[default]
    Nothing,
    /// Other keys; this is the last one.
    UpTo(Vec<u8>),
    /// Other keys, and the last one is not known.
    Unknown,
}

/// The keys that begin with `prefix`. A store that cannot be read offers what was read before the error.
pub(super) fn offered(session: &mut Session, prefix: &[u8]) -> Offered {
    let mut gathered = Gathered::default();
    for operation in session.group.iter().flat_map(|group| group.batch.operations()) {
        let (key, is_put) = match operation {
            Operation::Put { key, .. } => (key, true),
            Operation::Delete { key } => (key, false),
            _ => continue,
        };
        if key.starts_with(prefix) {
            gathered.group.insert(key.to_vec(), is_put);
        }
    }
    match session.store.source(true) {
        Ok(Source::Engine(engine)) => {
            for key in engine.keys(prefix).map_while(Result::ok) {
                if gathered.is_full() {
                    break;
                }
                gathered.take(&key);
            }
            let is_stored = |key: &Vec<u8>| !gathered.group.contains_key(key);
            let last = engine.keys(prefix).rev().map_while(Result::ok).map(|key| key.to_vec()).find(is_stored);
            gathered.last = last;
        }
        Ok(Source::Files(files)) => {
            let mut began = None;
            // Keys that were read before an error are offered.
            let _ = files.each(prefix, |key, _| {
                if gathered.is_full() && began.get_or_insert_with(Instant::now).elapsed() >= TIME {
                    gathered.is_cut = true;
                    return ControlFlow::Break(());
                }
                gathered.take(key);
                ControlFlow::Continue(())
            });
        }
        // The last key is known if the server gives all of them soon.
        Ok(Source::Remote(remote)) => {
            gathered.is_cut = !remote.keys_until(Instant::now() + TIME, prefix, |key| gathered.take(key));
        }
        Ok(Source::Empty) | Err(_) => {}
    }
    gathered.offered()
}

/// Keys while they are gathered.
#[derive(Debug, Default)]
struct Gathered {
    /// What the open group has done to a key: put it, or removed it.
    group: BTreeMap<Vec<u8>, bool>,
    /// The first stored keys that the group leaves as they are, one more than is listed.
    stored: Vec<Vec<u8>>,
    /// The last stored key that the group leaves as it is.
    last: Option<Vec<u8>>,
    /// There may be keys after `last`.
    is_cut: bool,
}

impl Gathered {
    fn is_full(&self) -> bool {
        self.stored.len() > MOST
    }

    fn take(&mut self, key: &[u8]) {
        if self.group.contains_key(key) {
            return;
        }
        if !self.is_full() {
            self.stored.push(key.to_vec());
        }
        let last = self.last.get_or_insert_default();
        last.clear();
        last.extend_from_slice(key);
    }

    fn offered(self) -> Offered {
        let put = self.group.into_iter().filter(|(_, is_put)| *is_put).map(|(key, _)| key);
        let mut listed: Vec<_> = self.stored.into_iter().chain(put).collect();
        listed.sort_unstable();
        let last = listed.last().cloned().max(self.last);
        let more = match last {
            _ if listed.len() <= MOST => More::Nothing,
            _ if self.is_cut => More::Unknown,
            last => last.map_or(More::Nothing, More::UpTo),
        };
        // One place is for the last key.
        listed.truncate(if more == More::Nothing { MOST } else { MOST - 1 });
        Offered { listed, more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(group: &[(&str, bool)], stored: impl IntoIterator<Item = String>) -> Gathered {
        let group = group.iter().map(|(key, is_put)| (key.as_bytes().to_vec(), *is_put)).collect();
        let mut gathered = Gathered { group, ..Gathered::default() };
        stored.into_iter().for_each(|key| gathered.take(key.as_bytes()));
        gathered
    }

    fn texts(keys: &[Vec<u8>]) -> Vec<&str> {
        keys.iter().map(|key| std::str::from_utf8(key).expect("text")).collect()
    }

    #[test]
    fn keys_of_the_group_are_among_those_of_the_store() {
        let group = [("b", true), ("c", false), ("d", true), ("e", true)];
        let Offered { listed, more } = gathered(&group, ["a", "c", "d", "f"].map(String::from)).offered();
        assert_eq!((texts(&listed), more), (vec!["a", "b", "d", "e", "f"], More::Nothing));
    }

    #[test]
    fn the_last_key_is_known_also_if_it_is_not_listed() {
        let stored = |n: usize| (1..=n).map(|n| format!("k{n:03}"));
        assert_eq!(gathered(&[], stored(100)).offered().more, More::Nothing);
        let all = gathered(&[], stored(300)).offered();
        assert_eq!((all.listed.len(), all.more), (MOST - 1, More::UpTo(b"k300".to_vec())));
        let with_group = gathered(&[("k300", false), ("l", true)], stored(300)).offered();
        assert_eq!(with_group.more, More::UpTo(b"l".to_vec()));
        assert_eq!(gathered(&[("k300", false)], stored(300)).offered().more, More::UpTo(b"k299".to_vec()));
        let cut = Gathered { is_cut: true, ..gathered(&[], stored(300)) };
        assert_eq!(cut.offered().more, More::Unknown);
    }
}
