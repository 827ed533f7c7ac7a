//! One log, opened once. It tests the reader of frames and the verdict on the end of the log, as often per second as
//! possible. `log` checks more on each file.

use crate::input::Input;
use crate::{bounded, forge, reference, store};
use kv_engine::Recovery;
use kv_engine::disk::sim::SimDisk;

/// Opens the forged log.
pub fn run(data: &[u8]) {
    let log = forge::log(&mut Input::new(data));
    let expected = reference::open(Some(&log), None, Recovery::Prefix);
    let disk = SimDisk::new(&store::image(Some(&log), None), 1);
    bounded(log.len(), || drop(store::open_as(&disk, Recovery::Prefix, &expected)));
}
