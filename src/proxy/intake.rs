//! Intake: the body of a judged request, whole and bounded, as the very bytes that will be forwarded.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use http_body::Body;
use hyper::body::Incoming;

use crate::clock::Now;
use crate::deadline::Elapsed;
use crate::extract::{Refusal, refuse};
use crate::policy::reason::Reason;
use crate::proxy::snapshot::{Limits, Shared};
use crate::proxy::worker::Worker;

/// A body that is held, counted against the whole process until it is dropped.
pub struct Held<'s> {
    /// The bytes.
    pub bytes: Bytes,
    _counted: Counted<'s>,
}

struct Counted<'s> {
    buffered: &'s AtomicUsize,
    bytes: usize,
}

impl Counted<'_> {
    fn add(&mut self, bytes: usize, max: usize) -> Result<(), Refusal> {
        self.bytes += bytes;
        let before = self.buffered.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > max {
            return refuse(Reason::Overloaded, "too many bytes are held for judging");
        }
        Ok(())
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.buffered.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Reads a body to its end.
pub async fn read_body<'s>(
    body: Incoming,
    limits: &Limits,
    worker: &'s Worker,
    now: Now,
) -> Result<Held<'s>, Refusal> {
    if body.size_hint().lower() > limits.body_bytes_max as u64 {
        return refuse(Reason::BodyTooLarge, "the body is longer than `limits.body_bytes`");
    }
    let collecting = pin!(collect(body, limits, &worker.shared));
    match worker.deadlines.within(now.mono + limits.body_timeout, collecting).await {
        Ok(held) => held,
        Err(Elapsed) => refuse(Reason::BodyTimeout, "the body did not arrive in time"),
    }
}

/// The largest body that [`read_small`] reads, in bytes: an attestation has about 500.
const SMALL_BYTES_MAX: u64 = 16 * 1024;

/// True where a body is so small, and says so, that it is read whole where it need not be. It is then held whatever else is:
/// `limits.requests` of them at most.
pub fn is_small(body: &Incoming) -> bool {
    body.size_hint().exact().is_some_and(|bytes| bytes <= SMALL_BYTES_MAX)
}

/// Reads a small body to its end. Nothing but its own sender's doing refuses it.
pub async fn read_small(
    body: Incoming,
    limits: &Limits,
    worker: &Worker,
    now: Now,
) -> Result<Bytes, Refusal> {
    let collecting = pin!(join(body, SMALL_BYTES_MAX as usize, |_| Ok(())));
    match worker.deadlines.within(now.mono + limits.body_timeout, collecting).await {
        Ok(bytes) => bytes,
        Err(Elapsed) => refuse(Reason::BodyTimeout, "the body did not arrive in time"),
    }
}

async fn collect<'s>(body: Incoming, limits: &Limits, shared: &'s Shared) -> Result<Held<'s>, Refusal> {
    let mut counted = Counted { buffered: &shared.buffered, bytes: 0 };
    let add = |bytes| counted.add(bytes, limits.buffered_bytes_max);
    let bytes = join(body, limits.body_bytes_max, add).await?;
    Ok(Held { bytes, _counted: counted })
}

/// All of a body, each frame of which `count` may refuse to hold. One that came in one piece is not copied.
async fn join(
    mut body: Incoming,
    bytes_max: usize,
    mut count: impl FnMut(usize) -> Result<(), Refusal>,
) -> Result<Bytes, Refusal> {
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(frame) = frame else {
            return refuse(Reason::BodyIncomplete, "the body ended early");
        };
        // Trailers say nothing that is judged, and are not forwarded.
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + joined.len() + data.len() > bytes_max {
            return refuse(Reason::BodyTooLarge, "the body is longer than `limits.body_bytes`");
        }
        count(data.len())?;
        if first.is_empty() && joined.is_empty() {
            first = data;
        } else {
            if joined.is_empty() {
                joined.extend_from_slice(&std::mem::take(&mut first));
            }
            joined.extend_from_slice(&data);
        }
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}

/// JSON, as far as its reading depends on its media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Json {
    /// A resource, or part of one.
    Plain,
    /// A merge patch, in which a null removes a member (RFC 7396).
    MergePatch,
}

/// A body is judged only as uncompressed JSON in UTF-8 (RFC 8259 section 8.1). `text/json` is an older name of it.
pub fn check_media_type(headers: &HeaderMap) -> Result<Json, Refusal> {
    for encoding in headers.get_all(CONTENT_ENCODING) {
        if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") {
            return refuse(Reason::UnsupportedMediaType, "the body is compressed");
        }
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (types.next(), types.next()) else {
        return refuse(Reason::UnsupportedMediaType, "there is not exactly one Content-Type");
    };
    let text = value.to_str().unwrap_or("");
    if text == "application/json" {
        return Ok(Json::Plain);
    }
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or("").to_ascii_lowercase();
    // A name of its own (RFC 6838 section 4.2): some readers cut the value at a comma or blank, and read a form.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&^-_.+".contains(&byte);
    let named = essence.strip_prefix("application/").and_then(|name| name.strip_suffix("+json"));
    let json = matches!(essence.as_str(), "application/json" | "text/json")
        || named.is_some_and(|name| name.bytes().all(plain));
    // A parameter that some readers would take for a charset in spite of its spelling makes the text ambiguous.
    let charset_ok = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            unquoted.unwrap_or(value).eq_ignore_ascii_case("utf-8")
        }
        Some((name, _)) => {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            !name.is_empty() && name.bytes().all(plain)
        }
        None => parameter.is_empty(),
    });
    match (json && charset_ok, essence.as_str()) {
        (true, "application/merge-patch+json") => Ok(Json::MergePatch),
        (true, _) => Ok(Json::Plain),
        (false, _) => refuse(Reason::UnsupportedMediaType, "the body is not application/json in UTF-8"),
    }
}
