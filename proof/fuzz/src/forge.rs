//! The forge turns choices of the fuzzer into files with right checks. A checksum would keep a blind fuzzer out of all
//! the code behind it. So frames are made of fuzzed fields and then get their checks, or the checks of given bytes are
//! corrected.
//!
//! The effects of a crash or of rot are choices too: frames that never arrived or arrived damaged, cuts, zeros, stale
//! frames, flipped bits.

use crate::input::Input;
use crate::layout::{
    CLOSED, ENTRIES, Fields, INDEX, LOG_HEADER, OPENED, Reference, SNAPSHOT_HEADER, SNAPSHOT_MAGIC, WRITE, crc, delete,
    fix_checks, frame, le32, link_for, list, log_header, put, reference, snapshot_salt,
};
use crate::reference::{Map, digest};
use std::ops::Range;

/// The store id of all files, except those forged for another store.
const ID: [u8; 16] = *b"the fuzzed store";
/// The size limit of a forged file in bytes. Repeated copies would be larger.
const MOST_BYTES: usize = 64 << 10;

/// The bytes of a file, made in one of four ways. The first byte of the input chooses.
fn by_some_way(input: &mut Input<'_>, script: fn(&mut Input<'_>) -> Vec<u8>) -> Vec<u8> {
    match input.below(8) {
        0 => input.rest().to_vec(),
        1 => {
            let mut bytes = input.rest().to_vec();
            fix_checks(&mut bytes);
            bytes
        }
        2 => {
            let mut bytes = script(input);
            fix_checks(&mut bytes);
            bytes
        }
        _ => script(input),
    }
}

/// The bytes of a log.
pub fn log(input: &mut Input<'_>) -> Vec<u8> {
    by_some_way(input, scripted_log)
}

/// The bytes of a snapshot. Never of version 2, because the reference does not know the index. [`indexed`] forges
/// those.
pub fn snapshot(input: &mut Input<'_>) -> Vec<u8> {
    let mut bytes = by_some_way(input, scripted_snapshot);
    if bytes.get(8..12) == Some(&[2, 0, 0, 0]) {
        bytes[8] = 3;
    }
    bytes
}

/// The bytes of a snapshot, most of the time with an index.
pub fn indexed(input: &mut Input<'_>) -> Vec<u8> {
    by_some_way(input, scripted_index)
}

/// A number near `to`, or any number.
fn near(input: &mut Input<'_>, to: u64) -> u64 {
    match input.byte() {
        0x80 => input.wide(),
        0x81 => (1 << 62) - 1 + u64::from(input.byte()),
        step => to.wrapping_add_signed(i64::from(step.cast_signed())),
    }
}

fn key<'a>(input: &mut Input<'a>) -> &'a [u8] {
    const KEYS: [&[u8]; 6] = [b"a", b"b", b"key", b"another key", b"\0", b"\xff\xff"];
    match input.byte() {
        n @ 0x80.. => input.take(usize::from(n - 0x80)),
        n => KEYS[usize::from(n) % KEYS.len()],
    }
}

fn value(input: &mut Input<'_>) -> Vec<u8> {
    match input.byte() {
        n @ 0xf0.. => vec![b'v'; usize::from(n - 0xe0) * 300],
        n @ 0xc0.. => input.take(usize::from(n - 0xc0)).to_vec(),
        n => vec![b'v'; usize::from(n % 40)],
    }
}

fn operation(input: &mut Input<'_>, body: &mut Vec<u8>) {
    if input.below(4) == 0 {
        delete(body, key(input));
    } else {
        let key = key(input);
        put(body, key, &value(input));
    }
}

/// Damages the bytes of a forged file, independent of its kind.
fn spoil(input: &mut Input<'_>, how: u8, out: &mut Vec<u8>, frames: &[Range<usize>]) {
    match how {
        0 => {
            let count = input.length();
            out.extend_from_slice(input.take(count));
        }
        1 => out.resize(out.len() + input.length(), 0),
        2 => {
            if let Some(stale) = frames.len().checked_sub(1).and_then(|last| frames.get(last.saturating_sub(input.length()))) {
                out.extend_from_within(stale.start.min(out.len())..stale.end.min(out.len()));
            }
        }
        3 => {
            let (back, bit) = (usize::from(u16::from_le_bytes(input.array())), input.below(8));
            if let Some(at) = out.len().checked_sub(back + 1) {
                out[at] ^= 1 << bit;
            }
        }
        _ => out.truncate(out.len().saturating_sub(input.length())),
    }
}

/// A log made of steps: each byte of the input chooses the next one.
fn scripted_log(input: &mut Input<'_>) -> Vec<u8> {
    let strange = input.byte();
    let base = if strange & 1 == 0 { u64::from(strange >> 6) } else { near(input, 0) };
    let mut fields = Fields { salt: u32::from(strange) << 7, seq: base, durable: base, link: 0, kind: WRITE };
    fields.link = fields.salt;
    let mut out = log_header(ID, fields.salt, base).to_vec();
    if strange & 2 != 0 {
        let (at, to) = (input.below(64), input.byte());
        out[usize::from(at)] = to;
        if strange & 4 != 0 {
            let check = crc(0, &out[..LOG_HEADER - 4]);
            out[LOG_HEADER - 4..].copy_from_slice(&check.to_le_bytes());
        }
    }
    let mut frames = Vec::new();
    while !input.is_at_end() && out.len() < MOST_BYTES {
        let choice = input.byte();
        let mut body = Vec::new();
        let mut next = Fields { kind: WRITE, seq: fields.seq.wrapping_add(1), ..fields };
        match choice % 16 {
            0..=6 => (0..=choice % 3).for_each(|_| operation(input, &mut body)),
            7 => next = Fields { kind: OPENED, seq: fields.seq, ..fields },
            8 => next = Fields { kind: CLOSED, seq: fields.seq, durable: fields.seq, ..fields },
            9 | 10 => {
                next.kind = input.byte();
                next.seq = near(input, fields.seq);
                let length = input.length();
                body.extend_from_slice(input.take(length));
            }
            other => {
                spoil(input, other - 11, &mut out, &frames);
                continue;
            }
        }
        match choice >> 4 & 3 {
            0 => {}
            1 => next.durable = next.seq.saturating_sub(1),
            2 => next.durable = next.seq,
            _ => next.durable = near(input, fields.seq),
        }
        let mut claimed = body.len() as u32;
        if choice % 16 == 10 {
            let odd = input.byte();
            next.link ^= u32::from(odd & 1);
            next.salt ^= u32::from(odd >> 3); // from here on, bytes of another log
            if odd & 2 != 0 {
                claimed = u32::from_le_bytes(input.array());
            }
        }
        let start = out.len();
        fields = Fields { link: frame(&mut out, next, &body, claimed), ..next };
        match choice >> 6 {
            2 => out.truncate(start),                                        // the frame never arrived
            3 => *out.last_mut().expect("a frame was just written") ^= 0x10, // or was damaged
            _ => frames.push(start..out.len()),
        }
    }
    out
}

/// A snapshot made of steps. Keys rise by themselves, and the header matches the entries.
fn scripted_snapshot(input: &mut Input<'_>) -> Vec<u8> {
    let strange = input.byte();
    let seq = if strange & 1 == 0 { u64::from(strange >> 5) } else { near(input, 3) };
    let salt = snapshot_salt(&ID, seq);
    let mut out = vec![0; SNAPSHOT_HEADER];
    out[..8].copy_from_slice(&SNAPSHOT_MAGIC);
    out[8] = 1;
    out[12..28].copy_from_slice(&ID);
    out[32..40].copy_from_slice(&seq.to_le_bytes());
    let length = if strange & 2 == 0 { 0 } else { input.length() };
    let meta = input.take(length);
    out[28..32].copy_from_slice(&(meta.len() as u32).to_le_bytes());
    out[72..76].copy_from_slice(&crc(0, meta).to_le_bytes());
    out.extend_from_slice(meta);

    let mut fields = Fields { salt, seq: 0, durable: 0, link: salt, kind: ENTRIES };
    let (mut frames, mut body, mut rising) = (Vec::new(), Vec::new(), 0_u32);
    let mut entries: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    while !input.is_at_end() && out.len() < MOST_BYTES {
        let choice = input.byte();
        match choice % 16 {
            0..=7 => {
                // Step 0 repeats a key. A step beyond the end of the numbers goes back to the start.
                rising = rising.wrapping_add(if choice & 0x80 == 0 {
                    u32::from(choice >> 4) + 1
                } else {
                    u32::from_le_bytes(input.array())
                });
                let entry = (rising.to_be_bytes().to_vec(), value(input));
                put(&mut body, &entry.0, &entry.1);
                entries.push(entry);
            }
            8 => operation(input, &mut body),
            9 => {
                let odd = Fields { kind: input.byte(), seq: near(input, fields.seq), durable: near(input, 0), ..fields };
                let start = out.len();
                let length = input.length();
                fields = Fields { kind: ENTRIES, link: frame(&mut out, odd, input.take(length), length as u32), ..odd };
                frames.push(start..out.len());
            }
            other @ 11.. => spoil(input, other - 11, &mut out, &frames),
            _ => close_block(&mut fields, &mut body, &mut out, &mut frames),
        }
    }
    close_block(&mut fields, &mut body, &mut out, &mut frames);
    if out.len() < SNAPSHOT_HEADER {
        return out;
    }
    let map: Map<'_> = entries.iter().map(|(key, value)| (&**key, &**value)).collect();
    let data = (out.len() - SNAPSHOT_HEADER).saturating_sub(meta.len()) as u64;
    out[40..48].copy_from_slice(&(map.len() as u64 + u64::from(strange >> 4 & 1)).to_le_bytes());
    out[48..56].copy_from_slice(&data.to_le_bytes());
    out[56..72].copy_from_slice(&digest(&map).to_le_bytes());
    if strange & 4 != 0 {
        let (at, to) = (strange.rotate_left(3) % 92, out[64]);
        out[usize::from(at)] = to;
    }
    if strange & 8 == 0 || le32(&out, 92) == 0 {
        let check = crc(0, &out[..92]);
        out[92..96].copy_from_slice(&check.to_le_bytes());
    }
    out
}

fn close_block(fields: &mut Fields, body: &mut Vec<u8>, out: &mut Vec<u8>, frames: &mut Vec<Range<usize>>) {
    if !body.is_empty() {
        let start = out.len();
        let next = Fields { seq: fields.seq.wrapping_add(1), ..*fields };
        *fields = Fields { link: frame(out, next, body, body.len() as u32), ..next };
        frames.push(start..out.len());
        body.clear();
    }
}

/// A snapshot with an index, made of steps: blocks of entries, and blocks that list other blocks. They are listed in
/// the order of a real store or in any other, also before they exist, and also by themselves.
fn scripted_index(input: &mut Input<'_>) -> Vec<u8> {
    const KNOWN_CHECK: u32 = 0x5eed;
    let strange = input.byte();
    let salt = snapshot_salt(&ID, u64::from(strange >> 6));
    let mut out = vec![0; SNAPSHOT_HEADER];
    out[..8].copy_from_slice(&SNAPSHOT_MAGIC);
    out[8] = 2;
    out[12..28].copy_from_slice(&ID);
    out[32] = strange >> 6;
    let mut fields = Fields { salt, seq: 0, durable: 0, link: salt, kind: ENTRIES };
    let (mut body, mut first, mut rising) = (Vec::new(), Vec::new(), 0_u32);
    let mut entries: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    // The blocks that are not listed yet, and all blocks.
    let mut open: Vec<(Reference, Vec<u8>)> = Vec::new();
    let mut all: Vec<(Reference, Vec<u8>)> = Vec::new();
    let add = |out: &mut Vec<u8>, fields: Fields, body: &[u8]| {
        let offset = out.len() as u64;
        let check = frame(out, fields, body, body.len() as u32);
        (Fields { link: check, ..fields }, (offset, (out.len() as u64 - offset) as u32, check))
    };
    while !input.is_at_end() && out.len() < 8 << 10 {
        let choice = input.byte();
        let close = body.len() > 4000 || choice % 8 >= 3;
        if close && !body.is_empty() {
            fields = Fields { seq: fields.seq + 1, kind: ENTRIES, ..fields };
            let (next, at) = add(&mut out, fields, &body);
            fields = next;
            open.push((at, std::mem::take(&mut first)));
            all.extend(open.last().cloned());
            body.clear();
        }
        match choice % 8 {
            0..=2 => {
                // Some keys are so long that two fill a block.
                rising =
                    rising.wrapping_add(if choice & 0x80 == 0 { u32::from(choice >> 5) + 1 } else { u32::from(input.byte()) });
                let mut key = rising.to_be_bytes().to_vec();
                key.resize(if choice & 0x40 == 0 { 4 } else { 2100 }, b'k');
                if first.is_empty() {
                    first.clone_from(&key);
                }
                let value = value(input)[..].chunks(900).next().unwrap_or_default().to_vec();
                put(&mut body, &key, &value);
                entries.push((key, value));
            }
            3 => {}
            // Like a real store.
            4 => {
                let mut listed = Vec::new();
                let count = usize::from(choice >> 3).max(1).min(open.len());
                let from = open.len() - count;
                open[from..].iter().for_each(|(at, key)| list(&mut listed, *at, key));
                if let Some((_, key)) = open.get(from).cloned() {
                    open.truncate(from);
                    fields.kind = INDEX;
                    let (next, at) = add(&mut out, fields, &listed);
                    fields = next;
                    open.push((at, key));
                    all.extend(open.last().cloned());
                }
            }
            // Any of the existing blocks, some more than once.
            5 => {
                let mut listed = Vec::new();
                for _ in 0..=choice >> 5 {
                    let Some((at, key)) = all.len().checked_sub(1 + usize::from(input.byte())).and_then(|n| all.get(n)) else {
                        continue;
                    };
                    let odd = input.byte();
                    let key = if odd & 1 == 0 { key.clone() } else { vec![odd; usize::from(odd >> 4)] };
                    list(&mut listed, *at, &key);
                }
                fields.kind = INDEX;
                let (next, at) = add(&mut out, fields, &listed);
                fields = next;
                open = vec![(at, vec![0])];
                all.extend(open.last().cloned());
            }
            // The block itself, or the next one: its check is known beforehand.
            6 => {
                let mut listed = Vec::new();
                let count = choice >> 6;
                let length = 33 + (u32::from(count) + 1) * 22;
                let mut at = out.len() as u64;
                for n in 0..=count {
                    list(&mut listed, (at, length, KNOWN_CHECK), &[b'a', n]);
                    at += u64::from(input.byte() % 3) * u64::from(length);
                }
                fields = Fields { kind: INDEX, link: link_for(KNOWN_CHECK, Fields { kind: INDEX, ..fields }, &listed), ..fields };
                let (next, at) = add(&mut out, fields, &listed);
                fields = next;
                open.push((at, vec![b'a']));
                all.extend(open.last().cloned());
            }
            _ => {
                let odd = input.byte();
                let length = input.length();
                fields.kind = odd % 8;
                let (next, at) = add(&mut out, fields, input.take(length));
                fields = next;
                all.push((at, vec![odd]));
            }
        }
    }
    if !body.is_empty() {
        fields = Fields { seq: fields.seq + 1, kind: ENTRIES, ..fields };
        let (next, at) = add(&mut out, fields, &body);
        fields = next;
        open.push((at, first));
    }
    // One more block, the root, lists the rest.
    if strange & 1 == 0 && !open.is_empty() {
        let mut listed = Vec::new();
        open.iter().for_each(|(at, key)| list(&mut listed, *at, key));
        fields.kind = INDEX;
        let (_, at) = add(&mut out, fields, &listed);
        open.push((at, Vec::new()));
    }
    let root = open.last().map_or((0, 0, 0), |(at, _)| *at);
    let map: Map<'_> = entries.iter().map(|(key, value)| (&**key, &**value)).collect();
    let data = (out.len() - SNAPSHOT_HEADER) as u64;
    out[40..48].copy_from_slice(&(map.len() as u64 + u64::from(strange >> 1 & 1)).to_le_bytes());
    out[48..56].copy_from_slice(&data.to_le_bytes());
    out[56..72].copy_from_slice(&digest(&map).to_le_bytes());
    out[76..92].copy_from_slice(&reference(root));
    if strange & 4 != 0 {
        spoil(input, strange >> 3 & 7, &mut out, &[]);
        out.resize(out.len().max(SNAPSHOT_HEADER), 0);
    }
    let check = crc(0, &out[..92]);
    out[92..96].copy_from_slice(&check.to_le_bytes());
    out
}
