//! One snapshot without a log: it opens to exactly its entries, or is refused.

use crate::input::Input;
use crate::{bounded, forge, reference, store};
use kv_engine::Recovery;
use kv_engine::disk::sim::SimDisk;

/// Opens the forged snapshot.
pub fn run(data: &[u8]) {
    let snapshot = forge::snapshot(&mut Input::new(data));
    let expected = reference::open(None, Some(&snapshot), Recovery::Prefix);
    let disk = SimDisk::new(&store::image(None, Some(&snapshot)), 1);
    bounded(snapshot.len(), || {
        let Some((after, engine)) = store::open_as(&disk, Recovery::Prefix, &expected) else { return };
        // Without its log it was saved anew, with another store id.
        let new = reference::snapshot(store::file(&after, store::SNAPSHOT).expect("the snapshot is still there"))
            .expect("a sound snapshot");
        let expected = expected.as_ref().expect("it opened");
        assert!(new.seq == expected.snapshot_seq && new.entries == expected.map, "another state was saved");
        store::goes_on(&disk, engine, expected);
    });
}
