//! The machine of a measurement: processor, kernel, file system and disk, read from `/proc` and `/sys`.
//!
//! Facts that cannot be found are left out. There is no name of a host, a user or a directory, because people send
//! pages on.

use crate::outfile::parent;
use crate::text::human_bytes;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Whether a file at `path` is in memory only. A sync costs nothing there and promises nothing.
pub(crate) fn is_on_tmpfs(path: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        const TMPFS_MAGIC: u64 = 0x0102_1994;
        rustix::fs::statfs(parent(path)).is_ok_and(|stat| u64::try_from(stat.f_type).is_ok_and(|magic| magic == TMPFS_MAGIC))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        false
    }
}

pub(crate) fn tmpfs_warning(wal: &Path) -> String {
    format!("{} is on tmpfs: the store survives kill -9 but not a power cut, and in BENCH a sync costs nothing", wal.display())
}

/// The facts by name, in the order of the page.
pub(super) fn facts(wal: &Path) -> Vec<(&'static str, String)> {
    let mut facts = vec![("processor", processor())];
    facts.push(("memory", memory()));
    facts.push(("kernel", kernel()));
    if let Some(mount) = Mount::of(wal) {
        facts.push(("file system", mount.file_system()));
        facts.push(("disk", mount.disk()));
    }
    facts.retain(|(_, found)| !found.is_empty());
    facts
}

/// The kind of file system, for example `ext4`.
pub(super) fn file_system(wal: &Path) -> Option<String> {
    Mount::of(wal).map(|mount| mount.kind)
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_string()
}

fn processor() -> String {
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or(std::env::consts::ARCH, |(_, model)| model.trim());
    match std::thread::available_parallelism() {
        Ok(n) if n.get() == 1 => format!("{model}, 1 core"),
        Ok(n) => format!("{model}, {n} cores"),
        Err(_) => model.to_string(),
    }
}

fn memory() -> String {
    let info = read("/proc/meminfo");
    let kib = info.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| human_bytes(kib * 1024)).unwrap_or_default()
}

fn kernel() -> String {
    let name = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    format!("{} {} {}", text(name.sysname()), text(name.release()), text(name.machine()))
}

/// A line of `/proc/self/mountinfo`.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// `major:minor`.
    device: String,
    kind: String,
    options: Vec<String>,
}

impl Mount {
    fn of(wal: &Path) -> Option<Mount> {
        let directory = fs::canonicalize(parent(wal)).ok()?;
        let number = fs::metadata(&directory).ok()?.dev();
        let device = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
        Mount::find(&fs::read_to_string("/proc/self/mountinfo").ok()?, &directory, &device)
    }

    /// The mount with the longest path that holds the directory. If two have the same path, the one with its device.
    fn find(table: &str, directory: &Path, device: &str) -> Option<Mount> {
        let covers = |line: &&str| Mount::point(line).is_some_and(|point| directory.starts_with(point));
        let rank = |line: &&str| (Mount::point(line).map_or(0, |point| point.components().count()), line.contains(device));
        Mount::parse(table.lines().filter(covers).max_by_key(rank)?)
    }

    fn point(line: &str) -> Option<PathBuf> {
        // A blank in a path is written as \040.
        line.split(' ').nth(4).map(|point| point.replace("\\040", " ").into())
    }

    fn parse(line: &str) -> Option<Mount> {
        let (about, file_system) = line.split_once(" - ")?;
        let about: Vec<_> = about.split(' ').collect();
        let file_system: Vec<_> = file_system.split(' ').collect();
        let options = about.get(5)?.split(',').chain(file_system.get(2)?.split(','));
        Some(Mount {
            device: (*about.get(2)?).to_string(),
            kind: (*file_system.first()?).to_string(),
            options: options.map(str::to_string).collect(),
        })
    }

    /// Its kind, with the mount options that change what a sync costs or means.
    fn file_system(&self) -> String {
        const TELLING: [&str; 7] = ["barrier", "commit=", "compress", "data=", "discard", "journal", "sync"];
        let telling = |option: &&String| TELLING.iter().any(|start| option.trim_start_matches("no").starts_with(start));
        let options: Vec<_> = self.options.iter().filter(telling).map(String::as_str).collect();
        if options.is_empty() { self.kind.clone() } else { format!("{} ({})", self.kind, options.join(", ")) }
    }

    fn disk(&self) -> String {
        let device = fs::canonicalize(format!("/sys/dev/block/{}", self.device)).unwrap_or_default();
        // A partition has no queue of its own: the queue is in the directory of the disk, one level up.
        let Some(disk) = device.ancestors().take(2).find(|path| path.join("queue").is_dir()) else { return String::new() };
        let model = read(disk.join("device/model"));
        let kind = match read(disk.join("queue/rotational")).as_str() {
            "1" => "rotating",
            "0" => "not rotating",
            _ => "",
        };
        let cache = match read(disk.join("queue/write_cache")).as_str() {
            "write back" => "write-back cache (a sync must flush it)",
            "write through" => "write-through cache (a sync has nothing to flush)",
            _ => "",
        };
        let name = disk.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let parts = [name.as_str(), model.as_str(), kind, cache];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,errors=remount-ro
30 21 0:25 / /dev/shm rw,nosuid - tmpfs tmpfs rw,size=64m
31 21 8:1 / /srv/my\\040data rw,noatime - xfs /dev/sda1 rw,nobarrier,logbsize=32k
";

    #[test]
    fn the_nearest_mount_is_found() {
        let kind = |path: &str| Mount::find(TABLE, Path::new(path), "").map(|mount| mount.kind);
        assert_eq!(kind("/tmp/x").as_deref(), Some("ext4"));
        assert_eq!(kind("/dev/shm/a/b").as_deref(), Some("tmpfs"));
        assert_eq!(kind("/srv/my data").as_deref(), Some("xfs"));
        let xfs = Mount::find(TABLE, Path::new("/srv/my data"), "").expect("found");
        assert_eq!((xfs.file_system().as_str(), xfs.device.as_str()), ("xfs (nobarrier)", "8:1"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_has_a_processor_and_a_kernel() {
        let facts = facts(Path::new("kv.wal"));
        assert!(facts.iter().any(|(name, found)| *name == "kernel" && found.starts_with("Linux ")), "{facts:?}");
        assert!(facts.iter().any(|(name, found)| *name == "processor" && found.contains("core")), "{facts:?}");
    }
}
