//! The sections `listen`, `limits`, `upstream` and `admin`: addresses, sizes and times.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use http::Uri;
use http::uri::Authority;

use crate::admin;
use crate::client;
use crate::config::node::Node;
use crate::config::read::{Reader, Section};
use crate::policy::agreement::Region;
use crate::policy::id::Guid;
use crate::proxy::snapshot::Limits;
use crate::server;

/// The section `upstream`.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Where it is and how long it may take.
    pub client: client::Settings,
    /// Whether the caller's `Authorization` goes with requests.
    pub forward_authorization: bool,
    /// Whose customers these are, where callers are resellers.
    pub billing_partner: Option<Guid>,
    /// The CSP region of the orders.
    pub region: Option<Region>,
}

/// Reads `listen` and those of `limits` that bound connections.
pub fn listen(listen: &Section<'_>, limits: &Section<'_>) -> server::Settings {
    let reader = listen.reader();
    let insecure = listen.get("insecure_plaintext", |node| reader.flag(node)).unwrap_or(false);
    let address = listen.get("address", |node| {
        let address = socket_address(reader, node)?;
        if !address.ip().is_loopback() && !insecure {
            let hint =
                "bind a loopback address behind something that ends TLS, or set `insecure_plaintext: true`";
            reader.error(
                node.span,
                "bearer tokens would cross the network in the clear",
                Some(hint.to_owned()),
            );
        }
        Some(address)
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = listen.get("workers", |node| match reader.text(node)?.as_str() {
        "auto" => Some(cores),
        _ => reader.number(node, 1..=1024),
    });
    let duration = |name: &'static str, default: u64| {
        limits.get(name, |node| reader.duration(node)).unwrap_or(Duration::from_secs(default))
    };
    server::Settings {
        address: address.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080))),
        workers: workers.unwrap_or(cores),
        connections_max: limits
            .get("connections", |node| reader.number(node, 1..=10_000_000))
            .unwrap_or(10_000),
        header_bytes_max: limits
            .get("header_bytes", |node| {
                let size = reader.size(node)?;
                if !(8 * 1024..=1024 * 1024).contains(&size) {
                    reader.error(node.span, "expected a size from 8KiB to 1MiB", None);
                }
                Some(size)
            })
            .unwrap_or(32 * 1024),
        header_timeout: duration("header_timeout", 10),
        idle_timeout: duration("idle_timeout", 90),
        connection_age: duration("connection_age", 600),
    }
}

/// Reads the rest of `limits`.
pub fn limits(section: &Section<'_>) -> Limits {
    let reader = section.reader();
    let size =
        |name: &'static str, default: usize| section.get(name, |node| reader.size(node)).unwrap_or(default);
    Limits {
        body_bytes_max: size("body_bytes", 1 << 20),
        buffered_bytes_max: size("buffered_bytes", 256 << 20),
        body_timeout: section
            .get("body_timeout", |node| reader.duration(node))
            .unwrap_or(Duration::from_secs(30)),
    }
}

/// Reads `upstream`.
pub fn upstream(section: &Section<'_>) -> Option<Upstream> {
    let reader = section.reader();
    let insecure = section.get("insecure_plaintext", |node| reader.flag(node)).unwrap_or(false);
    let url = section.require("url", |node| {
        let parsed = parse_url(&reader.text(node)?);
        let Some((authority, prefix)) = parsed else {
            let hint = "such as `http://127.0.0.1:9000` or `http://127.0.0.1:9000/prefix`".to_owned();
            reader.error(node.span, "expected an http URL without query or credentials", Some(hint));
            return None;
        };
        if !is_loopback(&authority) && !insecure {
            let hint = "send it through a local TLS proxy, or set `insecure_plaintext: true`".to_owned();
            reader.error(node.span, "orders would cross the network in the clear", Some(hint));
        }
        Some((authority, prefix))
    });
    let parse = |text: &str| match text {
        "forward" => Some(true),
        "remove" => Some(false),
        _ => None,
    };
    let authorization =
        section.get("authorization", |node| reader.choice(node, parse, &["forward", "remove"]));
    let billing_partner = section.get("billing_partner", |node| reader.guid(node));
    let region = section.get("region", |node| region(reader, node));
    let duration = |name: &'static str, default: u64| {
        section.get(name, |node| reader.duration(node)).unwrap_or(Duration::from_secs(default))
    };
    let connect_timeout = duration("connect_timeout", 2);
    let response_timeout = duration("response_timeout", 30);
    let idle_timeout = duration("idle_timeout", 30);
    let (authority, prefix) = url?;
    Some(Upstream {
        client: client::Settings { authority, prefix, connect_timeout, response_timeout, idle_timeout },
        forward_authorization: authorization.unwrap_or(true),
        billing_partner,
        region,
    })
}

/// A CSP region.
pub fn region(reader: &Reader, node: &Node) -> Option<Region> {
    let known: Vec<&str> = Region::ALL.iter().map(|region| region.as_str()).collect();
    reader.choice(node, Region::parse, &known)
}

fn parse_url(text: &str) -> Option<(Authority, String)> {
    let uri: Uri = text.parse().ok()?;
    let authority = uri.authority()?.clone();
    let plain =
        uri.scheme_str() == Some("http") && uri.query().is_none() && !authority.as_str().contains('@');
    let prefix = uri.path().trim_end_matches('/').to_owned();
    plain.then_some((authority, prefix))
}

fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn socket_address(reader: &Reader, node: &Node) -> Option<SocketAddr> {
    let text = reader.text(node)?;
    let parsed = text.parse().ok();
    if parsed.is_none() {
        reader.error(
            node.span,
            format!("found `{text}`, expected an address such as `127.0.0.1:8080`"),
            None,
        );
    }
    parsed
}

/// Reads `admin`.
pub fn admin(section: &Section<'_>, folder: &Path) -> Option<admin::Settings> {
    let reader = section.reader();
    let token = section.get("token_file", |node| {
        let path = folder.join(reader.text(node)?);
        match std::fs::read_to_string(&path) {
            Ok(token) if token.trim().len() >= 16 => Some(token.trim().to_owned()),
            Ok(_) => {
                reader.error(node.span, "the token has fewer than 16 characters", None);
                None
            }
            Err(error) => {
                reader.error(node.span, format!("can not read {}: {error}", path.display()), None);
                None
            }
        }
    });
    let has_token = section.node("token_file").is_some();
    let address = section.get("address", |node| {
        let address = socket_address(reader, node)?;
        if !address.ip().is_loopback() && !has_token {
            let hint = "add `token_file`, or bind a loopback address".to_owned();
            reader.error(node.span, "off loopback the admin listener needs a token", Some(hint));
        }
        Some(address)
    });
    let hosts = section.get("hosts", |node| reader.list(node, |item| reader.text(item)));
    if has_token && token.is_none() {
        return None;
    }
    Some(admin::Settings {
        address: address.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 9090))),
        token,
        hosts: hosts.unwrap_or_default(),
    })
}
