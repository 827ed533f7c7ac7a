//! Which commit a build tells: that of the repository, that of the package, or none; never somebody else's.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The build script as a program of its own.
fn build_script(dir: &TempDir) -> PathBuf {
    let program = dir.path().join("build-script");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
    let built = Command::new(rustc).args(["--edition", "2024", "-o"]).arg(&program).arg(source).status().unwrap();
    assert!(built.success());
    program
}

/// The commit that the script tells of the sources in `place`; `None`: it tells none.
fn told(script: &Path, place: &Path, profile: &str) -> Option<String> {
    let output = Command::new(script).current_dir(place).env("PROFILE", profile).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    // What it asks cargo to watch is there; a name that is not would run it at each build.
    for path in said.lines().filter_map(|line| line.strip_prefix("cargo::rerun-if-changed=")).filter(|path| *path != "build.rs") {
        assert!(place.join(path).exists(), "{path}");
    }
    said.lines().find_map(|line| line.strip_prefix("cargo::rustc-env=KV_ENGINE_COMMIT=").map(str::to_string))
}

fn git(place: &Path, args: &[&str]) -> String {
    let identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"];
    let output = Command::new("git").current_dir(place).args(identity).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_string()
}

#[test]
fn the_commit_is_that_of_these_sources_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let script = build_script(&dir);
    let sources = dir.path().join("sources");
    fs::create_dir_all(sources.join("src")).unwrap();
    fs::create_dir_all(sources.join("crates/kv_engine/src")).unwrap();
    for name in
        ["src/lib.rs", "crates/kv_engine/src/lib.rs", "crates/kv_engine/Cargo.toml", "Cargo.toml", "Cargo.lock", "build.rs"]
    {
        fs::write(sources.join(name), "").unwrap();
    }
    assert_eq!(told(&script, &sources, "release"), None, "not a repository, and not a package");

    git(&sources, &["init", "--quiet"]);
    assert_eq!(told(&script, &sources, "release"), None, "a repository without a commit");
    git(&sources, &["add", "."]);
    git(&sources, &["commit", "--quiet", "-m", "one"]);
    let commit = git(&sources, &["rev-parse", "--short=12", "HEAD"]);
    assert_eq!(told(&script, &sources, "release"), Some(commit.clone()));
    assert_eq!(told(&script, &sources, "debug"), None);
    fs::write(sources.join("README.md"), "not a source").unwrap();
    assert_eq!(told(&script, &sources, "release"), Some(commit.clone()));
    fs::write(sources.join("src/lib.rs"), "//! changed").unwrap();
    assert_eq!(told(&script, &sources, "release"), Some(format!("{commit}, modified")));

    // The same sources, unpacked inside that repository, are not its commit.
    let unpacked = sources.join("vendor");
    fs::create_dir_all(unpacked.join("src")).unwrap();
    assert_eq!(told(&script, &unpacked, "release"), None);
    let note = "{\n  \"git\": {\n    \"sha1\": \"0123456789abcdef0123456789abcdef01234567\"\n  },\n  \"path_in_vcs\": \"\"\n}";
    fs::write(unpacked.join(".cargo_vcs_info.json"), note).unwrap();
    assert_eq!(told(&script, &unpacked, "release").as_deref(), Some("0123456789ab"));
}

/// The crates that the library brings in are those that docs/library.md names, and no more.
#[test]
fn the_library_alone_brings_in_what_its_page_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let options = ["tree", "--offline", "--package", "kv_engine", "--edges", "normal", "--depth", "1", "--prefix", "none"];
    let tree = Command::new(env!("CARGO")).current_dir(root).args(options).output().unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let crates: Vec<&str> = tree.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
    let page = fs::read_to_string(root.join("docs/library.md")).unwrap();
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(page.contains(&format!("small crates: {}.", crates.join(", "))), "{crates:?}");
}
