//! The library's `rust-version` is old enough for every dependency, and new enough for its own syntax.
//!
//! Clippy checks calls of the standard library (`incompatible_msrv`). It does not check syntax and dependencies, so
//! this test does. It cannot prove that a compiler of that version accepts the library: only one that compiles it
//! could.
#![allow(clippy::unwrap_used, missing_docs)]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use syn::visit::{self, Visit};

/// Major and minor version.
type Version = (u32, u32);

fn version(text: &str) -> Version {
    let mut numbers = text.split('.').map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap_or(0))
}

/// The `rust-version` of the library, and of each package that it needs: no tools for tests, and none for schedules.
fn packages() -> (Version, BTreeMap<String, Option<Version>>) {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let platform = "x86_64-unknown-linux-gnu"; // those of other platforms may not have been fetched
    let args = ["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", platform];
    let output = Command::new(cargo).args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().map(str::to_string);
    let packages: BTreeMap<String, Value> =
        list(&metadata["packages"]).into_iter().map(|package| (text(&package["id"]).unwrap(), package)).collect();
    let nodes: BTreeMap<String, Value> =
        list(&metadata["resolve"]["nodes"]).into_iter().map(|node| (text(&node["id"]).unwrap(), node)).collect();
    let rust_version = |id: &String| text(&packages[id]["rust_version"]).map(|text| version(&text));
    let engine = packages.iter().find(|(_, package)| package["name"] == "kv_engine").unwrap().0.clone();
    let (mut seen, mut open) = (BTreeSet::new(), vec![engine.clone()]);
    while let Some(id) = open.pop() {
        for dep in list(&nodes[&id]["deps"]) {
            let is_needed = list(&dep["dep_kinds"]).iter().any(|kind| {
                let for_schedules = kind["target"].as_str().is_some_and(|target| target.contains("shuttle"));
                kind["kind"].is_null() && !for_schedules
            });
            let dep = text(&dep["pkg"]).unwrap();
            if is_needed && seen.insert(dep.clone()) {
                open.push(dep);
            }
        }
    }
    let needed = seen.iter().map(|id| (text(&packages[id]["name"]).unwrap(), rust_version(id))).collect();
    (rust_version(&engine).expect("the library names its version"), needed)
}

#[test]
fn no_dependency_of_the_library_needs_a_newer_rust_than_the_library() {
    let (own, needed) = packages();
    let names: Vec<&str> = needed.keys().map(String::as_str).collect();
    for name in ["bytemuck", "crc32fast", "foldhash", "rustix", "xxhash-rust"] {
        assert!(names.contains(&name), "{name} is a dependency: {names:?}");
    }
    assert!(!names.contains(&"proptest") && !names.contains(&"shuttle"), "{names:?}");
    let newer: Vec<_> = needed.iter().filter(|(_, version)| version.is_some_and(|version| version > own)).collect();
    assert!(newer.is_empty(), "the library says {own:?}, but {newer:?}");
    let unknown: Vec<_> = needed.iter().filter(|(_, version)| version.is_none()).map(|(name, _)| name.as_str()).collect();
    assert_eq!(unknown, ["bytemuck", "xxhash-rust"], "these two do not say what they need; both are of edition 2018");
}

/// The newest syntax that a file uses.
#[derive(Default)]
struct Syntax {
    needs: BTreeMap<Version, &'static str>,
}

impl<'ast> Visit<'ast> for Syntax {
    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let mut guard = LetFinder(false);
        if let Some((_, condition)) = &arm.guard {
            guard.visit_expr(condition);
        }
        if guard.0 {
            self.needs.insert((1, 95), "`if let` in the guard of an arm");
        }
        visit::visit_arm(self, arm);
    }

    fn visit_expr_binary(&mut self, expr: &'ast syn::ExprBinary) {
        if [&expr.left, &expr.right].iter().any(|side| matches!(***side, syn::Expr::Let(_))) {
            self.needs.insert((1, 88), "a chain with `let`");
        }
        visit::visit_expr_binary(self, expr);
    }
}

struct LetFinder(bool);

impl<'ast> Visit<'ast> for LetFinder {
    fn visit_expr_let(&mut self, _: &'ast syn::ExprLet) {
        self.0 = true;
    }
}

fn syntax_of(source: &str) -> Syntax {
    let mut syntax = Syntax::default();
    syntax.visit_file(&syn::parse_file(source).unwrap());
    syntax
}

#[test]
fn the_library_uses_no_syntax_that_is_newer_than_its_rust_version() {
    let (own, _) = packages();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/kv_engine/src")];
    let mut files = 0;
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files += 1;
            let syntax = syntax_of(&fs::read_to_string(&path).unwrap());
            let newer: Vec<_> = syntax.needs.iter().filter(|(version, _)| **version > own).collect();
            assert!(newer.is_empty(), "{}: {newer:?}, and the library says {own:?}", path.display());
        }
    }
    assert!(files > 100, "{files}");
}

#[test]
fn newer_syntax_is_found() {
    let needs = |source: &str| syntax_of(source).needs.into_keys().collect::<Vec<_>>();
    assert_eq!(needs("fn f() { if let Some(x) = y {} while let Some(x) = y {} match x { 1 if a && b => {} _ => {} } }"), []);
    assert_eq!(needs("fn f() { if let Some(x) = y && x {} }"), [(1, 88)]);
    assert_eq!(needs("fn f() { while a && let Some(x) = y {} }"), [(1, 88)]);
    assert_eq!(needs("fn f() { match x { z if let Some(x) = z => {} _ => {} } }"), [(1, 95)]);
}
