//! A plain log, not a store: each put is one `write` at the end of a file, each group one `fsync`, and then there is a
//! hash map. This is the least cost of a log without preparation, for example the log of the earlier C++ shell.

use super::group::EveryNth;
use super::{Reader, Setup, Store, Writer};
use crate::work::{KEY_BYTES, Key, VALUE_BYTES, Value, key, number, value};
use anyhow::Result;
use hashbrown::HashMap;
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

const HEAD_BYTES: usize = 27;
const RECORD_BYTES: usize = HEAD_BYTES + KEY_BYTES + VALUE_BYTES;

struct Plain {
    state: Mutex<State>,
    setup: Setup,
}

struct State {
    file: File,
    map: HashMap<Key, Value>,
}

pub(super) fn open(dir: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
    let file = File::options().append(true).create(true).open(dir.join("plain.log"))?;
    Ok(Box::new(Plain { state: Mutex::new(State { file, map: HashMap::new() }), setup: *setup }))
}

impl State {
    fn put(&mut self, key: &Key, value: &Value, sync: bool) -> Result<()> {
        let mut record = [0; RECORD_BYTES];
        record[HEAD_BYTES..HEAD_BYTES + KEY_BYTES].copy_from_slice(key);
        record[HEAD_BYTES + KEY_BYTES..].copy_from_slice(value);
        self.file.write_all(&record)?;
        if sync {
            self.file.sync_all()?;
        }
        self.map.insert(*key, *value);
        Ok(())
    }
}

impl Plain {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }
}

impl Store for Plain {
    fn writer(&self) -> Result<Box<dyn Writer + '_>> {
        Ok(Box::new(PlainWriter { plain: self, nth: EveryNth::new(self.setup.sync) }))
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(PlainReader(self)))
    }

    fn fill(&self, numbers: Range<u64>) -> Result<()> {
        let mut state = self.state();
        for n in numbers {
            state.put(&key(n), &value(n), false)?;
        }
        Ok(state.file.sync_all()?)
    }
}

struct PlainWriter<'a> {
    plain: &'a Plain,
    nth: EveryNth,
}

impl Writer for PlainWriter<'_> {
    fn put(&mut self, key: &Key, value: &Value) -> Result<()> {
        self.plain.state().put(key, value, self.nth.is_due())
    }

    fn finish(&mut self) -> Result<()> {
        if self.nth.is_open() {
            self.plain.state().file.sync_all()?;
        }
        Ok(())
    }
}

struct PlainReader<'a>(&'a Plain);

impl Reader for PlainReader<'_> {
    fn get(&mut self, key: &Key) -> Result<Option<u64>> {
        Ok(self.0.state().map.get(key).map(|value| number(value)))
    }
}
