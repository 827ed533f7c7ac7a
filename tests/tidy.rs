//! Rules of this code that a compiler does not check. No file is too long to read at once. Each file has a head that
//! describes it. Only one file of the library uses `std::fs`. (`tests/graph.rs` checks the imports.)
#![allow(clippy::unwrap_used, missing_docs)]

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
    for under in ["src", "tests", "crates", "proof"] {
        for (path, text) in sources(under) {
            let lines = text.lines().count();
            assert!(lines <= MAX_LINES, "{} has {lines} lines; split it by topic", path.display());
            assert!(text.starts_with("//!"), "{} has no head (`//!`)", path.display());
        }
    }
}
