//! Small inputs that once gave a wrong result. Each test has the number of its case in its name, and checks the right
//! result.
//!
//! `cargo test --test cases` runs all of them, `cargo test --test cases case_23` those of one.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

#[path = "../../crates/kv_engine/tests/support/mod.rs"]
mod support;

/// The store recognizes its files by their content.
mod identity;

/// Damage is reported every time.
mod damage;

/// Files with false lengths, and memory in proportion to the data.
mod crafted;

/// Checkpoints and other work in the background.
mod background;

/// Signals, pipes, terminals, history.
mod process;

/// EXPORT, IMPORT, BENCH, `wal`.
mod tools;

/// What salvage, `verify`, `wal` and `replay` report about files with missing parts or a damaged header.
mod salvage;
