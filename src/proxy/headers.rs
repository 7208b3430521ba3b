//! Headers: what makes a request ambiguous, what is taken away in either direction, and what is added.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Uri, Version};

use crate::extract::{Refusal, refuse};
use crate::policy::operation::Method;
use crate::policy::reason::Reason;
use crate::proxy::forwarded::Forwarded;
use crate::proxy::keep_back::{KeepBack, Kind, folded_eq, is_kept_back_of_answer};

/// The decision's id, in answers and towards the upstream.
pub const DECISION: HeaderName = HeaderName::from_static("countersign-decision");
/// What will be required soon.
pub const NOTICE: HeaderName = HeaderName::from_static("countersign-notice");
/// The verified partner, towards the upstream.
pub const PARTNER: HeaderName = HeaderName::from_static("countersign-partner");
/// The verified roles, towards the upstream.
pub const ROLES: HeaderName = HeaderName::from_static("countersign-roles");
/// Partner Center's id of a request; a caller repeats it when it tries again.
pub const MS_REQUEST_ID: HeaderName = HeaderName::from_static("ms-requestid");
/// Partner Center's id of a chain of requests.
pub const MS_CORRELATION_ID: HeaderName = HeaderName::from_static("ms-correlationid");
/// W3C Trace Context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What the head of a request says, once it has only one reading.
#[derive(Debug)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// Headers that are not forwarded.
    pub dropped: Vec<HeaderName>,
    /// Whether the caller reads trailers.
    pub takes_trailers: bool,
}

/// Reads the head of a request, or says why it has more than one reading (RFC 9112 sections 3.2 and 6, RFC 9110
/// section 7.6.1). hyper by itself accepts most of what is refused here.
pub fn inspect(parts: &Parts, keep_back: &KeepBack) -> Result<Head, Refusal> {
    let Some(method) = Method::parse(parts.method.as_str()) else {
        return refuse(Reason::MethodRefused, "the method is not forwarded");
    };
    if !parts.uri.path().starts_with('/') {
        return refuse(Reason::AmbiguousRequest, "the target is no path");
    }
    let mut head = Head { method, dropped: Vec::new(), takes_trailers: false };
    if parts.uri.query().is_some_and(overrides_method) {
        return refuse(Reason::MethodOverride, "the query asks for another method");
    }
    let mut hosts = 0;
    let mut encodings = 0;
    let mut lengths = 0;
    let mut has_body = false;
    for (name, value) in &parts.headers {
        match *name {
            header::HOST => {
                hosts += 1;
                same_authority(&parts.uri, value)?;
            }
            header::TRANSFER_ENCODING => {
                encodings += 1;
                has_body = true;
                if encodings > 1 || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                    return refuse(Reason::AmbiguousRequest, "the transfer encoding is not just `chunked`");
                }
                head.dropped.push(name.clone());
            }
            header::CONNECTION => {
                head.dropped.push(header::CONNECTION);
                for option in named_by_connection(value) {
                    if BINDING.contains(&option) {
                        return refuse(
                            Reason::AmbiguousRequest,
                            "Connection names a header that has to go through",
                        );
                    }
                    head.dropped.push(option);
                }
            }
            header::TE => {
                head.takes_trailers |= names_trailers(value);
                head.dropped.push(name.clone());
            }
            header::UPGRADE => {
                return refuse(Reason::MethodRefused, "another protocol is not spoken here");
            }
            header::CONTENT_LENGTH => {
                lengths += 1;
                has_body |= value != "0";
                head.dropped.push(name.clone());
            }
            _ => match keep_back.kind(name.as_str()) {
                Kind::Plain => {}
                Kind::KeptBack | Kind::Fixed => head.dropped.push(name.clone()),
                Kind::Override => return refuse(Reason::MethodOverride, "a header asks for another method"),
                Kind::Misleading => {
                    return refuse(
                        Reason::AmbiguousRequest,
                        "a header imitates the framing or names another path",
                    );
                }
            },
        }
    }
    if lengths > 1 || lengths + encodings > 1 {
        return refuse(Reason::AmbiguousRequest, "the body has more than one length");
    }
    if has_body && head.method.is_read() {
        // A server that does not expect one would take it for the next request (RFC 9110 section 9.3.1).
        return refuse(Reason::AmbiguousRequest, "a read has no body");
    }
    let names_host = parts.uri.authority().is_some();
    match (hosts, parts.version) {
        (1, _) => Ok(head),
        // Over HTTP/2 the host stands in the target (RFC 9113 section 8.3.1).
        (0, Version::HTTP_2)
            if parts.uri.authority().is_some_and(|host| is_host(host.as_str().as_bytes())) =>
        {
            Ok(head)
        }
        (0, Version::HTTP_10) if !names_host => Ok(head),
        _ => refuse(Reason::AmbiguousRequest, "there is not exactly one Host"),
    }
}

/// Whether this is a host with or without a port, and nothing else.
fn is_host(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(byte))
}

/// Whether a `TE` says that trailers are read (RFC 9110 section 10.1.4).
fn names_trailers(value: &HeaderValue) -> bool {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// An absolute target has to agree with `Host` (RFC 9112 section 3.2.2).
fn same_authority(uri: &Uri, host: &HeaderValue) -> Result<(), Refusal> {
    if !is_host(host.as_bytes()) {
        return refuse(Reason::AmbiguousRequest, "the Host is no host");
    }
    let scheme_ok = uri.scheme_str().is_none_or(|scheme| scheme == "http" || scheme == "https");
    let same = uri
        .authority()
        .is_none_or(|authority| authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes()));
    if scheme_ok && same {
        return Ok(());
    }
    refuse(Reason::AmbiguousRequest, "the target and the Host disagree")
}

/// What was judged or recorded of a request goes upstream with it: a caller must not have it taken away on the way.
const BINDING: [HeaderName; 11] = [
    header::HOST,
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::IF_MATCH,
    header::COOKIE,
    MS_REQUEST_ID,
    MS_CORRELATION_ID,
    TRACEPARENT,
];

/// The headers that are of this connection only (RFC 9110 section 7.6.1).
fn named_by_connection(value: &HeaderValue) -> impl Iterator<Item = HeaderName> {
    let options = value.as_bytes().split(|byte| *byte == b',');
    options.filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
}

/// Whether a query asks for another method, as some frameworks understand it.
fn overrides_method(query: &str) -> bool {
    query.split(['&', ';']).any(|pair| {
        let name = pair.split('=').next().unwrap_or("");
        // Most names are told by their length.
        if name.len() < "_method".len() {
            return false;
        }
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy().to_ascii_lowercase();
        // Some readers leave out blanks in front, and stop at a bracket or at the end of a C string.
        let name = name.trim_start_matches(['+', ' ', '\t']);
        let name = name.split(['[', '\0']).next().unwrap_or("");
        OVERRIDING_PARAMETERS.iter().any(|known| folded_eq(name, known))
    })
}

/// Names of query parameters that override the method somewhere; `_` and `.` count as `-`.
const OVERRIDING_PARAMETERS: [&str; 7] = [
    "-method",
    "$httpmethod",
    "http-method",
    "httpmethod",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];

/// Removes what the upstream's answer must not carry on: hop-by-hop headers, those that `Connection` names, identity.
pub fn strip_answer(headers: &mut HeaderMap) {
    let mut dropped = Vec::new();
    // An answer in chunks has no other length (RFC 9112 section 6.3).
    if headers.contains_key(header::TRANSFER_ENCODING) {
        dropped.push(header::CONTENT_LENGTH);
    }
    for (name, value) in headers.iter() {
        if *name == header::CONNECTION {
            dropped.push(header::CONNECTION);
            dropped.extend(named_by_connection(value));
        } else if is_kept_back_of_answer(name.as_str()) {
            dropped.push(name.clone());
        }
    }
    for name in dropped {
        headers.remove(name);
    }
}

/// Removes from an answer's trailers what its headers must not carry either, and what no trailer may say.
pub fn strip_trailers(trailers: &mut HeaderMap) {
    strip_answer(trailers);
    strip_head_only(trailers);
}

/// Removes from a request's trailers what its headers must not carry either, what only its headers say, and what no
/// trailer may.
pub fn strip_request_trailers(trailers: &mut HeaderMap, keep_back: &KeepBack) {
    let is_dropped = |name: &&HeaderName| keep_back.kind(name.as_str()) != Kind::Plain;
    let dropped: Vec<HeaderName> = trailers.keys().filter(is_dropped).cloned().collect();
    for name in dropped.into_iter().chain([MS_REQUEST_ID, MS_CORRELATION_ID, TRACEPARENT]) {
        trailers.remove(name);
    }
    strip_head_only(trailers);
}

/// Removes what belongs to framing and authentication (RFC 9110 section 6.5.1).
fn strip_head_only(trailers: &mut HeaderMap) {
    for name in [
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::SET_COOKIE,
        header::COOKIE,
        header::AUTHORIZATION,
        header::HOST,
        header::TRAILER,
    ] {
        trailers.remove(name);
    }
}

/// What is added to a request on its way to the upstream, beside the ids it may lack.
pub struct Added {
    /// Where the request came from.
    pub forwarded: Forwarded,
    /// The verified partner and roles; `None` for a request without a caller.
    pub identity: Option<(HeaderValue, HeaderValue)>,
    /// The decision's id, where it is recorded.
    pub decision: Option<HeaderValue>,
}

/// Puts cookies together that came in several fields, as HTTP/2 allows and HTTP/1.1 does not (RFC 9113 section 8.2.3).
pub fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(whole) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, whole);
    }
}

/// Prepares the headers of a request for the upstream.
pub fn prepare(headers: &mut HeaderMap, head: &Head, added: Added) {
    for name in &head.dropped {
        headers.remove(name);
    }
    added.forwarded.add(headers);
    if head.takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some((partner, roles)) = added.identity {
        headers.insert(PARTNER, partner);
        headers.insert(ROLES, roles);
    }
    if let Some(decision) = added.decision {
        headers.insert(DECISION, decision);
    }
}

/// The bearer token of a request (RFC 6750 section 2.1); `Ok(None)` where there is none.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return refuse(Reason::TokenInvalid, "there are two Authorization headers");
    }
    let Some((scheme, token)) = value.to_str().ok().and_then(|text| text.split_once(' ')) else {
        return refuse(Reason::TokenInvalid, "the Authorization header holds no bearer token");
    };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return refuse(Reason::TokenInvalid, "the Authorization header holds no bearer token");
    }
    Ok(Some(token.trim_start_matches(' ')))
}

/// A header as text.
pub fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
