//! Runs the workload on the real engine. It notes on the device each write before it and each promise after it.

use crate::workload::{Step, Workload};
use anyhow::{Result, bail, ensure};
use kv_engine::{Ack, Batch, Engine, Error, Options};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// The options of a store in `directory`. It has no thread that syncs.
pub(crate) fn options(directory: &Path) -> Options {
    Options::new(directory.join("kv.wal"), directory.join("kv.snapshot")).flush_interval(Duration::ZERO)
}

pub(crate) struct Run<'a> {
    workload: &'a Workload,
    directory: &'a Path,
    notes: Option<Notes>,
    next: usize,
    pub(crate) engine: Option<Engine>,
    batch_size: u64,
    pub(crate) issued: u64,
    /// The last write that the engine has answered with OK.
    acknowledged: u64,
    /// The last write that must survive everything. See `promise`.
    pub(crate) promised: u64,
}

impl<'a> Run<'a> {
    pub(crate) fn new(workload: &'a Workload, directory: &'a Path, notes: Option<Notes>) -> Run<'a> {
        Run { workload, directory, notes, next: 0, engine: None, batch_size: 1, issued: 0, acknowledged: 0, promised: 0 }
    }

    /// Runs the next step. Returns `None` at the end. The error is the engine's.
    pub(crate) fn step(&mut self) -> Result<Option<Result<(), Error>>> {
        let Some(step) = self.workload.steps.get(self.next) else { return Ok(None) };
        self.next += 1;
        let done = match (step, self.engine.clone()) {
            (Step::Open { batch_size, snapshot_on_close }, _) => {
                self.batch_size = *batch_size;
                let opened = options(self.directory).batch_size(*batch_size).snapshot_on_close(*snapshot_on_close).open();
                if opened.is_err() {
                    self.next = self.workload.steps.len(); // the other steps depend on this one
                }
                opened.map(|engine| self.engine = Some(engine))
            }
            (_, None) => bail!("a step without an open store"),
            (Step::Put(key, value), Some(engine)) => return self.write(|| engine.put(key, value)),
            (Step::Delete(key), Some(engine)) => {
                return self.write(|| engine.delete(key).map(|ack| ack.expect("the model says that the key is there")));
            }
            (Step::Batch(operations), Some(engine)) => {
                let mut batch = Batch::new();
                for (key, value) in operations {
                    match value {
                        Some(value) => batch.put(key, value),
                        None => batch.delete(key),
                    };
                }
                return self.write(|| engine.write(batch));
            }
            (Step::Flush, Some(engine)) => self.all_durable(engine.flush().map(drop))?,
            (Step::Snapshot, Some(engine)) => self.all_durable(engine.snapshot().map(drop))?,
            (Step::Close, Some(engine)) => {
                let closed = self.all_durable(engine.close())?;
                self.engine = None;
                closed
            }
            (Step::BatchSize(writes), Some(engine)) => match engine.set_batch_size(*writes) {
                Ok(()) => {
                    self.batch_size = *writes;
                    self.promise(self.promised.max((self.acknowledged + 1).saturating_sub(*writes)))?;
                    Ok(())
                }
                Err(error) => Err(error),
            },
        };
        Ok(Some(done))
    }

    /// Runs all steps. Any error is a failure.
    pub(crate) fn finish(&mut self) -> Result<()> {
        while let Some(done) = self.step()? {
            done?;
        }
        Ok(())
    }

    fn write(&mut self, call: impl FnOnce() -> Result<Ack, Error>) -> Result<Option<Result<(), Error>>> {
        self.issued += 1;
        self.note("issued", self.issued)?;
        let ack = match call() {
            Ok(ack) => ack,
            Err(error) => return Ok(Some(Err(error))),
        };
        ensure!(ack.seq == self.issued, "write {} was given the number {}", self.issued, ack.seq);
        self.acknowledged = ack.seq;
        // The promise of the batch size: all but the last n - 1 acknowledged writes, independent of the answer.
        let by_size = (ack.seq + 1).saturating_sub(self.batch_size);
        if self.batch_size == 1 && !ack.durable {
            bail!("at batch size 1, write {} is not durable", ack.seq);
        }
        self.promise(if ack.durable { ack.seq } else { by_size })?;
        Ok(Some(Ok(())))
    }

    fn note(&mut self, word: &str, number: u64) -> Result<()> {
        self.notes.as_mut().map_or(Ok(()), |notes| notes.note(word, number))
    }

    fn all_durable(&mut self, done: Result<(), Error>) -> Result<Result<(), Error>> {
        if done.is_ok() {
            self.promise(self.acknowledged)?;
        }
        Ok(done)
    }

    fn promise(&mut self, through: u64) -> Result<()> {
        if through > self.promised {
            self.promised = through;
            self.note("promised", through)?;
        }
        Ok(())
    }
}

/// The file `notes` of the device.
pub(crate) struct Notes(File);

impl Notes {
    pub(crate) fn new(file: File) -> Notes {
        Notes(file)
    }

    /// One system call, so the device sees it before anything later.
    pub(crate) fn note(&mut self, word: &str, number: u64) -> Result<()> {
        Ok(self.0.write_all(format!("{word} {number}\n").as_bytes())?)
    }
}
