//! A caller over HTTP/2 that writes the frames it likes.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::version::TLS13;

use crate::authority::{Authority, connect};
use crate::http::{Answer, Connection};

/// Frame types and flags (RFC 9113 section 6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;
/// The longest payload that any peer takes (RFC 9113 section 4.2).
const FRAME_BYTES_MAX: usize = 16 * 1024;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// A caller that writes the frames it likes.
pub struct Raw {
    connection: Connection,
}

pub fn raw_order(agent: &str) -> Vec<(&'static str, &str)> {
    const PATH: &str = "/v1/customers/c0a80101-6d2b-4c1e-8f10-000000000001/orders";
    vec![
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", PATH),
        ("authorization", agent),
        ("content-type", "application/json"),
    ]
}

pub fn raw_read(agent: &str) -> Vec<(&'static str, &str)> {
    let mut fields = raw_order(agent);
    fields[0].1 = "GET";
    fields[3].1 = "/v1/customers";
    fields
}

/// Fields without an index and without Huffman coding (RFC 7541 section 6.2.2).
pub fn block<T: AsRef<[u8]>>(fields: &[(T, T)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let text = |bytes: &mut Vec<u8>, text: &[u8]| {
        match text.len() {
            length @ 0..127 => bytes.push(length as u8),
            mut length => {
                bytes.push(127);
                length -= 127;
                while length >= 128 {
                    bytes.push((length % 128 + 128) as u8);
                    length /= 128;
                }
                bytes.push(length as u8);
            }
        }
        bytes.extend_from_slice(text);
    };
    for (name, value) in fields {
        bytes.push(0);
        text(&mut bytes, name.as_ref());
        text(&mut bytes, value.as_ref());
    }
    bytes
}

impl Raw {
    pub fn connect(authority: &Authority, address: SocketAddr) -> Raw {
        let mut config = authority.client(None, &[&TLS13]);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let (mut connection, _) = connect(&Arc::new(config), address).unwrap();
        connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut raw = Raw { connection };
        raw.frame(SETTINGS, 0, 0, &[]);
        raw
    }

    pub fn try_frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> std::io::Result<()> {
        let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend_from_slice(payload);
        self.connection.try_send(&bytes)
    }

    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.try_frame(kind, flags, stream, payload).expect("the gateway reads");
    }

    pub fn try_headers(&mut self, stream: u32, fields: &[(&str, &str)], ends: bool) -> std::io::Result<()> {
        let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
        self.try_frame(HEADERS, flags, stream, &block(fields))
    }

    pub fn headers(&mut self, stream: u32, fields: &[(&str, &str)], ends: bool) {
        self.try_headers(stream, fields, ends).expect("the gateway reads");
    }

    /// Sends a whole request on the first stream, in as many frames as it takes, and reads what comes of it. The
    /// headers of an answer stay as they are packed; a problem response is told by its body.
    pub fn exchange(&mut self, fields: &[(Vec<u8>, Vec<u8>)], body: &[u8]) -> Answer {
        let mut answer = Answer { status: 0, headers: Vec::new(), body: Vec::new(), trailers: Vec::new() };
        // Whoever refuses a request early may well have ended it.
        let _ = self.write(fields, body);
        let Some((status, mut has_ended)) = self.status_of(1) else { return answer };
        answer.status = status;
        while !has_ended {
            match self.read() {
                Ok((DATA, flags, 1, payload)) => {
                    answer.body.extend(payload);
                    has_ended = flags & END_STREAM != 0;
                }
                Ok((RST_STREAM, _, 1, _)) | Err(_) => break,
                Ok(_) => {}
            }
        }
        if answer.body.starts_with(b"{\"type\":\"urn:countersign:") {
            answer.headers.push(("content-type".to_owned(), "application/problem+json".to_owned()));
        }
        answer
    }

    fn write(&mut self, fields: &[(Vec<u8>, Vec<u8>)], body: &[u8]) -> std::io::Result<()> {
        let block = block(fields);
        let parts: Vec<&[u8]> = block.chunks(FRAME_BYTES_MAX).collect();
        for (at, part) in parts.iter().enumerate() {
            let kind = if at == 0 { HEADERS } else { CONTINUATION };
            let ends_headers = if at + 1 == parts.len() { END_HEADERS } else { 0 };
            let ends_stream = if at == 0 && body.is_empty() { END_STREAM } else { 0 };
            self.try_frame(kind, ends_headers | ends_stream, 1, part)?;
        }
        match body.is_empty() {
            true => Ok(()),
            false => self.try_frame(DATA, END_STREAM, 1, body),
        }
    }

    /// The next frame: type, flags, stream and payload.
    pub fn read(&mut self) -> std::io::Result<(u8, u8, u32, Vec<u8>)> {
        let head = self.connection.exactly(9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Ok((head[3], head[4], stream, self.connection.exactly(length)?))
    }

    /// The status of a stream's answer, and whether that is all of it: from the static table or spelt out (RFC 7541 appendix A).
    pub fn status_of(&mut self, stream: u32) -> Option<(u16, bool)> {
        loop {
            match self.read().ok()? {
                (HEADERS, flags, of, block) if of == stream => {
                    let status = match block[0] {
                        0x88 => 200,
                        0x8c => 400,
                        0x8d => 404,
                        0x8e => 500,
                        // A literal value of an indexed name: three characters, plain or in two bytes of Huffman code.
                        _ if block[1] == 3 => std::str::from_utf8(&block[2..5]).unwrap().parse().unwrap(),
                        _ => status_in_huffman(&block[2..]),
                    };
                    return Some((status, flags & END_STREAM != 0));
                }
                (RST_STREAM | GOAWAY, _, of, _) if of == stream || of == 0 => return None,
                _ => {}
            }
        }
    }

    /// Reads until the headers of that stream, whatever GOAWAY says.
    pub fn status_past_goaway(&mut self, stream: u32) -> Option<()> {
        loop {
            match self.read().ok()? {
                (HEADERS, _, of, _) if of == stream => return Some(()),
                _ => {}
            }
        }
    }

    /// Whether the connection has been ended.
    pub fn is_over(&mut self) -> bool {
        loop {
            match self.read() {
                Ok((GOAWAY, ..)) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
            }
        }
    }
}

/// Three digits in the code of RFC 7541 appendix B: `0`, `1` and `2` take five bits, the others six.
fn status_in_huffman(bytes: &[u8]) -> u16 {
    let mut bits = bytes.iter().take(3).flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1));
    let mut status = 0;
    for _ in 0..3 {
        let mut code = 0u8;
        for _ in 0..5 {
            code = code << 1 | bits.next().unwrap();
        }
        let digit = match code {
            0..=2 => code,
            _ => (code << 1 | bits.next().unwrap()) - 0b011001 + 3,
        };
        status = status * 10 + u16::from(digit);
    }
    status
}
