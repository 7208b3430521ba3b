//! Testing: what the unit tests of this folder share.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use serde_json::Value;

use crate::standin::Standin;
use crate::standin::answer::Answer;
use crate::standin::api;
use crate::standin::book::Book;
use crate::standin::call::Asked;

/// How long a test waits for something that has to come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A stand-in on a free port.
pub fn start() -> Standin {
    Standin::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap()
}

/// A connection to it.
pub fn connect(standin: &Standin) -> TcpStream {
    TcpStream::connect(standin.address()).unwrap()
}

/// An order that asks for these faults.
pub fn order(faults: &str) -> String {
    order_with(faults, "{}")
}

/// [`order`] with this body.
pub fn order_with(faults: &str, body: &str) -> String {
    let bytes = body.len();
    format!(
        "POST /v1/customers/c/orders HTTP/1.1\r\nHost: h\r\nStandin-Fault: {faults}\r\n\
         MS-RequestId: r-1\r\nContent-Length: {bytes}\r\n\r\n{body}"
    )
}

/// What the routes answer without a connection, when nothing was set up.
pub fn ask(method: &str, target: &str, body: &str) -> Answer {
    ask_of(&Book::default(), method, target, body)
}

/// What they answer with this set-up.
pub fn ask_of(book: &Book, method: &str, target: &str, body: &str) -> Answer {
    ask_with(book, method, target, &[], body)
}

/// What they answer to a request with these header fields. No two requests of a process have the same serial.
pub fn ask_with(
    book: &Book,
    method: &str,
    target: &str,
    fields: &[(&'static str, &str)],
    body: &str,
) -> Answer {
    static SERIAL: AtomicU64 = AtomicU64::new(42);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    let asked = Asked {
        method,
        path,
        query,
        headers: &headers,
        body: body.as_bytes(),
        serial: SERIAL.fetch_add(1, Ordering::Relaxed),
        now: Timestamp::from_second(1_750_000_000).unwrap(),
    };
    api::answer(&asked, book)
}

/// A request with a JSON body, and the connection to be closed behind it.
pub fn send(standin: &Standin, method: &str, target: &str, body: &str) -> Reply {
    let bytes = body.len();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {bytes}\r\n\r\n{body}"
    );
    exchange(&mut connect(standin), &request)
}

/// The body of an answer as JSON.
pub fn body_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

/// What came back over a connection.
#[derive(Debug)]
pub struct Reply {
    /// Status line and header lines, in lower case.
    pub head: String,
    /// The body by its `Content-Length`; for a chunked one everything up to the end of the trailers.
    pub body: Vec<u8>,
}

impl Reply {
    /// The status of the status line.
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The value of the first field of that (lower-case) name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Sends raw HTTP and reads one answer.
pub fn exchange(stream: &mut TcpStream, request: &str) -> Reply {
    stream.write_all(request.as_bytes()).unwrap();
    let has_body = !request.starts_with("HEAD ");
    read_reply(stream, has_body)
}

/// Reads one answer.
pub fn read_reply(stream: &mut TcpStream, has_body: bool) -> Reply {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = read_until(stream, b"\r\n\r\n");
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let mut reply = Reply { head, body: Vec::new() };
    if !has_body {
        return reply;
    }
    if let Some(length) = reply.field("content-length") {
        reply.body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut reply.body).unwrap();
    } else if reply.field("transfer-encoding") == Some("chunked") {
        reply.body = read_until(stream, b"\r\n\r\n");
    }
    reply
}

/// Reads up to and with `end`; the body of a chunked answer must not contain it.
fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(end) {
        stream.read_exact(&mut byte).unwrap();
        read.push(byte[0]);
    }
    read
}
