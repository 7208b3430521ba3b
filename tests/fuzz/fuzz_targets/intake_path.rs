//! Paths: what is read has one reading, whatever its letter case, and is forwarded as it was read.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use countersign::client;
use countersign::policy::operation::{Class, Method, OperationId};
use countersign::policy::path::{AmbiguousPath, Path};
use countersign::policy::reason::Reason;
use countersign::policy::{Policy, Route};
use countersign_fuzz::{LETTER_CASES, METHODS, policy, recased};
use http::Uri;
use http::uri::Authority;
use libfuzzer_sys::fuzz_target;

static POLICIES: LazyLock<[Policy; 3]> = LazyLock::new(|| {
    [
        policy(&[]),
        policy(&[("policy.preset", "csp-2020"), ("policy.options", "allow")]),
        policy(&[("policy.unlisted", "allow")]),
    ]
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(raw) = std::str::from_utf8(bytes) else { return };
    one_reading_in_every_spelling(raw);
    as_a_tolerant_server_reads_it(raw);
    forwarded_as_it_was_read(raw);
});

/// What a path is taken for: by each policy, for each method.
#[derive(Debug, PartialEq)]
enum Taken {
    Judge(OperationId, Class),
    Stream(OperationId, Class),
    Bare,
    Deny(OperationId, Reason),
}

fn taken(path: &Path<'_>) -> Vec<Taken> {
    let one = |policy: &Policy, method: Method| match policy.route(method, path) {
        Route::Judge(endpoint) => Taken::Judge(endpoint.operation, endpoint.class),
        Route::Stream(operation, class) => Taken::Stream(operation, class),
        Route::Bare => Taken::Bare,
        Route::Deny(operation, reason) => Taken::Deny(operation, reason),
    };
    POLICIES.iter().flat_map(|policy| METHODS.map(|method| one(policy, method))).collect()
}

fn segments(path: &Path<'_>) -> Vec<String> {
    (0..path.len()).map(|at| path.segment(at).to_owned()).collect()
}

fn read(raw: &str) -> Result<(usize, Vec<Taken>), AmbiguousPath> {
    Path::parse(raw).map(|path| (path.len(), taken(&path)))
}

fn one_reading_in_every_spelling(raw: &str) {
    let first = read(raw);
    for case in LETTER_CASES {
        assert_eq!(read(&recased(raw, case)), first, "letter case");
    }
    let Ok(first) = first else { return };
    // A letter and its escape are the same letter (RFC 3986 section 6.2.2.2).
    let escape = |letter: char| match letter.is_ascii_alphanumeric() {
        true => format!("%{:02x}", u32::from(letter)),
        false => letter.to_string(),
    };
    if !raw.contains('%') && raw.len() * 3 <= 8 * 1024 {
        let escaped: String = raw.chars().map(escape).collect();
        assert_eq!(read(&escaped).as_ref(), Ok(&first), "escapes");
    }
    if first.0 > 0 && raw.len() < 8 * 1024 {
        let other = raw.strip_suffix('/').map_or_else(|| format!("{raw}/"), str::to_owned);
        assert_eq!(read(&other), Ok(first), "trailing slash");
    }
}

/// A server that forgives everything must not find other segments in what was accepted, with empty segments or without.
fn as_a_tolerant_server_reads_it(raw: &str) {
    let Ok(path) = Path::of_request(Method::Get, raw) else { return };
    let mut text = raw.to_owned();
    for _ in 0..3 {
        text = unescaped(&text);
    }
    let end = text.find(['?', '#', '\0']).unwrap_or(text.len());
    let mut found: Vec<String> = Vec::new();
    for segment in text[..end].replace('\\', "/").split('/') {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => {
                found.pop();
            }
            plain => found.push(plain.to_lowercase()),
        }
    }
    let own: Vec<String> = segments(&path).iter().map(|segment| segment.to_lowercase()).collect();
    assert_eq!(own, found, "{raw}");
}

fn unescaped(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (bytes[at], byte) {
            (b'%', Some(byte)) => {
                plain.push(byte);
                at += 3;
            }
            (other, _) => {
                plain.push(other);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// The target that is sent is the one that was read, below the upstream's prefix.
fn forwarded_as_it_was_read(raw: &str) {
    let Ok(received) = raw.parse::<Uri>() else { return };
    if Path::parse(received.path()).is_err() {
        return;
    }
    for prefix in ["", "/api/csp"] {
        let upstream = client::Settings {
            host: http::HeaderValue::from_static("upstream.example"),
            tls: None,
            authority: Authority::from_static("upstream.example"),
            prefix: prefix.to_owned(),
            connect_timeout: Duration::ZERO,
            response_timeout: Duration::ZERO,
            idle_timeout: Duration::ZERO,
        };
        let Ok(sent) = upstream.target(&received) else { continue };
        assert_eq!(sent.path(), format!("{prefix}{}", received.path()));
        assert_eq!(sent.query(), received.query());
        assert_eq!((sent.scheme(), sent.authority()), (None, None));
    }
}
