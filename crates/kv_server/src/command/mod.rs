//! The commands. Each file has the functions of one group and their rows in the table of commands.
//!
//! | file | what it holds |
//! |---|---|
//! | `call.rs` | `Call`: what a command sees and may do; the row of a command; the table |
//! | `option.rs` | options that several commands share |
//! | `float.rs` | decimal numbers, for INCRBYFLOAT |
//! | `strings.rs`, `numbers.rs`, `ranges.rs` | commands on values |
//! | `keys.rs`, `rename.rs`, `scan.rs`, `glob.rs` | commands on keys; patterns |
//! | `groups.rs` | transactions |
//! | `connection.rs`, `client.rs` | commands on this connection and others |
//! | `about.rs` | COMMAND: the table, told |
//! | `settings.rs` | CONFIG |
//! | `info.rs` | INFO |
//! | `inspect.rs` | commands that look at one key, or at what took long |
//! | `lifecycle.rs` | snapshots, durability, time, the end |
//! | `table.rs` | all rows |
//! | `disabled.rs` | commands that were taken away |
//! | `dispatch.rs` | one command: found, checked, queued or run |

mod about;
mod call;
mod client;
mod connection;
mod disabled;
mod dispatch;
mod float;
mod glob;
mod groups;
mod info;
mod inspect;
mod keys;
mod lifecycle;
mod numbers;
mod option;
mod ranges;
mod rename;
mod scan;
mod settings;
mod strings;
mod table;

pub(crate) use dispatch::{Executed, begin, execute};
