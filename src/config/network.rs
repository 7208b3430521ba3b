//! The sections `upstream` and `admin`: where requests go, and where operators connect.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use http::HeaderValue;

use crate::admin;
use crate::client;
use crate::config::node::Node;
use crate::config::read::{Reader, Section, TIMEOUTS, read_text, resolve};
use crate::config::reads::{self, Wanted};
use crate::fetch::{Endpoint, Url, is_loopback, parse_url};
use crate::policy::agreement::Region;
use crate::policy::id::Guid;
use crate::tls;

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
    /// With which identity resources are read before they are judged.
    pub reads: Option<Wanted>,
    /// Where it is, as the control runtime asks.
    pub endpoint: Endpoint,
    /// Whom to trust there, and as whom.
    pub tls: tls::client::Settings,
}

/// Reads `upstream`.
pub fn upstream(section: &Section<'_>, folder: &Path) -> Option<Upstream> {
    let reader = section.reader();
    let insecure = section.get("insecure_plaintext", |node| reader.flag(node)).unwrap_or(false);
    let url = section.require("url", |node| {
        let parsed = parse_url(&reader.text(node)?).filter(|url| url.uri.query().is_none());
        let Some(Url { is_tls, authority, uri }) = parsed else {
            let hint = "such as `https://api.example` or `http://127.0.0.1:9000/prefix`".to_owned();
            reader.error(node.span, "expected a URL without query, fragment or credentials", Some(hint));
            return None;
        };
        if let (false, Some(tls)) = (is_tls, section.node("tls")) {
            reader.error(tls.span, "`tls` is only used with https", None);
        }
        if !is_tls && !is_loopback(authority.host()) {
            const MESSAGE: &str = "orders would cross the network in the clear";
            let hint = "use `https`".to_owned();
            match insecure {
                true => reader.warning(node.span, MESSAGE, Some(hint)),
                false => reader.error(node.span, MESSAGE, Some(hint + ", or set `insecure_plaintext: true`")),
            }
        }
        let endpoint = Endpoint::parse(&uri.to_string(), true).ok()?;
        Some((is_tls, authority, uri.path().trim_end_matches('/').to_owned(), endpoint))
    });
    let reads = section.get("reads", |node| reads::read(reader, node));
    let tls = section.nested("tls", |section| upstream_tls(section, folder));
    let parse = |text: &str| match text {
        "forward" => Some(true),
        "remove" => Some(false),
        _ => None,
    };
    let authorization =
        section.get("authorization", |node| reader.choice(node, parse, &["forward", "remove"]));
    let billing_partner = section.get("billing_partner", |node| reader.guid(node));
    let region = section.get("region", |node| region(reader, node));
    let timeout = |name: &'static str, default: u64| {
        section
            .get(name, |node| reader.duration_within(node, TIMEOUTS))
            .unwrap_or(Duration::from_secs(default))
    };
    let connect_timeout = timeout("connect_timeout", 2);
    let response_timeout = timeout("response_timeout", 30);
    let idle_timeout = timeout("idle_timeout", 30);
    let (is_tls, authority, prefix, endpoint) = url?;
    let (tls_settings, http2) = tls?;
    let tls = match is_tls {
        false => None,
        true => match client::Secured::new(&authority, &tls_settings, http2) {
            Ok(secured) => Some(secured),
            Err(why) => {
                reader.error(section.span, why, None);
                return None;
            }
        },
    };
    let host = HeaderValue::from_str(authority.as_str()).expect("an authority is plain text");
    Some(Upstream {
        client: client::Settings {
            host,
            authority,
            prefix,
            tls,
            connect_timeout,
            response_timeout,
            idle_timeout,
        },
        forward_authorization: authorization.unwrap_or(true),
        billing_partner,
        region,
        reads,
        endpoint,
        tls: tls_settings,
    })
}

/// A CSP region.
pub fn region(reader: &Reader, node: &Node) -> Option<Region> {
    let known: Vec<&str> = Region::ALL.iter().map(|region| region.as_str()).collect();
    reader.choice(node, Region::parse, &known)
}

/// Reads `upstream.tls`: whom the gateway trusts, as whom it calls, and whether it speaks HTTP/2.
fn upstream_tls(section: &Section<'_>, folder: &Path) -> (tls::client::Settings, bool) {
    let reader = section.reader();
    let path = |node: &Node| Some(resolve(folder, &reader.text(node)?));
    let ca_file = section.get("ca_file", path);
    let certificate = section.get("certificate", path);
    let private_key = section.get("private_key", path);
    let http2 = section.get("http2", |node| reader.flag(node)).unwrap_or(true);
    if certificate.is_some() != private_key.is_some() {
        reader.error(section.span, "`certificate` and `private_key` come together", None);
    }
    (tls::client::Settings { ca_file, identity: certificate.zip(private_key) }, http2)
}

/// A socket address.
pub fn socket_address(reader: &Reader, node: &Node) -> Option<SocketAddr> {
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
        match read_text(&path) {
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
