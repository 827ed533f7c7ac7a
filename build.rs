//! Finds the commit that `kv_cli --version` tells: from the repository that this is the top of, or from what
//! `cargo package` noted. Without either there is none, and the version does without it.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// What makes another program when it changes.
const SOURCES: [&str; 5] = ["src", "crates", "Cargo.toml", "Cargo.lock", "build.rs"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Not while it is being worked on, where each commit would have everything compiled anew.
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
    // A copy of the sources inside somebody else's repository has none.
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if fs::canonicalize(top).ok()? != fs::canonicalize(".").ok()? {
        return None;
    }
    for name in ["HEAD", "refs/heads", "packed-refs"] {
        // A path that is not there would run this at every build.
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

/// What git answers; `None` where there is none, or no repository.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_string())
}
