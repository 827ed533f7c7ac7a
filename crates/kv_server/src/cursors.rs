//! [`Cursors`]: where each SCAN goes on.
//!
//! A client carries a number of 64 bits from one SCAN to the next. The number is a token for the last key that it was
//! given, so the next SCAN goes on behind exactly that key. Tokens begin at a random number: one of an earlier start of
//! the server is not mistaken for one of this start.
//!
//! A token that was used is kept for a while, because a client may repeat its call. The oldest tokens are forgotten
//! when there are too many, those that were used first. Using a forgotten token is an error.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// Tokens that were used, and are kept.
const USED: usize = 1024;
/// Scans that may wait for their next call.
const OPEN: usize = 65_536;
/// Bytes of all keys that are kept.
const BYTES: usize = 64 << 20;

#[derive(Debug)]
pub(crate) struct Cursors(Mutex<Tokens>);

#[derive(Debug)]
struct Tokens {
    next: u64,
    keys: HashMap<u64, Place>,
    /// Tokens in the order in which they were given or used. A used one may still be in `open`.
    open: VecDeque<u64>,
    used: VecDeque<u64>,
    bytes: usize,
}

#[derive(Debug)]
struct Place {
    key: Box<[u8]>,
    is_used: bool,
}

impl Cursors {
    pub(crate) fn new() -> Cursors {
        Cursors(Mutex::new(Tokens {
            // Some clients keep a cursor in a signed number or in a double.
            next: rand::random::<u64>() >> 12 | 1,
            keys: HashMap::new(),
            open: VecDeque::new(),
            used: VecDeque::new(),
            bytes: 0,
        }))
    }

    /// A token for the place behind `key`.
    pub(crate) fn give(&self, key: &[u8]) -> u64 {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let token = tokens.next;
        tokens.next += 1;
        tokens.bytes += key.len();
        tokens.keys.insert(token, Place { key: key.into(), is_used: false });
        tokens.open.push_back(token);
        tokens.forget_some();
        token
    }

    /// The key of a token.
    pub(crate) fn key(&self, token: u64) -> Option<Box<[u8]>> {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = tokens.keys.get_mut(&token)?;
        let key = place.key.clone();
        if !std::mem::replace(&mut place.is_used, true) {
            tokens.used.push_back(token);
            tokens.forget_some();
        }
        Some(key)
    }
}

impl Tokens {
    fn forget(&mut self, token: u64) {
        if let Some(place) = self.keys.remove(&token) {
            self.bytes -= place.key.len();
        }
    }

    fn forget_some(&mut self) {
        while self.used.len() > USED || self.bytes > BYTES && !self.used.is_empty() {
            let token = self.used.pop_front().unwrap_or_default();
            self.forget(token);
        }
        // Used tokens at its front have their place in the other queue.
        while let Some(&token) = self.open.front()
            && (self.keys.get(&token).is_none_or(|place| place.is_used) || self.open_is_long())
        {
            self.open.pop_front();
            if self.keys.get(&token).is_some_and(|place| !place.is_used) {
                self.forget(token);
            }
        }
        if self.open.len() > 2 * OPEN {
            let keys = &self.keys;
            self.open.retain(|token| keys.get(token).is_some_and(|place| !place.is_used));
        }
    }

    fn open_is_long(&self) -> bool {
        self.keys.len() - self.used.len() > OPEN || self.bytes > BYTES && self.keys.len() > 1
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_its_key_until_many_others_were_given() {
        let cursors = Cursors::new();
        let first = cursors.give(b"a");
        assert_eq!(cursors.key(first).as_deref(), Some(&b"a"[..]));
        assert_eq!(cursors.key(first).as_deref(), Some(&b"a"[..]), "a call may be repeated");
        let slow = cursors.give(b"slow");
        for _ in 0..OPEN + USED + 10 {
            let token = cursors.give(b"fast");
            assert!(cursors.key(token).is_some());
        }
        assert!(cursors.key(first).is_none(), "used long ago");
        assert_eq!(cursors.key(slow).as_deref(), Some(&b"slow"[..]), "one fast scan does not end a slow one");
        assert!(cursors.key(0).is_none());
    }

    #[test]
    fn the_number_and_the_bytes_of_tokens_are_bounded() {
        let cursors = Cursors::new();
        let first = cursors.give(b"first");
        (0..OPEN).for_each(|_| _ = cursors.give(b"k"));
        assert!(cursors.key(first).is_none());
        let long = vec![b'k'; 64 << 10];
        (0..2000).for_each(|_| _ = cursors.give(&long));
        let tokens = cursors.0.lock().unwrap();
        assert!(tokens.bytes <= BYTES && tokens.keys.len() <= 1025, "{} B", tokens.bytes);
        assert_eq!(tokens.bytes, tokens.keys.values().map(|place| place.key.len()).sum::<usize>());
    }
}
