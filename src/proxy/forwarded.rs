//! Where a request came from: what the upstream and the record are told of it (`X-Forwarded-*`).

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use ipnet::IpNet;

use crate::proxy::peer::Peer;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The most of a forwarded chain that is believed and passed on, in bytes.
const CHAIN_BYTES_MAX: usize = 1024;

/// What the upstream is told of where a request came from.
pub struct Forwarded {
    address: HeaderValue,
    host: Option<HeaderValue>,
    scheme: HeaderValue,
}

impl Forwarded {
    /// What is known of a request: its connection, and what a trusted proxy in front says.
    pub fn of(parts: &Parts, peer: &Peer, trusted: &[IpNet]) -> Forwarded {
        let own_host = parts.headers.get(header::HOST).cloned().or_else(|| {
            // Over HTTP/2 the host stands in the target.
            parts.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok())
        });
        if !is_trusted(peer.address, trusted) {
            return Forwarded { address: peer.header.clone(), host: own_host, scheme: peer.scheme.clone() };
        }
        let headers = &parts.headers;
        let address = match chain(headers) {
            Some(chain) => HeaderValue::from_str(&format!("{chain}, {}", peer.address))
                .unwrap_or_else(|_| peer.header.clone()),
            None => peer.header.clone(),
        };
        let only = |name: &HeaderName| {
            let mut values = headers.get_all(name).iter();
            values.next().filter(|_| values.next().is_none()).cloned()
        };
        Forwarded {
            address,
            host: only(&HOST).or(own_host),
            scheme: only(&PROTO).unwrap_or_else(|| peer.scheme.clone()),
        }
    }

    /// Says it to the upstream, in the place of whatever was said before.
    pub fn add(self, headers: &mut HeaderMap) {
        headers.insert(FOR, self.address);
        headers.insert(PROTO, self.scheme);
        if let Some(host) = self.host {
            headers.insert(HOST, host);
        }
    }
}

/// The address that a request came from: the last one that no trusted proxy stands for.
pub fn origin(headers: &HeaderMap, peer: &Peer, trusted: &[IpNet]) -> IpAddr {
    if !is_trusted(peer.address, trusted) {
        return peer.address;
    }
    let Some(chain) = chain(headers) else { return peer.address };
    let mut origin = peer.address;
    for hop in chain.rsplit(',') {
        // Behind something that is no address nothing is known.
        let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
        origin = address.to_canonical();
        if !is_trusted(origin, trusted) {
            break;
        }
    }
    origin
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// All of `X-Forwarded-For`, in its order.
fn chain(headers: &HeaderMap) -> Option<String> {
    let values: Option<Vec<&str>> = headers.get_all(FOR).iter().map(|value| value.to_str().ok()).collect();
    let chain = values?.join(", ");
    (!chain.is_empty() && chain.len() <= CHAIN_BYTES_MAX).then_some(chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(chain: &[&str], peer: &str) -> (String, String) {
        let mut request = http::Request::builder().uri("/").header("host", "gateway.example");
        for value in chain {
            request = request.header("x-forwarded-for", *value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "2001:db8::/32"].map(|text| text.parse().unwrap()).to_vec();
        let peer = Peer::new(peer.parse().unwrap(), true);
        let mut told = HeaderMap::new();
        Forwarded::of(&parts, &peer, &trusted).add(&mut told);
        assert_eq!(
            (&told["x-forwarded-proto"], &told["x-forwarded-host"]),
            (&"https".parse().unwrap(), &"gateway.example".parse().unwrap())
        );
        (
            told["x-forwarded-for"].to_str().unwrap().to_owned(),
            origin(&parts.headers, &peer, &trusted).to_string(),
        )
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let pair = |told: &str, origin: &str| (told.to_owned(), origin.to_owned());
        assert_eq!(seen(&["192.0.2.9"], "192.0.2.1"), pair("192.0.2.1", "192.0.2.1"));
        assert_eq!(seen(&[], "10.0.0.1"), pair("10.0.0.1", "10.0.0.1"));
        assert_eq!(seen(&["192.0.2.9"], "10.0.0.1"), pair("192.0.2.9, 10.0.0.1", "192.0.2.9"));
        assert_eq!(
            seen(&["203.0.113.5, 192.0.2.9", "10.0.0.2"], "10.0.0.1"),
            pair("203.0.113.5, 192.0.2.9, 10.0.0.2, 10.0.0.1", "192.0.2.9")
        );
        assert_eq!(
            seen(&["nonsense, 10.0.0.2"], "10.0.0.1"),
            pair("nonsense, 10.0.0.2, 10.0.0.1", "10.0.0.2")
        );
        assert_eq!(seen(&["2001:DB8::7"], "::ffff:10.0.0.1"), pair("2001:DB8::7, 10.0.0.1", "2001:db8::7"));
        assert_eq!(seen(&[&"1".repeat(2000)], "10.0.0.1"), pair("10.0.0.1", "10.0.0.1"));
    }
}
