//! A snapshot with an index. Most of its checks are right, and its shape is arbitrary. It is read by its index and as
//! a whole.
//!
//! Reading always ends, and never reads more than the length of the file, however often blocks list each other. If all
//! of it is sound, the index leads to all of its entries and to no others.

use crate::input::Input;
use crate::records::Bytes;
use crate::{bounded, forge, store};
use kv_engine::disk::File;
use kv_engine::lookups::{Lookups, entries};
use kv_engine::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// Reads the forged snapshot.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.byte();
    let file = Arc::new(Bytes::new(forge::indexed(&mut input)));
    bounded(file.len(), || look(&file, choice));
}

fn look(file: &Arc<Bytes>, choice: u8) {
    let path = Path::new(store::SNAPSHOT);
    let as_file = || Arc::clone(file) as Arc<dyn File>;
    let whole = entries(as_file(), path);
    let cache_bytes = [0, 1 << 20][usize::from(choice & 1)];
    let at_a_time = [1, 2, 7, 100, 100, 100, 100, 100][usize::from(choice >> 1 & 7)];
    let lookups = match Lookups::open(as_file(), path, cache_bytes) {
        Ok(Some(lookups)) => lookups,
        Ok(None) => return,
        Err(error) => {
            assert!(whole.is_err(), "a sound snapshot does not open: {error}");
            return is_refusal(&error);
        }
    };
    let read = file.read_bytes();
    let scanned = lookups.scan(b"", at_a_time);
    let found = scanned.as_ref().map_or(file.len() / 10, Vec::len); // the largest possible number, if a damaged block ended the scan
    let parts = 1 + found / at_a_time;
    // Each part of the scan descends once, past full blocks of the index, and reads one block twice. It reads the rest
    // once.
    let limit = 2 * file.len() * (parts + 1) + (1 << 16);
    assert!(file.read_bytes() - read <= limit, "{} B read of {}, in {parts} parts", file.read_bytes() - read, file.len());
    if let Ok(whole) = &whole {
        assert!(scanned.as_ref().is_ok_and(|scanned| scanned == whole), "a scan of a sound snapshot: {:?}", scanned.err());
        for (key, value) in whole {
            assert_eq!(lookups.get(key).expect("it is sound").as_ref(), Some(value));
            let other = [&key[..], &[0]].concat();
            let has_other = whole.binary_search_by(|(known, _)| known.cmp(&other)).is_ok();
            assert_eq!(lookups.get(&other).expect("it is sound").is_some(), has_other);
        }
    }
    for key in [&b"a"[..], &[0, 0, 0, 1], &[0xff]] {
        let read = file.read_bytes();
        checked(lookups.get(key));
        assert!(file.read_bytes() - read <= 2 * file.len() + (1 << 16), "a lookup reads more than the file has");
    }
    checked(lookups.scan(&[0, 0, 0], at_a_time));
    checked(scanned);
}

fn checked<T>(result: Result<T>) {
    result.map_or_else(|error| is_refusal(&error), drop);
}

fn is_refusal(error: &Error) {
    let _ = store::refusal(error); // panics if it is another error
    assert!(!error.to_string().is_empty());
}
