//! SQLite: a B-tree in a file, and a write-ahead log that it overwrites again and again.

use super::group::Transactions;
use super::{Reader, Reads, Setup, Store, Sync, Writer};
use crate::work::{Key, Value, key, number, value};
use anyhow::Result;
use rusqlite::{Connection, OptionalExtension, params};
use std::cell::RefCell;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PUT: &str = "INSERT INTO kv(k, v) VALUES(?1, ?2) ON CONFLICT(k) DO UPDATE SET v = excluded.v";
const GET: &str = "SELECT v FROM kv WHERE k = ?1";
const FILL_BATCH: u64 = 100_000;
/// At this number of 4 KiB pages the log is moved into the file, and then overwritten from its beginning.
const LOG_PAGES: u64 = 8192;
const GROWN_BYTES: i64 = 24 << 20;
const CACHE_KIB: i64 = 1 << 20;

struct Peer {
    path: PathBuf,
    setup: Setup,
    /// Keeps the log open while no thread has a connection.
    first: std::sync::Mutex<Connection>,
}

pub(super) fn open(dir: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
    let path = dir.join("sqlite");
    let is_new = !path.exists();
    let first = connect(&path, setup)?;
    if is_new {
        first.execute_batch("CREATE TABLE kv(k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID")?;
    }
    if setup.worn_in {
        // Grows the file of the log, so that its blocks exist when it is written again.
        first.execute_batch("CREATE TABLE large(v BLOB)")?;
        first.execute("INSERT INTO large VALUES(zeroblob(?1))", [GROWN_BYTES])?;
        first.execute_batch("DROP TABLE large; PRAGMA wal_checkpoint(RESTART)")?;
    }
    Ok(Box::new(Peer { path, setup: *setup, first: first.into() }))
}

fn connect(path: &Path, setup: &Setup) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(60))?;
    let synchronous = if setup.sync == Sync::Never { "OFF" } else { "FULL" };
    let pages = if setup.log_only { 0 } else { LOG_PAGES };
    connection.execute_batch(&format!(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous={synchronous}; PRAGMA wal_autocheckpoint={pages}; PRAGMA cache_size=-{CACHE_KIB};"
    ))?;
    Ok(connection)
}

fn commit(connection: &Connection, puts: &[(Key, Value)]) -> Result<()> {
    if puts.len() > 1 {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    }
    let mut put = connection.prepare_cached(PUT)?;
    for (key, value) in puts {
        put.execute(params![&key[..], &value[..]])?;
    }
    if puts.len() > 1 {
        connection.prepare_cached("COMMIT")?.execute([])?;
    }
    Ok(())
}

impl Store for Peer {
    fn writer(&self) -> Result<Box<dyn Writer + '_>> {
        let connection = RefCell::new(connect(&self.path, &self.setup)?);
        Ok(Box::new(Transactions::new(self.setup.sync, move |puts: &[(Key, Value)]| commit(&connection.borrow(), puts))))
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        let connection = connect(&self.path, &self.setup)?;
        if self.setup.reads == Reads::OneView {
            connection.execute_batch("PRAGMA mmap_size=4294967296; BEGIN")?;
        }
        Ok(Box::new(PeerReader(connection)))
    }

    fn fill(&self, numbers: Range<u64>) -> Result<()> {
        let connection = self.first.lock().expect("no panic");
        let mut from = numbers.start;
        while from < numbers.end {
            let to = numbers.end.min(from + FILL_BATCH);
            let puts: Vec<_> = (from..to).map(|n| (key(n), value(n))).collect();
            commit(&connection, &puts)?;
            from = to;
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        Ok(self.first.lock().expect("no panic").execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?)
    }

    fn checkpoint(&self, _dir: &Path) -> Result<Option<u64>> {
        self.first.lock().expect("no panic").execute_batch("PRAGMA wal_checkpoint(PASSIVE)")?;
        Ok(Some(std::fs::metadata(&self.path)?.len()))
    }
}

struct PeerReader(Connection);

impl Reader for PeerReader {
    fn get(&mut self, key: &Key) -> Result<Option<u64>> {
        let mut get = self.0.prepare_cached(GET)?;
        Ok(get.query_row([&key[..]], |row| Ok(number(row.get_ref(0)?.as_blob()?))).optional()?)
    }
}
