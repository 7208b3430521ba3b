//! The sections `listen` and `limits`: where callers connect, and how much of everything is taken.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::network::socket_address;
use crate::config::node::Node;
use crate::config::read::{Reader, Section, TIMEOUTS, resolve};
use crate::proxy::snapshot::Limits;
use crate::server;
use crate::tls::server::{Clients, Settings as TlsSettings, load};

/// How old a connection may become.
const AGES: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(30 * 24 * 3600);
/// The least that a judged body may be: an order of one line fits.
const BODY_BYTES_LEAST: usize = 1024;

/// The section `listen`, with those of `limits` that bound connections.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Address, workers and bounds.
    pub server: server::Settings,
    /// TLS, unless something in front of the gateway ends it.
    pub tls: Option<TlsSettings>,
    /// Whose word on the caller's address is taken.
    pub trusted: Vec<IpNet>,
}

/// Reads `listen` and those of `limits` that bound connections.
pub fn listen(listen: &Section<'_>, limits: &Section<'_>, folder: &Path) -> Option<Listen> {
    let reader = listen.reader();
    let insecure = listen.get("insecure_plaintext", |node| reader.flag(node)).unwrap_or(false);
    let tls = listen.get("tls", |node| Some(tls(reader, node, folder)));
    let address = listen.get("address", |node| {
        let address = socket_address(reader, node)?;
        if !address.ip().is_loopback() && tls.is_none() {
            const MESSAGE: &str = "bearer tokens would cross the network in the clear";
            let hint = "add `tls`, or bind a loopback address behind something that ends TLS".to_owned();
            match insecure {
                true => reader.warning(node.span, MESSAGE, Some(hint)),
                false => reader.error(node.span, MESSAGE, Some(hint + ", or set `insecure_plaintext: true`")),
            }
        }
        Some(address)
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = listen.get("workers", |node| match reader.text(node)?.as_str() {
        "auto" => Some(cores),
        _ => reader.number(node, 1..=1024),
    });
    let trusted = listen.get("trusted_proxies", |node| reader.list(node, |item| network(reader, item)));
    let timeout = |name: &'static str, default: u64| {
        limits
            .get(name, |node| reader.duration_within(node, TIMEOUTS))
            .unwrap_or(Duration::from_secs(default))
    };
    let number = |name: &'static str, most: i64, default: usize| {
        limits.get(name, |node| reader.number(node, 1..=most)).unwrap_or(default)
    };
    let server = server::Settings {
        address: address.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080))),
        workers: workers.unwrap_or(cores),
        connections_max: number("connections", 10_000_000, 10_000),
        uncounted: trusted.clone().unwrap_or_default(),
        connections_per_address_max: number("connections_per_address", 10_000_000, 2_000),
        header_bytes_max: limits
            .get("header_bytes", |node| {
                let size = reader.size(node)?;
                if !(8 * 1024..=1024 * 1024).contains(&size) {
                    reader.error(node.span, "expected a size from 8KiB to 1MiB", None);
                }
                Some(size)
            })
            .unwrap_or(32 * 1024),
        header_fields_max: number("header_fields", 1_000, 100),
        streams_max: number("streams", 10_000, 100) as u32,
        header_timeout: timeout("header_timeout", 10),
        idle_timeout: timeout("idle_timeout", 90),
        connection_age: limits
            .get("connection_age", |node| reader.duration_within(node, AGES))
            .unwrap_or(Duration::from_secs(600)),
    };
    let tls = match tls {
        Some(read) => Some(read?),
        None => None,
    };
    Some(Listen { server, tls, trusted: trusted.unwrap_or_default() })
}

/// Reads `listen.tls`. What it names is read now, so that a wrong file is told here.
fn tls(reader: &Reader, node: &Node, folder: &Path) -> Option<TlsSettings> {
    let section = reader.section(node)?;
    let path = |node: &Node| Some(resolve(folder, &reader.text(node)?));
    let certificate = section.require("certificate", path);
    let private_key = section.require("private_key", path);
    let ca_file = section.get("client_ca", path);
    let crl_file = section.get("client_crl", path);
    let parse = |text: &str| match text {
        "required" => Some(true),
        "optional" => Some(false),
        _ => None,
    };
    let required =
        section.get("client_certificates", |node| reader.choice(node, parse, &["required", "optional"]));
    let http2 = section.get("http2", |node| reader.flag(node)).unwrap_or(true);
    let lists_span = section.node("client_crl").map(|node| node.span);
    let names_clients = section.node("client_crl").or(section.node("client_certificates"));
    section.finish();
    if let (None, Some(named)) = (&ca_file, names_clients) {
        reader.error(named.span, "there is no `client_ca` to check client certificates with", None);
        return None;
    }
    let clients = ca_file.map(|ca_file| Clients { ca_file, crl_file, required: required.unwrap_or(true) });
    let settings = TlsSettings { certificate: certificate?, private_key: private_key?, clients, http2 };
    match load(&settings) {
        Ok(_) => Some(settings),
        Err(unusable) => {
            let span = lists_span.filter(|_| unusable.is_of_revocations).unwrap_or(node.span);
            reader.error(span, unusable.why, unusable.hint.map(str::to_owned));
            None
        }
    }
}

/// A network, or a single address.
fn network(reader: &Reader, node: &Node) -> Option<IpNet> {
    let text = reader.text(node)?;
    let parsed =
        text.parse().ok().or_else(|| text.parse().ok().map(|address: std::net::IpAddr| address.into()));
    if parsed.is_none() {
        reader.error(
            node.span,
            format!("found `{text}`, expected an address or a network such as `10.0.0.0/8`"),
            None,
        );
    }
    parsed
}

/// Reads the rest of `limits`.
pub fn limits(section: &Section<'_>) -> Limits {
    let reader = section.reader();
    let size =
        |name: &'static str, default: usize| section.get(name, |node| reader.size(node)).unwrap_or(default);
    let (body_bytes_max, buffered_bytes_max) =
        (size("body_bytes", 1 << 20), size("buffered_bytes", 256 << 20));
    if !(BODY_BYTES_LEAST..=buffered_bytes_max).contains(&body_bytes_max) {
        let message = format!(
            "`body_bytes` is {body_bytes_max}; it has to be from 1KiB to `buffered_bytes`, which is {buffered_bytes_max}"
        );
        reader.error(section.span, message, None);
    }
    Limits {
        body_bytes_max,
        buffered_bytes_max,
        body_timeout: section
            .get("body_timeout", |node| reader.duration_within(node, TIMEOUTS))
            .unwrap_or(Duration::from_secs(30)),
        requests_max: section.get("requests", |node| reader.number(node, 1..=10_000_000)).unwrap_or(10_000),
    }
}
