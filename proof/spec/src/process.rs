//! The work of the process: frames into the buffer, the buffer into the file, and the consequences of a failure.

use crate::disk::{Frame, Kind, Name, Piece, Seq};
use crate::model::{Doing, Mark, Process, Protocol, State, Task};
use crate::wrong::Wrong;

impl Process {
    /// Whether the store refuses everything.
    pub fn has_failed(&self, protocol: &Protocol) -> bool {
        self.failed.is_some() && protocol.wrong != Some(Wrong::SyncRetried)
    }

    /// Whether a leader is between its write and the end of its sync.
    pub fn is_syncing(&self) -> bool {
        self.written > self.durable
    }

    pub(crate) fn may_write(&self) -> bool {
        !self.buffer.is_empty() && !self.is_syncing() && !matches!(self.mark, Mark::Head | Mark::Written)
    }

    /// Whether the mark must be durable before the rest of the buffer is written.
    pub(crate) fn needs_mark(&self, protocol: &Protocol) -> bool {
        let first = self.buffer.first().is_some_and(|frame| frame.kind.is_opened());
        self.resumed && first && protocol.wrong != Some(Wrong::MarkNotDurableFirst)
    }

    /// Whether the current task is a part of opening.
    pub(crate) fn is_opening(&self) -> bool {
        self.tail.is_some()
    }

    pub(crate) fn is_opened(&self) -> bool {
        self.opened_in_file || self.buffer.first().is_some_and(|frame| frame.kind.is_opened())
    }
}

impl State {
    /// Adds a frame to the buffer, chained to the one before.
    pub(crate) fn frame(&mut self, kind: Kind, seq: Seq, durable: Seq) {
        let link = self.process.buffer.last().map_or(self.process.end_link, Frame::check);
        self.process.buffer.push(Frame { kind, seq, durable, salt: self.process.salt, link });
    }

    pub(crate) fn write_buffer(&mut self) {
        let process = &mut self.process;
        let log = process.log.expect("an open store has a log");
        self.disk.write(log, process.end, process.buffer.iter().copied().map(Piece::Frame));
        process.end += u8::try_from(process.buffer.len()).expect("few frames");
        process.opened_in_file = process.is_opened();
        process.proven = process.buffer.last().map_or(process.proven, |frame| !matches!(frame.kind, Kind::Write(_)));
        process.end_link = process.buffer.last().map_or(process.end_link, Frame::check);
        process.marked_closed = false;
        process.buffer.clear();
    }

    /// Writes the beginning of an OPENED mark into the file.
    pub(crate) fn write_head(&mut self) {
        let log = self.process.log.expect("an open store has a log");
        self.disk.write_head(log, self.process.end);
    }

    /// Writes the OPENED mark of the buffer into the file.
    pub(crate) fn write_mark(&mut self) {
        let rest = self.process.buffer.split_off(1);
        self.write_buffer();
        self.process.buffer = rest;
    }

    /// The group whose mark is in the file could not be written. It begins again with the mark.
    pub(crate) fn take_mark_back(&mut self) {
        let process = &mut self.process;
        let in_opening = matches!(process.doing, Doing::Task(Task::Opening, _));
        if !matches!(process.mark, Mark::Written | Mark::Durable) && !in_opening {
            process.mark = Mark::None;
            return;
        }
        let log = process.log.expect("an open store has a log");
        let frames = self.disk.file(log).cache();
        process.end -= 1;
        if let Some(Piece::Frame(mark)) = frames.get(process.end as usize).copied().filter(|_| !in_opening) {
            process.buffer.insert(0, mark);
            process.end_link = mark.link;
        }
        (process.mark, process.opened_in_file) = (Mark::None, false);
    }

    /// The operating system takes a part of a write. `of_head`: a part of the beginning of a mark.
    pub(crate) fn write_part(&mut self, wrote: u8, torn: bool, of_head: bool) {
        let Some(log) = self.process.log else { return };
        if torn && of_head {
            return self.write_head();
        }
        let whole = self.process.buffer.iter().take(wrote as usize).copied().map(Piece::Frame);
        let pieces: Vec<Piece> = whole.chain(torn.then_some(Piece::Bad)).collect();
        self.disk.write(log, self.process.end, pieces);
    }

    /// Refuses the writes that were not acknowledged. The others wait for room, in a `new_chain`.
    pub(crate) fn refuse(&mut self, new_chain: bool) {
        let process = &mut self.process;
        let applied = process.applied;
        let mut kept = std::mem::take(&mut process.buffer);
        let keeps = kept.iter().any(|frame| matches!(frame.kind, Kind::Write(_)) && frame.seq <= applied);
        kept.retain(|frame| keeps && frame.seq <= applied && !(new_chain && frame.kind.is_opened()));
        process.stalled = keeps;
        process.appended = applied;
        process.sync_first.clear();
        if process.answer_durable > applied {
            process.answer_durable = 0; // it was refused
        }
        if new_chain {
            (process.resumed, process.opened_in_file) = (true, false);
            if let Some(first) = kept.first() {
                let nonce = self.nonce();
                self.frame(Kind::Opened(nonce), first.seq - 1, first.durable);
            }
        }
        kept.iter().for_each(|frame| self.frame(frame.kind, frame.seq, frame.durable));
        self.issued = self.issued.prefix(applied);
    }

    pub(crate) fn fail(&mut self) {
        let process = &mut self.process;
        process.failed = Some(self.acknowledged.max(process.durable));
    }

    /// The store is closed: every acknowledged write is durable, and the process ends.
    pub(crate) fn closed(&mut self) {
        self.acknowledged = self.process.appended;
        self.promised = self.process.appended;
        self.process = Process::default();
    }

    /// Continues with the log that is in place now.
    pub(crate) fn switch_log(&mut self) {
        let log = self.disk.named(Name::Log).expect("a new log is in place");
        let Some(Piece::Header { salt, .. }) = self.disk.file(log).cache().first().copied() else {
            unreachable!("the header was written")
        };
        let process = &mut self.process;
        (process.log, process.salt, process.end, process.end_link) = (Some(log), salt, 1, u32::from(salt));
        (process.opened_in_file, process.marked_closed, process.resumed, process.proven) = (false, true, false, false);
        for piece in self.disk.file(log).cache() {
            let Piece::Frame(frame) = piece else { continue };
            (process.opened_in_file, process.marked_closed) = (true, false);
            process.proven = !matches!(frame.kind, Kind::Write(_));
            process.end += 1;
            process.end_link = frame.check();
        }
    }

    /// A salt that is nowhere on the disk. The code draws one at random.
    pub(crate) fn new_salt(&self) -> u8 {
        let taken = |salt: u8| {
            self.disk.pieces().any(|piece| match piece {
                Piece::Header { salt: taken, .. } => taken == salt,
                Piece::Frame(frame) => frame.salt == salt,
                Piece::Bad | Piece::Snapshot { .. } => false,
            })
        };
        (0..).find(|salt| !taken(*salt)).expect("few logs")
    }

    /// A number that no earlier mark of an opening had. The code draws it at random. A number that is nowhere on the
    /// disk would not be enough: a frame on the disk may follow a mark that is lost.
    pub(crate) fn nonce(&mut self) -> u8 {
        self.used.nonces += 1;
        self.used.nonces
    }
}
