//! A plain HTTP/1.1 client over a socket, which sends what it is told and reads one answer at a time.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::rows::{Framing, Request};

/// The longest any test waits for an answer.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a connection is made over.
pub trait Bytes: Read + Write + Send {}

impl<T: Read + Write + Send> Bytes for T {}

/// A connection to the gateway.
pub struct Connection {
    stream: Box<dyn Bytes>,
    unread: Vec<u8>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The reason of a problem response, in the form of the audit records.
    pub fn reason(&self) -> String {
        let kind = self.json()["type"].as_str().unwrap_or("").to_owned();
        kind.trim_start_matches("urn:countersign:").replace('-', "_")
    }
}

impl Connection {
    pub fn open(address: SocketAddr) -> Connection {
        Connection::over(socket(address))
    }

    /// A connection over something that is connected already.
    pub fn over(stream: impl Bytes + 'static) -> Connection {
        Connection { stream: Box::new(stream), unread: Vec::new() }
    }

    /// Whether the gateway closes, in order, without another byte.
    pub fn is_closed(&mut self) -> bool {
        self.unread.is_empty() && matches!(self.fill(), Ok(0))
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the gateway reads");
    }

    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut buffer = [0u8; 16 * 1024];
        let count = self.stream.read(&mut buffer)?;
        self.unread.extend_from_slice(&buffer[..count]);
        Ok(count)
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    pub fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < count {
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.unread.drain(..count).collect())
    }

    fn fields(&mut self) -> io::Result<Vec<(String, String)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            match line.split_once(':') {
                Some((name, value)) => fields.push((name.to_owned(), value.trim().to_owned())),
                None => return Ok(fields),
            }
        }
    }

    /// Reads an answer, informational ones left out.
    pub fn try_read(&mut self, to_head: bool) -> io::Result<Answer> {
        loop {
            let status_line = self.line()?;
            let status: u16 =
                status_line.split(' ').nth(1).and_then(|text| text.parse().ok()).expect("a status line");
            let headers = self.fields()?;
            if (100..200).contains(&status) {
                continue;
            }
            let mut answer = Answer { status, headers, body: Vec::new(), trailers: Vec::new() };
            if to_head || status == 204 || status == 304 {
                return Ok(answer);
            }
            if answer.header("transfer-encoding").is_some() {
                loop {
                    let size = self.line()?;
                    let size = usize::from_str_radix(size.split(';').next().unwrap_or(""), 16)
                        .expect("a chunk size");
                    if size == 0 {
                        answer.trailers = self.fields()?;
                        return Ok(answer);
                    }
                    answer.body.extend(self.exactly(size)?);
                    self.line()?;
                }
            }
            match answer.header("content-length").map(|length| length.parse().expect("a length")) {
                Some(length) => answer.body = self.exactly(length)?,
                None => {
                    while self.fill()? > 0 {}
                    answer.body = std::mem::take(&mut self.unread);
                }
            }
            return Ok(answer);
        }
    }

    pub fn read(&mut self) -> Answer {
        self.try_read(false).expect("an answer")
    }

    /// Waits for an answer; where it is the go-ahead it is read, else it is left.
    pub fn continues(&mut self) -> io::Result<bool> {
        const GO_AHEAD: &[u8] = b"HTTP/1.1 100";
        while self.unread.len() < GO_AHEAD.len() {
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let goes_on = self.unread.starts_with(GO_AHEAD);
        if goes_on {
            self.line()?;
            self.fields()?;
        }
        Ok(goes_on)
    }
}

/// A socket to the gateway.
pub fn socket(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the gateway listens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends the request of a row on a connection of its own. A connection that ends without an answer is status 0.
pub fn send(address: SocketAddr, request: &Request) -> Answer {
    let mut head =
        [request.method.as_bytes(), b" ", &request.target, b" ", request.version.as_bytes(), b"\r\n"]
            .concat();
    for (name, value) in &request.headers {
        head.extend([name.as_slice(), b": ", value, b"\r\n"].concat());
    }
    let body = &request.body;
    match request.framing {
        Framing::ByHand => {}
        Framing::Chunked => head.extend(b"Transfer-Encoding: chunked\r\n"),
        Framing::Expect => {
            head.extend(format!("Expect: 100-continue\r\nContent-Length: {}\r\n", body.len()).bytes())
        }
        Framing::Length if body.is_empty() => {}
        Framing::Length => head.extend(format!("Content-Length: {}\r\n", body.len()).bytes()),
    }
    head.extend(b"\r\n");
    let mut connection = Connection::open(address);
    let written = connection.try_send(&head).and_then(|()| match request.framing {
        Framing::Expect => match connection.continues()? {
            true => connection.try_send(body),
            false => Ok(()),
        },
        Framing::Chunked => connection.try_send(&chunks(body, &request.trailers)),
        Framing::ByHand | Framing::Length => connection.try_send(body),
    });
    // Whoever refuses a request early may well have answered it.
    let answer = connection.try_read(request.method == "HEAD");
    answer.unwrap_or_else(|error| {
        let body = format!("{error}, and before: {written:?}").into_bytes();
        Answer { status: 0, headers: Vec::new(), body, trailers: Vec::new() }
    })
}

fn chunks(body: &[u8], trailers: &[(String, String)]) -> Vec<u8> {
    let (first, second) = body.split_at(body.len() / 2);
    let mut bytes = Vec::new();
    for part in [first, second].into_iter().filter(|part| !part.is_empty()) {
        bytes.extend(format!("{:x}\r\n", part.len()).bytes());
        bytes.extend([part, b"\r\n"].concat());
    }
    bytes.extend(b"0\r\n");
    for (name, value) in trailers {
        bytes.extend(format!("{name}: {value}\r\n").bytes());
    }
    bytes.extend(b"\r\n");
    bytes
}

/// A request as bytes, with a length where it has a body.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {target} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        bytes += "Host: gateway.example\r\n";
    }
    for (name, value) in headers {
        bytes += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        bytes += &format!("Content-Length: {}\r\n", body.len());
    }
    bytes += "\r\n";
    let mut bytes = bytes.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}
