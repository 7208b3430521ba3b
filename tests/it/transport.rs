//! Transports: how the requests of rows are sent, by protocol.

use std::net::SocketAddr;

use http::{HeaderName, HeaderValue, Method, Request as HttpRequest, Uri, header};

use crate::authority::Authority;
use crate::http::{Answer, send};
use crate::http2_caller::{Caller, Frames};
use crate::http2_raw::Raw;
use crate::rows::{Framing, Protocol, Request};
use crate::stage::Stage;
use crate::tls::secured;

/// What sends requests to a stage.
pub struct Transport {
    address: SocketAddr,
    /// What HTTP/2 needs; `None` for HTTP/1.1.
    http2: Option<Http2>,
}

struct Http2 {
    authority: Authority,
    caller: Caller,
}

impl Transport {
    /// A stage that is spoken to in that protocol: HTTP/1.1 in the clear, HTTP/2 over TLS.
    pub fn start(protocol: Protocol) -> (Stage, Transport) {
        match protocol {
            Protocol::Http1 => {
                let stage = Stage::start();
                let address = stage.address();
                (stage, Transport { address, http2: None })
            }
            Protocol::Http2 => {
                let authority = Authority::new();
                let stage = secured(&authority, "", "");
                let address = stage.address();
                let caller = Caller::connect(&authority, address);
                (stage, Transport { address, http2: Some(Http2 { authority, caller }) })
            }
        }
    }

    pub fn protocol(&self) -> Protocol {
        if self.http2.is_some() { Protocol::Http2 } else { Protocol::Http1 }
    }

    /// Sends one request: over HTTP/1.1 on a connection of its own, over HTTP/2 on one that all share as long as it
    /// lasts. Where no answer comes, its status is 0.
    pub fn send(&mut self, request: &Request) -> Answer {
        let Some(Http2 { authority, caller }) = &mut self.http2 else { return send(self.address, request) };
        let fields = fields(request);
        match in_order(&fields, request) {
            Some(in_order) => {
                if caller.is_over() {
                    *caller = Caller::connect(authority, self.address);
                }
                caller.try_send(in_order).unwrap_or_else(|error| {
                    let body = format!("{error:?}").into_bytes();
                    Answer { status: 0, headers: Vec::new(), body, trailers: Vec::new() }
                })
            }
            None => {
                assert!(request.trailers.is_empty(), "no row has trailers and what is out of order");
                Raw::connect(authority, self.address).exchange(&fields, &request.body)
            }
        }
    }
}

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// A request as the fields of HTTP/2, the pseudo-headers first. The first Host is the authority, unless `:authority` is
/// among the headers (RFC 9113 section 8.3.1).
fn fields(request: &Request) -> Fields {
    let mut rest: Fields =
        request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    let place = |rest: &Fields, name: &[u8]| rest.iter().position(|(known, _)| known == name);
    let authority = place(&rest, b":authority").or_else(|| place(&rest, b"host")).map(|at| rest.remove(at).1);
    if matches!(request.framing, Framing::Length | Framing::Expect) && !request.body.is_empty() {
        rest.push((b"content-length".to_vec(), request.body.len().to_string().into_bytes()));
    }
    if request.framing == Framing::Expect {
        rest.push((b"expect".to_vec(), b"100-continue".to_vec()));
    }
    let mut fields = vec![(b":method".to_vec(), request.method.clone().into_bytes())];
    if request.method == "CONNECT" {
        // It has a target of its own kind (RFC 9113 section 8.5).
        fields.push((b":authority".to_vec(), request.target.clone()));
    } else {
        fields.push((b":scheme".to_vec(), b"https".to_vec()));
        fields.extend(authority.map(|authority| (b":authority".to_vec(), authority)));
        fields.push((b":path".to_vec(), request.target.clone()));
    }
    // Pseudo-headers come first, those that a row repeats too.
    rest.sort_by_key(|(name, _)| !name.starts_with(b":"));
    fields.extend(rest);
    fields
}

/// The request for a library to send; `None` where it would not, or not as it is.
fn in_order(fields: &Fields, request: &Request) -> Option<HttpRequest<Frames>> {
    const PSEUDO_HEADERS: usize = 4;
    // The library strips what belongs to a connection.
    const STRIPPED: [HeaderName; 4] =
        [header::CONNECTION, header::TE, header::TRANSFER_ENCODING, header::UPGRADE];
    let value = |name: &str| {
        let found = fields.iter().find(|(known, _)| known == name.as_bytes());
        found.map(|(_, value)| value.as_slice())
    };
    let uri = [b"https://", value(":authority")?, value(":path")?].concat();
    let uri = Uri::try_from(uri).ok()?;
    let is_kept = uri.path_and_query()?.as_str().as_bytes() == value(":path")?
        && uri.authority()?.as_str().as_bytes() == value(":authority")?;
    if !is_kept || request.method == "CONNECT" {
        return None;
    }
    let trailers: Vec<(&str, &str)> =
        request.trailers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut built = HttpRequest::new(Frames::of(&request.body, &trailers));
    *built.method_mut() = Method::from_bytes(request.method.as_bytes()).ok()?;
    *built.uri_mut() = uri;
    let pseudo = fields.iter().filter(|(name, _)| name.starts_with(b":")).count();
    if pseudo != PSEUDO_HEADERS {
        return None;
    }
    for (name, value) in &fields[pseudo..] {
        let name = HeaderName::from_bytes(name).ok()?;
        if STRIPPED.contains(&name) && value != b"trailers"
            || matches!(name.as_str(), "keep-alive" | "proxy-connection")
        {
            return None;
        }
        built.headers_mut().append(name, HeaderValue::from_bytes(value).ok()?);
    }
    Some(built)
}
