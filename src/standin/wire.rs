//! Wire: the answers that are put on the connection by hand, because an HTTP library rightly refuses to send them.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::standin::answer::{Answer, CORRELATION_ID, JSON, REQUEST_ID, TraceIds};

/// Bytes per chunk of a `chunked` answer, and per write of a `large` one.
pub const FRAME_BYTES: usize = 16 * 1024;

/// Unread request bytes taken off a connection after an early answer, before it is closed.
const LINGER_BYTES_MAX: u64 = 256 << 20;

/// The content of large answers: lines of letters, so that no part of it looks like HTTP.
pub static FRAME: [u8; FRAME_BYTES] = frame();

const fn frame() -> [u8; FRAME_BYTES] {
    let mut frame = [b'\n'; FRAME_BYTES];
    let mut at = 0;
    while at < FRAME_BYTES {
        if at % 64 != 63 {
            frame[at] = b'a' + (at % 26) as u8;
        }
        at += 1;
    }
    frame
}

/// An answer by hand, for a connection taken away from the HTTP library.
pub struct Takeover {
    head: Vec<u8>,
    chunked_bytes: Option<u64>,
    then: Then,
}

/// What becomes of the connection.
enum Then {
    Close,
    /// Closed in two steps: with unread bytes in its buffer a plain close would destroy the answer on its way.
    Linger,
    KeepAlive,
    Tunnel,
    /// Closed once the line is, which then stays so for that long.
    Pause(Duration),
}

impl Takeover {
    /// No answer at all.
    pub fn close() -> Takeover {
        Takeover { head: Vec::new(), chunked_bytes: None, then: Then::Close }
    }

    /// A whole answer while the body of the request is still unread.
    pub fn early(answer: &Answer, ids: &TraceIds) -> Takeover {
        let mut head = head(answer.status, ids, &answer.fields);
        field(&mut head, "content-type", JSON.as_bytes());
        field(&mut head, "connection", b"close");
        let length = answer.body.len().to_string();
        field(&mut head, "content-length", length.as_bytes());
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(&answer.body);
        Takeover { head, chunked_bytes: None, then: Then::Linger }
    }

    /// 200 with the first half of the body it announces.
    pub fn truncated(ids: &TraceIds) -> Takeover {
        let sent = br#"{"id":"this order is cut off he"#;
        let mut head = head(StatusCode::OK, ids, &[]);
        field(&mut head, "content-type", JSON.as_bytes());
        let length = (2 * sent.len()).to_string();
        field(&mut head, "content-length", length.as_bytes());
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(sent);
        Takeover { head, chunked_bytes: None, then: Then::Close }
    }

    /// 200 with `bytes` in chunks and trailer fields, whether or not the request says `TE: trailers`: a proxy in between
    /// rarely forwards that, and has to cope with unasked trailers all the same.
    pub fn chunked(ids: &TraceIds, bytes: u64, has_body: bool, keep_alive: bool) -> Takeover {
        let mut head = head(StatusCode::OK, ids, &[]);
        field(&mut head, "content-type", b"application/octet-stream");
        field(&mut head, "transfer-encoding", b"chunked");
        field(&mut head, "trailer", b"Standin-Trailer, X-Partner-Tenant");
        if !keep_alive {
            field(&mut head, "connection", b"close");
        }
        head.extend_from_slice(b"\r\n");
        Takeover {
            head,
            chunked_bytes: has_body.then_some(bytes),
            then: if keep_alive { Then::KeepAlive } else { Then::Close },
        }
    }

    /// 101, and from then on every byte is sent back.
    pub fn switched(ids: &TraceIds) -> Takeover {
        let mut head = head(StatusCode::SWITCHING_PROTOCOLS, ids, &[]);
        field(&mut head, "connection", b"Upgrade");
        field(&mut head, "upgrade", b"standin-echo");
        head.extend_from_slice(b"\r\n");
        Takeover { head, chunked_bytes: None, then: Then::Tunnel }
    }

    /// 204 to the request that closes the line for a while.
    pub fn paused(ids: &TraceIds, lasting: Duration) -> Takeover {
        let mut head = head(StatusCode::NO_CONTENT, ids, &[]);
        field(&mut head, "connection", b"close");
        head.extend_from_slice(b"\r\n");
        Takeover { head, chunked_bytes: None, then: Then::Pause(lasting) }
    }

    /// How long the line has to be closed before this is sent.
    pub fn pause(&self) -> Option<Duration> {
        match self.then {
            Then::Pause(lasting) => Some(lasting),
            _ => None,
        }
    }

    /// Sends the answer; gives the connection back when another request may follow on it. `unread` is what was read from
    /// the connection already, behind the head or the body of the request.
    ///
    /// # Errors
    /// When the other side is gone.
    pub async fn play(self, mut stream: TcpStream, unread: Bytes) -> io::Result<Option<TcpStream>> {
        stream.write_all(&self.head).await?;
        if let Some(bytes) = self.chunked_bytes {
            write_chunks(&mut stream, bytes).await?;
        }
        match self.then {
            Then::Close | Then::Pause(_) => stream.shutdown().await?,
            Then::Linger => {
                stream.shutdown().await?;
                let mut rest = stream.take(LINGER_BYTES_MAX);
                tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
            }
            // A pipelined request is already in `unread` and would be lost: then the connection ends here.
            Then::KeepAlive if unread.is_empty() => return Ok(Some(stream)),
            Then::KeepAlive => stream.shutdown().await?,
            Then::Tunnel => {
                stream.write_all(&unread).await?;
                let (mut reading, mut writing) = stream.split();
                tokio::io::copy(&mut reading, &mut writing).await?;
            }
        }
        Ok(None)
    }
}

async fn write_chunks(stream: &mut TcpStream, bytes: u64) -> io::Result<()> {
    let mut full = format!("{FRAME_BYTES:x}\r\n").into_bytes();
    full.extend_from_slice(&FRAME);
    full.extend_from_slice(b"\r\n");
    let frame_bytes = FRAME_BYTES as u64;
    for _ in 0..bytes / frame_bytes {
        stream.write_all(&full).await?;
    }
    let rest = (bytes % frame_bytes) as usize;
    let mut last = Vec::new();
    if rest > 0 {
        last.extend_from_slice(format!("{rest:x}\r\n").as_bytes());
        last.extend_from_slice(&FRAME[..rest]);
        last.extend_from_slice(b"\r\n");
    }
    last.extend_from_slice(b"0\r\n");
    last.extend_from_slice(b"Standin-Trailer: yes\r\nX-Partner-Tenant: forged\r\n\r\n");
    stream.write_all(&last).await
}

fn head(status: StatusCode, ids: &TraceIds, fields: &[(HeaderName, HeaderValue)]) -> Vec<u8> {
    let reason = status.canonical_reason().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    field(&mut head, REQUEST_ID.as_str(), ids.request.as_bytes());
    field(&mut head, CORRELATION_ID.as_str(), ids.correlation.as_bytes());
    for (name, value) in fields {
        field(&mut head, name.as_str(), value.as_bytes());
    }
    head
}

fn field(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::{Read, Write};
    use std::net::Shutdown;

    use crate::standin::testing::{connect, exchange, order, order_with, read_reply, start};

    #[test]
    fn a_reset_closes_without_an_answer() {
        let standin = start();
        let mut stream = connect(&standin);
        stream.write_all(order("reset").as_bytes()).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        assert_eq!(standin.request_count(), 1);
    }

    #[test]
    fn an_early_answer_leaves_the_body_alone() {
        let standin = start();
        standin.record(true);
        let mut stream = connect(&standin);
        let head = "POST /v1/customers/c/orders HTTP/1.1\r\nHost: h\r\nStandin-Fault: early\r\n\
                    Expect: 100-continue\r\nContent-Length: 9000000\r\n\r\n";
        let reply = exchange(&mut stream, head);
        assert_eq!(reply.status(), 413);
        assert_eq!(reply.field("connection"), Some("close"));
        assert_eq!(reply.json()["source"], "PartnerCenter");
        assert!(!standin.recorded()[0].complete);
    }

    #[test]
    fn an_early_answer_survives_a_caller_that_goes_on_sending() {
        let standin = start();
        let mut stream = connect(&standin);
        let body = "x".repeat(8 << 20);
        stream.write_all(order_with("early", &body).as_bytes()).unwrap();
        assert_eq!(read_reply(&mut stream, true).status(), 413);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_truncated_answer_ends_before_its_length() {
        let standin = start();
        let mut stream = connect(&standin);
        stream.write_all(order("truncate").as_bytes()).unwrap();
        let head = read_reply(&mut stream, false);
        assert_eq!(head.status(), 200);
        let announced: usize = head.field("content-length").unwrap().parse().unwrap();
        let mut body = Vec::new();
        stream.read_to_end(&mut body).unwrap();
        assert!(!body.is_empty() && body.len() < announced, "{}", body.len());
    }

    #[test]
    fn a_chunked_answer_ends_in_trailers_and_keeps_the_connection() {
        let standin = start();
        let mut stream = connect(&standin);
        for bytes in [0, 5, FRAME_BYTES, 3 * FRAME_BYTES + 1] {
            let reply = exchange(&mut stream, &order(&format!("chunked={bytes}")));
            assert_eq!(reply.status(), 200);
            assert_eq!(reply.field("ms-requestid"), Some("r-1"));
            let (sent, trailers) = unchunked(&reply.body);
            assert_eq!(sent, bytes);
            assert_eq!(trailers, "Standin-Trailer: yes\r\nX-Partner-Tenant: forged\r\n\r\n");
        }
        assert_eq!(exchange(&mut stream, &order("")).status(), 201);
    }

    #[test]
    fn a_chunked_answer_closes_when_asked_to_and_has_no_body_for_head() {
        let standin = start();
        let mut stream = connect(&standin);
        let request = "HEAD /v1/customers HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n\
                       Standin-Fault: chunked=1MiB\r\n\r\n";
        let reply = exchange(&mut stream, request);
        assert_eq!(reply.field("transfer-encoding"), Some("chunked"));
        assert_eq!(reply.field("connection"), Some("close"));
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }

    /// The number of content bytes in a chunked body, and what follows its last chunk.
    fn unchunked(body: &[u8]) -> (usize, &str) {
        let text = std::str::from_utf8(body).unwrap();
        let (mut rest, mut bytes) = (text, 0);
        loop {
            let (size, after) = rest.split_once("\r\n").unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            if size == 0 {
                return (bytes, after);
            }
            assert!(size <= FRAME_BYTES);
            bytes += size;
            rest = after[size..].strip_prefix("\r\n").unwrap();
        }
    }

    #[test]
    fn after_an_upgrade_every_byte_comes_back() {
        let standin = start();
        let mut stream = connect(&standin);
        let reply = exchange(&mut stream, &order("upgrade"));
        assert_eq!(reply.status(), 101);
        assert_eq!(reply.field("upgrade"), Some("standin-echo"));
        stream.write_all(b"not HTTP").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        assert_eq!(back, b"not HTTP");
    }

    #[test]
    fn a_continue_is_sent_before_an_answer_by_hand() {
        let standin = start();
        let mut stream = connect(&standin);
        let head = "POST /v1/customers/c/orders HTTP/1.1\r\nHost: h\r\nStandin-Fault: chunked=1\r\n\
                    Expect: 100-continue\r\nContent-Length: 2\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        assert_eq!(read_reply(&mut stream, false).status(), 100);
        assert_eq!(exchange(&mut stream, "{}").status(), 200);
    }
}
