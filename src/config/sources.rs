//! Remote sources of agreements: Partner Center, and JSON endpoints of the operator's own.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use rustls::ClientConfig;

use crate::agreements::http::{self as endpoint, Test};
use crate::agreements::partner_center::answers::Terms;
use crate::agreements::partner_center::{self, warm};
use crate::agreements::pointer::{Pointer, PointerFault};
use crate::agreements::template::{Place, Template};
use crate::config::network::region;
use crate::config::node::{Node, Value};
use crate::config::read::{Reader, Section, TIMEOUTS, resolve};
use crate::config::{service, trust};
use crate::fetch::Endpoint;
use crate::identity::Partners;
use crate::policy::agreement::{Cloud, Region};
use crate::policy::id::{Guid, MpnId, Name};
use crate::remote::client;
use crate::remote::guard::Limits;
use crate::service::secret::Secret;
use crate::service::settings::Settings as Identity;
use crate::tls;

/// Microsoft's own number of questions a minute is 500, which orders share.
const PER_MINUTE: u32 = 300;
/// The part of the budget that one caller may take, where there are several, in percent.
const CALLER_SHARE: u8 = 20;
const TIMEOUT: Duration = Duration::from_secs(5);
const CUSTOMER_AGREEMENT: &str = "MicrosoftCustomerAgreement";
/// The template of the Microsoft Customer Agreement (Partner Center, "Get agreement metadata").
const CUSTOMER_TEMPLATE: &str = "117a77b0-9360-443b-8795-c6dedc750cf9";

/// What other sections say that sources start from.
#[derive(Clone, Copy, Debug)]
pub struct Defaults<'p> {
    /// `upstream.billing_partner`.
    pub partner: Option<Guid>,
    /// `upstream.region`.
    pub region: Option<Region>,
    /// The partners, whose regions they say.
    pub partners: Option<&'p Partners>,
    /// The tenants of partners by their MPN ids.
    pub tenants: &'p HashMap<MpnId, Guid>,
}

impl Defaults<'_> {
    /// The region of a partner's orders.
    fn region_of(&self, partner: Guid) -> Option<Region> {
        self.region.or_else(|| self.partners?.find(partner)?.profile.region)
    }

    /// Whether only one partner can call.
    fn has_only_one_caller(&self) -> bool {
        self.partners.is_some_and(|partners| partners.known.len() == 1 && partners.unlisted.is_none())
    }
}

/// A source that is asked over the network.
#[derive(Clone, Debug)]
pub struct RemoteSource {
    /// Its name.
    pub name: Name,
    /// What it is.
    pub kind: Kind,
    /// How it is asked.
    pub remote: client::Settings,
    /// Whom to trust that it is the one.
    pub trust: Arc<ClientConfig>,
    /// As whom.
    pub identity: Option<(Identity, Arc<ClientConfig>)>,
}

/// What a remote source is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Partner Center, and what of it is fetched beside requests.
    PartnerCenter(partner_center::Settings, warm::Settings),
    /// A JSON endpoint.
    Http(endpoint::Settings),
}

/// Equal settings make the same source: one that runs can be kept.
impl PartialEq for RemoteSource {
    fn eq(&self, other: &RemoteSource) -> bool {
        let identity = |of: &RemoteSource| of.identity.as_ref().map(|(settings, _)| settings.clone());
        (&self.kind, &self.remote) == (&other.kind, &other.remote) && identity(self) == identity(other)
    }
}

/// Reads a source of type `partner_center`, whose `type` was read.
pub fn partner_center(
    section: Section<'_>,
    name: Name,
    folder: &Path,
    defaults: Defaults<'_>,
) -> Option<RemoteSource> {
    let reader = section.reader();
    let insecure = section.get("insecure_plaintext", |node| reader.flag(node)).unwrap_or(false);
    let url = section.require("url", Some).and_then(|_| trust::endpoint(&section, "url", insecure));
    let partner = section.get("partner", |node| reader.guid(node));
    let own_region = section.get("region", |node| region(reader, node));
    let clouds: Vec<&str> = Cloud::ALL.iter().map(|cloud| cloud.as_str()).collect();
    let cloud = section.get("cloud", |node| reader.choice(node, Cloud::parse, &clouds));
    let not_applicable = section
        .get("not_applicable", |node| reader.list(node, |item| reader.choice(item, Cloud::parse, &clouds)));
    let templates =
        section.get("templates", |node| reader.list(node, |item| Some(reader.guid(item)?.to_string())));
    let token_node = section.require("token", Some);
    let common = common(&section, folder, defaults);
    let bulk_load = section.get("bulk_load", |node| reader.flag(node)).unwrap_or(false);
    let audit_poll = section.get("audit_poll", |node| {
        reader.duration_within(node, Duration::from_secs(10)..=Duration::from_secs(24 * 3600))
    });
    let has_partner = section.node("partner").is_some();
    if !has_partner && defaults.partner.is_none() {
        let hint =
            "add `partner`, the tenant whose identity this is, or `upstream.billing_partner`".to_owned();
        reader.error(section.span, "nothing says for which partner this source speaks", Some(hint));
    }
    section.finish();
    let (url, token_node, common) = (url?, token_node?, common?);
    let identity = service::token(reader, token_node, folder, &url)?;
    let partner = partner.or(defaults.partner)?;
    let settings = partner_center::Settings {
        name,
        partner,
        region: own_region.or_else(|| defaults.region_of(partner)),
        cloud: cloud.unwrap_or(Cloud::Commercial),
        not_applicable: not_applicable.unwrap_or_default(),
        terms: Terms {
            agreement_type: CUSTOMER_AGREEMENT.to_owned(),
            templates: templates.unwrap_or_else(|| vec![CUSTOMER_TEMPLATE.to_owned()]),
        },
    };
    let constant = |name: &'static str, value: &'static str| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    let headers = vec![constant("ms-contract-version", "v1"), constant("x-locale", "en-US")];
    Some(RemoteSource {
        name,
        kind: Kind::PartnerCenter(settings, warm::Settings { bulk_load, audit_poll }),
        remote: client::Settings { partner: Some(partner), ..common.settings(name, url, headers) },
        trust: common.trust,
        identity: Some(identity),
    })
}

/// Reads a source of type `http`, whose `type` was read.
pub fn http(section: Section<'_>, name: Name, folder: &Path, defaults: Defaults<'_>) -> Option<RemoteSource> {
    let reader = section.reader();
    let insecure = section.get("insecure_plaintext", |node| reader.flag(node)).unwrap_or(false);
    let url = section.require("url", |node| template(reader, node, insecure));
    let headers = section.get("headers", |node| headers(reader, node, folder));
    let test = |node: &Node| {
        let text = reader.text(node)?;
        let parsed = Test::parse(&text);
        let expected = "with a value, such as `/accepted` (which has to be `true`) or `/state=signed`";
        parsed.map_err(|fault| no_pointer(reader, node, &text, &fault, expected)).ok()
    };
    let accepted = section.require("accepted", test);
    let missing = section.get("missing", test);
    let date = section.get("date", |node| {
        let text = reader.text(node)?;
        let parsed = Pointer::parse_whole(&text);
        parsed.map_err(|fault| no_pointer(reader, node, &text, &fault, "such as `/accepted_at`")).ok()
    });
    let not_found = section.get("not_found", |node| {
        let parse = |text: &str| match text {
            "missing" => Some(true),
            "unknown" => Some(false),
            _ => None,
        };
        reader.choice(node, parse, &["unknown", "missing"])
    });
    let has_headers = section.node("headers").is_some();
    let common = common(&section, folder, defaults);
    section.finish();
    let ((url, target), accepted, common) = (url?, accepted?, common?);
    if has_headers && headers.is_none() {
        return None;
    }
    let settings = endpoint::Settings {
        name,
        target,
        accepted,
        missing,
        date,
        not_found_is_missing: not_found.unwrap_or(false),
    };
    Some(RemoteSource {
        name,
        kind: Kind::Http(settings),
        remote: common.settings(name, url, headers.unwrap_or_default()),
        trust: common.trust,
        identity: None,
    })
}

/// What all remote sources have.
struct Common {
    limits: Limits,
    timeout: Duration,
    authorities: Option<String>,
    trust: Arc<ClientConfig>,
}

impl Common {
    fn settings(
        &self,
        name: Name,
        url: Endpoint,
        headers: Vec<(HeaderName, HeaderValue)>,
    ) -> client::Settings {
        client::Settings {
            name: name.to_string(),
            url,
            partner: None,
            headers,
            limits: self.limits,
            timeout: self.timeout,
            authorities: self.authorities.clone(),
        }
    }
}

fn common(section: &Section<'_>, folder: &Path, defaults: Defaults<'_>) -> Option<Common> {
    let reader = section.reader();
    let per_minute = section.get("requests_per_minute", |node| reader.number(node, 10..=1_000_000));
    let share = section.get("caller_share", |node| reader.number(node, 1..=100));
    let timeout = section.get("timeout", |node| reader.duration_within(node, TIMEOUTS));
    let (ca_file, authorities) = trust::authorities(section, folder)?.unzip();
    let trust = tls::client::load(&tls::client::Settings { ca_file, identity: None });
    let trust = trust.map_err(|why| reader.error(section.span, why, None)).ok()?;
    let default_share = if defaults.has_only_one_caller() { 100 } else { CALLER_SHARE };
    let limits = Limits {
        per_minute: per_minute.map_or(PER_MINUTE, |count| count as u32),
        share_percent: share.map_or(default_share, |share| share as u8),
        ..Limits::default()
    };
    Some(Common { limits, timeout: timeout.unwrap_or(TIMEOUT), authorities, trust })
}

/// Tells what is wrong with a pointer.
fn no_pointer(reader: &Reader, node: &Node, text: &str, fault: &PointerFault, expected: &str) {
    let (message, hint) = match fault {
        PointerFault::NoPointer => (format!("`{text}` is no JSON pointer {expected}"), None),
        PointerFault::Step(step) => (
            format!("`{step}` is no step `[member=value]`"),
            Some("such as `/items/[kind={agreement}]/state=signed`".to_owned()),
        ),
        PointerFault::Place(place) => {
            (format!("`{place}` is no place in the value of a step"), Some(known_places()))
        }
    };
    reader.error(node.span, message, hint);
}

fn known_places() -> String {
    let known: Vec<&str> = Place::ALL.iter().map(|place| place.as_str()).collect();
    format!("known: {}", known.join(", "))
}

/// A URL with places behind its host.
fn template(reader: &Reader, node: &Node, insecure: bool) -> Option<(Endpoint, Template)> {
    let text = reader.text(node)?;
    let path_at = text.find("://").and_then(|at| text[at + 3..].find('/').map(|path| at + 3 + path));
    let (server, target) = text.split_at(path_at.unwrap_or(text.len()));
    let hint = || Some("such as `https://crm.example/agreements/{kind}/{id}`".to_owned());
    let endpoint = Endpoint::parse(&format!("{server}/"), insecure);
    let endpoint = endpoint.map_err(|why| reader.error(node.span, why, hint())).ok()?;
    let target = if target.is_empty() { "/" } else { target };
    match Template::parse(target) {
        Ok(template) if !target.contains('#') => Some((endpoint, template)),
        Ok(_) => {
            reader.error(node.span, "a fragment is never sent", hint());
            None
        }
        Err(place) => {
            reader.error(node.span, format!("`{place}` is no place in a URL"), Some(known_places()));
            None
        }
    }
}

fn headers(reader: &Reader, node: &Node, folder: &Path) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let read = reader.map(node)?.iter().map(|(key, value)| {
        let Ok(name) = HeaderName::from_bytes(key.text.as_bytes()) else {
            reader.error(key.span, format!("`{}` is no name of a header", key.text), None);
            return None;
        };
        let text = match &value.value {
            Value::Map(_) => secret(reader, value, folder)?,
            _ => reader.text(value)?,
        };
        let Ok(mut header) = HeaderValue::from_str(&text) else {
            reader.error(value.span, "it holds characters that no header can have", None);
            return None;
        };
        header.set_sensitive(matches!(value.value, Value::Map(_)));
        Some((name, header))
    });
    read.collect()
}

/// A text that stands in a file or in the environment.
fn secret(reader: &Reader, node: &Node, folder: &Path) -> Option<String> {
    let section = reader.section(node)?;
    let file = section.get("file", |node| Some(Secret::File(resolve(folder, &reader.text(node)?))));
    let variable = section.get("env", |node| Some(Secret::Variable(reader.text(node)?)));
    let span = section.span;
    section.finish();
    let ((Some(place), None) | (None, Some(place))) = (file, variable) else {
        reader.error(span, "expected one of `file`, `env`", None);
        return None;
    };
    let read = place.read().map_err(|why| reader.error(span, why, None)).ok()?;
    Some(read.reveal().to_owned())
}
