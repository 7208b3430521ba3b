//! Body: reading the body of a request, and the body of an answer while it is sent.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::standin::wire::{FRAME, FRAME_BYTES};

/// Largest request body; a larger one is answered with 413.
pub const BODY_BYTES_MAX: usize = 64 << 20;

/// Room made at once for a body that announces its length; more comes as it arrives.
const BODY_ROOM_BYTES: u64 = 64 << 10;

/// The body of a request, as far as it came.
pub struct Received {
    /// What came of it.
    pub bytes: Vec<u8>,
    /// Trailer fields; names in lower case.
    pub trailers: Vec<(String, String)>,
    /// Whether that is all.
    pub end: End,
}

/// How far a body came.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// To its end.
    Complete,
    /// The caller broke off.
    Broken,
    /// Larger than [`BODY_BYTES_MAX`]; the rest is unread.
    TooLarge,
    /// Not even begun to read.
    Unread,
}

impl Received {
    /// A body left alone.
    pub fn unread() -> Received {
        Received { bytes: Vec::new(), trailers: Vec::new(), end: End::Unread }
    }

    /// Reads a body to its end, or as far as that goes.
    pub async fn read(mut body: Incoming) -> Received {
        let room = body.size_hint().lower().min(BODY_ROOM_BYTES);
        let mut received =
            Received { bytes: Vec::with_capacity(room as usize), trailers: Vec::new(), end: End::Complete };
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                received.end = End::Broken;
                break;
            };
            match frame.into_data() {
                Ok(data) if received.bytes.len() + data.len() > BODY_BYTES_MAX => {
                    received.end = End::TooLarge;
                    break;
                }
                Ok(data) => received.bytes.extend_from_slice(&data),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    let fields =
                        trailers.iter().map(|(name, value)| (name.to_string(), lossy(value.as_bytes())));
                    received.trailers.extend(fields);
                }
            }
        }
        received
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The body of an answer.
pub enum Sent {
    /// One piece.
    Whole(Bytes),
    /// Made while it is sent, so that a large answer takes no memory.
    Large {
        /// Bytes still to send.
        left: u64,
    },
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match self.get_mut() {
            Sent::Whole(bytes) => std::mem::take(bytes),
            Sent::Large { left } => {
                let bytes = (*left).min(FRAME_BYTES as u64);
                *left -= bytes;
                Bytes::from_static(&FRAME[..bytes as usize])
            }
        };
        Poll::Ready((!data.is_empty()).then(|| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Sent::Whole(bytes) => bytes.is_empty(),
            Sent::Large { left } => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Sent::Whole(bytes) => bytes.len() as u64,
            Sent::Large { left } => *left,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::Write;

    use crate::standin::testing::{connect, exchange, read_reply, start};

    fn head(bytes: usize) -> String {
        format!(
            "POST /v1/customers/c/orders/o/attachment HTTP/1.1\r\nHost: h\r\n\
             Content-Length: {bytes}\r\n\r\n"
        )
    }

    #[test]
    fn a_body_is_read_up_to_its_limit() {
        let standin = start();
        let content = vec![b'x'; BODY_BYTES_MAX + 1];
        for (bytes, status) in [(BODY_BYTES_MAX, 201), (BODY_BYTES_MAX + 1, 413)] {
            let mut stream = connect(&standin);
            stream.write_all(head(bytes).as_bytes()).unwrap();
            stream.write_all(&content[..bytes]).unwrap();
            assert_eq!(read_reply(&mut stream, true).status(), status, "{bytes}");
        }
        let reply = exchange(&mut connect(&standin), &head(0));
        assert_eq!(reply.status(), 201);
    }
}
