//! [`Store`]: the engine as the server uses it.

use crate::refusal::Refusal;
use kv_engine::{Ack, Batch, Engine, Error, Result};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

/// What became of a submission.
pub(crate) struct Told {
    /// How many of its writes, from the first on, are in the store and acknowledged.
    pub(crate) in_force: u64,
    pub(crate) result: Result<Ack>,
}

pub(crate) enum Submitted {
    Taken,
    /// Nothing was taken. `done` was dropped.
    Full,
}

type Done = Box<dyn FnOnce(Told) + Send>;

pub(crate) struct Store {
    pub(crate) engine: Engine,
    queue: Mutex<Option<Sender<(Vec<Batch>, Done)>>>,
}

impl Store {
    pub(crate) fn new(engine: Engine) -> Store {
        let (sender, receiver) = channel::<(Vec<Batch>, Done)>();
        let writer = engine.clone();
        std::thread::spawn(move || {
            for (writes, done) in receiver {
                let mut in_force = 0;
                let mut result = Err(Error::Closed);
                for write in writes {
                    result = writer.write(write);
                    if result.is_err() {
                        break;
                    }
                    in_force += 1;
                }
                done(Told { in_force, result });
            }
        });
        Store { engine, queue: Mutex::new(Some(sender)) }
    }

    pub(crate) fn submit(&self, writes: &[Batch], done: impl FnOnce(Told) + Send + 'static) -> Result<Submitted> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = queue.as_ref().ok_or(Error::Closed)?;
        sender.send((writes.to_vec(), Box::new(done))).map_err(|_| Error::Closed)?;
        Ok(Submitted::Taken)
    }

    pub(crate) fn when_room(&self, tell: impl FnOnce() + Send + 'static) {
        tell();
    }
}

/// A key that several places share.
pub(crate) type Key = Arc<[u8]>;

impl Store {
    /// Shows `see` the value of `key` in the store. Never waits for a sync.
    pub(crate) fn with<T>(&self, key: &[u8], see: impl FnOnce(&[u8]) -> T) -> std::result::Result<Option<T>, Refusal> {
        self.engine.get_with(key, see).map_err(|error| Refusal::of_read(&error))
    }
}
