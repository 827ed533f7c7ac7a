//! Serves a [`kv_engine`] store over a network, to any client of Redis: **with batch size 1, every OK is on the disk.**
//!
//! It speaks RESP2 and RESP3, and has the commands of a Redis that holds only strings. Other types, expiry
//! and scripts are refused by name, and an unknown option is an error.
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! use std::io::{Read, Write};
//!
//! let engine = kv_engine::Options::in_dir(dir.path()).open()?;
//! let options = kv_server::Options::default().listen([([127, 0, 0, 1], 0).into()]);
//! let server = kv_server::Server::start(engine, options)?;
//!
//! let mut client = std::net::TcpStream::connect(server.addresses()[0])?;
//! client.write_all(b"SET x 100\r\nGET x\r\n")?;
//! let mut replies = [0; 14];
//! client.read_exact(&mut replies)?;
//! assert_eq!(&replies, b"+OK\r\n$3\r\n100\r\n");
//!
//! server.handle().shut_down();
//! server.wait()?;                                     // the store is closed
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A turn
//!
//! A *turn* is what one connection has sent in one piece: up to 1,024 commands, or 1 MiB of writes. Its steps:
//!
//! 1. A worker reads bytes, and parses and executes the commands one by one. Reads come from the store at once, also
//!    during a sync.
//! 2. The first command that writes takes the *sequencer*, a lock. From there on the turn is evaluated against the
//!    writes that are in flight (the overlay), then the store.
//! 3. At the end the turn submits its writes to the store, each command as one atomic write, and EXEC as one. Then it
//!    releases the sequencer. So the order of evaluation is the order of the log.
//! 4. The store writes and syncs, for the turns of all connections together. Then it tells of each submission, in
//!    order. What was told leaves the overlay.
//! 5. Replies that rest on a refused write become errors. The replies of the turn are sent with one call.
//!
//! # Invariants
//!
//! - A reply never says *done* of a write that may not be in force, and never *not done* of one that may be.
//! - What a reply says is true in the state that it rests on. If that state is refused, the reply is an error.
//! - What is logged is puts and deletes, never commands.
//! - Nothing that was evaluated against a refused write is stored.
//! - Replies have the order of the requests.
//! - A value is always in the overlay or in the store. A read of the same connection behind a write sees it.
//! - Every limit is checked before anything is allocated for what it bounds.
//! - A client that does not read its replies slows only itself: no command of it is executed meanwhile.
//! - No lock is held during a sync. A read without the sequencer takes no lock of the server.
//!
//! # The modules
//!
//! There are no circles: no module uses a module that uses it, directly or through others. The last column leaves out
//! `error` and the items of this file, which every module may use.
//!
//! | module | its one responsibility | uses |
//! |---|---|---|
//! | `error` | why a server does not start or does not end well | – |
//! | `refusal` | errors as clients read them | – |
//! | `event` | what an operator should know, for a log | – |
//! | `limits` | the limits of a connection | – |
//! | `buffers` | buffers that the connections of one worker share | – |
//! | `process` | memory and processor time of this process | – |
//! | `read_ahead` | the memory for requests that were read and not run | – |
//! | `tls` | the files of TLS, and the handshake | – |
//! | `options` | how a server is started | event, tls |
//! | `settings` | what can change while it runs | options |
//! | `resp` | the protocol: parsing requests, writing replies | limits, refusal |
//! | `store` | the engine, with its errors as refusals | refusal |
//! | `sequencer` | the order of writes, values in flight, watched keys | refusal, store |
//! | `clients` | the open connections, as the others see them | – |
//! | `cursors` | where each SCAN goes on | – |
//! | `saves` | snapshots that clients ask for | refusal |
//! | `slow_log` | commands that took long | resp, settings |
//! | `session` | one connection between its commands | clients, resp, sequencer |
//! | `shared` | what all connections have in common | clients, cursors, options, read_ahead, saves, sequencer, settings, slow_log, store, tls |
//! | `command` | the commands, and the table of them | clients, limits, options, process, refusal, resp, sequencer, session, shared, store |
//! | `turn` | the commands that came in one piece | command, limits, resp, sequencer, session, shared |
//! | `connection` | read, run a turn, wait, send | buffers, clients, limits, read_ahead, resp, sequencer, session, shared, turn |
//! | `watch` | tells the operator what has changed in the store | options, shared, tls |
//! | `metrics` | the figures for Prometheus | shared |
//! | `http` | the pages for operators | metrics, shared |
//! | `server` | starting, accepting, ending | clients, connection, http, options, refusal, resp, shared, store, tls, watch |
//! | `fuzzing` | the parser, as the fuzzers drive it | limits, resp |
//!
//! | feature | what it adds |
//! |---|---|
//! | `fuzzing` (off by default) | `fuzzing`, with which the fuzzers drive the parser of requests |
//!
//! # What it is not
//!
//! - A cache: no key expires, and none is evicted.
//! - A replicated store. It is one process on one machine.
//! - Watched by other writers: what the embedding program writes to the engine directly is seen by reads, but WATCH
//!   does not notice it.

mod buffers;
mod clients;
mod command;
mod connection;
mod cursors;
mod error;
mod event;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod limits;
mod metrics;
mod options;
mod process;
mod read_ahead;
mod refusal;
mod resp;
mod saves;
mod sequencer;
mod server;
mod session;
mod settings;
mod shared;
mod slow_log;
mod store;
mod tls;
mod turn;
mod watch;

pub use error::{Error, Result};
pub use event::{Event, Level};
pub use options::{OnPoison, Options};
pub use server::{Ended, Handle, Server};
pub use tls::Tls;
