//! `kv_cli connect`: the shell for a store that a server serves.
//!
//! Most tests use the real server. Faults that it cannot show on request come from a scripted one.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

/// The real server, and one that answers as a test says.
mod servers;

/// Every command gives what it gives on a store of this process.
mod same;

/// What is said when no answer comes, or a refusal.
mod faults;

/// With certificates.
mod tls;

/// At a terminal.
mod prompt;
