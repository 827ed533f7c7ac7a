//! The file systems of the kernel, and how each is made and mounted.

use crate::blocks::Blocks;
use anyhow::{Context, Result, bail};
use std::ffi::CStr;
use std::path::Path;
use std::process::Command;

pub(crate) const SUPERBLOCK_BYTES: u64 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FileSystem {
    Ext4,
    Xfs,
    Btrfs,
}

impl FileSystem {
    pub(crate) fn name(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "ext4",
            FileSystem::Xfs => "xfs",
            FileSystem::Btrfs => "btrfs",
        }
    }

    /// A little more than the smallest size that its `mkfs` accepts.
    pub(crate) fn bytes(self) -> u64 {
        match self {
            FileSystem::Ext4 => 16 << 20,
            FileSystem::Xfs => 304 << 20,
            FileSystem::Btrfs => 112 << 20,
        }
    }

    /// The blocks of 4 KiB that hold a superblock. ext4 and btrfs write it outside of any journal and check it as a
    /// whole. So they do not mount if it is torn, and the store can do nothing about that.
    pub(crate) fn superblocks(self) -> &'static [u64] {
        match self {
            FileSystem::Ext4 => &[0],
            FileSystem::Xfs => &[],
            FileSystem::Btrfs => &[(64 << 10) / SUPERBLOCK_BYTES, (64 << 20) / SUPERBLOCK_BYTES],
        }
    }

    /// The same file system is mounted from several devices at once.
    pub(crate) fn mount_options(self) -> Option<&'static CStr> {
        match self {
            FileSystem::Xfs => Some(c"nouuid"),
            FileSystem::Ext4 | FileSystem::Btrfs => None,
        }
    }

    /// An empty file system, as the content of a disk.
    pub(crate) fn empty(self, scratch: &Path) -> Result<Blocks> {
        let image = scratch.join("empty");
        std::fs::File::create(&image)?.set_len(self.bytes())?;
        self.make(&image)?;
        let blocks = Blocks::load(&image)?;
        std::fs::remove_file(&image)?;
        Ok(blocks)
    }

    /// Makes the file system in a file.
    pub(crate) fn make(self, image: &Path) -> Result<()> {
        let (program, arguments): (_, &[&str]) = match self {
            FileSystem::Ext4 => ("mkfs.ext4", &["-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"]),
            FileSystem::Xfs => ("mkfs.xfs", &["-q", "-f", "-K"]),
            FileSystem::Btrfs => ("mkfs.btrfs", &["-q", "-f", "-K", "-m", "single"]),
        };
        let made = Command::new(program).args(arguments).arg(image).output().with_context(|| format!("no {program}"))?;
        if !made.status.success() {
            bail!("{program}: {}", String::from_utf8_lossy(&made.stderr).trim());
        }
        Ok(())
    }
}
