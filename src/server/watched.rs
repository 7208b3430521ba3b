//! A connection as the protocol code sees it: framed, and watched so that one look now and then replaces many timers.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::server::context::WorkerContext;
use crate::server::fault::Fault;
use crate::server::framing::{Framing, HeadLimits};
use crate::server::movement::Movement;
use crate::server::stream::Stream;

/// Stands for a head that is not passed on: the refusal is answered in its place, after all requests before it.
const REFUSED_HEAD: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";
/// How long the rest of what a caller sends is taken after the last answer, so that no reset overtakes that answer.
const LINGER: Duration = Duration::from_secs(5);

/// A stream that notes its movement and passes on whole heads only.
pub struct Watched {
    stream: Option<Stream>,
    context: Rc<WorkerContext>,
    movement: Rc<Movement>,
    /// `None` where the protocol frames itself.
    framing: Option<Framing>,
    ready: Vec<u8>,
    broken: bool,
    at_end: bool,
    shut: bool,
}

impl Watched {
    /// Watches a stream; `framed` for HTTP/1.
    pub fn new(stream: Stream, context: Rc<WorkerContext>, movement: Rc<Movement>, framed: bool) -> Watched {
        let framing = framed.then(Framing::default);
        Watched {
            stream: Some(stream),
            context,
            movement,
            framing,
            ready: Vec::new(),
            broken: false,
            at_end: false,
            shut: false,
        }
    }

    fn stream(&mut self) -> Pin<&mut Stream> {
        Pin::new(self.stream.as_mut().expect("the stream is there until the connection is dropped"))
    }

    fn limits(&self) -> HeadLimits {
        let settings = &self.context.limits;
        HeadLimits { bytes_max: settings.header_bytes_max, fields_max: settings.header_fields_max }
    }

    /// Puts a refusal in the place of the head that is being read.
    fn refuse_head(&mut self, fault: Fault) {
        if let Some(framing) = &mut self.framing {
            framing.refuse();
            self.movement.heads.set(framing.heads());
            self.movement.head_held.set(false);
            self.movement.fault.set(Some(fault));
            self.ready.extend_from_slice(REFUSED_HEAD);
        }
    }

    /// Hands out what is ready; `false` where nothing is.
    fn pass_ready(&mut self, cursor: &mut ReadBufCursor<'_>) -> bool {
        let count = self.ready.len().min(cursor.remaining());
        cursor.put_slice(&self.ready[..count]);
        self.ready.drain(..count);
        if self.ready.is_empty() {
            self.ready = Vec::new();
        }
        count > 0
    }

    /// Reads once; `false` where all of it was held back.
    fn read_once(&mut self, cx: &mut Context<'_>, cursor: &mut ReadBufCursor<'_>) -> Poll<io::Result<bool>> {
        let context = Rc::clone(&self.context);
        let mut scratch = context.scratch.borrow_mut();
        let room = scratch.len().min(cursor.remaining());
        let mut buffer = ReadBuf::new(&mut scratch[..room]);
        ready!(self.stream().poll_read(cx, &mut buffer))?;
        self.movement.moved.set(true);
        let received = buffer.filled();
        self.movement.read.set(self.movement.read.get().saturating_add(received.len()));
        if received.is_empty() {
            self.at_end = true;
            return Poll::Ready(Ok(true));
        }
        let limits = self.limits();
        let Some(framing) = &mut self.framing else {
            cursor.put_slice(received);
            return Poll::Ready(Ok(true));
        };
        let passed = framing.take(received, &limits);
        self.movement.heads.set(framing.heads());
        self.movement.head_held.set(framing.holds_head());
        let is_in_head = framing.is_in_head();
        let taken = &received[..passed.taken];
        if passed.held.is_empty() && passed.fault.is_none() {
            cursor.put_slice(taken);
            return Poll::Ready(Ok(!taken.is_empty()));
        }
        self.ready = passed.held;
        self.ready.extend_from_slice(taken);
        match passed.fault {
            Some(fault) if is_in_head => self.refuse_head(fault),
            // In a body there is no place for a refusal: the body ends early.
            Some(_) => self.broken = true,
            None => {}
        }
        Poll::Ready(Ok(self.pass_ready(cursor)))
    }
}

impl Read for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.pass_ready(&mut cursor) {
                return Poll::Ready(Ok(()));
            }
            if self.broken {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "malformed chunks")));
            }
            if self.movement.head_held.get()
                && let Some(fault) = self.movement.refuse.take()
            {
                self.refuse_head(fault);
            } else if ready!(self.read_once(cx, &mut cursor))? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl Write for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = self.stream().poll_write(cx, bytes);
        self.movement.wrote(&poll);
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = self.stream().poll_flush(cx);
        // TLS takes bytes before the socket does.
        self.movement.blocked.set(poll.is_pending());
        poll
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shut = true;
        self.stream().poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = self.stream().poll_write_vectored(cx, slices);
        self.movement.wrote(&poll);
        poll
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Closed with bytes unread, the kernel would answer them with a reset, which may overtake the last answer.
        let Some(stream) = self.stream.take().filter(|_| self.shut && !self.at_end) else { return };
        let Some(place) = self.context.linger() else { return };
        tokio::task::spawn_local(async move {
            let _ = tokio::time::timeout(LINGER, discard(stream.into_socket())).await;
            drop(place);
        });
    }
}

/// Takes what still comes, until the caller closes.
async fn discard(socket: TcpStream) {
    let mut bytes = [0; 4096];
    while socket.readable().await.is_ok() {
        match socket.try_read(&mut bytes) {
            Ok(0) => return,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
            _ => {}
        }
    }
}
