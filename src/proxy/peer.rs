//! The other end of a connection.

use std::net::IpAddr;

use http::header::HeaderValue;

/// The other end of a connection.
#[derive(Debug)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Its address, as a header.
    pub header: HeaderValue,
    /// `https` or `http`.
    pub scheme: HeaderValue,
}

impl Peer {
    /// A peer by its address, which is written out once for all its requests.
    pub fn new(address: IpAddr, is_tls: bool) -> Peer {
        // An IPv4 caller on a dual-stack socket is an IPv4 caller.
        let address = address.to_canonical();
        let header = HeaderValue::from_str(&address.to_string()).expect("an address is plain text");
        Peer { address, header, scheme: HeaderValue::from_static(if is_tls { "https" } else { "http" }) }
    }
}
