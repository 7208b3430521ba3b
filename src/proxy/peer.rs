//! The caller's side of an exchange: its address, and the ids that its answer repeats.

use std::net::IpAddr;

use http::header::{HeaderMap, HeaderValue};

use crate::proxy::headers::{MS_CORRELATION_ID, MS_REQUEST_ID};

/// The other end of a connection.
#[derive(Debug)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Its address, as a header.
    pub header: HeaderValue,
}

impl Peer {
    /// A peer by its address, which is written out once for all its requests.
    pub fn new(address: IpAddr) -> Peer {
        // An IPv4 caller on a dual-stack socket is an IPv4 caller.
        let address = address.to_canonical();
        let header = HeaderValue::from_str(&address.to_string()).expect("an address is plain text");
        Peer { address, header }
    }
}

/// The ids of a request, for its answer.
pub struct Echoed([Option<HeaderValue>; 2]);

impl Echoed {
    /// The ids of a request.
    pub fn of(received: &HeaderMap) -> Echoed {
        Echoed([received.get(MS_REQUEST_ID).cloned(), received.get(MS_CORRELATION_ID).cloned()])
    }

    /// Adds them where the upstream has not answered with its own.
    pub fn add(self, headers: &mut HeaderMap) {
        for (name, value) in [MS_REQUEST_ID, MS_CORRELATION_ID].into_iter().zip(self.0) {
            if let Some(value) = value {
                headers.entry(name).or_insert(value);
            }
        }
    }
}
