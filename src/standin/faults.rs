//! Faults: what goes wrong with a request, by its `Standin-Fault` header or by what was set for its path.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode_str;

/// The request header that asks for faults, separated by commas; it may come more than once.
pub const HEADER: &str = "standin-fault";

/// Longest `delay`.
const DELAY_MAX: Duration = Duration::from_secs(60);

/// Largest `large` or `chunked` answer.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// All that goes wrong with one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// `delay=250ms`, `delay=2s`: wait before the head of the answer.
    pub delay: Option<Duration>,
    /// `hold`: wait for a release before the head of the answer.
    pub hold: bool,
    /// `wait=30`: say when to come back, in so many seconds.
    pub wait: Option<u32>,
    /// `hop`: put fields into the answer that may not pass a proxy.
    pub hop: bool,
    /// `mistyped`: say that the answer is plain text.
    pub mistyped: bool,
    /// `gzip`: say that the answer is compressed, and send bytes that begin as if it were.
    pub gzip: bool,
    /// `mark`: put a byte order mark before the answer.
    pub mark: bool,
    /// What is answered in place of the ordinary answer.
    pub instead: Option<Instead>,
}

/// What is answered in place of the ordinary answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instead {
    /// `status=503`: that status with an error body.
    Status(StatusCode),
    /// `hang`: nothing, ever.
    Hang,
    /// `reset`: nothing, and the connection is closed.
    Reset,
    /// `early`: 413 while the request body is unread, then the connection is closed.
    Early,
    /// `truncate`: less than `Content-Length` says, then the connection is closed.
    Truncate,
    /// `large=8MiB`: that many bytes with a `Content-Length`.
    Large(u64),
    /// `chunked=8MiB`: that many bytes in chunks, with trailer fields behind them.
    Chunked(u64),
    /// `nocontent`: 204.
    NoContent,
    /// `notmodified`: 304 with an `ETag`.
    NotModified,
    /// `echo`: method, target and headers as they arrived.
    Echo,
    /// `upgrade`: 101, and from then on every byte is sent back.
    Upgrade,
    /// `garbage`: 200 with JSON that is cut off, though its length is right.
    Garbage,
    /// `html`: 200 with a page, as something in between may send one.
    Html,
    /// `empty`: 200 without a body.
    Empty,
    /// `body=%7B%7D`: 200 with that text.
    Body(Bytes),
}

impl Faults {
    /// The faults that a request with these header fields asks for, and those set for its path.
    ///
    /// # Errors
    /// What is wrong with the header: a test that misspells a fault must not pass for lack of it.
    pub fn asked_for(headers: &HeaderMap, set: Option<&str>) -> Result<Faults, String> {
        let mut faults = Faults::default();
        for value in headers.get_all(HEADER) {
            faults.add_all(value.to_str().map_err(|_| "the faults are not ASCII text".to_owned())?)?;
        }
        faults.add_all(set.unwrap_or_default())?;
        Ok(faults)
    }

    /// Adds faults separated by commas.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn add_all(&mut self, text: &str) -> Result<(), String> {
        let mut words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.try_for_each(|word| self.add(word))
    }

    fn add(&mut self, word: &str) -> Result<(), String> {
        let unreadable = || format!("unknown or unreadable fault `{word}`");
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let instead = match (name, value) {
            ("delay", Some(value)) => {
                self.delay = Some(delay(value).ok_or_else(unreadable)?);
                return Ok(());
            }
            ("wait", Some(value)) => {
                self.wait = Some(value.parse().map_err(|_| unreadable())?);
                return Ok(());
            }
            ("hold", None) => {
                self.hold = true;
                return Ok(());
            }
            ("hop", None) => {
                self.hop = true;
                return Ok(());
            }
            ("mistyped", None) => {
                self.mistyped = true;
                return Ok(());
            }
            ("gzip", None) => {
                self.gzip = true;
                return Ok(());
            }
            ("mark", None) => {
                self.mark = true;
                return Ok(());
            }
            ("status", Some(value)) => Instead::Status(status(value).ok_or_else(unreadable)?),
            ("hang", None) => Instead::Hang,
            ("reset", None) => Instead::Reset,
            ("early", None) => Instead::Early,
            ("truncate", None) => Instead::Truncate,
            ("large", Some(value)) => Instead::Large(byte_count(value).ok_or_else(unreadable)?),
            ("chunked", Some(value)) => Instead::Chunked(byte_count(value).ok_or_else(unreadable)?),
            ("nocontent", None) => Instead::NoContent,
            ("notmodified", None) => Instead::NotModified,
            ("echo", None) => Instead::Echo,
            ("upgrade", None) => Instead::Upgrade,
            ("garbage", None) => Instead::Garbage,
            ("html", None) => Instead::Html,
            ("empty", None) => Instead::Empty,
            ("body", Some(value)) => Instead::Body(percent_decode_str(value).collect()),
            _ => return Err(unreadable()),
        };
        if self.instead.replace(instead).is_some() {
            return Err(format!("`{word}` is the second fault that replaces the answer"));
        }
        Ok(())
    }
}

fn delay(text: &str) -> Option<Duration> {
    // The longer unit first: `250ms` ends in `s` too.
    let delay = match text.strip_suffix("ms") {
        Some(number) => Duration::from_millis(number.parse().ok()?),
        None => Duration::from_secs(text.strip_suffix('s')?.parse().ok()?),
    };
    (delay <= DELAY_MAX).then_some(delay)
}

fn status(text: &str) -> Option<StatusCode> {
    let status: u16 = text.parse().ok()?;
    // A 1xx status is no final answer; 101 has a fault of its own.
    (200..600).contains(&status).then(|| StatusCode::from_u16(status).ok())?
}

fn byte_count(text: &str) -> Option<u64> {
    let units = [("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1), ("", 1)];
    let (number, unit) = units.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
    let bytes = number.parse::<u64>().ok()?.checked_mul(*unit)?;
    (bytes <= ANSWER_BYTES_MAX).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    use http::HeaderValue;

    fn asked_for(values: &[&str]) -> Result<Faults, String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, HeaderValue::from_str(value).unwrap());
        }
        Faults::asked_for(&headers, None)
    }

    #[test]
    fn every_fault_is_understood() {
        let rows = [
            ("status=503", Instead::Status(StatusCode::SERVICE_UNAVAILABLE)),
            ("hang", Instead::Hang),
            ("reset", Instead::Reset),
            ("early", Instead::Early),
            ("truncate", Instead::Truncate),
            ("large=8MiB", Instead::Large(8 << 20)),
            ("large=3KiB", Instead::Large(3 << 10)),
            ("chunked=7B", Instead::Chunked(7)),
            ("chunked=0", Instead::Chunked(0)),
            ("nocontent", Instead::NoContent),
            ("notmodified", Instead::NotModified),
            ("garbage", Instead::Garbage),
            ("html", Instead::Html),
            ("empty", Instead::Empty),
            ("body=%5B1%2C2%5D", Instead::Body(Bytes::from_static(b"[1,2]"))),
            ("echo", Instead::Echo),
            ("upgrade", Instead::Upgrade),
        ];
        for (text, instead) in rows {
            let faults = asked_for(&[text]).unwrap();
            assert_eq!(faults.instead, Some(instead), "{text}");
        }
    }

    #[test]
    fn faults_can_be_combined() {
        let faults = asked_for(&["delay=250ms, hop,", "hold,gzip", "status=404, wait=30"]).unwrap();
        let expected = Faults {
            delay: Some(Duration::from_millis(250)),
            hold: true,
            wait: Some(30),
            hop: true,
            mistyped: false,
            gzip: true,
            mark: false,
            instead: Some(Instead::Status(StatusCode::NOT_FOUND)),
        };
        assert_eq!(faults, expected);
        assert_eq!(asked_for(&["delay=2s"]).unwrap().delay, Some(Duration::from_secs(2)));
        assert_eq!(asked_for(&[]), Ok(Faults::default()));
        let set = Faults::asked_for(&HeaderMap::new(), Some("mistyped, html")).unwrap();
        assert_eq!((set.mistyped, set.instead), (true, Some(Instead::Html)));
    }

    #[test]
    fn a_misspelled_fault_is_an_error() {
        for text in [
            "statsu=503",
            "status",
            "status=99",
            "status=101",
            "status=600",
            "delay=61s",
            "delay=5",
            "hold=1",
            "wait",
            "wait=1s",
            "gzip=1",
            "body",
            "large",
            "large=2GiB",
            "large=1025MiB",
            "large=-1",
            "echo, hang",
            "é",
        ] {
            assert!(asked_for(&[text]).is_err(), "{text}");
        }
    }
}
