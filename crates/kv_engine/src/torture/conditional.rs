//! Conditional writes of a workload. Each one is a plain write of it, made in another way: what it stores follows from
//! what the store holds, and the log gets the same record. So the changes of a workload to the disk stay as they are.
//!
//! Before the write, the store is asked for something that does not hold. It must say so, and write nothing. Then each
//! value that the store shows to the write is compared with the model.

use crate::engine::{Batch, Engine, Swap};
use crate::error::{Error, Result};
use crate::state::{Op, State, Value};
use std::fmt;

/// How a write is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// A closure gets the old value. For a write of one key.
    Update,
    /// The old value is compared. For a write of one key.
    Swap,
    /// A transaction reads each key and then writes all of them.
    Transaction,
    /// A batch requires the old value of each key.
    Require,
    /// A batch that does not wait for its group.
    Durable,
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            How::Update => "as an update",
            How::Swap => "as a compare-and-swap",
            How::Transaction => "as a transaction",
            How::Require => "with conditions",
            How::Durable => "durable at once",
        })
    }
}

/// A value that the workload never stores.
pub(super) const NEVER: &[u8] = b"never stored";

fn of<'a>(state: &'a State, key: &[u8]) -> Option<&'a [u8]> {
    state.get(key).map(|value| &**value)
}

/// The state as the store has shown it, compared with the model.
pub(super) struct Shown<'a> {
    pub(super) state: &'a State,
    /// The first difference.
    pub(super) wrong: Option<String>,
}

impl Shown<'_> {
    fn value(&mut self, key: &[u8], shown: Option<&[u8]>) {
        if shown != of(self.state, key) {
            self.wrong(format!("a conditional write sees another value of {} than was written last", key.escape_ascii()));
        }
    }

    fn wrong(&mut self, text: String) {
        self.wrong.get_or_insert(text);
    }

    /// Asks for what does not hold.
    pub(super) fn ask(&mut self, how: How, engine: &Engine, ops: &[Op]) -> Result<()> {
        let key: &[u8] = &ops.last().expect("a write has operations").key;
        match how {
            How::Swap => match engine.compare_and_swap(key, Some(NEVER), Some(NEVER))? {
                Swap::Differs { current } => self.value(key, current.as_deref()),
                Swap::Done(_) => self.wrong("a value that was never stored was swapped".into()),
            },
            How::Require => {
                let mut batch = required(self.state, ops);
                batch.require(key, NEVER);
                match engine.write(batch) {
                    Err(Error::Condition { key: differs }) if differs == key => {}
                    Err(Error::Condition { key }) => {
                        self.wrong(format!("the value of {} is said not to be the last one", key.escape_ascii()));
                    }
                    Err(error) => return Err(error),
                    Ok(_) => self.wrong("a batch was written although a condition did not hold".into()),
                }
            }
            How::Transaction => {
                let (value, _) = engine.transaction(|tx| tx.get(key))?;
                self.value(key, value.as_deref());
            }
            How::Update | How::Durable => {}
        }
        Ok(())
    }

    /// Makes the write that `ops` are.
    pub(super) fn write(&mut self, how: How, engine: &Engine, ops: &[Op]) -> Result<crate::Ack> {
        let Op { key, value } = &ops[0];
        match how {
            How::Update => {
                let updated = engine.update(&**key, |old| {
                    self.value(key, old);
                    value.clone()
                })?;
                updated.ack.map_or_else(|| self.refused(), Ok)
            }
            How::Swap => match engine.compare_and_swap(&**key, of(self.state, key), value.clone())? {
                Swap::Done(ack) => Ok(ack),
                Swap::Differs { .. } => self.refused(),
            },
            How::Transaction => {
                let written = engine.transaction(|tx| -> Result<()> {
                    for op in ops {
                        let value: Option<Value> = tx.get(&*op.key)?;
                        self.value(&op.key, value.as_deref());
                    }
                    for op in ops {
                        match &op.value {
                            Some(value) => tx.put(&*op.key, value),
                            None => tx.delete(&*op.key),
                        };
                    }
                    Ok(())
                });
                Ok(written?.1)
            }
            How::Require => match engine.write(required(self.state, ops)) {
                Err(Error::Condition { .. }) => self.refused(),
                done => done,
            },
            How::Durable => engine.write(Batch { ops: ops.to_vec(), is_durable: true, ..Batch::default() }),
        }
    }

    fn refused(&mut self) -> Result<crate::Ack> {
        self.wrong("a condition that holds is said not to hold".into());
        Err(Error::Conflict) // nothing was written
    }
}

/// A batch that requires the values that its keys have.
fn required(state: &State, ops: &[Op]) -> Batch {
    let mut batch = Batch { ops: ops.to_vec(), ..Batch::default() };
    for op in ops {
        match of(state, &op.key) {
            Some(value) => batch.require(&*op.key, value),
            None => batch.require_absent(&*op.key),
        };
    }
    batch
}
