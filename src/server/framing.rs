//! Framing: where the requests of an HTTP/1 connection begin and end, judged before the parser sees a byte.
//!
//! The parser behind this takes more than one spelling of a request's bounds (bare line feeds, two lengths, a fragment
//! in the target); another server may read each of them differently, and so see another request than was judged. Here a
//! head is held back until it is whole and has one reading only (RFC 9112 sections 2.2, 3, 5 and 6).

use memchr::{memchr, memchr2};

use crate::server::chunks::Chunks;
use crate::server::fault::Fault;

/// The bounds of a request head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// The most bytes, up to and with the empty line that ends it.
    pub bytes_max: usize,
    /// The most header fields.
    pub fields_max: usize,
}

/// A length of more digits is taken for another number by some readers; a petabyte is no request.
const LENGTH_DIGITS_MAX: usize = 15;

/// The requests of one connection, as far as they have arrived.
#[derive(Debug, Default)]
pub struct Framing {
    stage: Stage,
    held: Vec<u8>,
    scan: HeadScan,
    heads: u64,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Head,
    Body(u64),
    Chunks(Chunks),
    Refused,
}

/// What may be passed on of what has arrived.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// What was held back before and comes first.
    pub held: Vec<u8>,
    /// How many of the bytes that have just arrived follow it. The others are held back or dropped.
    pub taken: usize,
    /// Why nothing more will be passed on.
    pub fault: Option<Fault>,
}

impl Framing {
    /// How many heads were passed on.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether a head has begun that is not whole yet. An empty line before it is none.
    pub fn holds_head(&self) -> bool {
        !matches!(self.held.as_slice(), b"" | b"\r" | b"\r\n")
    }

    /// Whether a fault stands in a head, so that a refusal can be answered in its place.
    pub fn is_in_head(&self) -> bool {
        matches!(self.stage, Stage::Head)
    }

    /// Passes on nothing more; the refusal counts as a head.
    pub fn refuse(&mut self) {
        self.stage = Stage::Refused;
        self.held = Vec::new();
        self.heads += 1;
    }

    /// Judges what has arrived.
    pub fn take(&mut self, received: &[u8], limits: &HeadLimits) -> Passed {
        let mut passed = Passed::default();
        if !self.held.is_empty() {
            // The rest of a head: it is looked for in the bytes that it may still have, no further.
            let room = (limits.bytes_max + 1).saturating_sub(self.held.len());
            let before = self.held.len();
            self.held.extend_from_slice(&received[..received.len().min(room)]);
            match self.scan.run(&self.held, limits) {
                Err(fault) => return Passed { fault: Some(fault), ..passed },
                Ok(None) => return passed,
                Ok(Some(end)) => {
                    self.held.truncate(end);
                    passed.held = std::mem::take(&mut self.held);
                    passed.held.truncate(before);
                    passed.taken = end - before;
                    self.begin_body();
                }
            }
        }
        while passed.taken < received.len() {
            let rest = &received[passed.taken..];
            match &mut self.stage {
                Stage::Refused => break,
                Stage::Body(left) => {
                    let now = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= now as u64;
                    passed.taken += now;
                    if *left == 0 {
                        self.stage = Stage::Head;
                    }
                }
                Stage::Chunks(chunks) => match chunks.take(rest, limits.bytes_max) {
                    Err((now, fault)) => {
                        passed.taken += now;
                        return Passed { fault: Some(fault), ..passed };
                    }
                    Ok((now, ended)) => {
                        passed.taken += now;
                        if ended {
                            self.stage = Stage::Head;
                        }
                    }
                },
                Stage::Head => match self.scan.run(rest, limits) {
                    Err(fault) => return Passed { fault: Some(fault), ..passed },
                    Ok(Some(end)) => {
                        passed.taken += end;
                        self.begin_body();
                    }
                    Ok(None) => {
                        self.held.extend_from_slice(rest);
                        break;
                    }
                },
            }
        }
        passed
    }

    fn begin_body(&mut self) {
        self.heads += 1;
        let scan = std::mem::take(&mut self.scan);
        self.stage = match (scan.length, scan.is_chunked) {
            (_, true) => Stage::Chunks(Chunks::default()),
            (None | Some(0), false) => Stage::Head,
            (Some(length), false) => Stage::Body(length),
        };
    }
}

/// One head, read line by line as it arrives.
#[derive(Debug, Default)]
struct HeadScan {
    /// Where the line begins that is not whole yet.
    line: usize,
    /// How far its end was looked for.
    looked: usize,
    /// Whole lines so far, without an empty one in front.
    lines: usize,
    skipped_empty: bool,
    is_http_10: bool,
    length: Option<u64>,
    is_chunked: bool,
}

impl HeadScan {
    /// The head's length, once it is whole. Called with more of the same head each time.
    fn run(&mut self, head: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Fault> {
        // No further than a head may reach: what it is refused for must not depend on how much has arrived.
        let head = &head[..head.len().min(limits.bytes_max + 1)];
        while let Some(hit) = memchr2(b'\r', b'\n', &head[self.looked..]) {
            let end = self.looked + hit;
            match (head[end], head.get(end + 1)) {
                (b'\r', None) => {
                    self.looked = end;
                    return self.unless_too_long(head, limits);
                }
                (b'\r', Some(b'\n')) => {}
                _ => return Err(Fault::LineEnd),
            }
            let line = &head[self.line..end];
            self.looked = end + 2;
            self.line = self.looked;
            if self.looked > limits.bytes_max {
                return Err(Fault::HeadTooLarge);
            }
            match (line, self.lines) {
                ([], 0) if self.skipped_empty => return Err(Fault::RequestLine),
                // Some clients end a body with a CRLF too many (RFC 9112 section 2.2).
                ([], 0) => self.skipped_empty = true,
                ([], _) => return Ok(Some(self.looked)),
                (line, 0) => {
                    self.request_line(line)?;
                    self.lines = 1;
                }
                (line, _) => {
                    self.field(line)?;
                    self.lines += 1;
                    if self.lines - 1 > limits.fields_max {
                        return Err(Fault::TooManyFields);
                    }
                }
            }
        }
        self.looked = head.len();
        self.unless_too_long(head, limits)
    }

    fn unless_too_long(&self, head: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Fault> {
        if head.len() > limits.bytes_max { Err(Fault::HeadTooLarge) } else { Ok(None) }
    }

    fn request_line(&mut self, line: &[u8]) -> Result<(), Fault> {
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Fault::RequestLine);
        };
        self.is_http_10 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ => return Err(Fault::RequestLine),
        };
        if method.is_empty() || target.is_empty() {
            return Err(Fault::RequestLine);
        }
        match memchr(b'#', target) {
            Some(_) => Err(Fault::Fragment),
            None => Ok(()),
        }
    }

    /// Reads a field only where it bounds the body; all others are the parser's.
    fn field(&mut self, line: &[u8]) -> Result<(), Fault> {
        match line[0] {
            b'c' | b'C' => match field_value(line, b"content-length") {
                Some(value) => self.content_length(value),
                None => Ok(()),
            },
            b't' | b'T' => match field_value(line, b"transfer-encoding") {
                Some(value) => self.transfer_encoding(value),
                None => Ok(()),
            },
            b' ' | b'\t' => Err(Fault::Fold),
            _ => Ok(()),
        }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Fault> {
        if self.length.is_some() || self.is_chunked {
            return Err(Fault::Lengths);
        }
        let is_number =
            (1..=LENGTH_DIGITS_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
        if !is_number {
            return Err(Fault::Length);
        }
        self.length = Some(value.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')));
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Fault> {
        if self.length.is_some() || self.is_chunked {
            return Err(Fault::Lengths);
        }
        if self.is_http_10 || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Fault::TransferEncoding);
        }
        self.is_chunked = true;
        Ok(())
    }
}

/// The value of a field of that name, without the white space around it (RFC 9112 section 5).
fn field_value<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    let value = value.strip_prefix(b":").filter(|_| start.eq_ignore_ascii_case(name))?;
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let from = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
    let to = value.iter().rposition(|byte| !is_space(byte)).map_or(from, |last| last + 1);
    Some(&value[from..to])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes_max: 512, fields_max: 8 };

    /// What is passed on of these bytes when they arrive in pieces of that size.
    fn passed_in_pieces(bytes: &[u8], piece: usize) -> (Vec<u8>, u64, Option<Fault>) {
        let mut framing = Framing::default();
        let mut out = Vec::new();
        for received in bytes.chunks(piece) {
            let passed = framing.take(received, &LIMITS);
            out.extend_from_slice(&passed.held);
            out.extend_from_slice(&received[..passed.taken]);
            if passed.fault.is_some() {
                return (out, framing.heads(), passed.fault);
            }
        }
        (out, framing.heads(), None)
    }

    /// However the bytes arrive, the same of them is passed on.
    fn passed(text: &str) -> (String, u64, Option<Fault>) {
        let whole = passed_in_pieces(text.as_bytes(), text.len().max(1));
        for piece in [1, 2, 3, 7, 16, 61] {
            assert_eq!(passed_in_pieces(text.as_bytes(), piece), whole, "{text:?} in pieces of {piece}");
        }
        (String::from_utf8(whole.0).unwrap(), whole.1, whole.2)
    }

    #[test]
    fn whole_requests_are_passed_on_as_they_came() {
        for text in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
            "POST /x HTTP/1.1\r\ncontent-length:\t 5 \t\r\n\r\nhel\nl",
            "POST /x HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
            "POST /x HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            "\r\nGET / HTTP/1.0\r\n\r\n",
        ] {
            assert_eq!(passed(text), (text.to_owned(), 1, None));
            let twice = text.repeat(2);
            assert_eq!(passed(&twice), (twice.clone(), 2, None));
        }
    }

    #[test]
    fn an_unfinished_head_is_held_back() {
        let first = "POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";
        let (out, heads, fault) = passed(&format!("{first}GET / HTTP/1.1\r\nHost: a\r\n"));
        assert_eq!((out.as_str(), heads, fault), (first, 1, None));
    }

    #[test]
    fn a_second_reading_is_a_fault() {
        let good = "GET /good HTTP/1.1\r\n\r\n";
        let head = |line: &str| format!("POST /x HTTP/1.1\r\n{line}\r\n\r\n");
        for (text, fault) in [
            ("GET / HTTP/1.1\nHost: a\n\n".to_owned(), Fault::LineEnd),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n".to_owned(), Fault::LineEnd),
            ("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n".to_owned(), Fault::LineEnd),
            ("\r\n\r\nGET / HTTP/1.1\r\n\r\n".to_owned(), Fault::RequestLine),
            ("GET  / HTTP/1.1\r\n\r\n".to_owned(), Fault::RequestLine),
            ("GET / HTTP/1.1 \r\n\r\n".to_owned(), Fault::RequestLine),
            ("GET /\r\n\r\n".to_owned(), Fault::RequestLine),
            ("GET / HTTP/1.2\r\n\r\n".to_owned(), Fault::RequestLine),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), Fault::RequestLine),
            ("GET /a#b HTTP/1.1\r\n\r\n".to_owned(), Fault::Fragment),
            (head("A: b\r\n c"), Fault::Fold),
            (head("Content-Length: 1\r\nContent-Length: 1"), Fault::Lengths),
            (head("Transfer-Encoding: chunked\r\nContent-Length: 1"), Fault::Lengths),
            (head("Content-Length: 1\r\nTransfer-Encoding: chunked"), Fault::Lengths),
            (head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), Fault::Lengths),
            (head("Transfer-Encoding: gzip, chunked"), Fault::TransferEncoding),
            (head("Transfer-Encoding: identity"), Fault::TransferEncoding),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), Fault::TransferEncoding),
            (head("Content-Length: +1"), Fault::Length),
            (head("Content-Length: 1, 1"), Fault::Length),
            (head("Content-Length: 0x1"), Fault::Length),
            (head("Content-Length:"), Fault::Length),
            (head("Content-Length: 9223372036854775807"), Fault::Length),
            (head(&format!("A: {}", "b".repeat(600))), Fault::HeadTooLarge),
            (head(&["A: b"; 9].join("\r\n")), Fault::TooManyFields),
        ] {
            assert_eq!(passed(&text), (String::new(), 0, Some(fault)), "{text:?}");
            // What stands before the fault is passed on, nothing of what follows.
            assert_eq!(passed(&format!("{good}{text}{good}")), (good.to_owned(), 1, Some(fault)), "{text:?}");
        }
    }
}
