//! Rules of this code that a compiler does not check: a module uses only what the table in `lib.rs` allows, no file is
//! too long to read at once, and only one file uses `std::fs`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const MAX_LINES: usize = 650;

fn sources(under: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(under)];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push((path.clone(), fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(!found.is_empty());
    found
}

/// The modules that each module may use, as in the table of `lib.rs`. All may use `error` and the items of `lib.rs`.
fn drawn() -> BTreeMap<&'static str, Vec<&'static str>> {
    let up_to_recovery = ["disk", "record", "state", "scan", "wal", "snapshot"];
    BTreeMap::from([
        ("error", vec![]),
        ("memory", vec![]),
        ("disk", vec!["memory"]),
        ("record", vec![]),
        ("state", vec!["record", "sync"]),
        ("scan", vec!["disk", "record"]),
        ("magic", vec![]),
        ("wal", vec!["disk", "magic", "record"]),
        ("snapshot", vec!["disk", "magic", "memory", "record", "scan", "state"]),
        ("merge_view", vec!["disk", "state", "snapshot", "sync"]),
        ("recovery", [&up_to_recovery[..], &["merge_view", "memory"]].concat()),
        ("sync", vec![]),
        ("checkpoint", [&up_to_recovery[..], &["memory"]].concat()),
        ("engine", [&up_to_recovery[..], &["memory", "recovery", "merge_view", "sync", "checkpoint"]].concat()),
        ("inspect", [&up_to_recovery[..], &["recovery", "magic"]].concat()),
        ("export", [&up_to_recovery[..], &["recovery", "inspect"]].concat()),
        ("replay", [&up_to_recovery[..], &["recovery"]].concat()),
        ("torture", [&up_to_recovery[..], &["recovery", "engine", "merge_view"]].concat()),
    ])
}

#[test]
fn the_arrows_between_modules_are_as_drawn() {
    let drawn = drawn();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/kv_engine/src");
    for (path, text) in sources("crates/kv_engine/src") {
        let inside = path.strip_prefix(&root).unwrap();
        let module = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        let allowed = drawn.get(module).unwrap_or_else(|| panic!("{module} is not in the table"));
        // A path that begins with `crate::` names a module, or an item that `lib.rs` re-exports.
        let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for piece in code.join("\n").split("crate::").skip(1) {
            for target in first_names(piece) {
                let is_module = drawn.contains_key(target.as_str());
                let fine = !is_module || target == module || target == "error" || allowed.contains(&target.as_str());
                assert!(fine, "{}: {module} must not use {target}", inside.display());
            }
        }
    }
}

/// The names after `crate::`: a single one, or those at the top level of a list in braces.
fn first_names(piece: &str) -> Vec<String> {
    let name = |text: &str| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    match piece.strip_prefix('{').and_then(|list| list.split_once("};")) {
        None => vec![name(piece)],
        Some((list, _)) => {
            let mut depth = 0;
            let top = |c: char| {
                depth += i32::from(c == '{') - i32::from(c == '}');
                c == ',' && depth == 0
            };
            list.split(top).map(name).collect()
        }
    }
}

#[test]
fn names_after_the_crates_root_are_found() {
    assert_eq!(first_names("wal::Header;"), ["wal"]);
    assert_eq!(first_names("{Seq, wal::{self, x}, snapshot};\nuse std"), ["Seq", "wal", "snapshot"]);
}

#[test]
fn only_one_file_of_the_library_names_the_file_system() {
    for (path, text) in sources("crates/kv_engine/src") {
        let is_disk = path.ends_with("disk/os.rs");
        let is_library = !path.ends_with("tests.rs");
        let (text, _tests) = text.split_once("\n#[cfg(test)]").unwrap_or((&text, ""));
        let names_it = text.contains("std::fs") || text.contains("fs::File::") || text.contains("rustix::fs");
        assert!(!is_library || names_it <= is_disk, "{}", path.display());
    }
}

#[test]
fn files_stay_readable_in_one_sitting() {
    for under in ["src", "tests", "crates", "proof/peers/src"] {
        for (path, text) in sources(under) {
            let lines = text.lines().count();
            assert!(lines <= MAX_LINES, "{} has {lines} lines; split it by topic", path.display());
            assert!(text.starts_with("//!"), "{} has no head (`//!`)", path.display());
        }
    }
}

#[test]
fn the_library_table_in_lib_rs_names_every_module() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/kv_engine/src/lib.rs")).unwrap();
    for module in drawn().keys().filter(|&&module| module != "error") {
        assert!(lib.contains(&format!("//! | `{module}` |")) || lib.contains(&format!("//! | [`{module}`] |")), "{module}");
    }
}
