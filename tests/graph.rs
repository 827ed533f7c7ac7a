//! The import graph of each crate, read out of its sources: no file and no module imports one that imports it, and the
//! table of modules at the head of each `lib.rs` lists exactly what each module imports.
//!
//! `cargo test --test graph -- --nocapture` prints the graph.
//!
//! A file imports another file if its code names something that is defined there, with or without `use`. A re-export
//! with `pub use` is not an import: a file that uses the re-exported name imports the file that defines it. A
//! declaration (`mod child;`) alone is not an import. Code for tests does not count.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};

/// A module's path in its crate: `[]` for the root, `["wal", "identity"]`.
type Name = Vec<String>;

/// The parts of a file that the graph needs.
#[derive(Default)]
struct Source {
    children: BTreeSet<String>,
    /// What it defines.
    items: BTreeSet<String>,
    /// Each name that `use` brings in, and what it is short for.
    names: BTreeMap<String, Name>,
    /// Every path that the code names: those of private `use` items, and those in between.
    paths: Vec<Name>,
}

/// The files of a crate.
struct Crate(BTreeMap<Name, Source>);

impl Crate {
    fn read(root: &Path) -> Crate {
        let mut sources = BTreeMap::new();
        let mut open: Vec<(Name, PathBuf)> = vec![(Vec::new(), root.to_path_buf())];
        while let Some((name, path)) = open.pop() {
            let text = fs::read_to_string(&path).unwrap();
            let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let mut source = Source::default();
            source.visit_file(&file);
            let beside = path.parent().unwrap();
            let is_directory = ["lib.rs", "mod.rs"].iter().any(|&own| path.ends_with(own));
            let dir = if is_directory { beside.to_path_buf() } else { path.with_extension("") };
            for child in &source.children {
                let places = [dir.join(format!("{child}.rs")), dir.join(child).join("mod.rs")];
                let place = places.into_iter().find(|place| place.exists()).unwrap_or_else(|| panic!("{name:?}: {child}"));
                open.push(([&name[..], std::slice::from_ref(child)].concat(), place));
            }
            sources.insert(name, source);
        }
        Crate(sources)
    }

    /// The file that defines what `path` means in the file `from`, and the name there. `None` for other crates.
    fn find(&self, from: &Name, path: &[String], depth: usize) -> Option<(Name, String)> {
        let (first, rest) = path.split_first()?;
        let here = &self.0[from];
        let (mut at, mut rest) = match first.as_str() {
            _ if depth > 16 => return None,
            "crate" => (Name::new(), rest),
            "self" => (from.clone(), rest),
            "super" => (from[..from.len().checked_sub(1)?].to_vec(), rest),
            child if here.children.contains(child) => (from.clone(), path),
            name => {
                let long = here.names.get(name).filter(|long| long[..] != path[..1])?;
                return self.find(from, &[&long[..], rest].concat(), depth + 1);
            }
        };
        while let Some((name, behind)) = rest.split_first() {
            let source = &self.0[&at];
            if name == "super" {
                at.pop();
            } else if source.children.contains(name) {
                at.push(name.clone());
            } else if source.items.contains(name) {
                return Some((at, name.clone()));
            } else if let Some(long) = source.names.get(name) {
                // A name of another crate is taken from the file that passes it on.
                return self.find(&at, long, depth + 1).or_else(|| Some((at, name.clone())));
            } else {
                return None; // made by a macro, or brought in by `*`
            }
            rest = behind;
        }
        None
    }

    /// For each file, the files that it imports, and the names.
    fn imports(&self) -> Graph {
        let mut graph = Graph::new();
        for (name, source) in &self.0 {
            let to = graph.entry(name.clone()).or_default();
            for (file, item) in source.paths.iter().filter_map(|path| self.find(name, path, 0)) {
                if file != *name {
                    to.entry(file).or_default().insert(item);
                }
            }
        }
        graph
    }
}

/// From each file, to each file that it imports: the names.
type Graph = BTreeMap<Name, BTreeMap<Name, BTreeSet<String>>>;

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => ["test", "doctest"].contains(&list.tokens.to_string().as_str()),
        meta => meta.path().is_ident("test"),
    })
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

impl<'ast> Visit<'ast> for Source {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if is_for_tests(attributes(item)) {
            return;
        }
        let defined = match item {
            syn::Item::Const(item) => Some(&item.ident),
            syn::Item::Enum(item) => Some(&item.ident),
            syn::Item::Fn(item) => Some(&item.sig.ident),
            syn::Item::Macro(item) => item.ident.as_ref(),
            syn::Item::Mod(item) if item.content.is_none() => {
                self.children.insert(item.ident.to_string());
                None
            }
            syn::Item::Static(item) => Some(&item.ident),
            syn::Item::Struct(item) => Some(&item.ident),
            syn::Item::Trait(item) => Some(&item.ident),
            syn::Item::Type(item) => Some(&item.ident),
            _ => None,
        };
        self.items.extend(defined.map(ToString::to_string));
        visit::visit_item(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let mut found = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut found);
        for (short, long) in found {
            if matches!(item.vis, syn::Visibility::Inherited) {
                self.paths.push(long.clone());
            }
            self.names.insert(short, long);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.paths.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        // What is inside is no syntax yet, so the paths are picked out of its text.
        let text = call.tokens.to_string().replace(" :: ", "::");
        let words = text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').filter(|word| word.contains("::"));
        self.paths.extend(words.map(|word| word.split("::").map(str::to_string).collect::<Name>()));
    }
}

/// The names that a `use` brings in, each with its whole path.
fn flatten(tree: &syn::UseTree, before: &mut Name, found: &mut Vec<(String, Name)>) {
    match tree {
        syn::UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, found);
            before.pop();
        }
        syn::UseTree::Name(name) if name.ident == "self" => {
            found.extend(before.last().map(|last| (last.clone(), before.clone())));
        }
        syn::UseTree::Name(name) => found.push((name.ident.to_string(), [&before[..], &[name.ident.to_string()]].concat())),
        syn::UseTree::Rename(name) => {
            found.push((name.rename.to_string(), [&before[..], &[name.ident.to_string()]].concat()));
        }
        syn::UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, before, found)),
        syn::UseTree::Glob(_) => {}
    }
}

/// The same graph, with each file counted as the module of the crate's root that it belongs to.
fn by_module(files: &Graph) -> Graph {
    let mut modules = Graph::new();
    let module = |name: &Name| name[..name.len().min(1)].to_vec();
    for (from, to) in files {
        let into = modules.entry(module(from)).or_default();
        for (file, names) in to.iter().filter(|(file, _)| module(file) != module(from)) {
            into.entry(module(file)).or_default().extend(names.iter().cloned());
        }
    }
    modules
}

/// A way from a file back to itself, if there is one.
fn circle(graph: &Graph) -> Option<Vec<Name>> {
    let mut done = BTreeSet::new();
    for start in graph.keys() {
        let mut way: Vec<(&Name, Vec<&Name>)> = vec![(start, graph[start].keys().collect())];
        while let Some((_, open)) = way.last_mut() {
            let Some(next) = open.pop() else {
                done.extend(way.pop().map(|(name, _)| name.clone()));
                continue;
            };
            if let Some(at) = way.iter().position(|(name, _)| *name == next) {
                return Some(way[at..].iter().map(|(name, _)| (*name).clone()).chain([next.clone()]).collect());
            }
            if !done.contains(next) {
                way.push((next, graph.get(next).map_or(Vec::new(), |to| to.keys().collect())));
            }
        }
    }
    None
}

fn shown(name: &Name) -> String {
    if name.is_empty() { "lib".to_string() } else { name.join("::") }
}

fn explained(graph: &Graph, circle: &[Name]) -> String {
    let step = |pair: &[Name]| {
        let names: Vec<&str> = graph[&pair[0]][&pair[1]].iter().map(String::as_str).collect();
        format!("\n  {} imports {} for {}", shown(&pair[0]), shown(&pair[1]), names.join(", "))
    };
    circle.windows(2).map(step).collect()
}

/// The crates, by the directory of their sources.
const CRATES: [&str; 3] = ["crates/kv_engine/src", "crates/kv_server/src", "src"];

fn root(sources: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(sources).join("lib.rs")
}

#[test]
fn no_file_and_no_module_imports_one_that_imports_it() {
    for sources in CRATES {
        let files = Crate::read(&root(sources)).imports();
        assert!(files.len() > 30, "{sources}: {} files", files.len());
        for (what, graph) in [("module", by_module(&files)), ("file", files)] {
            println!("\n{sources}, each {what} and what it imports:");
            for (from, to) in &graph {
                println!("  {} → {}", shown(from), to.keys().map(shown).collect::<Vec<_>>().join(", "));
            }
            if let Some(circle) = circle(&graph) {
                panic!("{sources}: a circle of {what}s:{}", explained(&graph, &circle));
            }
        }
    }
}

/// Rows of the table of modules: the name, and what it uses.
fn table(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let lines = text.lines().skip_while(|line| !line.starts_with("//! | module |")).skip(2);
    let rows = lines.map_while(|line| line.strip_prefix("//! | "));
    let word = |cell: &str| cell.trim().trim_matches(['[', ']', '`']).to_string();
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        let [name, _, uses] = cells[..] else { panic!("three columns: {row}") };
        (word(name), uses.split(',').map(word).filter(|name| name != "–").collect())
    })
    .collect()
}

/// The tables do not list these, because every module may use them: the errors, and the items of `lib.rs` itself.
const EVERYWHERE: [&str; 2] = ["lib", "error"];

#[test]
fn the_table_of_modules_lists_what_each_module_imports() {
    for sources in CRATES {
        let told = table(&fs::read_to_string(root(sources)).unwrap());
        let modules = by_module(&Crate::read(&root(sources)).imports());
        let is_listed = |name: &String| !EVERYWHERE.contains(&name.as_str());
        let found: BTreeMap<String, BTreeSet<String>> = modules
            .iter()
            .map(|(name, to)| (shown(name), to.keys().map(shown).filter(is_listed).collect()))
            .filter(|(name, _)| is_listed(name))
            .collect();
        for (name, uses) in &found {
            let row = told.get(name).unwrap_or_else(|| panic!("{sources}/lib.rs: the table has no row for {name}: {uses:?}"));
            assert_eq!(row, uses, "{sources}/lib.rs: what {name} uses: the table on the left, the imports on the right");
        }
        let gone: Vec<&String> = told.keys().filter(|name| is_listed(name) && !found.contains_key(*name)).collect();
        assert!(gone.is_empty(), "{sources}/lib.rs: the table lists modules that do not exist: {gone:?}");
    }
}

/// The library knows nothing of the program. (cargo refuses a circle of packages.)
#[test]
fn the_library_does_not_depend_on_the_program() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/kv_engine/Cargo.toml")).unwrap();
    assert!(!manifest.contains("kv_cli ="), "{manifest}");
}

#[test]
fn a_circle_is_found_and_explained() {
    let name = |text: &str| text.split("::").map(str::to_string).collect::<Name>();
    let mut graph = Graph::new();
    for (from, to) in [("a", "b"), ("b::x", "c"), ("b", "c"), ("c", "b")] {
        graph.entry(name(from)).or_default().entry(name(to)).or_default().insert("Thing".into());
    }
    let found = circle(&graph).unwrap();
    assert_eq!(explained(&graph, &found), "\n  b imports c for Thing\n  c imports b for Thing");
    graph.remove(&name("c"));
    assert_eq!(circle(&graph), None);
}

#[test]
fn imports_are_found_in_uses_in_code_and_in_macros_but_not_in_tests() {
    let mut source = Source::default();
    let text = "use super::a::{self, B as C}; pub use d::E; mod d; fn f() { crate::g::h(); vec![super::i::J] }
        #[cfg(test)] mod tests { use crate::k::L; }";
    source.visit_file(&syn::parse_file(text).unwrap());
    let paths: BTreeSet<String> = source.paths.iter().map(|path| path.join("::")).collect();
    for path in ["super::a", "super::a::B", "crate::g::h", "super::i::J"] {
        assert!(paths.contains(path), "{path} is not in {paths:?}");
    }
    assert!(!paths.iter().any(|path| path.contains('k') || path.contains('E')), "{paths:?}");
    assert_eq!(source.names["C"].join("::"), "super::a::B");
    assert!(source.children.contains("d") && source.items.contains("f"));
}
