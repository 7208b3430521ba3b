//! Policy cases: requests with a clock and agreements of their own, and what has to come of them.

use std::collections::HashMap;
use std::path::Path;

use jiff::Timestamp;

use crate::agreements::file::Ledger;
use crate::config::identity::partner;
use crate::config::ledger::ledger;
use crate::config::node::{Node, Value};
use crate::config::policy::{self, CompiledPolicy, PartnerFacts};
use crate::config::read::{Reader, Section};
use crate::config::roles::built_in_roles;
use crate::identity::Partners;
use crate::judge::{Known, Question};
use crate::policy::Policy;
use crate::policy::facts::Caller;
use crate::policy::id::{Guid, MpnId};
use crate::policy::operation::Method;
use crate::policy::reason::Reason;
use crate::policy::role::{NameSet, NameTable};

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// What is asked.
    pub question: Question,
    /// Where agreements stand.
    pub known: Known,
    /// What has to come of it.
    pub expect: Expect,
}

/// What has to come of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    /// Allowed, or denied for this reason.
    pub denied: Option<Reason>,
    /// The rule that the verdict names.
    pub rule: Option<String>,
    /// The operation.
    pub operation: Option<String>,
    /// Rules that give notice, all of them.
    pub notices: Vec<String>,
    /// Shadow rules that are unmet, all of them.
    pub shadows: Vec<String>,
}

/// A file of cases.
#[derive(Debug)]
pub struct CaseFile {
    /// The policy they are judged by, where it is not that of the configuration.
    pub policy: Option<CompiledPolicy>,
    /// The cases.
    pub cases: Vec<Case>,
}

/// Reads a file of cases. Partners are those of the file and of the configuration.
pub fn read(
    reader: &Reader,
    path: &Path,
    text: &str,
    configured: Option<(&Policy, &Partners)>,
) -> Option<CaseFile> {
    let source = reader.add_source(path, text);
    let tree = match Node::parse(text, source, &HashMap::new()) {
        Ok(tree) => tree,
        Err((span, message)) => {
            reader.note(crate::config::problem::Severity::Error, span, message, None);
            return None;
        }
    };
    let section = reader.section(&tree)?;
    let own_policy = section.node("policy");
    let roles = configured
        .filter(|_| own_policy.is_none())
        .map_or_else(built_in_roles, |(policy, _)| policy.roles.clone());
    let mut facts = PartnerFacts::default();
    if let Some((policy, _)) = configured.filter(|_| own_policy.is_none()) {
        facts.labels = policy.labels.clone();
    }
    let mut partners = configured.map(|(_, partners)| partners.clone()).unwrap_or_default();
    section.get("partners", |node| {
        reader.list(node, |item| {
            let partner = partner(reader, item, &roles, &mut facts)?;
            partners.known.insert(partner.profile.tenant, partner);
            Some(())
        })
    });
    let policy = match own_policy {
        // Rules are dated by each case's clock; the policy itself is as of its writing.
        Some(node) => Some(policy::read(reader, Some(node), roles.clone(), &facts, Timestamp::UNIX_EPOCH)?),
        None => None,
    };
    let names = policy.as_ref().map(|own| &own.policy).or(configured.map(|(policy, _)| policy));
    let Some(names) = names else {
        reader.error(tree.span, "the file has no `policy`, and the configuration could not be read", None);
        return None;
    };
    let cases = section
        .require("cases", |node| reader.list(node, |item| case(reader, item, &partners, &roles, names)));
    section.finish();
    Some(CaseFile { policy, cases: cases? })
}

fn case(
    reader: &Reader,
    node: &Node,
    partners: &Partners,
    roles: &NameTable,
    policy: &Policy,
) -> Option<Case> {
    let section = reader.section(node)?;
    let name = section.require("name", |node| reader.text(node));
    let at = section.require("at", |node| reader.time(node));
    let caller = section.require("caller", |node| caller(reader, node, partners, roles));
    let request = section.require("request", |node| request(reader, node));
    let complete = section.node("complete");
    let records = section.node("agreements");
    let unreachable = section.get("sources", |node| {
        reader.choice(node, |text| (text == "unreachable").then_some(()), &["unreachable"])
    });
    let expect = section.require("expect", |node| expect(reader, node, policy));
    section.finish();
    let at = at?;
    let known = match unreachable {
        Some(()) => Known::Unreachable,
        None => Known::Ledger(records_ledger(reader, node, records, complete, at, &policy.tenants)?),
    };
    let (method, path, body) = request?;
    let question = Question { method, path, body, caller: caller?, at };
    Some(Case { name: name?, question, known, expect: expect? })
}

/// The ledger of records that stand in a case; `tenants` are those of partners by their MPN ids.
pub fn records_ledger(
    reader: &Reader,
    node: &Node,
    records: Option<&Node>,
    complete: Option<&Node>,
    at: Timestamp,
    tenants: &HashMap<MpnId, Guid>,
) -> Option<Ledger> {
    let empty = Node { span: node.span, value: Value::List(Vec::new()) };
    let mut tree = Node { span: node.span, value: Value::Map(Vec::new()) };
    tree.set("agreements", records.unwrap_or(&empty).value.clone());
    if let Some(complete) = complete {
        tree.set("complete", complete.value.clone());
    }
    ledger(reader, &tree, at, tenants)
}

fn caller(reader: &Reader, node: &Node, partners: &Partners, roles: &NameTable) -> Option<Caller> {
    let section = reader.section(node)?;
    let tenant = section.require("tenant", |node| reader.guid(node));
    let billing = section.get("billing_partner", |node| reader.guid(node));
    let own_roles = section.get("roles", |node| policy::role_set(reader, node, roles));
    let gives_roles = section.node("roles").is_some();
    section.finish();
    let tenant = tenant?;
    if gives_roles && own_roles.is_none() {
        return None;
    }
    caller_of(reader, node, partners, tenant, billing, own_roles)
}

/// The caller of a tenant; without roles it has those of its entry.
pub fn caller_of(
    reader: &Reader,
    node: &Node,
    partners: &Partners,
    tenant: Guid,
    billing: Option<Guid>,
    roles: Option<NameSet>,
) -> Option<Caller> {
    let find = |tenant: Guid| {
        let found = partners.find(tenant);
        if found.is_none() {
            reader.error(node.span, format!("partner `{tenant}` is not listed"), None);
        }
        found
    };
    let partner = find(tenant)?;
    let mut billing = find(billing.or(partners.billing).unwrap_or(tenant))?.profile;
    billing.region = partners.region.or(billing.region);
    Some(Caller { partner: partner.profile, billing, roles: roles.unwrap_or(partner.roles) })
}

/// Reads a request: method, path and body.
pub fn request(reader: &Reader, node: &Node) -> Option<(Method, String, Vec<u8>)> {
    let section: Section<'_> = reader.section(node)?;
    let method = section.require("method", |node| {
        reader.choice(node, Method::parse, &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    });
    let path = section.require("path", |node| reader.text(node));
    let body = section.node("body").map(|node| node.to_json().to_string());
    let text = section.get("body_text", |node| reader.text(node));
    section.finish();
    Some((method?, path?, body.or(text).unwrap_or_default().into_bytes()))
}

fn expect(reader: &Reader, node: &Node, policy: &Policy) -> Option<Expect> {
    let section = reader.section(node)?;
    let verdict = section.require("verdict", |node| {
        let parse = |text: &str| match text {
            "allow" => Some(true),
            "deny" => Some(false),
            _ => None,
        };
        reader.choice(node, parse, &["allow", "deny"])
    });
    let reasons: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    let reason = section.get("reason", |node| reader.choice(node, Reason::parse, &reasons));
    let rules: Vec<&str> = policy.rules.iter().map(|rule| rule.name.as_str()).collect();
    let known_rule = |text: &str| rules.contains(&text).then(|| text.to_owned());
    let rule_of = |node: &Node| {
        let text = reader.text(node)?;
        let known = known_rule(&text);
        if known.is_none() {
            let hint = crate::config::read::did_you_mean(&text, rules.iter().copied());
            reader.error(node.span, format!("unknown rule `{text}`"), hint);
        }
        known
    };
    let rule = section.get("rule", rule_of);
    let operation = section.get("operation", |node| reader.text(node));
    let notices = section.get("notices", |node| reader.list(node, rule_of));
    let shadows = section.get("shadows", |node| reader.list(node, rule_of));
    section.finish();
    match (verdict?, reason) {
        (true, Some(_)) => {
            reader.error(node.span, "an allowed request has no reason", None);
            None
        }
        (false, None) => {
            let hint = "the right verdict for the wrong reason has to fail".to_owned();
            reader.error(node.span, "a denied request needs a `reason`", Some(hint));
            None
        }
        (false, Some(reason)) if reason.is_about_agreements() && rule.is_none() => {
            reader.error(node.span, "a denial for an agreement needs the `rule` that it names", None);
            None
        }
        (_, denied) => Some(Expect {
            denied,
            rule,
            operation,
            notices: notices.unwrap_or_default(),
            shadows: shadows.unwrap_or_default(),
        }),
    }
}
