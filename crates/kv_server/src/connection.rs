//! A connection: read, run a turn, wait for the store, send, and again.
//!
//! - One turn at a time. While it waits for the store, nothing is read: the client is held back by its own socket.
//! - Bytes are read into a buffer of the worker thread, and the turn runs on them there. Only a command that is not
//!   complete, or did not fit into the turn, is copied into a buffer of the connection.
//! - Replies are sent with one call for a turn. While the client does not read them, up to 1 MiB of its requests is
//!   read ahead, and none is executed.
//! - An idle connection has no buffer.

use crate::buffers;
use crate::clients::Client;
use crate::limits::{self, RequestLimits};
use crate::read_ahead::{FREE_BYTES, Share};
use crate::resp::{Parser, Reply};
use crate::sequencer::Outcome;
use crate::session::Session;
use crate::shared::Shared;
use crate::turn::{self, Mark, Ran, Then, settle};
use bytes::{Buf, BytesMut};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::futures::Notified;
use tokio::sync::oneshot;

pub(crate) struct Connection<S> {
    shared: Arc<Shared>,
    stream: S,
    session: Session,
    parser: Parser,
    /// Bytes that were read and not consumed.
    unread: BytesMut,
    share: Share,
    /// A whole command may be in `unread`.
    more: bool,
    /// The client sends no more.
    ended: bool,
    reply: Reply,
    /// Bytes of `reply` that were sent.
    sent: usize,
    marks: Vec<Mark>,
}

/// Bytes behind a long command that are copied, so that its memory is free.
const KEPT_BYTES: usize = 4 << 10;
/// Marks that a connection keeps room for between its turns.
const KEPT_MARKS: usize = 16;

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        self.share.end(&self.shared.read_ahead);
        self.shared.sequencer.unwatch(&mut self.session.watches);
        self.shared.clients.remove(self.session.client.id);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn new(shared: Arc<Shared>, stream: S, client: Arc<Client>) -> Connection<S> {
        let share = Share::new(client.id);
        let session = Session::new(client, shared.options.password.is_none());
        Connection {
            shared,
            stream,
            session,
            parser: Parser::default(),
            unread: BytesMut::new(),
            share,
            more: false,
            ended: false,
            reply: Reply::default(),
            sent: 0,
            marks: Vec::new(),
        }
    }

    /// Serves the client until it or the server ends the connection.
    pub(crate) async fn serve(mut self) {
        self.serve_turns().await;
        // TLS tells the client that this is the end, and not a cut. One attempt: the client may read nothing any more.
        poll_fn(|cx| {
            let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
            Poll::Ready(())
        })
        .await;
    }

    async fn serve_turns(&mut self) {
        let client = Arc::clone(&self.session.client);
        let mut ending = pin!(client.ended());
        while let Some(Ran { then, full, .. }) = poll_fn(|cx| self.poll_turn(cx, ending.as_mut())).await {
            match then {
                Then::Send => {}
                Then::Settle(known) => settle(&mut self.reply, &self.marks, [known, Outcome::IN_FORCE]),
                Then::Wait(outcome, known) => {
                    // The store tells of every submission, so the sender is not dropped before.
                    let Ok(outcome) = outcome.await else { return };
                    settle(&mut self.reply, &self.marks, [outcome, known]);
                }
            }
            self.marks.clear();
            self.marks.shrink_to(KEPT_MARKS);
            let sent = poll_fn(|cx| {
                let polled = self.poll_send(cx);
                if polled.is_pending() {
                    // A later kill wakes this too.
                    while ending.as_mut().poll(cx).is_ready() {
                        ending.set(client.ended());
                    }
                    if client.is_killed() {
                        return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                    }
                    self.read_ahead(cx);
                }
                polled
            });
            if sent.await.is_err() || self.session.closing {
                return;
            }
            if full {
                let (tell, room) = oneshot::channel();
                self.shared.store.when_room(move || {
                    let _ = tell.send(());
                });
                let _ = room.await;
            }
        }
    }

    /// Reads until a turn has run. `None`: the connection ends.
    fn poll_turn(&mut self, cx: &mut Context<'_>, ending: Pin<&mut Notified<'_>>) -> Poll<Option<Ran>> {
        if self.reply.bytes.capacity() == 0 {
            self.reply.bytes = buffers::reply_buffer();
        }
        if std::mem::take(&mut self.more)
            && let Some(ran) = self.turn_on_unread()
        {
            return Poll::Ready(Some(ran));
        }
        if self.ended || self.session.client.must_close() {
            return Poll::Ready(None);
        }
        let polled = buffers::with_read_buffer(|buffer| {
            loop {
                if !self.may_read(cx) {
                    return Poll::Pending;
                }
                let room = self.room(buffer.len());
                let mut read = ReadBuf::new(&mut buffer[..room]);
                match Pin::new(&mut self.stream).poll_read(cx, &mut read) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) if !read.filled().is_empty() => {}
                    Poll::Ready(_) => return Poll::Ready(None),
                }
                let bytes = read.filled();
                self.shared.counters.bytes_in.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                if self.unread.is_empty() {
                    let ran = self.turn(bytes);
                    self.keep(&bytes[ran.consumed..]);
                    if self.is_due(&ran) {
                        return Poll::Ready(Some(ran));
                    }
                    continue;
                }
                self.keep(bytes);
                // More has come than one read takes: a long command, or many.
                let is_full = read.remaining() == 0;
                if is_full && self.unread.len() < self.most_unread() {
                    continue;
                }
                if let Some(ran) = self.turn_on_unread() {
                    return Poll::Ready(Some(ran));
                }
            }
        });
        if polled.is_pending() {
            self.give_back_reply();
            if self.unread.capacity() > 0 && self.unread.is_empty() {
                self.unread = BytesMut::new();
            }
            ready!(ending.poll(cx));
            return Poll::Ready(None);
        }
        polled
    }

    /// Bytes of requests that are read before their turn has come.
    fn most_unread(&self) -> usize {
        match self.session.authenticated {
            true => limits::READ_AHEAD_BYTES,
            false => RequestLimits::UNKNOWN_CLIENT.command_bytes,
        }
    }

    /// How much may be read now. The parser has refused an unknown client's command that would leave no room.
    fn room(&self, most: usize) -> usize {
        match self.session.authenticated {
            true => most,
            false => self.most_unread().saturating_sub(self.unread.len()).clamp(1, most),
        }
    }

    /// Keeps bytes for the next turn. The memory of a buffer that grows is a power of two, so it is at most the limit
    /// of an unknown client.
    fn keep(&mut self, bytes: &[u8]) {
        let len = self.unread.len() + bytes.len();
        if !self.session.authenticated && len > self.unread.capacity() {
            self.unread.reserve(len.next_power_of_two() - self.unread.len());
        }
        self.unread.extend_from_slice(bytes);
    }

    /// Whether there is memory for more requests.
    fn may_read(&mut self, cx: &Context<'_>) -> bool {
        let queued = self.session.multi.as_ref().map_or(0, |multi| multi.bytes);
        self.share.may_read(self.unread.capacity() + queued, &self.shared.read_ahead, cx)
    }

    fn turn(&mut self, input: &[u8]) -> Ran {
        let ran = turn::run(&self.shared, &mut self.session, &mut self.parser, input, &mut self.reply, &mut self.marks);
        self.more = ran.more;
        ran
    }

    fn turn_on_unread(&mut self) -> Option<Ran> {
        let mut unread = std::mem::take(&mut self.unread);
        let ran = self.turn(&unread);
        let was_long = unread.capacity() > FREE_BYTES;
        unread.advance(ran.consumed);
        if was_long && unread.len() <= KEPT_BYTES {
            // A long command has run. The beginning of the next one does not keep its memory.
            unread = BytesMut::from(&unread[..]);
        }
        if !self.session.authenticated {
            // In memory of its own, so that what was executed takes none.
            self.keep(&unread);
        } else if !unread.is_empty() {
            self.unread = unread;
        }
        self.is_due(&ran).then_some(ran)
    }

    /// Whether something comes of a turn.
    fn is_due(&self, ran: &Ran) -> bool {
        ran.commands > 0 || ran.full || self.session.closing
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.reply.bytes.len() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.reply.bytes[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.sent += bytes,
            }
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.shared.counters.bytes_out.fetch_add(self.sent as u64, Ordering::Relaxed);
        self.sent = 0;
        self.reply.bytes.clear();
        self.give_back_reply();
        Poll::Ready(Ok(()))
    }

    /// Reads requests while the client does not read replies. Some clients send a long pipeline before they read.
    fn read_ahead(&mut self, cx: &mut Context<'_>) {
        buffers::with_read_buffer(|buffer| {
            while !self.ended && self.unread.len() < self.most_unread() && self.may_read(cx) {
                let room = self.room(buffer.len());
                let mut read = ReadBuf::new(&mut buffer[..room]);
                match Pin::new(&mut self.stream).poll_read(cx, &mut read) {
                    Poll::Pending => return,
                    Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                        self.keep(read.filled());
                        self.more = true;
                    }
                    Poll::Ready(_) => self.ended = true,
                }
            }
        });
    }

    fn give_back_reply(&mut self) {
        if self.reply.bytes.is_empty() {
            buffers::give_back(std::mem::take(&mut self.reply.bytes));
        }
    }
}
