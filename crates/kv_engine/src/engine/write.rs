//! The first step of a write: check the limits and encode it, without any lock. Also deletes, which are written only if
//! the key exists, and batches with conditions.

use super::batch::Batch;
use super::decide::{Decided, Finding, Order};
use super::group_commit::Write;
use super::in_flight::WriteKind;
use super::report::Ack;
use super::shared::Shared;
use crate::error::{Error, Result};
use crate::memory;
use crate::record::Body;
use crate::state::{Op, OpRef};
use crate::sync::Ordering;
use crate::{MAX_ATOMIC_BYTES, MAX_BATCH_SIZE, MAX_KEY_BYTES, MAX_VALUE_BYTES};
use std::cell::Cell;
use std::path::Path;

/// The memory in which a thread encodes its writes is kept up to this size.
const KEEP_ENCODED_BYTES: usize = 64 << 10;
/// From this length on a write first checks that there is memory for it.
const CHECK_MEMORY_BYTES: usize = 1 << 20;

thread_local! {
    static ENCODED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Shared {
    pub(super) fn put(&self, key: &[u8], value: &[u8]) -> Result<Ack> {
        let op = OpRef { key: checked_key(key)?, value: Some(checked_value(value)?) };
        let encode = |out: &mut Vec<u8>| op.encode(out);
        self.encoded(op.encoded_len(), encode, |body| {
            self.commit(self.log()?, Write { kind: WriteKind::Put, sync_first: false, body })
        })
    }

    pub(super) fn delete(&self, key: &[u8]) -> Result<Option<Ack>> {
        let op = OpRef { key: checked_key(key)?, value: None };
        self.encoded(op.encoded_len(), |out| op.encode(out), |body| self.delete_encoded(op.key, body))
    }

    pub(super) fn write(&self, batch: &Batch) -> Result<Ack> {
        for (key, value) in &batch.conditions {
            checked_key(key)?;
            checked_value(value.as_deref().unwrap_or_default())?;
        }
        if batch.is_empty() && batch.conditions.is_empty() {
            let log = self.wait_until_free(self.log()?)?;
            return Ok(log.ack(log.applied));
        }
        self.encoded_ops(&batch.ops, |body| {
            let write = Write { kind: WriteKind::Batch, sync_first: batch.is_durable, body };
            if batch.conditions.is_empty() { self.commit(self.log()?, write) } else { self.write_if(batch, write) }
        })
    }

    /// Writes the batch if its conditions hold.
    fn write_if(&self, batch: &Batch, write: Write<'_>) -> Result<Ack> {
        let decided = self.decide(write, Order::GoesFirst, |log| {
            let mut rests_on = 0;
            for (key, value) in &batch.conditions {
                let (holds, seq) = self.is_effective(log, key, value.as_deref())?;
                if !holds {
                    return Ok(Finding::Answer(Err(Error::Condition { key: key.to_vec() }), seq));
                }
                rests_on = rests_on.max(seq);
            }
            if batch.is_empty() { Ok(Finding::Answer(Ok(()), rests_on)) } else { Ok(Finding::Holds) }
        });
        match decided? {
            Decided::Written(ack) => Ok(ack),
            Decided::Answer(Err(error)) => Err(error),
            // The conditions hold, and there is nothing to write.
            Decided::Answer(Ok(())) | Decided::Lost => Ok(self.last_ack()),
        }
    }

    /// The answer to a call that writes nothing: that of the last applied write.
    pub(super) fn last_ack(&self) -> Ack {
        let log = self.log_always();
        log.ack(log.applied)
    }

    /// Step 1 for a list of operations.
    pub(super) fn encoded_ops<T>(&self, ops: &[Op], commit: impl FnOnce(Body<'_>) -> Result<T>) -> Result<T> {
        let bytes = check_batch_bytes(ops)?;
        self.encoded(bytes, |out| ops.iter().for_each(|op| op.as_ref().encode(out)), commit)
    }

    /// Step 1 of a write (`group_commit.rs`): encodes the body and computes its checksum, without any lock. Then
    /// `commit`.
    ///
    /// Besides the caller's own copy, a long body is in memory twice: first here and in the log, later in the log and
    /// in the map. So the memory for two copies is checked before anything is done.
    pub(super) fn encoded<T>(
        &self,
        len: usize,
        encode: impl FnOnce(&mut Vec<u8>),
        commit: impl FnOnce(Body<'_>) -> Result<T>,
    ) -> Result<T> {
        check_memory(len, &self.wal_path)?;
        let is_long = len > KEEP_ENCODED_BYTES;
        let mut bytes = if is_long { Vec::with_capacity(len) } else { ENCODED.take() };
        bytes.clear();
        encode(&mut bytes);
        let salt = self.salt.load(Ordering::Relaxed);
        if is_long {
            return commit(Body::new(bytes, salt));
        }
        let done = commit(Body::new(&bytes, salt));
        ENCODED.set(bytes);
        done
    }

    /// Logs the delete that `body` holds, if `key` exists.
    fn delete_encoded(&self, key: &[u8], body: Body<'_>) -> Result<Option<Ack>> {
        let write = Write { kind: WriteKind::Delete, sync_first: false, body };
        let decided = self.decide(write, Order::GoesFirst, |log| {
            Ok(match self.is_effective(log, key, None)? {
                (true, seq) => Finding::Answer((), seq),
                (false, _) => Finding::Holds,
            })
        });
        Ok(match decided? {
            Decided::Written(ack) => Some(ack),
            Decided::Answer(()) | Decided::Lost => None,
        })
    }
}

/// Refuses operations that are over a limit. Returns their encoded length.
pub(super) fn check_batch_bytes(ops: &[Op]) -> Result<usize> {
    let mut bytes = 0;
    for op in ops {
        checked_key(&op.key)?;
        checked_value(op.value.as_deref().unwrap_or_default())?;
        bytes += op.as_ref().encoded_len();
    }
    check("batch", bytes as u64, 0, MAX_ATOMIC_BYTES as u64)?;
    Ok(bytes)
}

/// Refuses a long write if there is no memory for its two copies.
pub(super) fn check_memory(len: usize, wal: &Path) -> Result<()> {
    let copies = 2 * len as u64;
    if len >= CHECK_MEMORY_BYTES && !memory::is_available(copies) {
        return Err(Error::io("writing", wal)(memory::too_little(copies)));
    }
    Ok(())
}

pub(super) fn check_batch_size(writes: u64) -> Result<()> {
    check("batch size", writes, 1, MAX_BATCH_SIZE)
}

fn check(what: &'static str, got: u64, min: u64, max: u64) -> Result<()> {
    if (min..=max).contains(&got) { Ok(()) } else { Err(Error::Limit { what, got, min, max }) }
}

pub(super) fn checked_key(key: &[u8]) -> Result<&[u8]> {
    check("key", key.len() as u64, 1, MAX_KEY_BYTES as u64).map(|()| key)
}

pub(super) fn checked_value(value: &[u8]) -> Result<&[u8]> {
    check("value", value.len() as u64, 0, MAX_VALUE_BYTES as u64).map(|()| value)
}
