//! Serves a [`kv_engine`] store to Redis clients.

mod buffers;
mod clients;
mod command;
mod connection;
mod cursors;
mod error;
mod limits;
mod options;
mod refusal;
mod resp;
mod sequencer;
mod server;
mod session;
mod shared;
mod store;
mod turn;

pub use error::{Error, Result};
pub use options::Options;
pub use server::{Ended, Handle, Server};
