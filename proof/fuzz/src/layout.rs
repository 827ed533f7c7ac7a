//! The bytes of the files, implemented a second time from the documents in `record.rs`, `wal.rs` and `snapshot.rs`.
//! The forge writes them and the reference reads them.

use std::collections::HashMap;

/// The first bytes of a log.
pub const LOG_MAGIC: [u8; 8] = *b"\x89kvwal\r\n";
/// The first bytes of a snapshot.
pub const SNAPSHOT_MAGIC: [u8; 8] = *b"\x89kvsna\r\n";
/// The length of a log's header.
pub const LOG_HEADER: usize = 64;
/// The length of a snapshot's header.
pub const SNAPSHOT_HEADER: usize = 96;
/// The length of a frame's header.
pub const HEAD: usize = 33;

/// The length of the mark of an opening.
pub const OPENED_LENGTH: usize = HEAD + 8;

/// The kinds of frames.
pub const WRITE: u8 = 1;
/// The log was opened.
pub const OPENED: u8 = 2;
/// The store was closed.
pub const CLOSED: u8 = 3;
/// The entries of a snapshot.
pub const ENTRIES: u8 = 4;
/// A block of the index of a snapshot of version 2.
pub const INDEX: u8 = 5;

/// CRC-32 of `bytes`, with `salt` as the initial value.
#[must_use]
pub fn crc(salt: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(bytes);
    hasher.finalize()
}

/// Four bytes.
#[must_use]
pub fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Eight bytes.
#[must_use]
pub fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The salt of a snapshot's frames.
#[must_use]
pub fn snapshot_salt(id: &[u8], seq: u64) -> u32 {
    crc(crc(0, id), &seq.to_le_bytes())
}

/// The fields of a frame's header that are not checks.
#[derive(Clone, Copy, Debug)]
pub struct Fields {
    /// The initial value of both checks.
    pub salt: u32,
    /// The sequence number.
    pub seq: u64,
    /// The last write known to be synced.
    pub durable: u64,
    /// The check of the frame before.
    pub link: u32,
    /// The kind.
    pub kind: u8,
}

/// Appends a frame. Its length field may differ from the length of `body`. Returns its check.
pub fn frame(out: &mut Vec<u8>, fields: Fields, body: &[u8], claimed: u32) -> u32 {
    let mut head = [0; HEAD];
    head[4..8].copy_from_slice(&claimed.to_le_bytes());
    head[8..16].copy_from_slice(&fields.seq.to_le_bytes());
    head[16..24].copy_from_slice(&fields.durable.to_le_bytes());
    head[24..28].copy_from_slice(&fields.link.to_le_bytes());
    head[28..32].copy_from_slice(&crc(fields.salt, body).to_le_bytes());
    head[32] = fields.kind;
    let check = crc(fields.salt, &head[4..]);
    head[..4].copy_from_slice(&check.to_le_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(body);
    check
}

/// Corrects the checks and links of a file, even if its fields make no sense. It begins with the check of the header,
/// and then follows every frame in order, as far as the length fields lead.
pub fn fix_checks(bytes: &mut [u8]) {
    let (header, mut at, salt) = if bytes.starts_with(&SNAPSHOT_MAGIC) && bytes.len() >= SNAPSHOT_HEADER {
        let meta = le32(bytes, 28) as usize;
        (SNAPSHOT_HEADER, SNAPSHOT_HEADER.saturating_add(meta), snapshot_salt(&bytes[12..28], le64(bytes, 32)))
    } else if bytes.len() >= LOG_HEADER {
        (LOG_HEADER, LOG_HEADER, le32(bytes, 28))
    } else {
        return;
    };
    let is_indexed = header == SNAPSHOT_HEADER && le32(bytes, 8) == 2;
    let (mut link, mut frames) = (salt, HashMap::new());
    while at.checked_add(HEAD).is_some_and(|end| end <= bytes.len()) {
        let frame = &mut bytes[at..];
        let length = le32(frame, 4) as usize;
        if is_indexed && frame[32] == INDEX {
            fix_references(&mut frame[HEAD..], length, &frames);
        }
        let body = crc(salt, &frame[HEAD..frame.len().min(HEAD + length)]);
        frame[24..28].copy_from_slice(&link.to_le_bytes());
        frame[28..32].copy_from_slice(&body.to_le_bytes());
        link = crc(salt, &frame[4..HEAD]);
        frame[..4].copy_from_slice(&link.to_le_bytes());
        frames.insert(at as u64, link);
        at += HEAD + length;
    }
    if is_indexed {
        fix_reference(&mut bytes[76..92], &frames);
    }
    let check = crc(0, &bytes[..header - 4]);
    bytes[header - 4..header].copy_from_slice(&check.to_le_bytes());
}

/// Puts the check of the referenced frame into a reference, if there is a frame.
fn fix_reference(reference: &mut [u8], frames: &HashMap<u64, u32>) {
    if let Some(check) = frames.get(&le64(reference, 0)) {
        reference[12..16].copy_from_slice(&check.to_le_bytes());
    }
}

/// Corrects the references in a block of an index, as far as they make sense.
fn fix_references(body: &mut [u8], length: usize, frames: &HashMap<u64, u32>) {
    let length = length.min(body.len());
    let mut rest = &mut body[..length];
    while rest.len() >= REFERENCE + 4 {
        fix_reference(&mut rest[..REFERENCE], frames);
        let next = (le32(rest, REFERENCE) as usize).saturating_add(REFERENCE + 4);
        let Some((_, others)) = rest.split_at_mut_checked(next) else { return };
        rest = others;
    }
}

/// The place of a block in a snapshot: offset, length, check.
pub type Reference = (u64, u32, u32);

/// The length of a reference.
pub const REFERENCE: usize = 16;

/// Appends the entry for a listed block to a block of an index.
pub fn list(body: &mut Vec<u8>, (offset, length, check): Reference, key: &[u8]) {
    body.extend_from_slice(&reference((offset, length, check)));
    body.extend_from_slice(&len(key));
    body.extend_from_slice(key);
}

/// The bytes of a reference.
#[must_use]
pub fn reference((offset, length, check): Reference) -> [u8; REFERENCE] {
    let mut bytes = [0; REFERENCE];
    bytes[..8].copy_from_slice(&offset.to_le_bytes());
    bytes[8..12].copy_from_slice(&length.to_le_bytes());
    bytes[12..].copy_from_slice(&check.to_le_bytes());
    bytes
}

/// The link with which a frame gets this check. With it, a block can be listed before it is made, or list itself.
#[must_use]
pub fn link_for(check: u32, fields: Fields, body: &[u8]) -> u32 {
    let check_of = |link: u32| {
        let mut head = Vec::new();
        frame(&mut head, Fields { link, ..fields }, body, body.len() as u32)
    };
    let mut rows: Vec<(u32, u32)> = (0..32).map(|bit| (check_of(1 << bit) ^ check_of(0), 1 << bit)).collect();
    let (mut left, mut link) = (check ^ check_of(0), 0);
    for bit in 0..32 {
        let at = rows.iter().position(|(changes, _)| changes >> bit & 1 == 1).expect("each bit of a check can be changed");
        let (changes, by) = rows.swap_remove(at);
        rows.iter_mut().filter(|row| row.0 >> bit & 1 == 1).for_each(|row| *row = (row.0 ^ changes, row.1 ^ by));
        if left >> bit & 1 == 1 {
            (left, link) = (left ^ changes, link ^ by);
        }
    }
    link
}

/// Appends a put to the body of a frame.
pub fn put(body: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    body.push(1);
    body.extend_from_slice(&len(key));
    body.extend_from_slice(&len(value));
    body.extend_from_slice(key);
    body.extend_from_slice(value);
}

/// Appends a delete to the body of a frame.
pub fn delete(body: &mut Vec<u8>, key: &[u8]) {
    body.push(2);
    body.extend_from_slice(&len(key));
    body.extend_from_slice(key);
}

fn len(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).expect("the input is short").to_le_bytes()
}

/// The header of a log.
#[must_use]
pub fn log_header(id: [u8; 16], salt: u32, base: u64) -> [u8; LOG_HEADER] {
    let mut bytes = [0; LOG_HEADER];
    bytes[..8].copy_from_slice(&LOG_MAGIC);
    bytes[8] = 1;
    bytes[12..28].copy_from_slice(&id);
    bytes[28..32].copy_from_slice(&salt.to_le_bytes());
    bytes[32..40].copy_from_slice(&base.to_le_bytes());
    let check = crc(0, &bytes[..60]);
    bytes[60..].copy_from_slice(&check.to_le_bytes());
    bytes
}
