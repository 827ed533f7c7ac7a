//! A sync that really fails: what the engine must do then, and what must be on the disk afterwards.

use crate::check::{self, open};
use crate::filesystem::FileSystem;
use crate::mounts::{LoopDevice, Mounted};
use crate::run::{Notes, Run};
use crate::workload::{Workload, fingerprint};
use anyhow::{Context, Result, bail, ensure};
use kv_engine::{Batch, Engine, Error, Recovery};
use rustix::mount::{MountFlags, mount_remount};
use std::fs::File;
use std::path::Path;

/// The writes of the second session, on the same mount.
const SECOND_LIFE: u64 = 5;

/// The memory file system grants room in pages.
const PAGE_KIB: u32 = 4;

/// How the engine noticed the failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noticed {
    /// A sync or a write of the log failed: the engine accepts no more writes.
    Poisoned,
    /// An opening or a snapshot was refused. The log is not affected.
    Refused,
    /// It did not notice: the kernel repeated the write, or did not need it.
    Nothing,
}

impl Noticed {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Noticed::Poisoned => "poisoned",
            Noticed::Refused => "refused",
            Noticed::Nothing => "nothing",
        }
    }
}

/// Runs the workload on a mounted disk on which `after` writes succeed and the next one fails. Then runs a second
/// session on the same mount. At the end it checks the store after a new mount.
pub(crate) fn survives(
    disk: &LoopDevice,
    fs: FileSystem,
    at: &Path,
    workload: &Workload,
    mut notes: Notes,
    after: u64,
) -> Result<Noticed> {
    let mounted = disk.mount(fs, at)?;
    notes.note("fail", after)?;
    let mut run = Run::new(workload, at, None);
    let noticed = until_poisoned(&mut run)?;
    let (promised, issued) = (run.promised, run.issued);
    drop(run);
    let second = second_session(at, workload, promised, issued).context("when opened again on the same mount")?;
    let _ = mounted.unmount(); // the unmount reports the failure again
    notes.note("heal", 0)?; // for the case that no write has failed
    let mounted = disk.mount(fs, at).context("mounted again")?;
    match second {
        None => drop(open(at, workload, promised, issued).context("mounted again")?),
        Some((writes, more)) => {
            check_both_sessions(at, workload, writes, more).context("when mounted again after the second session")?
        }
    }
    mounted.unmount()?;
    Ok(noticed)
}

/// Writes as long as the store accepts writes. After that, no call may answer OK.
fn until_poisoned(run: &mut Run<'_>) -> Result<Noticed> {
    let mut noticed = Noticed::Nothing;
    while let Some(done) = run.step()? {
        match done {
            Ok(()) => {}
            Err(Error::Poisoned { .. }) => {
                if let Some(engine) = run.engine.take() {
                    says_ok_to_nothing(&engine)?;
                }
                return Ok(Noticed::Poisoned);
            }
            Err(Error::Io { .. }) => noticed = Noticed::Refused,
            Err(error) => return Err(error).context("this error is not explained by a failing sync"),
        }
    }
    Ok(noticed)
}

fn says_ok_to_nothing(engine: &Engine) -> Result<()> {
    for round in 0..3 {
        let mut batch = Batch::new();
        batch.put("after", "the failure").delete("k1");
        let answers = [
            ("a put", engine.put("after", "the failure").is_ok()),
            ("a batch", engine.write(batch).is_ok()),
            ("a flush", engine.flush().is_ok()),
            ("a snapshot", engine.snapshot().is_ok()),
        ];
        if let Some((what, _)) = answers.iter().find(|(_, ok)| *ok) {
            bail!("{what} answered OK after a failed sync, round {round}");
        }
    }
    ensure!(engine.close().is_err(), "close answered OK after a failed sync");
    Ok(())
}

/// The page cache may hold bytes that the disk does not. The store must not promise anything from it. Returns the
/// writes found and the writes made, or `None` if the file system refuses to continue.
fn second_session(at: &Path, workload: &Workload, promised: u64, issued: u64) -> Result<Option<(u64, u64)>> {
    let opened = match open(at, workload, promised, issued) {
        Ok(opened) => opened,
        Err(error) if error.downcast_ref().is_some_and(|e| matches!(e, Error::Io { .. } | Error::Poisoned { .. })) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let puts = (0..SECOND_LIFE).map(|number| opened.engine.put(second_key(number), "second"));
    let more = puts.take_while(Result::is_ok).count();
    Ok(Some((opened.writes, u64::try_from(more)?)))
}

fn second_key(number: u64) -> String {
    format!("second{number}")
}

fn check_both_sessions(at: &Path, workload: &Workload, writes: u64, more: u64) -> Result<()> {
    let engine = crate::run::options(at).recovery(Recovery::Strict).open()?;
    let last = engine.recovery().last_seq;
    ensure!(last >= writes + more, "LOST: write {} was promised, but only {last} are there", writes + more);
    for number in 0..more {
        ensure!(engine.get(second_key(number))?.as_deref() == Some(&b"second"[..]), "LOST: put {number} of the second session");
    }
    let entries = engine.scan("").collect::<kv_engine::Result<Vec<_>>>()?;
    let first = entries.iter().filter(|(key, _)| !key.starts_with(b"second")).map(|(key, value)| (key, value));
    ensure!(fingerprint(first) == workload.states[usize::try_from(writes)?], "the state is not the one after write {writes}");
    Ok(())
}

/// A disk that promises more room than there is: an image in a memory file system that is too small. So the kernel's
/// own error comes out of a sync. Afterwards room is made.
pub(crate) fn thin(fs: FileSystem, scratch: &Path, at: &Path) -> Result<Noticed> {
    let (room, size) = match fs {
        FileSystem::Ext4 => (24 << 20, 64 << 20),
        FileSystem::Xfs => (100 << 20, 320 << 20),
        FileSystem::Btrfs => (32 << 20, 256 << 20),
    };
    let options = |bytes: u64| std::ffi::CString::new(format!("size={bytes}")).expect("digits");
    let memory = Mounted::new(Path::new("none"), scratch, "tmpfs", Some(&options(room)))?;
    let image = scratch.join("image");
    File::create(&image)?.set_len(size)?;
    fs.make(&image)?;
    let disk = LoopDevice::attach(&image, PAGE_KIB)?;

    let workload = Workload::of_long_values(usize::try_from(room >> 18)?, 256 << 10);
    let mounted = disk.mount(fs, at)?;
    let mut run = Run::new(&workload, at, None);
    let noticed = until_poisoned(&mut run)?;
    ensure!(noticed == Noticed::Poisoned, "the room was not used up");
    let (promised, issued) = (run.promised, run.issued);
    drop(run);
    ensure!(promised > 0, "there was no room from the start");
    let _ = mounted.unmount();
    mount_remount(scratch, MountFlags::empty(), &*options(2 * size))?;
    let mounted = disk.mount(fs, at).context("when mounted again, with room")?;
    check::crashed(at, &workload, promised, issued, true).context("with room")?;
    mounted.unmount()?;
    drop(disk);
    memory.unmount()?;
    Ok(noticed)
}
