//! [`Writer`]: entries in key order become the frames of a snapshot.
//!
//! Short entries are collected until they fill a frame. A long entry has a frame of its own. Its bytes are copied piece
//! by piece into the [`Pipeline`], so no copy of a whole long value is made.

use super::format::{BLOCK_BYTES, Form, HEADER_BYTES, Header, Ref};
use super::index::Builder;
use super::pipeline::Pipeline;
use crate::record::{self, Body, Kind, Place, crc};
use crate::state::{Digester, OpRef};
use std::io;

/// A snapshot that is being written.
pub(crate) struct Writer {
    pipeline: Pipeline,
    entries: u64,
    digester: Digester,
    /// The body of the frame that is being filled, and the first key in it.
    body: Vec<u8>,
    first: Vec<u8>,
    pub(super) place: Place,
    pub(super) index: Option<Builder>,
}

impl Writer {
    pub(super) fn new(pipeline: Pipeline, salt: u32, form: Form) -> Writer {
        let place = Place { salt, link: salt, seq: 0, durable: 0 };
        let index = (form == Form::Indexed).then(Builder::default);
        Writer { pipeline, entries: 0, digester: Digester::default(), body: Vec::new(), first: Vec::new(), place, index }
    }

    /// Adds the next entry in key order.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let entry = OpRef { key, value: Some(value) };
        if self.body.len() + entry.encoded_len() > BLOCK_BYTES {
            self.close_block();
            self.pipeline.hand_over()?;
        }
        self.entries += 1;
        self.digester.add(key, value);
        if entry.encoded_len() > BLOCK_BYTES {
            return self.add_alone(entry);
        }
        if self.body.is_empty() && self.index.is_some() {
            self.first = key.to_vec();
        }
        entry.encode(&mut self.body);
        Ok(())
    }

    /// Writes a frame that holds one entry.
    fn add_alone(&mut self, entry: OpRef<'_>) -> io::Result<()> {
        let value = entry.value.expect("a snapshot holds no deletion");
        let mut before = Vec::with_capacity(entry.encoded_len() - value.len());
        entry.encode_head(&mut before);
        self.place.seq += 1;
        let (offset, len) = (self.pipeline.len(), entry.encoded_len());
        let body_check = crc(crc(self.place.salt, &before), value);
        let (head, check) = record::encode_head(self.place, Kind::ENTRIES, len, body_check);
        self.place.link = check;
        self.pipeline.end().extend_from_slice(&head);
        self.pipeline.end().extend_from_slice(&before);
        self.pipeline.append(value)?;
        if let Some(index) = &mut self.index {
            index.block(entry.key, Ref::to_block(offset, len, check));
            self.write_index();
        }
        Ok(())
    }

    /// Ends the frames. Returns the header that describes them.
    pub(super) fn finish(mut self, header: Header) -> (Pipeline, Header) {
        self.close_block();
        self.finish_index();
        let header = Header {
            entries: self.entries,
            data_len: self.pipeline.len() - HEADER_BYTES as u64,
            digest: self.digester.digest(),
            root: self.index.map(|index| index.root().expect("all of it is placed")),
            ..header
        };
        (self.pipeline, header)
    }

    pub(super) fn close_block(&mut self) {
        if self.body.is_empty() {
            return;
        }
        self.place.seq += 1;
        let body = std::mem::take(&mut self.body);
        let block = self.frame(Kind::ENTRIES, &body);
        self.body = body;
        self.body.clear();
        if let Some(index) = &mut self.index {
            index.block(&self.first, block);
            self.write_index();
        }
    }

    fn finish_index(&mut self) {
        if let Some(index) = &mut self.index {
            index.finish();
            self.write_index();
        }
    }

    /// Writes the blocks of the index that are due.
    fn write_index(&mut self) {
        while let Some(body) = self.index.as_ref().and_then(Builder::due).map(<[u8]>::to_vec) {
            let block = self.frame(Kind::INDEX, &body);
            self.index.iter_mut().for_each(|index| index.placed(block));
        }
    }

    pub(super) fn frame(&mut self, kind: Kind, body: &[u8]) -> Ref {
        let offset = self.pipeline.len();
        let body = Body::new(body, self.place.salt);
        self.place.link = record::encode(self.pipeline.end(), self.place, kind, &body);
        Ref::to_block(offset, body.bytes.len(), self.place.link)
    }
}
