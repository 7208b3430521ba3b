//! Protocols that are offered during a handshake (ALPN, RFC 7301).

/// HTTP/1.1, and before it HTTP/2 where that is spoken.
pub fn protocols(http2: bool) -> Vec<Vec<u8>> {
    match http2 {
        true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        false => vec![b"http/1.1".to_vec()],
    }
}
