//! Small inputs that once failed, by number: each test is named after its case and shows the right answer.
//!
//! `cargo test --test cases` runs all of them, `cargo test --test cases case_23` those of one.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

#[path = "../../crates/kv_engine/tests/support/mod.rs"]
mod support;

/// The store knows its files by what they are.
mod identity;

/// Damage is told every time, and salvage says what it has.
mod damage;

/// Files made to hurt, and memory in proportion.
mod crafted;

/// Checkpoints and other work in the background.
mod background;

/// Signals, pipes, terminals, history.
mod process;

/// EXPORT, IMPORT, BENCH, `wal`.
mod tools;

/// What salvage, `verify`, `wal` and `replay` say of files that lack something, or whose first bytes are bad.
mod salvage;
