//! A directory with several files: sound, forged, or foreign. The store opens or is refused with an error. It never
//! changes a file that is not its own, and a refused opening changes nothing at all.

use crate::input::Input;
use crate::{bounded, forge, reference, store};
use kv_engine::disk::sim::{Image, SimDisk};
use kv_engine::{Error, LogTail, Recovery};
use std::path::Path;

const NAMES: [&str; 10] = [
    store::LOG,
    store::SNAPSHOT,
    "/sim/kv.wal.tmp",
    "/sim/kv.snapshot.tmp",
    "/sim/kv.wal.damaged-1",
    "/sim/kv.wal.damaged-2",
    "/sim/kv.wal.damaged-3",
    "/sim/kv.wal.lock",
    "/sim/kv.snapshot.lock",
    "/sim/kv.wal.1",
];

/// The files, in order. A name may come twice; then the last file counts.
fn forge_image(input: &mut Input<'_>) -> Image {
    let mut image = Image::new();
    while !input.is_at_end() {
        let choice = input.byte();
        let name = NAMES[usize::from(choice & 0x0f) % NAMES.len()];
        let mut part = input.part();
        let bytes = match choice >> 4 {
            0..=5 => forge::log(&mut part),
            6..=9 => forge::snapshot(&mut part),
            10 | 11 => store::file(&image, store::LOG).unwrap_or_default().to_vec(),
            12 => format!("{}\n{}\n", part.byte(), if part.byte() == 0 { store::LOG } else { "/other/kv.wal" }).into_bytes(),
            _ => part.rest().to_vec(),
        };
        image.insert(name.into(), bytes);
    }
    image
}

/// The log that the snapshot was last used with, as its lock file records, if that is another log.
fn other_log(image: &Image) -> Option<String> {
    let note = store::file(image, "/sim/kv.snapshot.lock")?;
    let text = String::from_utf8_lossy(&note[..note.len().min(8192)]).into_owned();
    text.lines().nth(1).filter(|log| !log.is_empty() && *log != store::LOG).map(str::to_string)
}

/// Whether a foreign file has the name of a lock: the first ten bytes of its first line are not a number.
fn lock_is_foreign(image: &Image) -> bool {
    let files = [store::LOG, store::SNAPSHOT].map(|of| store::file(image, &format!("{of}.lock")).unwrap_or_default());
    let line = |bytes: &[u8]| bytes.iter().take(10).copied().take_while(|&byte| byte != b'\n').collect::<Vec<_>>();
    files.into_iter().any(|bytes| !line(bytes).iter().all(|byte| matches!(byte, b'0'..=b'9' | 0)))
}

/// Opens the forged directory under both policies.
pub fn run(data: &[u8]) {
    let before = forge_image(&mut Input::new(data));
    let bytes = before.values().map(Vec::len).sum();
    bounded(bytes, || {
        for policy in [Recovery::Strict, Recovery::Prefix] {
            opens(&before, policy);
        }
    });
}

fn opens(before: &Image, policy: Recovery) {
    let disk = SimDisk::new(before, 1);
    let expected = reference::open(store::file(before, store::LOG), store::file(before, store::SNAPSHOT), policy);
    let is_parted = expected.as_ref().is_ok_and(|opened| opened.has_snapshot && !opened.has_log) && other_log(before).is_some();
    let lock_is_foreign = lock_is_foreign(before);
    if lock_is_foreign || is_parted {
        let refused = store::options(&disk).recovery(policy).open();
        let as_due = match &refused {
            Err(Error::Foreign { .. }) => lock_is_foreign,
            Err(Error::Mismatch { .. }) => !lock_is_foreign,
            _ => false,
        };
        assert!(
            as_due,
            "a foreign file was used as a lock ({lock_is_foreign}), or a snapshot was opened without its log: {refused:?}"
        );
        assert!(store::files(&disk) == *before, "a refused opening changed a file");
        return;
    }
    let Some((after, engine)) = store::open_as(&disk, policy, &expected) else { return };
    let added: Vec<&Path> = after.keys().filter(|path| !before.contains_key(*path)).map(|path| &**path).collect();
    for path in &added {
        let kept =
            matches!(&engine.recovery().tail, LogTail::Damaged(cut) | LogTail::Torn(cut) if cut.kept_as.as_deref() == Some(path));
        assert!(kept || *path == Path::new(store::LOG), "opening left behind {}", path.display());
    }
    let own = |path: &Path| [store::LOG, store::SNAPSHOT].map(Path::new).contains(&path);
    assert!(
        before.iter().all(|(path, bytes)| own(path) || after.get(path) == Some(bytes)),
        "opening changed or removed a file that is not the store's"
    );
    store::goes_on(&disk, engine, &expected.expect("it opened"));
    // Every copy of a damaged log is still there, byte for byte, even after everything that happened later.
    let end = store::files(&disk);
    assert!(after.iter().filter(|(path, _)| path.to_string_lossy().contains("damaged")).all(|(path, bytes)| end[path] == *bytes));
}
