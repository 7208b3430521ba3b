//! Trace ids: those that a request came with where they can be recorded and forwarded, else made ones.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::proxy::headers::{MS_CORRELATION_ID, MS_REQUEST_ID, TRACEPARENT};
use crate::proxy::passage::Passage;

/// The vendors' additions to a `traceparent` (W3C Trace Context section 3.3).
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The longest id of a caller's own that is kept, in bytes: a GUID with some room.
const ID_BYTES_MAX: usize = 64;

impl Passage {
    /// Every request has the ids that Partner Center and tracing use, one of each, which are recorded as they are
    /// forwarded; those that it lacks, or that are malformed, are made here. Of several the first is kept: the answer
    /// says of which id there were several, since a purchase is recorded under one only.
    pub fn give_ids(&self, headers: &mut HeaderMap) -> Option<&'static str> {
        let mut repeated = None;
        for (name, detail) in [
            (MS_REQUEST_ID, "there is more than one `MS-RequestId`"),
            (MS_CORRELATION_ID, "there is more than one `MS-CorrelationId`"),
        ] {
            let (kept, is_repeated) = match given(headers, &name, is_id) {
                Given::Good => continue,
                Given::Bad { is_repeated } => (None, is_repeated),
                Given::Repeated(first) => (Some(first), true),
            };
            let made = || {
                let guid = self.worker.ids.guid();
                HeaderValue::from_str(guid.as_str()).expect("a GUID is plain text")
            };
            headers.insert(name, kept.unwrap_or_else(made));
            if is_repeated {
                repeated = repeated.or(Some(detail));
            }
        }
        if !matches!(given(headers, &TRACEPARENT, is_traceparent), Given::Good) {
            headers.insert(TRACEPARENT, self.worker.ids.traceparent());
            // It belongs to a trace that this is not.
            headers.remove(TRACESTATE);
        }
        repeated
    }
}

/// The state of an id in the headers.
enum Given {
    /// Once, and well.
    Good,
    /// Several times, the first one well.
    Repeated(HeaderValue),
    /// Not at all, or malformed.
    Bad { is_repeated: bool },
}

fn given(headers: &HeaderMap, name: &HeaderName, is_good: fn(&[u8]) -> bool) -> Given {
    let mut values = headers.get_all(name).iter();
    let first = values.next().filter(|first| is_good(first.as_bytes()));
    match (first, values.next().is_some()) {
        (Some(_), false) => Given::Good,
        (Some(first), true) => Given::Repeated(first.clone()),
        (None, is_repeated) => Given::Bad { is_repeated },
    }
}

/// True where an id is short and printable ASCII.
fn is_id(text: &[u8]) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

/// True where this is a `traceparent` of version 00 (W3C Trace Context section 3.2).
fn is_traceparent(text: &[u8]) -> bool {
    let is_hex = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_id = |part: &[u8]| is_hex(part) && part.iter().any(|byte| *byte != b'0');
    text.len() == 55
        && text.starts_with(b"00-")
        && (text[35], text[52]) == (b'-', b'-')
        && is_id(&text[3..35])
        && is_id(&text[36..52])
        && is_hex(&text[53..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_has_one_form() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(is_traceparent(good.as_bytes()));
        for text in [
            "",
            "00",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-001",
            "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
        ] {
            assert!(!is_traceparent(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn an_id_is_short_and_printable() {
        for (text, good) in [
            (&b"4fa6dad6-a89f-4875-8247-8294a10ae1cf"[..], true),
            (b"a b~", true),
            (&[b'a'; 64], true),
            (&[b'a'; 65], false),
            (b"", false),
            (b"a\tb", false),
            (b"\xc3\xa9", false),
            (b"\x7f", false),
        ] {
            assert_eq!(is_id(text), good, "{text:?}");
        }
    }
}
