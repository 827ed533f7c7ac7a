//! A copy that follows: a second store has the same entries as a first one. After a crash of either it continues where
//! it was.
//!
//! `cargo run --example feed [DIRECTORY]` writes to one store and follows it with the other until it is killed. Start
//! it again, and it continues.

#![allow(clippy::print_stdout, reason = "an example talks")]

use kv_engine::{Batch, Change, Changes, Engine, Error, Operation, Options, Result, Seq};
use std::path::{Path, PathBuf};
use std::thread;

/// The copy. Each entry has the same key as in the store, with `entry/` before it. The key `place` says which change
/// comes next.
struct Copy(Engine);

impl Copy {
    fn open(dir: &Path) -> Result<Copy> {
        // A crash may lose the last changes. It loses their numbers with them, so they come again.
        Options::new(dir.join("copy.wal"), dir.join("copy.snapshot")).batch_size(1000).open().map(Copy)
    }

    /// The changes that the copy does not have yet.
    fn follow(&self, store: &Engine) -> Result<Changes> {
        let Some(next) = self.place(store)? else { return self.take(store) };
        match store.changes(next) {
            // The copy was away for so long that a checkpoint has removed these changes from the log.
            Err(Error::NotInLog { .. }) => self.take(store),
            changes => {
                println!("continuing with change {next}");
                changes
            }
        }
    }

    /// Makes the copy new, as one write.
    fn take(&self, store: &Engine) -> Result<Changes> {
        let mut changes = store.changes_from_now(); // before the view, so that no change is missed
        let view = store.view();
        let mut batch = Batch::new();
        for key in self.0.keys("entry/") {
            batch.delete(key?);
        }
        for entry in view.scan("") {
            let (key, value) = entry?;
            batch.put([b"entry/", &key[..]].concat(), value);
        }
        // A crash could still take back the last writes in the view. After this it cannot, and the feed tells them.
        store.flush()?;
        let next = view.seq() + 1;
        while changes.next_seq() < next {
            changes.next().transpose()?; // in the copy already
        }
        batch.put("place", place(store, next));
        self.0.write(batch)?;
        println!("copied the store before change {next}");
        Ok(changes)
    }

    /// Applies a change and its number in one write. So the copy always knows exactly which changes it has.
    fn apply(&self, store: &Engine, change: &Change) -> Result<()> {
        let mut batch = Batch::new();
        for operation in change.operations() {
            match operation {
                Operation::Put { key, value } => batch.put([b"entry/", key].concat(), value),
                Operation::Delete { key } => batch.delete([b"entry/", key].concat()),
                other => panic!("{other:?} needs a newer version of this program"),
            };
        }
        batch.put("place", place(store, change.seq() + 1));
        self.0.write(batch).map(drop)
    }

    /// The next change, if the copy is one of this store.
    fn place(&self, store: &Engine) -> Result<Option<Seq>> {
        let Some(bytes) = self.0.get("place")? else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes);
        let next = text.strip_prefix(&store.stats().store_id.to_string());
        Ok(next.map(|next| next.trim().parse().expect("this program wrote it")))
    }

    fn is_same(&self, store: &Engine) -> Result<bool> {
        let copied = self.0.scan("entry/").map(|entry| entry.map(|(key, value)| (key["entry/".len()..].to_vec(), value)));
        Ok(copied.collect::<Result<Vec<_>>>()? == store.scan("").collect::<Result<Vec<_>>>()?)
    }
}

fn place(store: &Engine, next: Seq) -> String {
    format!("{} {next}", store.stats().store_id)
}

fn main() -> Result<()> {
    let dir = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let store = Options::new(dir.join("store.wal"), dir.join("store.snapshot")).batch_size(100).open()?;
    let copy = Copy::open(&dir)?;
    let mut changes = copy.follow(&store)?;
    while let Some(change) = changes.try_next()? {
        copy.apply(&store, &change)?;
    }
    assert!(copy.is_same(&store)?, "nobody has written since");
    println!("the copy has all {} entries", store.len());

    let first = store.stats().appended;
    let writer = thread::spawn({
        let store = store.clone();
        move || {
            for n in first.. {
                store.put(format!("key {}", n % 1000), n.to_string())?;
                store.delete(format!("key {}", n * 7 % 1000))?;
            }
            Ok(())
        }
    });
    for change in changes {
        let change = change?;
        copy.apply(&store, &change)?;
        if change.seq() % 1000 == 0 {
            println!("the copy has change {}", change.seq());
        }
    }
    writer.join().expect("did not panic")
}
