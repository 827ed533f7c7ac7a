//! The commands of one client of `server-kills`, and the state that they leave.

use crate::client::{Client, Reply};
use std::collections::BTreeMap;

/// Keys of one client beside its counters.
const KEYS: u64 = 20;

/// One command, or one group.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Set {
        key: u64,
        value: Vec<u8>,
    },
    Delete(u64),
    Increment,
    Append(u8),
    Rename,
    /// `MULTI`, a `SET` of each of these keys, `EXEC`.
    Group(Vec<u64>, u64),
}

/// The keys of one client, and their values.
pub(crate) type State = BTreeMap<String, Vec<u8>>;

/// The keys that client `client` may write.
pub(crate) fn keys_of(client: usize) -> Vec<String> {
    let numbered = (0..KEYS).map(|key| format!("{client}:{key}"));
    numbered.chain(["count", "log", "old", "new"].map(|name| format!("{client}:{name}"))).collect()
}

impl Op {
    pub(crate) fn random(random: &mut fastrand::Rng, number: u64) -> Op {
        let key = random.u64(..KEYS);
        match random.u8(..20) {
            0..8 => {
                let len = if random.u8(..50) == 0 { random.usize(..20_000) } else { random.usize(..200) };
                let mut value = number.to_string().into_bytes();
                value.resize(value.len() + len, b'.');
                Op::Set { key, value }
            }
            8..10 => Op::Delete(key),
            10..14 => Op::Increment,
            14 => Op::Append(b'a' + (number % 26) as u8),
            15 => Op::Rename,
            _ => Op::Group((0..2 + random.u64(..4)).map(|_| random.u64(..KEYS)).collect(), number),
        }
    }

    /// Adds the command to what the connection will send.
    pub(crate) fn add(&self, client: usize, to: &mut Client) {
        let key = |name: &u64| format!("{client}:{name}").into_bytes();
        let name = |name: &str| format!("{client}:{name}").into_bytes();
        match self {
            Op::Set { key: at, value } => to.add(&[b"SET", &key(at), value]),
            Op::Delete(at) => to.add(&[b"DEL", &key(at)]),
            Op::Increment => to.add(&[b"INCR", &name("count")]),
            Op::Append(byte) => to.add(&[b"APPEND", &name("log"), &[*byte]]),
            Op::Rename => {
                to.add(&[b"SETNX", &name("old"), b"moved"]);
                to.add(&[b"RENAME", &name("old"), &name("new")]);
            }
            Op::Group(keys, number) => {
                to.add(&[b"MULTI"]);
                keys.iter().for_each(|at| to.add(&[b"SET", &key(at), number.to_string().as_bytes()]));
                to.add(&[b"EXEC"]);
            }
        }
    }

    /// How many replies come before the one that tells that it is done.
    pub(crate) fn replies_before(&self) -> usize {
        match self {
            Op::Group(keys, _) => 1 + keys.len(),
            Op::Rename => 1,
            _ => 0,
        }
    }

    /// Changes `state`. The reply that the server must give.
    pub(crate) fn apply(&self, client: usize, state: &mut State) -> Reply {
        let name = |key: &u64| format!("{client}:{key}");
        let ok = || Reply::Simple("OK".into());
        match self {
            Op::Set { key, value } => {
                state.insert(name(key), value.clone());
                ok()
            }
            Op::Delete(key) => Reply::Number(i64::from(state.remove(&name(key)).is_some())),
            Op::Increment => {
                let value = state.entry(format!("{client}:count")).or_insert_with(|| b"0".to_vec());
                let next = std::str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok()).unwrap_or(0) + 1;
                *value = next.to_string().into_bytes();
                Reply::Number(next)
            }
            Op::Append(byte) => {
                let value = state.entry(format!("{client}:log")).or_default();
                value.push(*byte);
                Reply::Number(i64::try_from(value.len()).unwrap_or(i64::MAX))
            }
            Op::Rename => {
                state.remove(&format!("{client}:old"));
                state.insert(format!("{client}:new"), b"moved".to_vec());
                ok()
            }
            Op::Group(keys, number) => {
                for key in keys {
                    state.insert(name(key), number.to_string().into_bytes());
                }
                Reply::List(vec![ok(); keys.len()])
            }
        }
    }

    /// The state between the two writes of a rename, which is not a group.
    pub(crate) fn halfway(&self, client: usize, state: &State) -> Option<State> {
        matches!(self, Op::Rename).then(|| {
            let mut state = state.clone();
            state.entry(format!("{client}:old")).or_insert_with(|| b"moved".to_vec());
            state
        })
    }
}
