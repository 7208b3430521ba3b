//! Settings: how connections are accepted and how long they may take.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

/// How connections are accepted and how long they may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The address to listen on.
    pub address: SocketAddr,
    /// How many workers.
    pub workers: usize,
    /// The most connections at a time.
    pub connections_max: usize,
    /// The most of them from one address (IPv6: one /64 network).
    pub connections_per_address_max: usize,
    /// Networks whose connections are not counted by address: proxies, behind which many callers stand.
    pub uncounted: Vec<IpNet>,
    /// The largest header block, in bytes.
    pub header_bytes_max: usize,
    /// The most header fields.
    pub header_fields_max: usize,
    /// The most requests at a time on one HTTP/2 connection.
    pub streams_max: u32,
    /// From the first byte of a request to the end of its headers; also for a TLS handshake.
    pub header_timeout: Duration,
    /// A connection on which nothing moves for so long is closed, whatever it waits for.
    pub idle_timeout: Duration,
    /// A connection older than this ends after the request it is in.
    pub connection_age: Duration,
}
