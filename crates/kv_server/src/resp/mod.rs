//! The protocol of Redis, RESP2 and RESP3: reading requests, writing replies.
//!
//! | file | what it holds |
//! |---|---|
//! | `number.rs` | integers as Redis writes them |
//! | `request.rs` | the parser: bytes to commands |
//! | `reply.rs` | the replies of one connection, as bytes |

mod number;
mod reply;
mod request;

pub(crate) use number::integer;
pub(crate) use reply::Reply;
pub(crate) use request::{Args, Parsed, Parser, Span};
