//! Compilation: from the merged tree to a policy indexed by operation.

use jiff::Timestamp;

use super::operations::{Operations, pattern};
use super::{SHARED_KEYS, rules, waivers};
use crate::config::node::Node;
use crate::config::problem::Span;
use crate::config::read::Reader;
use crate::policy::condition::{Truth, When};
use crate::policy::facts::PartnerKind;
use crate::policy::operation::Operation;
use crate::policy::product::{ProductPattern, Products};
use crate::policy::role::NameTable;
use crate::policy::rule::{Mode, Rule};
use crate::policy::{AgreementInfo, Options, Policy, Unlisted};

/// The names that rules may use.
pub struct Names<'a> {
    /// Operations.
    pub operations: &'a [Operation],
    /// Product classes.
    pub product_classes: &'a NameTable,
    /// Roles.
    pub roles: &'a NameTable,
    /// Labels that partners carry.
    pub labels: &'a NameTable,
    /// Agreements.
    pub agreements: &'a [AgreementInfo],
}

/// What the partners table can tell rules.
#[derive(Clone, Debug, Default)]
pub struct PartnerFacts {
    /// The labels that partners carry.
    pub labels: NameTable,
    /// For each entry: where it stands, what it is, and whether it has a country and a region.
    pub entries: Vec<(Span, PartnerKind, bool, bool)>,
}

impl PartnerFacts {
    /// Notes the first entry that lacks what a rule asks of it.
    pub fn check(&self, reader: &Reader, rule: &str, when: &When) {
        let concerned =
            |kind: &PartnerKind| when.partner_kinds.as_ref().is_none_or(|kinds| kinds.contains(kind));
        let mut entries = self.entries.iter().filter(|(_, kind, ..)| concerned(kind));
        let lacking = entries.find_map(|(span, _, country, region)| {
            if asks_country(when) && !country {
                Some((*span, "country"))
            } else if asks_region(when) && !region {
                Some((*span, "region"))
            } else {
                None
            }
        });
        if let Some((span, fact)) = lacking {
            let message = format!("the entry has no `{fact}`, which rule `{rule}` asks");
            reader.error(span, message, Some(format!("add `{fact}`, or set the rule's mode to `off`")));
        }
    }
}

fn asks_country(when: &When) -> bool {
    when.countries.is_some() || when.not.iter().any(asks_country)
}

fn asks_region(when: &When) -> bool {
    when.regions.is_some() || when.not.iter().any(asks_region)
}

/// Compiles a merged tree; `own` is the section as the operator wrote it.
pub fn compile(
    reader: &Reader,
    own: &Node,
    merged: &Node,
    roles: NameTable,
    partners: &PartnerFacts,
    now: Timestamp,
) -> Option<Policy> {
    let section = reader.section(own)?;
    for key in SHARED_KEYS {
        section.node(key);
    }
    section.node("preset");
    let mode = section.get("mode", |node| reader.choice(node, parse_cap, &["enforce", "shadow"]));
    let unlisted =
        section.get("unlisted", |node| reader.choice(node, Unlisted::parse, &["purchase", "deny", "allow"]));
    let options = section.get("options", |node| reader.choice(node, Options::parse, &["deny", "allow"]));
    let waivers_node = section.node("waivers");
    section.finish();

    let cap = mode.unwrap_or(Mode::Enforce);
    let Operations { operations, endpoints, router } =
        Operations::read(reader, merged.get("operations"), merged.get("customer_paths"));
    let products = products(reader, merged.get("products"));
    let agreements = rules::agreements(reader, merged.get("agreements"));
    let names = Names {
        operations: &operations,
        product_classes: &products.classes,
        roles: &roles,
        labels: &partners.labels,
        agreements: &agreements,
    };
    let mut rules: Vec<Rule> = Vec::new();
    if let Some(node) = merged.get("rules") {
        reader.list(node, |item| {
            rules.extend(rules::rule(reader, item, &names, partners, cap));
            Some(())
        });
    }
    let list = |name| merged.get(name).and_then(|node| reader.list(node, |item| reader.text(item)));
    let customer_members = list("customer_members").unwrap_or_default();
    let reseller_members = merged.get("reseller_members").and_then(|node| {
        reader.list(node, |item| {
            let pattern = pattern(reader, item)?;
            if pattern.steps.is_empty() {
                reader.error(item.span, "expected a member such as `**/partnerIdOnRecord`", None);
                return None;
            }
            Some(pattern)
        })
    });
    let waivers =
        waivers_node.and_then(|node| reader.list(node, |item| waivers::waiver(reader, item, &rules, now)));
    if reader.failed() {
        return None;
    }
    let rules_of = operations
        .iter()
        .enumerate()
        .map(|(at, operation)| {
            let id = crate::policy::operation::OperationId(at as u16);
            let applies = |rule: &Rule| {
                let gated = operation.class.is_gated() || rule.requires.is_none();
                rule.mode != Mode::Off && gated && rule.when.of_operation(id, operation.class) != Truth::False
            };
            (0..rules.len()).filter(|rule| applies(&rules[*rule])).collect()
        })
        .collect();
    Some(Policy {
        operations,
        endpoints,
        router,
        products,
        reseller_members: reseller_members.unwrap_or_default(),
        customer_members,
        rules,
        rules_of,
        waivers: waivers.unwrap_or_default(),
        unlisted: unlisted.unwrap_or(Unlisted::Purchase),
        options: options.unwrap_or(Options::Deny),
        shadow: cap == Mode::Shadow,
        roles,
        labels: partners.labels.clone(),
        agreements,
    })
}

fn parse_cap(text: &str) -> Option<Mode> {
    Mode::parse(text).filter(|mode| *mode != Mode::Off)
}

fn products(reader: &Reader, node: Option<&Node>) -> Products {
    let mut products = Products::default();
    let Some(entries) = node.and_then(|node| reader.map(node)) else { return products };
    for (key, value) in entries {
        let Some(class) = products.classes.intern(&key.text) else {
            reader.error(key.span, "there are more than 64 product classes", None);
            return products;
        };
        reader.list(value, |item| {
            let text = reader.text(item)?;
            match ProductPattern::parse(&text) {
                Some(pattern) => products.patterns.push((class, pattern)),
                None => {
                    let hint = "`ProductId`, `ProductId:SkuId`, `PREFIX*` or `<guid>`".to_owned();
                    reader.error(item.span, format!("`{text}` names no product"), Some(hint));
                }
            }
            Some(())
        });
    }
    products
}
