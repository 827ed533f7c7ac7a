//! The entries of a log as JSON, one object to a line.

use crate::text::{bytes, object};
use kv_engine::inspect::{Content, Entry, Operation, Record};
use kv_engine::{LogTail, Truncation};
use serde_json::Value as Json;
use std::io::{self, Write};

pub(super) fn write(out: &mut impl Write, entry: &Entry<'_>) -> io::Result<()> {
    let line = match entry {
        Entry::Header { bytes, store_id, version, base, damage } => object(&[
            ("offset", 0.into()),
            ("bytes", (*bytes).into()),
            ("record", "header".into()),
            ("store_id", store_id.map(|id| id.to_string()).into()),
            ("format", (*version).into()),
            ("base", (*base).into()),
            ("damage", damage.clone().into()),
        ]),
        Entry::Missed { from, to } => object(&[
            ("record", "missed".into()),
            ("from", (*from).into()),
            ("to", (*to).into()),
            ("reason", "checkpointed before they could be shown".into()),
        ]),
        Entry::Record(record) => record_object(record, true),
        Entry::Beyond(record) => record_object(record, false),
        Entry::Stop(LogTail::Torn(cut)) => stop_object("torn", cut),
        Entry::Stop(LogTail::Damaged(cut)) => stop_object("damaged", cut),
        _ => return Ok(()),
    };
    out.write_all(line.as_bytes())
}

fn stop_object(verdict: &str, cut: &Truncation) -> String {
    object(&[
        ("offset", cut.offset.into()),
        ("bytes", cut.bytes.into()),
        ("record", verdict.into()),
        ("seq", cut.expected.into()),
        ("reason", cut.fault.to_string().into()),
        ("proof", cut.proof.as_str().into()),
    ])
}

fn record_object(record: &Record<'_>, applied: bool) -> String {
    let (kind, ops) = match &record.content {
        Content::Write(ops) => ("write", ops.as_slice()),
        Content::Opened => ("opened", &[][..]),
        Content::Closed => ("closed", &[][..]),
        _ => ("impossible", &[][..]),
    };
    let mut fields: Vec<(&str, Json)> = vec![
        ("offset", record.offset.into()),
        ("bytes", record.bytes.into()),
        ("record", kind.into()),
        ("seq", record.seq.into()),
        ("durable", record.durable.into()),
        ("applied", applied.into()),
    ];
    if kind == "write" {
        let op = |op: &Operation<'_>| match *op {
            Operation::Put { key, value } => {
                Json::from_iter([bytes("put", "put_base64", key), bytes("value", "value_base64", value)])
            }
            Operation::Delete { key } => Json::from_iter([bytes("del", "del_base64", key)]),
            _ => Json::Null,
        };
        fields.push(("ops", ops.iter().map(op).collect()));
    }
    object(&fields)
}
