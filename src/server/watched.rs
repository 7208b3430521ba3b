//! A socket that notes when bytes move, so that one look now and then replaces a timer for every request.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// What moved since the last look.
#[derive(Debug, Default)]
pub struct Movement {
    /// Bytes came in or went out.
    pub moved: Cell<bool>,
    /// Bytes came in while no request was being answered: a request head has begun.
    pub head_began: Cell<bool>,
    /// A request began to be answered since the last look.
    pub answered: Cell<bool>,
    /// Requests being answered.
    pub in_flight: Cell<usize>,
}

/// A stream that notes its movement.
pub struct Watched {
    stream: TokioIo<TcpStream>,
    movement: Rc<Movement>,
}

impl Watched {
    /// Watches a stream.
    pub fn new(stream: TcpStream, movement: Rc<Movement>) -> Watched {
        Watched { stream: TokioIo::new(stream), movement }
    }
}

impl Read for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if poll.is_ready() {
            self.movement.moved.set(true);
            if self.movement.in_flight.get() == 0 {
                self.movement.head_began.set(true);
            }
        }
        poll
    }
}

impl Write for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.movement.moved.set(self.movement.moved.get() || poll.is_ready());
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.movement.moved.set(self.movement.moved.get() || poll.is_ready());
        poll
    }
}
