//! A body on its way to the upstream.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// A body on its way to the upstream.
pub enum Outgoing {
    /// These bytes; empty for none.
    Whole(Bytes),
    /// What the caller sends, as it comes.
    Streamed(Streamed),
}

/// Removes from trailers what must not pass.
pub type StripTrailers = Box<dyn Fn(&mut HeaderMap)>;

/// What the caller sends, as it comes.
pub struct Streamed {
    body: Incoming,
    /// When it last did.
    moved: Rc<Cell<Instant>>,
    /// Whether it ended early.
    broke: Rc<Cell<bool>>,
    strip_trailers: StripTrailers,
}

impl Outgoing {
    /// What the caller sends, as it comes, its trailers stripped of what must not pass.
    pub fn streamed(body: Incoming, now: Instant, strip_trailers: StripTrailers) -> Outgoing {
        Outgoing::Streamed(Streamed {
            body,
            moved: Rc::new(Cell::new(now)),
            broke: Rc::default(),
            strip_trailers,
        })
    }
}

impl Streamed {
    /// Where it is written when the caller last sent something.
    pub fn moved(&self) -> Rc<Cell<Instant>> {
        Rc::clone(&self.moved)
    }

    /// Where it is written that the caller's body ended early.
    pub fn broke(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.broke)
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.moved.set(Instant::now());
        self.broke.set(matches!(frame, Some(Err(_))));
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame) };
        Poll::Ready(Some(Ok(match frame.into_trailers() {
            Ok(mut trailers) => {
                (self.strip_trailers)(&mut trailers);
                Frame::trailers(trailers)
            }
            Err(frame) => frame,
        })))
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Outgoing::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Outgoing::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Outgoing::Streamed(streamed) => streamed.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Outgoing::Whole(bytes) => bytes.is_empty(),
            Outgoing::Streamed(streamed) => streamed.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Outgoing::Streamed(streamed) => streamed.body.size_hint(),
        }
    }
}
