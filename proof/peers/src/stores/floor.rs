//! The floor: not a store, but the limit that the disk and the caches set without busy waiting. It has a file whose
//! blocks exist before they are written, one `pwrite` and one `fdatasync` for each group, and a hash map. For a put it
//! writes as many bytes as this store, but it checks nothing and cannot recover.
//!
//! Threads share a sync. The first one leads: it waits for as many threads as shared the last sync, at most half the
//! time of a sync. The others sleep from then until the sync has ended. Each is woken by itself.

use super::{Reader, Reads, Setup, Store, Sync, Writer};
use crate::work::{KEY_BYTES, Key, VALUE_BYTES, Value, key, number, value};
use anyhow::Result;
use hashbrown::HashMap;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// The header of a record has as many bytes as this store needs.
const HEAD_BYTES: usize = 42;
const RECORD_BYTES: usize = HEAD_BYTES + KEY_BYTES + VALUE_BYTES;
/// When the file has no more blocks, it is written from its beginning again, except if it is to be replayed.
const FILE_BYTES: usize = 64 << 20;
const PAGE_BYTES: usize = 4096;
const PIECE_BYTES: usize = 1 << 20;
/// For rows in which readers and writers work at the same time.
const SHARDS: usize = 64;
const LONGEST_GATHERING: Duration = Duration::from_micros(50);

type Map = HashMap<Key, Value>;

struct Floor {
    file: File,
    queue: Mutex<Queue>,
    shards: Vec<RwLock<Map>>,
    setup: Setup,
}

#[derive(Default)]
struct Queue {
    buffer: Vec<u8>,
    /// The memory of the previous buffer.
    spare: Vec<u8>,
    /// The offset of the buffer in the file.
    at: u64,
    /// Puts since the last group was taken.
    puts: u64,
    /// The threads that wait for the next sync. The first one leads it.
    members: Vec<Arc<Member>>,
    syncing: bool,
    gathering: Option<Thread>,
    last_members: usize,
}

struct Member {
    done: AtomicBool,
    thread: Thread,
}

pub(super) fn open(dir: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
    open_from(dir, setup, false)
}

/// Drops the page cache first. A store must read the disk if it does not trust the cache after a sync that may have
/// failed.
pub(super) fn open_from_disk(dir: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
    open_from(dir, setup, true)
}

fn open_from(dir: &Path, setup: &Setup, from_disk: bool) -> Result<Box<dyn Store>> {
    let path = dir.join("floor.log");
    let shards = if setup.reads == Reads::Fresh || setup.threads > 1 { SHARDS } else { 1 };
    let mut shards: Vec<_> = (0..shards).map(|_| RwLock::new(Map::new())).collect();
    let is_new = !path.exists();
    let file = File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
    if !is_new {
        if from_disk {
            file.sync_data()?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
        replay(&file, &mut shards)?;
    } else if setup.worn_in && !setup.log_only {
        // Page by page: the kernel caches a large write in large pieces, and counts each piece as completely written.
        let zeros = [0; PAGE_BYTES];
        for at in (0..FILE_BYTES).step_by(PAGE_BYTES) {
            file.write_all_at(&zeros, at as u64)?;
        }
        file.sync_all()?;
    }
    let at = if is_new { 0 } else { file.metadata()?.len() };
    Ok(Box::new(Floor { file, queue: Mutex::new(Queue { at, ..Queue::default() }), shards, setup: *setup }))
}

/// Reads, checks and inserts: the least work of any recovery from a log.
fn replay(mut file: &File, shards: &mut [RwLock<Map>]) -> Result<()> {
    let records = file.metadata()?.len() as usize / RECORD_BYTES;
    let shards_len = shards.len();
    for shard in &mut *shards {
        shard.get_mut().expect("no panic").reserve(records / shards_len);
    }
    let mut piece = vec![0; PIECE_BYTES / RECORD_BYTES * RECORD_BYTES];
    for _ in 0..records.div_ceil(piece.len() / RECORD_BYTES) {
        let mut filled = 0;
        while filled < piece.len() {
            match file.read(&mut piece[filled..])? {
                0 => break,
                bytes => filled += bytes,
            }
        }
        for record in piece[..filled].chunks_exact(RECORD_BYTES) {
            let (check, rest) = record.split_first_chunk().expect("the record is whole");
            if *check != crc32fast::hash(rest).to_le_bytes() {
                return Ok(());
            }
            let key: Key = *record[HEAD_BYTES..].first_chunk().expect("the record is whole");
            let value: Value = *record.last_chunk().expect("the record is whole");
            let shard = shard(&key, shards.len());
            shards[shard].get_mut().expect("no panic").insert(key, value);
        }
    }
    Ok(())
}

fn shard(key: &Key, shards: usize) -> usize {
    usize::from(key[15]) % shards
}

impl Floor {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no panic")
    }

    fn insert(&self, key: &Key, value: &Value) {
        self.shards[shard(key, self.shards.len())].write().expect("no panic").insert(*key, *value);
    }

    fn write(&self, bytes: &[u8], at: u64) -> Result<()> {
        Ok(self.file.write_all_at(bytes, at)?)
    }

    /// Waits for a sync that covers the buffer.
    fn commit(&self, mut queue: MutexGuard<'_, Queue>) -> Result<()> {
        let member = Arc::new(Member { done: AtomicBool::new(false), thread: std::thread::current() });
        let leads = queue.members.is_empty() && !queue.syncing;
        queue.members.push(Arc::clone(&member));
        if queue.members.len() >= queue.last_members
            && let Some(leader) = &queue.gathering
        {
            leader.unpark();
        }
        if leads {
            return self.lead(queue);
        }
        drop(queue);
        loop {
            std::thread::park();
            if member.done.load(Ordering::Acquire) {
                return Ok(());
            }
            let queue = self.queue();
            if !queue.syncing && queue.members.first().is_some_and(|first| Arc::ptr_eq(first, &member)) {
                return self.lead(queue);
            }
        }
    }

    fn lead(&self, mut queue: MutexGuard<'_, Queue>) -> Result<()> {
        queue.syncing = true;
        let mut queue = self.gather(queue);
        let mut bytes = queue.take_buffer();
        let members = std::mem::take(&mut queue.members);
        let at = queue.take_place(bytes.len(), self.setup.log_only);
        queue.puts = 0;
        drop(queue);
        self.write(&bytes, at)?;
        self.file.sync_data()?;
        let mut queue = self.queue();
        queue.syncing = false;
        bytes.clear();
        queue.spare = bytes;
        queue.last_members = members.len().max((3 * queue.last_members + members.len()) / 4);
        let next = queue.members.first().map(|first| first.thread.clone());
        drop(queue);
        for member in members {
            member.done.store(true, Ordering::Release);
            member.thread.unpark();
        }
        if let Some(next) = next {
            next.unpark();
        }
        Ok(())
    }

    fn gather<'a>(&'a self, mut queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        let until = Instant::now() + LONGEST_GATHERING;
        while queue.members.len() < queue.last_members {
            let now = Instant::now();
            if now >= until {
                break;
            }
            queue.gathering = Some(std::thread::current());
            drop(queue);
            std::thread::park_timeout(until - now);
            queue = self.queue();
        }
        queue.gathering = None;
        queue
    }
}

impl Queue {
    fn push(&mut self, key: &Key, value: &Value, checked: bool) {
        let from = self.buffer.len();
        self.buffer.extend_from_slice(&[0; HEAD_BYTES]);
        self.buffer.extend_from_slice(key);
        self.buffer.extend_from_slice(value);
        if checked {
            let check = crc32fast::hash(&self.buffer[from + 4..]);
            self.buffer[from..from + 4].copy_from_slice(&check.to_le_bytes());
        }
        self.puts += 1;
    }

    fn take_buffer(&mut self) -> Vec<u8> {
        let spare = std::mem::take(&mut self.spare);
        std::mem::replace(&mut self.buffer, spare)
    }

    fn take_place(&mut self, bytes: usize, to_replay: bool) -> u64 {
        if !to_replay && self.at as usize + bytes > FILE_BYTES {
            self.at = 0;
        }
        let at = self.at;
        self.at += bytes as u64;
        at
    }
}

impl Store for Floor {
    fn writer(&self) -> Result<Box<dyn Writer + '_>> {
        Ok(Box::new(FloorWriter(self)))
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(match (self.setup.reads, &self.shards[..]) {
            (Reads::OneView, [all]) => Box::new(OneView(all.read().expect("no panic"))),
            _ => Box::new(Fresh(self)),
        })
    }

    fn fill(&self, numbers: Range<u64>) -> Result<()> {
        for n in numbers {
            let mut queue = self.queue();
            queue.push(&key(n), &value(n), self.setup.log_only);
            if queue.buffer.len() >= PIECE_BYTES {
                let bytes = std::mem::take(&mut queue.buffer);
                let at = queue.take_place(bytes.len(), self.setup.log_only);
                self.write(&bytes, at)?;
            }
            drop(queue);
            self.insert(&key(n), &value(n));
        }
        self.commit(self.queue())
    }

    /// The least work of a checkpoint: all entries are written one after the other into a new file.
    fn checkpoint(&self, dir: &Path) -> Result<Option<u64>> {
        let file = File::create(dir.join("floor.snapshot"))?;
        let mut piece = Vec::with_capacity(PIECE_BYTES + RECORD_BYTES);
        let mut at = 0;
        for shard in &self.shards {
            for (key, value) in shard.read().expect("no panic").iter() {
                piece.extend_from_slice(key);
                piece.extend_from_slice(value);
                if piece.len() >= PIECE_BYTES {
                    file.write_all_at(&piece, at)?;
                    at += piece.len() as u64;
                    piece.clear();
                }
            }
        }
        file.write_all_at(&piece, at)?;
        file.sync_data()?;
        Ok(Some(at + piece.len() as u64))
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.commit(self.queue())
    }
}

struct FloorWriter<'a>(&'a Floor);

impl Writer for FloorWriter<'_> {
    fn put(&mut self, key: &Key, value: &Value) -> Result<()> {
        let floor = self.0;
        let mut queue = floor.queue();
        queue.push(key, value, floor.setup.log_only);
        let is_due = match floor.setup.sync {
            Sync::Every(puts) => queue.puts >= puts,
            Sync::Never if queue.buffer.len() < PIECE_BYTES => false,
            Sync::Never => {
                let bytes = std::mem::take(&mut queue.buffer);
                let at = queue.take_place(bytes.len(), floor.setup.log_only);
                floor.write(&bytes, at)?;
                false
            }
        };
        if is_due {
            floor.commit(queue)?;
        } else {
            drop(queue);
        }
        floor.insert(key, value);
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        let queue = self.0.queue();
        if self.0.setup.sync == Sync::Never || queue.puts == 0 {
            return Ok(());
        }
        self.0.commit(queue)
    }
}

struct OneView<'a>(RwLockReadGuard<'a, Map>);

impl Reader for OneView<'_> {
    fn get(&mut self, key: &Key) -> Result<Option<u64>> {
        Ok(self.0.get(key).map(|value| number(value)))
    }
}

struct Fresh<'a>(&'a Floor);

impl Reader for Fresh<'_> {
    fn get(&mut self, key: &Key) -> Result<Option<u64>> {
        let map = self.0.shards[shard(key, self.0.shards.len())].read().expect("no panic");
        Ok(map.get(key).map(|value| number(value)))
    }
}
