//! The sections `identity` and `partners`: who may call, and what no token says of them.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use crate::config::keys;
use crate::config::network::{Upstream, region};
use crate::config::node::Node;
use crate::config::policy::{PartnerEntry, PartnerFacts};
use crate::config::read::{Reader, Section, read_text, resolve};
use crate::config::roles;
use crate::identity::claims::{Issuer, Verifier};
use crate::identity::fault::ISSUERS_MAX;
use crate::identity::issuer::IssuerName;
use crate::identity::keys::ALGORITHMS;
use crate::identity::{DefaultPartner, Partner, Partners};
use crate::policy::agreement::Cloud;
use crate::policy::facts::{Country, PartnerKind, Profile};
use crate::policy::id::{Guid, MpnId};
use crate::policy::role::{GLOBAL_ADMIN, NameSet, NameTable};

/// Reads `identity`.
pub fn identity(section: &Section<'_>, folder: &Path) -> Option<(Verifier, NameTable)> {
    let reader = section.reader();
    let leeway = section.get("leeway", |node| reader.duration(node)).unwrap_or(Duration::from_secs(60));
    let (partner_claim, role_claims, roles) = roles::claims_and_roles(section)?;
    let issuers =
        section.require("issuers", |node| reader.list(node, |item| issuer(reader, item, folder)))?;
    if issuers.len() > ISSUERS_MAX {
        reader.error(section.span, format!("there are more than {ISSUERS_MAX} issuers"), None);
        return None;
    }
    let leeway_seconds = leeway.as_secs() as i64;
    Some((Verifier { issuers, partner_claim, roles: role_claims, leeway_seconds }, roles))
}

fn issuer(reader: &Reader, node: &Node, folder: &Path) -> Option<Issuer> {
    let section = reader.section(node)?;
    let name = section.require("issuer", |node| {
        let text = reader.text(node)?;
        let parsed = IssuerName::parse(&text);
        if parsed.is_none() {
            let hint =
                "such as `https://login.example/{tid}/v2.0`, with `{tid}` as one whole segment".to_owned();
            reader.error(node.span, format!("`{text}` is no issuer"), Some(hint));
        }
        parsed
    });
    let partners = section.get("partners", |node| reader.list(node, |item| reader.guid(item)));
    let lists_partners = section.node("partners").is_some();
    let audiences = section.require("audiences", |node| reader.list(node, |item| reader.text(item)));
    let algorithms = section.require("algorithms", |node| {
        let names: Vec<&str> = ALGORITHMS.iter().map(|(name, _)| *name).collect();
        let parse =
            |text: &str| ALGORITHMS.iter().find(|(name, _)| *name == text).map(|(_, algorithm)| *algorithm);
        reader.list(node, |item| reader.choice(item, parse, &names))
    });
    let of = name.as_ref().zip(algorithms.as_deref());
    let keys = section.require("keys", |node| keys::keys(reader, node, folder, of));
    section.finish();
    let (name, audiences, algorithms, keys) = (name?, audiences?, algorithms?, keys?);
    if matches!(name, IssuerName::Exact(_)) && !lists_partners {
        let hint = "add `partners: [tenant, ..]`: whom this issuer may speak for".to_owned();
        reader.error(node.span, "an issuer without `{tid}` could name any partner", Some(hint));
        return None;
    }
    if audiences.is_empty() || algorithms.is_empty() {
        reader.error(node.span, "an issuer has at least one audience and one algorithm", None);
        return None;
    }
    if lists_partners && partners.is_none() {
        return None;
    }
    Some(Issuer { name, partners, audiences, algorithms, keys })
}

/// Reads `partners`, with the labels that rules may name.
pub fn partners(
    section: &Section<'_>,
    folder: &Path,
    variables: &HashMap<String, String>,
    roles: &NameTable,
    upstream: Option<&Upstream>,
) -> (Partners, PartnerFacts) {
    let reader = section.reader();
    let mut facts = PartnerFacts::default();
    let mut partners = Partners {
        billing: upstream.and_then(|upstream| upstream.billing_partner),
        region: upstream.and_then(|upstream| upstream.region),
        ..Partners::default()
    };
    let unlisted = section.get("unlisted", |node| {
        let parse = |text: &str| match text {
            "deny" => Some(false),
            "default" => Some(true),
            _ => None,
        };
        reader.choice(node, parse, &["deny", "default"])
    });
    let default = section.get("default", |node| default_partner(reader, node, roles, &mut facts));
    match (unlisted, section.node("default")) {
        (Some(true), None) => {
            reader.error(section.span, "`unlisted: default` needs a `default` entry", None);
        }
        (Some(true), Some(_)) => partners.unlisted = default,
        _ => {}
    }
    let mut add = |node: &Node| {
        reader.list(node, |item| {
            let partner = partner(reader, item, roles, &mut facts)?;
            if partners.known.insert(partner.profile.tenant, partner).is_some() {
                reader.error(
                    item.span,
                    format!("partner `{}` is listed twice", partner.profile.tenant),
                    None,
                );
            }
            Some(())
        })
    };
    section.get("known", &mut add);
    section.get("file", |node| {
        let tree = read_file(reader, node, folder, variables)?;
        add(tree.get("partners").unwrap_or(&tree))
    });
    let mut defaults = partners.known.values().filter(|partner| !partner.roles.is_empty()).count();
    defaults += usize::from(partners.unlisted.is_some_and(|default| !default.roles.is_empty()));
    if defaults > 0 {
        let count = if defaults == 1 { "1 entry has".to_owned() } else { format!("{defaults} entries have") };
        let message = format!("{count} `roles`: a token without any role claim gets them");
        let hint = "leave them out where tokens say their roles; then such a token sells nothing".to_owned();
        reader.warning(section.span, message, Some(hint));
    }
    if let Some(billing) = partners.billing
        && partners.find(billing).is_none()
    {
        let message = format!("the billing partner `{billing}` is not listed");
        reader.error(section.span, message, Some("add it to `known`: rules ask what it is".to_owned()));
    }
    (partners, facts)
}

/// Reads another YAML file that a key names.
pub fn read_file(
    reader: &Reader,
    node: &Node,
    folder: &Path,
    variables: &HashMap<String, String>,
) -> Option<Node> {
    let path = resolve(folder, &reader.text(node)?);
    let text = match read_text(&path) {
        Ok(text) => text,
        Err(error) => {
            reader.error(node.span, format!("can not read {}: {error}", path.display()), None);
            return None;
        }
    };
    let source = reader.add_source(&path, &text);
    match Node::parse(&text, source, variables) {
        Ok(tree) => Some(tree),
        Err((span, message)) => {
            reader.error(span.unwrap_or(node.span), message, None);
            None
        }
    }
}

/// What both kinds of entry have.
struct Common {
    kind: PartnerKind,
    cloud: Cloud,
    country: Option<Country>,
    region: Option<crate::policy::agreement::Region>,
    labels: NameSet,
    roles: NameSet,
}

fn common(section: &Section<'_>, roles: &NameTable, facts: &mut PartnerFacts) -> Option<Common> {
    let reader = section.reader();
    let kinds: Vec<&str> = PartnerKind::ALL.iter().map(|kind| kind.as_str()).collect();
    let clouds: Vec<&str> = Cloud::ALL.iter().map(|cloud| cloud.as_str()).collect();
    let kind = section.require("kind", |node| reader.choice(node, PartnerKind::parse, &kinds));
    let cloud = section.get("cloud", |node| reader.choice(node, Cloud::parse, &clouds));
    let country = section.get("country", |node| crate::config::policy::country(reader, node));
    let region = section.get("region", |node| region(reader, node));
    let labels = section.get("labels", |node| {
        let sets = reader.list(node, |item| {
            let label = reader.text(item)?;
            let set = facts.labels.intern(&label);
            if set.is_none() {
                reader.error(item.span, "there are more than 64 labels", None);
            }
            set
        })?;
        Some(sets.into_iter().fold(NameSet::EMPTY, NameSet::union))
    });
    let entry_roles = section.get("roles", |node| {
        let set = crate::config::policy::role_set(reader, node, roles)?;
        let admin = roles.find(GLOBAL_ADMIN).unwrap_or(NameSet::EMPTY);
        if set.meets(admin) {
            let hint = "a token has to say who is a global administrator".to_owned();
            reader.error(node.span, "`global_admin` can not be given by configuration", Some(hint));
        }
        Some(set.without(admin))
    });
    let kind = kind?;
    facts.entries.push(PartnerEntry {
        span: section.span,
        kind,
        has_country: country.is_some(),
        has_region: region.is_some(),
        has_mpn: false,
    });
    Some(Common {
        kind,
        cloud: cloud.unwrap_or(Cloud::Commercial),
        country,
        region,
        labels: labels.unwrap_or(NameSet::EMPTY),
        roles: entry_roles.unwrap_or(NameSet::EMPTY),
    })
}

/// Reads one entry of the partners table.
pub fn partner(reader: &Reader, node: &Node, roles: &NameTable, facts: &mut PartnerFacts) -> Option<Partner> {
    let section = reader.section(node)?;
    let tenant = section.require("tenant", |node| reader.guid(node));
    let first = section.get("mpn_id", |node| mpn_id(reader, node));
    let others = section.get("mpn_ids", |node| reader.list(node, |item| mpn_id(reader, item)));
    let common = common(&section, roles, facts);
    section.finish();
    let (tenant, common): (Guid, Common) = (tenant?, common?);
    let Common { kind, cloud, country, region, labels, roles } = common;
    let mpn_ids: Vec<MpnId> = first.into_iter().chain(others.into_iter().flatten()).collect();
    for mpn in &mpn_ids {
        if facts.tenants.insert(*mpn, tenant).is_some_and(|other| other != tenant) {
            reader.error(node.span, format!("MPN id `{mpn}` belongs to two partners"), None);
        }
    }
    let mpn = mpn_ids.first().copied();
    if let Some(mpn) = mpn {
        facts.mpn_ids.insert(tenant, mpn);
        facts.entries.last_mut().expect("an entry was noted").has_mpn = true;
    }
    Some(Partner { profile: Profile { tenant, mpn, kind, cloud, country, region, labels }, roles })
}

fn mpn_id(reader: &Reader, node: &Node) -> Option<MpnId> {
    let text = reader.text(node)?;
    let parsed = MpnId::parse(&text);
    if parsed.is_none() {
        reader.error(node.span, format!("`{text}` is no MPN id: digits without a leading zero"), None);
    }
    parsed
}

fn default_partner(
    reader: &Reader,
    node: &Node,
    roles: &NameTable,
    facts: &mut PartnerFacts,
) -> Option<DefaultPartner> {
    let section = reader.section(node)?;
    let common = common(&section, roles, facts);
    section.finish();
    let Common { kind, cloud, country, region, labels, roles } = common?;
    Some(DefaultPartner { kind, cloud, country, region, labels, roles })
}
