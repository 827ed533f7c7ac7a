//! Finds the commit that `kv_cli --version` prints. It comes from the git repository, if this directory is its top, or
//! from the note of `cargo package`. Without either, the version has no commit.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// The paths that the program is made from.
const SOURCES: [&str; 6] = ["src", "crates/kv_engine/src", "crates/kv_engine/Cargo.toml", "Cargo.toml", "Cargo.lock", "build.rs"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Not in a debug build: there each commit would cause a complete build.
    let is_release = env::var_os("PROFILE").is_some_and(|profile| profile == "release");
    if !is_release {
        return;
    }
    if let Some(commit) = packaged().or_else(checked_out) {
        println!("cargo::rustc-env=KV_ENGINE_COMMIT={commit}");
    }
}

/// The commit that a package was made from: `"sha1": "…"` in a note that exists in packages only.
fn packaged() -> Option<String> {
    let note = fs::read_to_string(".cargo_vcs_info.json").ok()?;
    println!("cargo::rerun-if-changed=.cargo_vcs_info.json");
    let (_, rest) = note.split_once("\"sha1\":")?;
    let sha: String = rest.trim_start().strip_prefix('"')?.chars().take_while(char::is_ascii_hexdigit).take(12).collect();
    let dirty = if note.contains("\"dirty\": true") { ", modified" } else { "" };
    (sha.len() == 12).then(|| sha + dirty)
}

/// The commit that is checked out here, and whether the sources differ from it.
fn checked_out() -> Option<String> {
    // A copy of the sources inside another repository has no commit of its own.
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if fs::canonicalize(top).ok()? != fs::canonicalize(".").ok()? {
        return None;
    }
    for name in ["HEAD", "refs/heads", "packed-refs"] {
        // Cargo would run this script at every build because of a missing path.
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    for path in SOURCES {
        println!("cargo::rerun-if-changed={path}");
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let clean = git(&[&["status", "--porcelain", "--"][..], &SOURCES].concat()).is_some_and(|changes| changes.is_empty());
    Some(if clean { commit } else { commit + ", modified" })
}

/// The output of git. `None` if git is missing or fails.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_string())
}
