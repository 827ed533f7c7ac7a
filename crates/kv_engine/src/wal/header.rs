//! The header of a log, and how many bytes each of its fields has. They are drawn at the head of `wal.rs`.

use crate::error::{Error, Result};
use crate::magic::{LOG as MAGIC, describe};
use crate::record::{crc, le32, le64};
use crate::{LOG_FORMAT, MAX_SEQ, Seq, StoreId};
use std::path::Path;

pub(crate) const HEADER_BYTES: usize = 64;
const VERSION_AT: usize = 8;
const ID_AT: usize = 12;
const SALT_AT: usize = 28;
const BASE_AT: usize = 32;
const ZERO_AT: usize = 40;
const CHECK_AT: usize = 60;

/// The fields of the header in order: name and length.
pub(crate) const FIELDS: [(&str, usize); 7] = [
    ("magic", VERSION_AT),
    ("version", ID_AT - VERSION_AT),
    ("store id", SALT_AT - ID_AT),
    ("salt", BASE_AT - SALT_AT),
    ("base", ZERO_AT - BASE_AT),
    ("zero", CHECK_AT - ZERO_AT),
    ("check", HEADER_BYTES - CHECK_AT),
];

/// The header of a log, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) store_id: StoreId,
    pub(crate) salt: u32,
    pub(crate) base: Seq,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..VERSION_AT].copy_from_slice(&MAGIC);
        bytes[VERSION_AT..ID_AT].copy_from_slice(&LOG_FORMAT.to_le_bytes());
        bytes[ID_AT..SALT_AT].copy_from_slice(&self.store_id.0);
        bytes[SALT_AT..BASE_AT].copy_from_slice(&self.salt.to_le_bytes());
        bytes[BASE_AT..ZERO_AT].copy_from_slice(&self.base.to_le_bytes());
        let check = crc(0, &bytes[..CHECK_AT]);
        bytes[CHECK_AT..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// Decodes the header from the first bytes of the file at `path`.
    pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Header> {
        let known = bytes.len().min(MAGIC.len());
        if bytes[..known] != MAGIC[..known] {
            let rest = bytes.get(VERSION_AT..CHECK_AT);
            if rest.is_some_and(|rest| bytes.len() >= HEADER_BYTES && le32(bytes, CHECK_AT) == crc(crc(0, &MAGIC), rest)) {
                let reason = "the first 8 bytes are not those of a log, but the checksum of the header matches a log; no crash causes \
                              this; nothing was changed; restore the log from a backup, or save its entries with kv_cli export \
                              --salvage";
                return Err(Error::damaged(path, 0, reason));
            }
            return Err(Error::foreign(path, describe(bytes)));
        }
        if bytes.len() < HEADER_BYTES {
            let reason = format!(
                "the log has {} bytes and is shorter than its header; no crash causes this; nothing was changed; restore the log \
                 from a backup",
                bytes.len()
            );
            return Err(Error::damaged(path, bytes.len() as u64, reason));
        }
        if le32(bytes, CHECK_AT) != crc(0, &bytes[..CHECK_AT]) {
            let reason = "the checksum of the log's header does not match; no crash causes this; nothing was changed; \
                          restore the log from a backup, or save its entries with kv_cli export --salvage";
            return Err(Error::damaged(path, 0, reason));
        }
        let version = le32(bytes, VERSION_AT);
        if version != LOG_FORMAT {
            let found = format!("format version {version}");
            return Err(Error::Version { path: path.to_path_buf(), found, supported: LOG_FORMAT });
        }
        let base = le64(bytes, BASE_AT);
        if base > MAX_SEQ || bytes[ZERO_AT..CHECK_AT].iter().any(|&byte| byte != 0) {
            let found = "a header with fields of a newer format".to_string();
            return Err(Error::Version { path: path.to_path_buf(), found, supported: LOG_FORMAT });
        }
        let store_id = StoreId(bytes[ID_AT..SALT_AT].try_into().expect("sixteen bytes"));
        Ok(Header { store_id, salt: le32(bytes, SALT_AT), base })
    }
}
